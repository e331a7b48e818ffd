"""Make a container as desired, change it in place, restart it, or take it away.

The order of a start: bundle, init in its namespaces, network plugged, names and ports, then the image's process. So
nothing runs before its network is there, and nothing is reachable before its process exists.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from reconciler.actions import Action, Effect, Verb
from reconciler.desired import Desired, Observed
from reconciler.kinds.container import LIVING
from reconciler.perform.bundles import declared_spec, make_bundle
from reconciler.perform.context import Context
from reconciler.perform.hooks import incarnation
from reconciler.perform.stopping import stop
from reconciler.perform.waiting import wait_for_dependencies
from reconciler.wanted.networks import endpoint_wanted, publications
from runtime.kernel import cgroup
from runtime.network.dns.records import ensure_records, remove_records
from runtime.network.endpoint import ensure_endpoint, remove_endpoint
from runtime.network.firewall.publications import publish, unpublish
from runtime.process import client
from runtime.process.failure import ProcessFailed
from runtime.process.records import Phase, ProcessRecord
from runtime.volumes.secrets import remove_projection
from schemas.errors import Refused
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    try:
        _ensure(context, want, have, action)
    except ProcessFailed as error:
        raise Refused(str(error), object=str(want.key), step=error.step, path=error.path, errno=error.errno) from error


def _ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    layout, name = context.engine.layout, want.key.name
    process = client.read_process(layout, name)
    living = process is not None and process.phase.value in LIVING
    if want.facts["process"] == "stopped":
        if living:
            stop(context, name, have)
        if not (layout.container(name) / "config.json").exists():
            make_bundle(context, want)
        return
    if living and action.verb is Verb.UPDATE and action.effect is not Effect.RESTART:
        assert process is not None
        _change(context, want, have, process, action)
    else:
        _start(context, want, have)
    _settle(context, want)


def _start(context: Context, want: Desired, have: Observed | None) -> None:
    layout, name = context.engine.layout, want.key.name
    stop(context, name, have)
    client.delete(layout, name, force=True)
    (layout.container(name) / "exit.json").unlink(missing_ok=True)
    wait_for_dependencies(context, want)
    make_bundle(context, want)
    client.create(layout, name)
    process = client.read_process(layout, name)
    assert process is not None
    _plug(context, want, process)
    _name(context, want, have)
    _publish(context, want)
    if want.facts["process"] != "created":
        client.start(layout, name)


def _change(context: Context, want: Desired, have: Observed | None, process: ProcessRecord, action: Action) -> None:
    """In place: only what disagrees is touched."""
    layout, name = context.engine.layout, want.key.name
    touched = {str(change.path[0]) for change in action.changes}
    asked = have.asked if have is not None else {}
    if touched & {"limits", "other_limits"}:
        cgroup.ensure_limits(layout.cgroup(name), want.facts["limits"])
    if touched & {"endpoints", "spec"}:
        for network, facts in asked.get("endpoints", {}).items():
            if network not in want.facts["endpoints"]:
                remove_endpoint(facts["interface"], process.pid, process.start_time)
    if "endpoints" in touched:
        _plug(context, want, process)
    if "names" in touched or asked.get("names") != want.facts["names"]:
        _name(context, want, have)
    if "published" in touched or asked.get("published") != want.facts["published"]:
        _publish(context, want)


def _settle(context: Context, want: Desired) -> None:
    """From created, running, paused to the state the manifest names."""
    layout, name = context.engine.layout, want.key.name
    process = client.read_process(layout, name)
    if process is None:
        return
    wanted = want.facts["process"]
    if process.phase is Phase.CREATED and wanted != "created":
        client.start(layout, name)
    elif process.phase is Phase.PAUSED and wanted == "running":
        client.resume(layout, name)
    if wanted == "paused" and process.phase is not Phase.PAUSED:
        client.pause(layout, name)


def _plug(context: Context, want: Desired, process: ProcessRecord) -> None:
    for network, facts in want.facts["endpoints"].items():
        wanted = endpoint_wanted(context.network(network), want.key.name, facts)
        ensure_endpoint(context.engine.layout, wanted, process.pid, process.start_time)


def _name(context: Context, want: Desired, have: Observed | None) -> None:
    layout, name = context.engine.layout, want.key.name
    for network in have.asked.get("names", {}) if have is not None else ():
        if network not in want.facts["names"]:
            remove_records(layout, network, name)
    resolvers = declared_spec(context, want).dns
    for network, facts in want.facts["names"].items():
        ensure_records(layout, network, name, _own_first(name, facts), facts["addresses"], resolvers)


def _own_first(name: str, facts: Mapping[str, Any]) -> list[str]:
    """Reverse look-ups answer with the first name."""
    return [name, *(other for other in facts["names"] if other != name)]


def _publish(context: Context, want: Desired) -> None:
    layout, name = context.engine.layout, want.key.name
    wanted = list(publications(name, want.facts["published"], incarnation(layout, name)))
    unpublish(layout, name, keep=wanted)
    if wanted:
        publish(layout, wanted)


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Stop it, then take away what is its alone: names, ports, cgroup, writable layer, logs. Never a volume."""
    layout, name = context.engine.layout, key.name
    stop(context, name, have)
    for network in have.asked.get("names", {}) if have is not None else ():
        remove_records(layout, network, name)
    unpublish(layout, name)
    client.delete(layout, name, force=True)
    remove_projection(layout, name)
    if layout.container(name).exists():
        shutil.rmtree(layout.container(name))
