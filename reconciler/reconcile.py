"""One pass: read what was asked and what is, plan, and (if told to) act. The only place where all parts meet.

Called by `diff` and `apply` alike, so that what is shown is what would be done. Everything that can be refused is
refused in `prepare`, before the first effect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from reconciler.accounts import refuse_unknown_accounts
from reconciler.actions import Action, Note, Plan, Verb
from reconciler.apply import NOT_MADE_ANEW, Outcome, Result, Stop, Watch, apply, counted, never, waited_for
from reconciler.as_applied import contents_again, environments_again
from reconciler.claims import claimed, declared_elsewhere
from reconciler.desired import Desired, Observed
from reconciler.engine import Engine
from reconciler.external import exists_on_disk, own_objects
from reconciler.fitness import notes_on_host_paths, refuse_unfit
from reconciler.found_data import notes_on_data, tell_of_data
from reconciler.images.notes import notes_on_registries
from reconciler.local_images import local_images
from reconciler.losses import DATA_LOST, loses_data, notes_on_losses
from reconciler.observe import observe
from reconciler.perform.context import Context
from reconciler.plan import plan
from reconciler.preflight import refuse_conflicts
from reconciler.prune import NO_PRUNING, Pruned, Pruning, kept_notes, orphans, prune
from reconciler.registries import read_registries
from reconciler.resolve import resolve
from reconciler.resolve.allot import with_bridges
from reconciler.resolve.expand import DEFAULT_NETWORK
from reconciler.resolve.world import Resolved, World
from reconciler.rollouts.looking import read_rollouts, write_rollouts
from reconciler.rollouts.passing import Rolled, after_actions, roll, urged_by_rollouts
from reconciler.rollouts.state import Rollout
from reconciler.rollouts.substitution import as_kept, begun, digest_of, digest_of_kept, rolling_services, substituted
from reconciler.sources.contents import read_contents, read_environments
from reconciler.sources.host import busy_ports, can_limit_swap, read_block_devices
from reconciler.sources.unsealing import Unsealing
from reconciler.store.database import Database
from reconciler.store.events import Event, record_events
from reconciler.store.inventory import Entry, forget, hand_over, read_inventory, record_set
from reconciler.store.leases import read_leases, record_leases
from reconciler.store.records import Record, read_records
from reconciler.store.revisions import BY_SOURCE, record_revision
from reconciler.store.sealed import Sealed, is_sealed_otherwise, keep_sealed
from reconciler.store.status import forget_unready
from reconciler.wanted.bases import bases_of
from reconciler.wanted.manifests import manifest_of
from runtime.images.progress import Progress, ignore
from runtime.network.host import read_host_routes
from runtime.network.netlink import import_codecs
from runtime.network.records import Route
from runtime.volumes.secrets import content_digest
from schemas.check import check
from schemas.envelope import Declared
from schemas.errors import Invalid, RetryLater, TrimtabError
from schemas.names import Key, Kind

Report = Callable[[Progress], None]
NETWORKED = (Kind.CONTAINER, Kind.NETWORK, Kind.SERVICE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller wants of a pass. `source`: where the manifests came from, `cause`: why now, for the reader.
    `again`: the manifests are the store's own, accepted before (`reconciler.as_applied`); `sealed`: what stands
    encrypted in them."""

    declared: Sequence[Declared]
    set: str
    source: str
    environment: Mapping[str, str]
    pruning: Pruning = NO_PRUNING
    commit: str = ""
    cause: str = "apply"
    again: bool = False
    sealed: Mapping[Key, Sealed] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and all that is needed to carry it out."""

    asked: Asked
    plan: Plan
    context: Context
    resolved: Resolved
    pruned: Pruned
    asked_for: Mapping[Key, Declared]
    """The set's objects as they are asked for, where a rollback puts others in their place."""
    rolled: Rolled


def prepare(engine: Engine, asked: Asked, progress: Report = ignore) -> Prepared:
    """Everything up to the plan. Changes nothing. Raises Invalid and Refused."""
    inventory = read_inventory(engine.database)
    own, others = _declared(engine, asked, inventory)
    states = rollouts_of({item.key: item for item in own}, inventory, read_rollouts(engine.database))
    while True:
        prepared = _prepared(engine, asked, (own, others), inventory, states, progress)
        if not prepared.rolled.renew:
            return prepared
        states = dict(prepared.rolled.states)


