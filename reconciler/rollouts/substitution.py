"""Which manifests a Service is planned with: those asked for, or, after a rollback, those that were well before. Pure.

A rollback is no change of what is asked: inventory and history keep the manifests as they were applied. It lasts until
others are applied, or somebody asks for another try.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from reconciler.claims import declared_of
from reconciler.kinds.fields import spec_fields
from reconciler.kinds.image import SAME_IMAGE
from reconciler.rollouts.state import Progress, Rollout
from reconciler.store.inventory import Entry
from schemas.deploy import Deploy
from schemas.envelope import Declared
from schemas.image import ImageSpec
from schemas.names import Key, Kind
from schemas.service import ServiceSpec

OF_REPLICAS = ("resources", "restart_policy")
"""What of `deploy` each replica is made of; the rest of it is as asked for, always."""


def rolling_services(declared: Mapping[Key, Declared]) -> list[Declared]:
    """Those that say how their replicas are to be replaced."""
    return [item for item in declared.values() if _spec(item) is not None]


def _spec(item: Declared) -> ServiceSpec | None:
    rolls = isinstance(item.spec, ServiceSpec) and item.spec.deploy.update_config is not None
    return item.spec if rolls and isinstance(item.spec, ServiceSpec) else None


def digest_of(service: Declared, known: Mapping[Key, Declared]) -> str:
    """Of all that its manifests say about what a replica is."""
    spec = service.spec
    assert isinstance(spec, ServiceSpec)
    told = [spec_fields(spec.replica())]
    for item in _images(spec, known):
        told.append({name: value for name, value in spec_fields(item.spec).items() if name not in SAME_IMAGE})
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _images(spec: ServiceSpec, known: Mapping[Key, Declared]) -> Iterable[Declared]:
    """Declared Images that a replica is made of, by their names."""
    names = {spec.image, *(mount.source for mount in spec.volumes if mount.type == "image" and mount.source)}
    keys = sorted(Key(Kind.IMAGE, name) for name in names)
    return [known[key] for key in keys if key in known]


def digest_of_kept(service: Key, kept: Mapping[str, Any]) -> str:
    """As `digest_of`, of manifests that `as_kept` gave; empty where there was no such Service."""
    known = {(key := Key.parse(name)): _read(key, each) for name, each in kept.items()}
    return digest_of(known[service], known) if service in known else ""


def begun(state: Rollout, asked: str, before: Mapping[str, Any]) -> Rollout:
    """Once manifests with the digest `asked` are asked for. `before`: those that stood until now."""
    if state.asked == asked:
        return state
    well = state.progress is Progress.DONE and not state.back
    if well:
        return replace(state, asked=asked, good=before, good_asked=state.asked, why="", target="")
    return replace(state.afresh(), asked=asked, back=False, why="", target="")


def as_kept(service: Declared, known: Mapping[Key, Declared], inventory: Mapping[Key, Entry]) -> dict[str, Any]:
    """The manifests of a Service, and of the Images it names, as they stand in the inventory."""
    assert isinstance(service.spec, ServiceSpec)
    keys = [service.key, *(item.key for item in _images(service.spec, known))]
    return {str(key): _kept(inventory[key]) for key in keys if key in inventory}


def _kept(entry: Entry) -> dict[str, Any]:
    return {
        "set": entry.set,
        "file": entry.file,
        "line": entry.line,
        "commit": entry.commit,
        "manifest": entry.manifest,
    }


def substituted(declared: Mapping[Key, Declared], states: Mapping[Key, Rollout]) -> dict[Key, Declared]:
    """What is planned with. Images that are built or committed are as they are: there is no other one to go back to."""
    found = dict(declared)
    for service in rolling_services(declared):
        state = states.get(service.key)
        if state is None or not state.back:
            continue
        for name, kept in state.good.items():
            key = Key.parse(name)
            asked = declared.get(key)
            if asked is not None:
                found[key] = _in_place(asked, _read(key, kept))
    return found


def _read(key: Key, kept: Mapping[str, Any]) -> Declared:
    return declared_of(Entry(key, kept["set"], kept["file"], kept["line"], kept["commit"], kept["manifest"]))


def _in_place(asked: Declared, good: Declared) -> Declared:
    if isinstance(asked.spec, ServiceSpec) and isinstance(good.spec, ServiceSpec):
        of_replicas = {name: getattr(good.spec.deploy, name) for name in OF_REPLICAS}
        deploy: Deploy = asked.spec.deploy.model_copy(update=of_replicas)
        return replace(good, metadata=asked.metadata, spec=good.spec.model_copy(update={"deploy": deploy}))
    if isinstance(good.spec, ImageSpec) and good.spec.ref is None:
        return asked
    return replace(good, metadata=asked.metadata)
