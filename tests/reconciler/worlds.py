"""Manifests as text, resolved without a machine; and what a machine would show once a plan has been carried out."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.actions import Plan, Verb
from reconciler.desired import Desired, Observed
from reconciler.resolve import resolve
from reconciler.resolve.world import Resolved, World
from schemas.check import check
from schemas.load import Text, load
from schemas.names import Key, Kind

WORLD = World(seed="abc123")


def resolved(text: str, world: World = WORLD) -> Resolved:
    declared = load([Text("shop.yaml", text)], {})
    assert check(declared) == []
    return resolve({item.key: item for item in declared}, world)


def desired(text: str, world: World = WORLD) -> Mapping[Key, Desired]:
    return resolved(text, world).desired


def carried_out(plan: Plan, want: Mapping[Key, Desired], had: Mapping[Key, Observed]) -> dict[Key, Observed]:
    """The machine after every action of `plan` succeeded."""
    found = dict(had)
    for action in plan.effective:
        if action.verb is Verb.DELETE:
            found.pop(action.key, None)
        else:
            found[action.key] = converged(want[action.key])
    return found


def converged(want: Desired) -> Observed:
    return Observed(want.key, want.fields, want.facts, want.facts, want.needs, want.owner)


def all_converged(want: Mapping[Key, Desired]) -> dict[Key, Observed]:
    return {key: converged(item) for key, item in want.items()}


def container(name: str) -> Key:
    return Key(Kind.CONTAINER, name)


SHOP = """
apiVersion: trimtab/v1
kind: Image
metadata: {name: busybox}
spec: {rootfs: /srv/busybox}
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
spec: {}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: data}
spec: {}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec:
  image: busybox
  command: [sleep, "1000"]
  mem_limit: 64m
  volumes: ["data:/data"]
  networks: [front]
  ports: ["5432:5432"]
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: web}
spec:
  image: busybox
  networks: [front]
  depends_on: [db]
  deploy: {replicas: 2}
"""