def rollouts_of(
    own: Mapping[Key, Declared], inventory: Mapping[Key, Entry], known: Mapping[Key, Rollout]
) -> dict[Key, Rollout]:
    """Of each Service that rolls, as it is known once the set's objects are asked for."""
    found = {}
    for service in rolling_services(own):
        kept = as_kept(service, own, inventory)
        before = known.get(service.key) or Rollout(asked=digest_of_kept(service.key, kept))
        found[service.key] = begun(before, digest_of(service, own), kept)
    return found


def _prepared(
    engine: Engine,
    asked: Asked,
    declared: tuple[list[Declared], dict[Key, Declared]],
    inventory: Mapping[Key, Entry],
    states: Mapping[Key, Rollout],
    progress: Report,
) -> Prepared:
    asked_for, others = {item.key: item for item in declared[0]}, declared[1]
    own = list(substituted(asked_for, states).values())
    records = read_records(engine.database)
    contents, environments = _read_files(engine, asked, own, inventory, records)
    digests = {key: content_digest(engine.layout, content) for key, content in contents.items()}
    surges = {key: state.surge for key, state in states.items()}
    world = replace(world_of(engine, own, others, records, digests, environments), surges=surges)
    resolved = resolve({item.key: item for item in own}, world)

    concerned = _concerned(records, resolved.desired, asked.set)
    observed = observe(engine, concerned)
    refuse_conflicts(resolved.desired, observed)
    pruned = prune(resolved.desired, records, inventory, asked.set, asked.pruning)
    made = plan(resolved.desired, observed, pruned.delete, urged_by_rollouts(engine, states))
    rolled = roll(engine, made, resolved.desired, observed, states, time.time())
    made = tell_of_data(engine.layout, rolled.plan, observed, asked.set)
    refuse_unfit(made, resolved.desired)
    refuse_unknown_accounts(engine.layout, made, resolved.desired, {**others, **resolved.declared})
    left = orphans(resolved.desired, records, inventory, asked.set, asked.pruning)
    told = _notes(engine, asked, made, resolved.desired, observed, kept_notes(pruned, records, asked.set))
    made = replace(made, notes=(*made.notes, *told), orphans=left)
    context = Context(
        engine=engine,
        set=asked.set,
        declared={**others, **resolved.declared},
        desired=resolved.desired,
        observed=observed,
        pools=resolved.pools,
        contents=contents,
        environments=environments,
        registries=read_registries(engine.layout),
        progress=progress,
        now=time.time(),
    )
    standing = {key: state for key, state in asked_for.items() if resolved.declared.get(key) is not state}
    rolled = replace(rolled, plan=made, states={**states, **rolled.states})
    return Prepared(asked, made, context, resolved, pruned, standing, rolled)


def _read_files(
    engine: Engine,
    asked: Asked,
    own: Sequence[Declared],
    inventory: Mapping[Key, Entry],
    records: Mapping[Key, Record],
) -> tuple[Mapping[Key, bytes], Mapping[Key, Mapping[str, str]]]:
    """Contents of Secrets and Configs, and variables of env files. Raises Invalid, Refused."""
    if not asked.again:
        return read_contents(own, asked.environment), read_environments(own, asked.environment)
    unsealing = Unsealing(engine.layout, engine.database, asked.set, asked.environment)
    contents = contents_again(engine.layout, own, inventory, asked.environment, unsealing, asked.sealed)
    return contents, environments_again(own, inventory, records, asked.environment, unsealing)


def _notes(
    engine: Engine,
    asked: Asked,
    made: Plan,
    desired: Mapping[Key, Desired],
    observed: Mapping[Key, Observed],
    kept: Iterable[Note],
) -> tuple[Note, ...]:
    """What the reader of the plan should know beside it. `kept`: of what is not pruned."""
    return (
        *notes_on_losses(engine.database, made),
        *notes_on_data(engine.layout, made, desired, observed, asked.set),
        *notes_on_host_paths(made, desired),
        *kept,
        *notes_on_registries(observed),
    )


