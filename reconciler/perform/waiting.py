"""Wait, before a container starts, until what `depends_on` asks of others holds (Compose Specification, depends_on)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from reconciler.apply import Stopped
from reconciler.desired import Desired
from reconciler.health import HealthStatus
from reconciler.perform.awaiting_health import await_health
from reconciler.perform.bundles import declared_spec
from reconciler.perform.context import Context
from reconciler.perform.placing import about
from runtime.process import client
from runtime.process.failure import NotRunning
from runtime.process.records import ExitRecord, Phase
from schemas.check import replica_keys
from schemas.errors import Refused, RetryLater, TrimtabError
from schemas.names import Key, Kind

LOOK_SECONDS = 0.2
"""How often to ask, while waiting, whether somebody wants it to end."""

COMPLETION_SECONDS = 600.0
"""How long a container that others wait for may run until it has completed."""


def wait_for_dependencies(context: Context, want: Desired) -> None:
    """Until each has started, is healthy, or has ended with 0: as `depends_on` asks.

    The loop does not wait: it comes back when something changed. Raises RetryLater, Refused, Stopped.
    """
    for name, dependency in declared_spec(context, want).depends_on.items():
        for container in containers_called(context, name):
            try:
                with about("spec", "depends_on", name):
                    WAITS[dependency.condition](context, want, container)
            except TrimtabError:
                if dependency.required:
                    raise


def containers_called(context: Context, name: str) -> list[str]:
    """The container of that name, or the replicas of the Service of that name."""
    service = context.declared.get(Key(Kind.SERVICE, name))
    return [key.name for key in replica_keys(service)] if service is not None else [name]


def _see_started(context: Context, want: Desired, name: str) -> None:
    """Within one plan its order sees to it; but the other may have failed, or be of an earlier pass or another set."""
    needed = context.desired.get(Key(Kind.CONTAINER, name))
    if needed is None or needed.facts["process"] not in ("running", "paused"):
        return
    process = client.read_process(context.engine.layout, name)
    if process is None or process.phase is Phase.CREATED:
        raise RetryLater(f"Container/{name} has not started", object=str(want.key), step="depends_on")


def _wait_healthy(context: Context, want: Desired, name: str) -> None:
    found = await_health(context, name)
    if found is None:
        raise Refused(
            f"Container/{name} has no health check",
            object=str(want.key),
            step="depends_on",
            hint=f"give {name} a healthcheck, or write condition: service_started",
        )
    if found is not HealthStatus.HEALTHY:
        raise RetryLater(
            f"Container/{name} is {found.value}",
            object=str(want.key),
            step="depends_on",
            hint=f"see `trimtab describe container/{name}`",
        )


def _wait_completed(context: Context, want: Desired, name: str) -> None:
    try:
        ended = _wait_patiently(context, name)
    except TimeoutError as error:
        raise RetryLater(f"Container/{name} has not completed", object=str(want.key), step="depends_on") from error
    except NotRunning as error:
        raise RetryLater(f"Container/{name} was not started", object=str(want.key), step="depends_on") from error
    if ended.exit_code != 0:
        raise RetryLater(
            f"Container/{name} ended with {ended.exit_code}, and must have completed with 0",
            object=str(want.key),
            step="depends_on",
            hint=f"see `trimtab logs {name}`",
        )


def _wait_patiently(context: Context, name: str) -> ExitRecord:
    """Raises TimeoutError, NotRunning; Stopped once somebody has interrupted, or the time of the apply has passed."""
    deadline = time.monotonic() + COMPLETION_SECONDS
    while True:
        try:
            return client.wait(context.engine.layout, name, LOOK_SECONDS if context.patient else 0.0)
        except TimeoutError:
            if not context.patient:
                raise
            if context.stop():
                raise Stopped from None
            if time.monotonic() > deadline:
                raise


WAITS: Mapping[str, Callable[[Context, Desired, str], None]] = {
    "service_started": _see_started,
    "service_healthy": _wait_healthy,
    "service_completed_successfully": _wait_completed,
}
