"""Cache keys of a whole build, before anything is done: what lets a build in which nothing changed touch no tree.

Every step has two keys. The early one names what it takes from other steps by their keys, so it is known as soon as the
contexts are digested. The late one, `steps.cache_key` with digests, names it by the content that was in fact taken: a
step whose sources were made anew and came out the same is found too, but those sources must be there. A cache is asked
for the early key first; what is done is remembered under both. Pure; called by the solver.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from reconciler.build.steps import FromContext, FromRemote, FromStep, Input, Start, Step, cache_key

Outside = FromContext | FromRemote
Digest = Callable[[Outside], str]
"""Identifies what is taken from a context or from elsewhere: the digest of just those files, a commit, an ETag."""


def early_keys(steps: Sequence[Step], starts: Mapping[int, str], digest: Digest) -> dict[int, str]:
    """The early key of every step by its number. `starts` identifies what each Start brings: an image's digest."""
    keys: dict[int, str] = {}
    for step in steps:
        if isinstance(step.work, Start):
            keys[step.number] = starts[step.number]
            continue
        contents = [_early(each, keys, digest) for each in step.inputs]
        keys[step.number] = cache_key(step, "" if step.parent is None else keys[step.parent], contents)
    return keys


def _early(taken: Input, keys: Mapping[int, str], digest: Digest) -> str:
    return f"made by {keys[taken.step]}" if isinstance(taken, FromStep) else digest(taken)


def unneeded(steps: Sequence[Step], target: int, found: Collection[int]) -> frozenset[int]:
    """The steps that need not be done, given those whose outcome was `found`: all that only they would need.

    The layer of a step belongs to the image even where its tree was not needed, so `on_top` counts as a need: a found
    step stands for itself alone, and one that was not found needs all below it.
    """
    return frozenset(range(len(steps))) - (needed(steps, target, found) - set(found))


def needed(steps: Sequence[Step], target: int, found: Collection[int]) -> frozenset[int]:
    """The steps whose outcome is needed, given those that were `found`, which are among them where they are."""
    wanted: set[int] = set()
    left = [target]
    while left:
        number = left.pop()
        if number in wanted:
            continue
        wanted.add(number)
        step = steps[number]
        left += [] if step.on_top is None else [step.on_top]
        left += [] if number in found else sorted(step.needs)
    return frozenset(wanted)


def ready(steps: Sequence[Step], to_do: Collection[int], done: Collection[int], running: Collection[int]) -> list[int]:
    """The steps of `to_do` that can begin now: what they need is done, or was never to be done."""
    waiting = set(to_do) - set(done)
    return [number for number in sorted(waiting - set(running)) if not steps[number].needs & waiting]
