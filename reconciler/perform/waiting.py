"""Wait, before a container starts, until what `depends_on` asks of others holds (Compose Specification, depends_on)."""

from __future__ import annotations

import time

from reconciler.apply import Stopped
from reconciler.desired import Desired
from reconciler.perform.bundles import declared_spec
from reconciler.perform.context import Context
from runtime.process import client
from runtime.process.failure import NotRunning
from runtime.process.records import ExitRecord
from schemas.check import replica_keys
from schemas.errors import RetryLater, TrimtabError
from schemas.names import Key, Kind

LOOK_SECONDS = 0.2
"""How often to ask, while waiting, whether somebody wants it to end."""

COMPLETION_SECONDS = 600.0
"""How long a container that others wait for may run until it has completed."""


def wait_for_dependencies(context: Context, want: Desired) -> None:
    """That they are started is the plan's order; here is waited for those that must have ended with 0.

    Raises RetryLater, Stopped.
    """
    for name, dependency in declared_spec(context, want).depends_on.items():
        if dependency.condition != "service_completed_successfully":
            continue
        for container in containers_called(context, name):
            try:
                _wait_completed(context, want, container)
            except TrimtabError:
                if dependency.required:
                    raise


def containers_called(context: Context, name: str) -> list[str]:
    """The container of that name, or the replicas of the Service of that name."""
    service = context.declared.get(Key(Kind.SERVICE, name))
    return [key.name for key in replica_keys(service)] if service is not None else [name]


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
            return client.wait(context.engine.layout, name, LOOK_SECONDS)
        except TimeoutError:
            if context.stop():
                raise Stopped from None
            if time.monotonic() > deadline:
                raise
