"""Rules for one container: keep it, change it in place, restart it, or replace it.

Pure. The manifest's fields say by their schema how far a change reaches; here is the same for what kernel and disk
show, and what follows when an image, a secret or a network beneath the container changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.actions import Action, Change, Effect, Verb
from reconciler.desired import Desired, Observed
from reconciler.kinds.image import makes_another
from reconciler.kinds.rules import Rules
from schemas.names import Key, Kind

LIVING = ("created", "running", "paused")
ANOTHER_IMAGE = "of another image"
"""What is observed of a bundle whose image has changed since: whoever changed it asked for this, too."""
COMPLETED = "completed"
"""Ended with exit code 0."""


def follow(want: Desired, needs: Mapping[Key, Sequence[Action]]) -> tuple[Change, ...]:
    """What a change of something beneath does to a container that lives."""
    return tuple(c for key, actions in needs.items() for action in actions for c in _follow(want, key, action))


def restarts(action: Action) -> bool:
    """Whether the container's process is another one after the action, and with it its namespaces."""
    if action.verb is not Verb.UPDATE:
        return action.verb is Verb.CREATE
    return any(change.effect is Effect.RESTART or change.path[0] == "process" for change in action.changes)


def _follow(want: Desired, key: Key, action: Action) -> tuple[Change, ...]:
    if action.verb is Verb.UNCHANGED:
        return ()
    if key.kind is Kind.IMAGE:
        return _image_changes(key, action)
    if key.kind in (Kind.SECRET, Kind.CONFIG) and any(
        change.path == ("content",) and not change.drift for change in action.changes
    ):
        path = ("spec", f"{key.kind.lower()}s", key.name)
        return (Change(path, "old content", "new content", Effect.REPLACE, secret=True),)
    if key.kind is Kind.NETWORK and action.verb is Verb.CREATE:
        return (Change(("endpoints", key.name), "detached", "attached", Effect.LIVE),)
    if key.kind is Kind.VOLUME and _mounts_anew(action):
        return (Change(("mounts", key.name), "as before", "mounted anew", Effect.RESTART),)
    if key in want.joins and restarts(action):
        return (Change(("namespaces", key.name), "gone", "joined", Effect.RESTART),)
    if _restarts_along(want, key) and restarts(action):
        return (Change(("spec", "depends_on", key.name), "as before", "started anew", Effect.RESTART),)
    return ()


def _mounts_anew(action: Action) -> bool:
    """Whether the volume is another directory or mount after the action than the one that containers hold."""
    return any(
        change.path[0] in ("data", "mount") or change.path[:2] == ("spec", "driver_opts") for change in action.changes
    )


def _restarts_along(want: Desired, key: Key) -> bool:
    """Compose's `depends_on.NAME.restart`."""
    if key.kind not in (Kind.CONTAINER, Kind.SERVICE):
        return False
    dependency = want.fields["spec"].get("depends_on", {}).get(key.name, {})
    return bool(dependency.get("restart"))


def _image_changes(key: Key, action: Action) -> tuple[Change, ...]:
    """A changed source makes another image; a repaired or missing one is the same, mounted anew."""
    changed = [change for change in action.changes if makes_another(change)]
    if changed:
        return (Change(("image",), key.name, f"{key.name} ({changed[0].describe()})", Effect.REPLACE),)
    if action.verb is Verb.CREATE:
        return (Change(("image",), "missing", key.name, Effect.REPLACE, drift=True),)
    if any(change.path[0] == "content" for change in action.changes):
        return (Change(("image",), "damaged", "repaired", Effect.RESTART, drift=True),)
    return ()


def is_image_change(change: Change) -> bool:
    """Whether the container is still made of what its image was before."""
    return change.path == ("bundle",) and change.old == ANOTHER_IMAGE


def relevant(want: Desired, have: Observed) -> Mapping[str, Any]:
    """A process that is not running has nothing but a bundle, and a process to be started, if it should be."""
    wanted, found = want.facts["process"], have.facts.get("process")
    bundle = {"bundle": want.facts["bundle"]}
    if wanted == "stopped":
        return bundle | ({"process": wanted} if found in LIVING else {})
    if found in LIVING:
        return want.facts
    if have.held or (found == COMPLETED and not starts_again(want)):
        return bundle
    return bundle | {"process": wanted}


def starts_again(want: Desired) -> bool:
    """Whether a process that ended with 0 is started again (Docker's restart policies)."""
    return want.fields["spec"].get("restart") in ("always", "unless-stopped")


RULES = Rules(
    Kind.CONTAINER,
    effects={
        "bundle": Effect.REPLACE,
        "env_file": Effect.REPLACE,
        "image": Effect.REPLACE,
        "process": Effect.LIVE,
        "monitor": Effect.RESTART,
        "limits": Effect.LIVE,
        "other_limits": Effect.LIVE,
        "oom_score_adj": Effect.LIVE,
        "mounts": Effect.RESTART,
        "endpoints": Effect.LIVE,
        "other_endpoints": Effect.LIVE,
        "published": Effect.LIVE,
        "names": Effect.LIVE,
        "resolver": Effect.LIVE,
        "user_namespace": Effect.RESTART,
    },
    follow=follow,
    relevant=relevant,
)