def _declared(
    engine: Engine, asked: Asked, inventory: Mapping[Key, Entry]
) -> tuple[list[Declared], dict[Key, Declared]]:
    """What is asked for, and what stands beside it: of other sets, or made by hand. Raises Invalid."""
    others = declared_elsewhere(inventory, asked.set)
    own = own_objects(asked.declared, others, lambda key: exists_on_disk(engine.layout, key))
    problems = claimed(own, inventory, asked.set, by_source=asked.cause.startswith(BY_SOURCE))
    taken = {problem.object for problem in problems}
    beside = {key: item for key, item in others.items() if str(key) not in taken}
    problems += check(asked.declared, others.keys(), list(beside.values()))
    if problems:
        raise Invalid(problems)
    return own, others | local_images(engine.layout, own, {*inventory, *(item.key for item in own)})


def world_of(
    engine: Engine,
    own: Sequence[Declared],
    others: Mapping[Key, Declared],
    records: Mapping[Key, Record],
    digests: Mapping[Key, str],
    environments: Mapping[Key, Mapping[str, str]],
) -> World:
    """What the manifests are resolved in. `digests`: of the contents of Secrets and Configs; `environments`: variables.

    Routes of bridges whose networks are declared, or were made, are no obstacle: they follow from what was asked. What
    a bridge has that the store knows nothing of any more, its network keeps.
    """
    known = {*others, *(item.key for item in own), *records, DEFAULT_NETWORK}
    bridges = {engine.layout.link("b", key.name): key.name for key in known if key.kind is Kind.NETWORK}
    routes = read_host_routes()
    lost = {link: name for link, name in bridges.items() if Key(Kind.NETWORK, name) not in records}
    bridged = {f"{lost[r.interface]}/{r.subnet.version}": r.subnet for r in routes if _is_of_bridge(r, lost)}
    leases = read_leases(engine.database)
    return World(
        seed=engine.layout.engine_id,
        others=others,
        leases=with_bridges(leases, bridged),
        routes=tuple(route.subnet for route in routes if route.interface not in bridges),
        living=_lease_owners(records) | {owner.partition("/")[0] for owner in bridged},
        contents=digests,
        environments=environments,
        devices=read_block_devices(own),
        swap_accounting=can_limit_swap(own),
        busy_ports=busy_ports(own),
        bases=bases_of(own),
    )


def _is_of_bridge(route: Route, bridges: Mapping[str, str]) -> bool:
    """A network's own subnet: not a single address of it, and none that every link has."""
    whole = route.subnet.prefixlen < route.subnet.max_prefixlen
    return route.interface in bridges and whole and not (route.subnet.is_link_local or route.subnet.is_multicast)


def _lease_owners(records: Mapping[Key, Record]) -> frozenset[str]:
    """Names under which living objects hold leases."""
    names = {key.name for key in records}
    return frozenset(names | {f"service:{name}" for name in names})


def _concerned(records: Mapping[Key, Record], desired: Mapping[Key, Desired], set_name: str) -> list[Record]:
    return [record for key, record in records.items() if key in desired or record.set == set_name]


def carry_out(prepared: Prepared, watch: Watch, parallel: int, stop: Stop = never) -> list[Outcome]:
    """Inventory and leases first, then the actions. An outcome for each action."""
    from reconciler.perform.dispatch import perform

    context, asked = replace(prepared.context, stop=stop), prepared.asked
    database = context.engine.database
    as_asked = {**prepared.resolved.declared, **prepared.asked_for}
    entries = [_entry(item, asked) for item in as_asked.values()]
    with database.begin():
        record_set(database, asked.set, asked.source, entries, context.now)
        record_leases(database, prepared.resolved.leases)
        hand_over(database, prepared.pruned.handed)
        forget(database, *prepared.pruned.forgotten)
        write_rollouts(database, _kept_rollouts(prepared), context.now)
    if any(action.key.kind in NETWORKED for action in prepared.plan.effective):
        import_codecs()
    taken = notes_on_data(context.engine.layout, prepared.plan, context.desired, context.observed, asked.set)
    warnings = {note.key: note.text for note in taken}
    outcomes = apply(prepared.plan, lambda action: perform(context, action), recorded(database, watch), parallel, stop)
    # a full disk: what is done is done, whether it can be noted or not
    with suppress(RetryLater):
        write_rollouts(database, after_actions(prepared.rolled.states, outcomes))
        record_events(database, [*_collect(context, outcomes), *_warnings(outcomes, warnings)])
        forget_unready(database, [str(outcome.action.key) for outcome in outcomes if outcome.ok])
        _record_revision(context, asked, _summary(outcomes))
    return outcomes


