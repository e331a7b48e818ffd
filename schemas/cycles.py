"""Finds what depends on itself, and says by which way.

Pure graph work on anything that can be ordered; called by `check`. Iterative, so that a chain of ten thousand objects
is as good as one of three.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence

from schemas.names import Key

Edges = Mapping[Key, Sequence[Key]]


def cycles(edges: Edges) -> list[tuple[Key, ...]]:
    """For every knot of objects that depend on each other, a shortest cycle through its least one; sorted.

    Each is given from its least object, which is not repeated at the end.
    """
    found = []
    for knot in _knots(edges):
        least = min(knot)
        if len(knot) > 1 or least in edges.get(least, ()):
            found.append(_shortest(least, knot, edges))
    return sorted(found)


def _knots(edges: Edges) -> Iterator[list[Key]]:
    """The strongly connected components, by Kosaraju's two passes."""
    seen: set[Key] = set()
    finished = [key for root in edges for key in _visit(root, edges, seen)]
    backwards: dict[Key, list[Key]] = {}
    for key, targets in edges.items():
        for target in targets:
            backwards.setdefault(target, []).append(key)
    seen.clear()
    for root in reversed(finished):
        knot = list(_visit(root, backwards, seen))
        if knot:
            yield knot


def _visit(root: Key, edges: Edges, seen: set[Key]) -> Iterator[Key]:
    """Everything reached from `root` and not seen before, each after all that it leads to."""
    if root in seen:
        return
    seen.add(root)
    stack = [(root, iter(edges.get(root, ())))]
    while stack:
        key, targets = stack[-1]
        target = next((each for each in targets if each not in seen), None)
        if target is None:
            stack.pop()
            yield key
        else:
            seen.add(target)
            stack.append((target, iter(edges.get(target, ()))))


def _shortest(start: Key, knot: Collection[Key], edges: Edges) -> tuple[Key, ...]:
    """A shortest way from `start` back to it, inside the knot."""
    inside = set(knot)
    came_from: dict[Key, Key] = {}
    queue = deque([start])
    while queue:
        key = queue.popleft()
        for target in edges.get(key, ()):
            if target == start:
                return tuple(reversed(list(_back(key, start, came_from))))
            if target in inside and target not in came_from:
                came_from[target] = key
                queue.append(target)
    raise AssertionError("a knot without a cycle")


def _back(key: Key, start: Key, came_from: Mapping[Key, Key]) -> Iterator[Key]:
    while key != start:
        yield key
        key = came_from[key]
    yield start
