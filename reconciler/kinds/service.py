"""Rules for a Service: its virtual addresses balanced over the replicas that run, and its names. Pure.

The replicas are containers with rules of their own; this object is only what stands in front of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from reconciler.actions import Action, Change, Effect, Verb
from reconciler.desired import Desired, Observed
from reconciler.kinds.container import restarts
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.names import Key, Kind
from schemas.service import ServiceSpec


def follow(want: Desired, needs: Mapping[Key, Sequence[Action]]) -> tuple[Change, ...]:
    """A replica that is started again left the balancing when it ended, and joins it anew; a network that is
    replaced has a bridge without addresses of Services."""
    joined = tuple(
        Change(("balance", "replicas", key.name), "left", "joined", Effect.LIVE)
        for key, actions in needs.items()
        if key.kind is Kind.CONTAINER and key.name in _replicas(want) and any(map(restarts, actions))
    )
    attached = tuple(
        Change(("balance", key.name), "detached", "attached", Effect.LIVE)
        for key, actions in needs.items()
        if key.kind is Kind.NETWORK and any(action.verb is Verb.CREATE and action.replaces for action in actions)
    )
    return joined + attached


def _replicas(want: Desired) -> set[str]:
    return {name for balance in want.facts["balance"].values() for name in balance["backends"]}


def only_takes_in(action: Action, replicas: Collection[str]) -> bool:
    """Whether all that an action would do is to balance over replicas of these, which are not there to be taken in."""
    return bool(action.changes) and all(_replica_of(change) in replicas for change in action.changes)


def _replica_of(change: Change) -> str | None:
    """The one that joins, or that is missing in the balancing of a network."""
    match change.path:
        case ("balance", "replicas", name):
            return str(name)
        case ("balance", _, "backends", name) if change.old is None and change.drift:
            return str(name)
        case _:
            return None


def relevant(want: Desired, have: Observed) -> Mapping[str, Any]:
    """Replicas whose job is done, or that take no connections for now, are not missed, and must not be there."""
    done = set() if _starts_again(want) else set(have.facts.get("completed") or ())
    done |= set(have.facts.get("absent") or ())
    if not done:
        return want.facts
    balance = {network: _without(facts, done) for network, facts in want.facts["balance"].items()}
    return {**want.facts, "balance": balance}


def _without(facts: Mapping[str, Any], done: Collection[str]) -> Mapping[str, Any]:
    return {**facts, "backends": {name: None if name in done else at for name, at in facts["backends"].items()}}


def _starts_again(want: Desired) -> bool:
    """Whether a replica that ended with 0 is started again (Docker's restart policies)."""
    spec = want.declared.spec if want.declared is not None else None
    return isinstance(spec, ServiceSpec) and spec.replica().restart in ("always", "unless-stopped")


RULES = Rules(
    Kind.SERVICE,
    effects={"balance": Effect.LIVE, "names": Effect.LIVE},
    most=Effect.LIVE,
    follow=follow,
    relevant=relevant,
)


def desire(item: Declared, needs: tuple[Key, ...], balance: Mapping[str, Any], names: Mapping[str, Any]) -> Desired:
    """`balance`: network -> {virtual, backends, ports}; `names`: network -> {names, addresses}. Replicas may fail: it
    stands in front of those that run."""
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(item.spec)},
        facts={"balance": balance, "names": names},
        needs=needs,
        optional=frozenset(need for need in needs if need.kind is Kind.CONTAINER),
        declared=item,
    )
