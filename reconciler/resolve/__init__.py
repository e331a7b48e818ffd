"""From declared objects to desired ones: what is implied is spelled out, what must be unique is handed out.

Pure: everything that varies is in `World`. Called by each pass before planning; the leases it returns are stored before
anything is made.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.desired import Desired
from reconciler.kinds import content, image, network, source, volume
from reconciler.resolve import containers, services
from reconciler.resolve.allot import Allotment, allot_pools, keep_leased, networks_of, refuse_crowded, reserve_fixed
from reconciler.resolve.expand import implied, instances
from reconciler.resolve.world import Resolved, World
from schemas.envelope import Declared
from schemas.names import Key, Kind


def resolve(declared: Mapping[Key, Declared], world: World) -> Resolved:
    """Everything desired of one set. Raises Refused when something unique cannot be handed out."""
    known = {**world.others, **declared}
    wanted = instances(declared, known, world.surges)
    own = {**declared, **implied(wanted, known)}
    known |= own

    allotment = Allotment()
    allot_pools(networks_of(known), world, allotment)
    keep_leased(world, allotment)
    reserve_fixed(wanted, allotment)

    desired = {key: found for key, item in own.items() if (found := _plain(item, own, world, allotment)) is not None}
    replicas: dict[Key, list[Desired]] = {}
    for instance in wanted:
        made = containers.desire(instance, world, allotment)
        desired[instance.key] = made
        if instance.owner is not None:
            replicas.setdefault(instance.owner, []).append(made)
    refuse_crowded(allotment)
    for key, item in own.items():
        if key.kind is Kind.SERVICE:
            desired[key] = services.desire(item, replicas.get(key, []), world, allotment, known)
    return Resolved(desired, own, allotment.leases, allotment.pools)


def _plain(item: Declared, own: Mapping[Key, Declared], world: World, allotment: Allotment) -> Desired | None:
    """Kinds that need nothing of each other. Containers and Services are made after them."""
    match item.key.kind:
        case Kind.IMAGE:
            return image.desire(item, own.values(), world.bases.get(item.key, ()))
        case Kind.VOLUME:
            return volume.desire(item)
        case Kind.NETWORK:
            return network.desire(item, allotment.pools[item.key.name])
        case Kind.SECRET | Kind.CONFIG:
            return content.desire(item, world.contents.get(item.key, ""))
        case Kind.SOURCE:
            return source.desire(item)
        case _:
            return None
