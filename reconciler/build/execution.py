"""One RUN, from what its mounts show to the layer of what it changed. Called by the solver, which it asks for trees."""

from __future__ import annotations

from contextlib import ExitStack

from reconciler.build import run, run_mounts
from reconciler.build.cache import Outcome
from reconciler.build.fetch import Fetched
from reconciler.build.run import LogLine, Room
from reconciler.build.solve import Solver, Source
from reconciler.build.steps import BoundMount, Execute, FromRemote, FromStep, Step
from reconciler.build.trees import find_file, tree_directories
from reconciler.build.wanted import Told
from reconciler.bundle.subtree import layers_below
from runtime.images.commit import write_changes
from runtime.process.failure import ProcessFailed
from schemas.dockerfile.evaluate import proxy_environment
from schemas.errors import Refused


def execute(
    solver: Solver,
    step: Step,
    work: Execute,
    sources: list[Source],
    held: ExitStack,
) -> Outcome:
    """Its layer. Raises Refused for a program that failed, RetryLater."""
    assert step.parent is not None
    if work.security == "insecure" and not solver.wanted.allow_insecure:
        raise Refused("--security=insecure is not allowed", step="run", hint="build with --allow security.insecure")
    layers = solver.directories(step.parent)
    room = held.enter_context(solver.room())
    environment = dict(proxy_environment(solver.wanted.inputs()))
    entries = _entries(solver, step, work, sources, room, environment, held)
    network = solver.wanted.network or "default" if work.network == "default" else work.network
    hosts, shm = solver.wanted.extra_hosts, solver.wanted.shm_size
    wanted = run.RunWanted(work, layers, entries, environment, network, hosts, shm)
    try:
        ended = run.run(solver.making.layout, room, wanted, lambda line: _heard(solver, step, line))
    except ProcessFailed as error:
        raise Refused(error.message, step=error.step or "run", path=error.path, errno=error.errno) from error
    run.require_success(ended, work)
    now = solver.now()
    changes = run.changes(room, wanted)
    if not changes:
        return Outcome("", now)
    upper = room.bundle / "upper"
    layer = solver.layer(lambda sink: write_changes(upper, changes, sink, solver.wanted.epoch))
    return Outcome(layer, now)


def _heard(solver: Solver, step: Step, line: LogLine) -> None:
    solver.tell(Told("output", step.number, line.text, stream=line.stream))


def _entries(
    solver: Solver,
    step: Step,
    work: Execute,
    sources: list[Source],
    room: Room,
    environment: dict[str, str],
    held: ExitStack,
) -> tuple[run_mounts.Entry, ...]:
    found: list[run_mounts.Entry | None] = []
    for bound in work.mounts:
        shown = None if bound.taken is None else _shown(solver, step, bound, sources[bound.taken])
        match bound.mount.type:
            case "bind":
                assert shown is not None
                found.append(run_mounts.bind(bound, shown, room))
            case "cache":
                found.append(run_mounts.cache(solver.making.layout, bound, held, shown))
            case "tmpfs":
                found.append(run_mounts.tmpfs(bound))
            case "secret":
                found.append(run_mounts.secret(bound, solver.wanted.secrets, room, environment))
            case _:
                found.append(run_mounts.agent(bound, solver.wanted.agents, room, held))
                environment.setdefault("SSH_AUTH_SOCK", bound.target)
    return tuple(sorted((each for each in found if each), key=lambda each: str(each["destination"]).count("/")))


def _shown(solver: Solver, step: Step, bound: BoundMount, source: Source) -> run_mounts.Shown:
    assert bound.taken is not None
    taken = step.inputs[bound.taken]
    if isinstance(source, Fetched) or isinstance(taken, FromRemote):
        raise TypeError("a mount shows nothing that is fetched")
    (selected,) = source[1]
    if isinstance(taken, FromStep) or taken.context in solver.images:
        directories = (
            solver.directories(taken.step)
            if isinstance(taken, FromStep)
            else tree_directories(solver.making, solver.images[taken.context].layers)
        )
        if selected.is_directory:
            return run_mounts.Shown(layers_below(directories, "" if selected.top == "." else selected.top))
        return run_mounts.Shown(file=find_file(directories, selected.top))
    directories = tree_directories(solver.making, (solver.layer_of(*source),))
    if selected.is_directory:
        return run_mounts.Shown(directories)
    return run_mounts.Shown(file=directories[0] / selected.members[0][0])