def _kept_rollouts(prepared: Prepared) -> dict[Key, Rollout | None]:
    """As they are known before anything is done; nothing of Services that go, or do not roll any more."""
    known = read_rollouts(prepared.context.engine.database)
    gone = [key for key in known if key in prepared.pruned.delete or key in prepared.resolved.declared]
    return {**dict.fromkeys(gone), **prepared.rolled.states}


def _warnings(outcomes: Sequence[Outcome], texts: Mapping[Key, str]) -> Iterator[Event]:
    """Of data that another set has had, once a volume has it, or has let it go."""
    for key in (outcome.action.key for outcome in outcomes if outcome.ok):
        if key in texts:
            yield Event(time.time(), str(key), "Warning", "DataOfOthers", texts[key])


def _record_revision(context: Context, asked: Asked, summary: str) -> None:
    """All that the set owns now: also what this apply did not name and did not prune."""
    database = context.engine.database
    owned = [entry for _, entry in sorted(read_inventory(database).items()) if entry.set == asked.set]
    anew = is_sealed_otherwise(database, asked.set, asked.sealed)
    with database.begin():
        record_revision(database, asked.set, asked.commit, owned, summary, asked.cause, context.now, anew=anew)
        keep_sealed(database, asked.set, asked.sealed)


def recorded(database: Database, watch: Watch) -> Watch:
    """`watch`, after what happened is recorded: what an apply did that was killed is known too."""

    def record(action: Action, outcome: Outcome | None) -> None:
        if outcome is not None and (events := list(_events(outcome))):
            with suppress(RetryLater):
                if outcome.ok and loses_data(database, action):
                    events.insert(0, Event(time.time(), str(action.key), "Warning", "DataLost", DATA_LOST))
                record_events(database, events)
        watch(action, outcome)

    return record


def _collect(context: Context, outcomes: Sequence[Outcome]) -> Iterator[Event]:
    """Images that changed or went leave layers behind. That they cannot be freed now is no failure of the apply."""
    actions = [outcome.action for outcome in outcomes if outcome.ok and outcome.action.key.kind is Kind.IMAGE]
    if not any(action.verb in (Verb.UPDATE, Verb.DELETE) for action in actions):
        return
    from reconciler.perform.images import collect_unused

    try:
        collect_unused(context.engine.layout)
    except TrimtabError as error:
        yield Event(time.time(), "", "Warning", "Collect", str(error))


def _entry(item: Declared, asked: Asked) -> Entry:
    return Entry(item.key, asked.set, item.origin.file, item.origin.line, asked.commit, manifest_of(item))


def _events(outcome: Outcome) -> Iterator[Event]:
    """Of a replacement its end only, unless it came to none after the old one was deleted."""
    action = outcome.action
    if outcome.gone:
        yield Event(time.time(), str(action.key), "Normal", "Deleted", f"{NOT_MADE_ANEW} ({action.reason})")
    if (
        outcome.result is Result.UNCHANGED
        or outcome.never_began
        or (action.replaces and outcome.result is Result.DELETED)
    ):
        return
    if outcome.ok:
        yield Event(time.time(), str(action.key), "Normal", outcome.result.value.capitalize(), action.reason)
        return
    why = f"{action.describe()}: {_placed(outcome.error) if outcome.error is not None else waited_for(outcome)}"
    yield Event(time.time(), str(action.key), "Warning", outcome.result.value.capitalize(), why)


def _placed(error: Exception) -> str:
    """The error, with the place of the field that it is about behind its first line."""
    place = error.place if isinstance(error, TrimtabError) else None
    first, end, rest = str(error).partition("\n")
    return f"{first} ({place}){end}{rest}" if place is not None else str(error)


def _summary(outcomes: Sequence[Outcome]) -> str:
    counts = {result.value: count for result, count in counted(outcomes).items()}
    return ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
