"""Which containers a NAME on the command line means: one by itself, or the replicas of a Service.

The disk is asked before the store, so that `logs` and `exec` of a container start quickly.
"""

from __future__ import annotations

from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import Key, Kind


def containers_of(layout: Layout, name: str) -> list[str]:
    """`web`, `container/web`, `service/web`: names of containers. Raises Refused where there is none."""
    key = _read(name)
    if key.kind is Kind.CONTAINER and (layout.container(key.name) / "config.json").exists():
        return [key.name]
    owners = _owners(layout)
    service = Key(Kind.SERVICE, key.name)
    if key.kind is Kind.SERVICE or "/" not in name:
        replicas = [container for container, owner in owners.items() if owner == service]
        if replicas:
            return replicas
    raise _unknown(layout, key, owners)


def _read(name: str) -> Key:
    from reconciler.cli.selection import read_key

    key = read_key(name) if "/" in name else Key(Kind.CONTAINER, name)
    if key.kind not in (Kind.CONTAINER, Kind.SERVICE):
        raise Refused(f"{key} has no processes", hint="name a container or a service")
    return key


def _owners(layout: Layout) -> dict[str, Key | None]:
    """Every container that was ever asked for, in order, and the Service it belongs to."""
    if not layout.store.exists():
        return {}
    from reconciler.cli.selection import in_order
    from reconciler.engine import open_engine
    from reconciler.store.records import read_records

    with open_engine(layout) as engine:
        records = read_records(engine.database)
    containers = sorted((key for key in records if key.kind is Kind.CONTAINER), key=in_order)
    return {key.name: records[key].owner for key in containers}


def _is_declared(layout: Layout, key: Key) -> bool:
    if not layout.store.exists():
        return False
    from reconciler.engine import open_engine
    from reconciler.store.inventory import read_inventory

    with open_engine(layout) as engine:
        return key in read_inventory(engine.database)


def _unknown(layout: Layout, key: Key, owners: dict[str, Key | None]) -> Refused:
    from reconciler.cli.selection import unknown

    if _is_declared(layout, Key(Kind.SERVICE, key.name)):
        return Refused(f"{Key(Kind.SERVICE, key.name)} has no container yet", hint="`trimtab apply` makes them")
    if key.kind is Kind.CONTAINER and key.name in owners:
        return Refused(f"{key} was never made, or its directory is gone", hint="`trimtab apply` makes it")
    return unknown(key, [*(Key(Kind.CONTAINER, name) for name in owners), *filter(None, owners.values())])
