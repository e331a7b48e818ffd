"""Make a container as desired, change it in place, restart it, or take it away.

The order of a start: bundle, init in its namespaces, network plugged, names and ports, then the image's process. So
nothing runs before its network is there, and nothing is reachable before its process exists.
"""

from __future__ import annotations

import shutil

from reconciler.actions import Action, Effect, Verb
from reconciler.bundle.config import rotation
from reconciler.desired import Desired, Observed
from reconciler.kinds.container import LIVING
from reconciler.observe.containers import init_word
from reconciler.perform import plugging, shared_memory
from reconciler.perform.bundles import declared_spec, look_up_user, make_bundle, read_config
from reconciler.perform.context import Context
from reconciler.perform.etc import write_etc
from reconciler.perform.leaving import leave
from reconciler.perform.limits import ensure_limits, ensure_oom_score, told
from reconciler.perform.mount_sources import release_unnamed
from reconciler.perform.stopping import stop
from reconciler.perform.waiting import wait_for_dependencies
from runtime.process import client
from runtime.process.records import Phase, ProcessRecord
from runtime.volumes.secrets import remove_projection
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """Created, started, changed in place or restarted, as the action says. Raises Refused, RetryLater."""
    with told(want):
        _ensure(context, want, have, action)


def _ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    layout, name = context.engine.layout, want.key.name
    process = client.read_process(layout, name)
    living = process is not None and process.phase.value in LIVING
    if want.facts["process"] == "stopped":
        _stay_stopped(context, want, have, living)
    elif process is not None and living and not _begins_anew(want, have, process, action):
        _change(context, want, have, process, action)
        _settle(context, want)
    elif living or _starts(action):
        _start(context, want, have)
        _settle(context, want)


def _stay_stopped(context: Context, want: Desired, have: Observed | None, living: bool) -> None:
    layout, name = context.engine.layout, want.key.name
    if living:
        stop(context, name, have)
        plugging.withdraw(layout, name, have)
        client.delete(layout, name)
    if not (layout.container(name) / "config.json").exists():
        make_bundle(context, want)


def _begins_anew(want: Desired, have: Observed | None, process: ProcessRecord, action: Action) -> bool:
    """Whether a living process cannot become what is wanted: `created` is before all others; and of another one than
    was observed, which an apply that was killed may have asked for, nothing is known."""
    if action.verb is not Verb.UPDATE or action.effect is Effect.RESTART:
        return True
    if have is None or have.facts.get("init") != init_word(process):
        return True
    return want.facts["process"] == "created" and process.phase is not Phase.CREATED


def _starts(action: Action) -> bool:
    """Whether an ended process is to run again: not for a change of labels of a job that is done."""
    if action.verb is not Verb.UPDATE or action.effect is Effect.RESTART:
        return True
    return any(change.path[0] == "process" or change.path == ("spec", "state") for change in action.changes)


def _start(context: Context, want: Desired, have: Observed | None) -> None:
    layout, name = context.engine.layout, want.key.name
    # what others are not ready for keeps running meanwhile
    wait_for_dependencies(context, want)
    leave(context, want.key, have)
    stop(context, name, have)
    client.delete(layout, name, force=True)
    (layout.container(name) / "exit.json").unlink(missing_ok=True)
    make_bundle(context, want)
    client.create(layout, name)
    process = client.read_process(layout, name)
    assert process is not None
    plugging.plug(context, want, process)
    plugging.name(context, want, have, process)
    plugging.expose(context, want, have)
    if want.facts["process"] != "created":
        client.start(layout, name)


def _change(context: Context, want: Desired, have: Observed | None, process: ProcessRecord, action: Action) -> None:
    """In place: only what disagrees is touched."""
    touched = {str(change.path[0]) for change in action.changes}
    fields = {change.path[1] for change in action.changes if change.path[0] == "spec" and len(change.path) > 1}
    asked = have.asked if have is not None else {}
    if touched & {"limits", "other_limits"} or asked.get("limits") != want.facts["limits"]:
        ensure_limits(context, want)
    if "oom_score_adj" in touched | fields:
        ensure_oom_score(context, want)
    if "logging" in fields:
        _rotate(context, want)
    if "endpoints" in touched or asked.get("endpoints") != want.facts["endpoints"]:
        plugging.unplug(process, want, have)
        plugging.plug(context, want, process)
        write_etc(context, want, declared_spec(context, want))
    if "other_endpoints" in touched:
        plugging.unplug_stray(context, want, process)
    # a network that was made anew has forgotten who is on it
    if touched & {"names", "endpoints", "resolver"} or asked.get("names") != want.facts["names"]:
        plugging.name(context, want, have, process)
    if asked.get("resolver") != want.facts.get("resolver"):
        write_etc(context, want, declared_spec(context, want))
    if "published" in touched or asked.get("published") != want.facts["published"]:
        plugging.expose(context, want, have)


def _rotate(context: Context, want: Desired) -> None:
    max_size, max_file = rotation(declared_spec(context, want))
    client.rotate(context.engine.layout, want.key.name, max_size, max_file)


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


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Stop it, then take away what is its alone: names, ports, cgroup, writable layer, logs. Never a volume's files."""
    layout, name = context.engine.layout, key.name
    if action.replaces:
        # a successor that could not be made ends nothing
        look_up_user(context, context.desired[key])
    leave(context, key, have)
    stop(context, name, have)
    plugging.withdraw(layout, name, have)
    client.delete(layout, name, force=True)
    remove_projection(layout, name)
    shared_memory.remove(layout, name)
    if not action.replaces:
        made = read_config(layout.container(name)) or {}
        release_unnamed(layout, name, (entry["destination"] for entry in made.get("mounts", ())))
    if layout.container(name).exists():
        shutil.rmtree(layout.container(name))
