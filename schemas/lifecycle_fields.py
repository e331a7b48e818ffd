"""The fields of a container that say when it starts, stops, starts again, and how it is watched. All change in place.

Source: Compose Specification, services.
"""

import re
from typing import Annotated, Any

from schemas.faults import collect, refuse
from schemas.field import Spec, live, part
from schemas.kernel_words import Signal
from schemas.log_files import Logging
from schemas.plain_types import NAME, Flag, Seconds, is_name, list_of, one_of, read_name, read_text
from schemas.probe import Probing
from schemas.restart_pacing import RestartPacing
from schemas.spelling import Spelling, pattern

_RESTART = re.compile(r"no|always|unless-stopped|on-failure(:[0-9]{1,9})?")
CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")


def read_restart(value: Any) -> str:
    """`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:COUNT`. Raises ValueError."""
    text = "no" if value is False else read_text(value).strip()
    if not _RESTART.fullmatch(text):
        raise ValueError(f"{text!r} is no restart policy; write no, always, unless-stopped, on-failure or on-failure:3")
    return "on-failure" if text == "on-failure:0" else text


class Dependency(Spec):
    """What must hold of another container or service before this one starts."""

    condition: Annotated[
        Annotated[str, one_of(*CONDITIONS)], part("`service_started`, `service_healthy` or that it ended with 0.")
    ] = "service_started"
    restart: Annotated[Flag, part("Restart this one when the other was replaced or restarted.")] = False
    required: Annotated[Flag, part("The other must exist and start.")] = True


def read_depends_on(value: Any) -> Any:
    """A list of names as a map of default conditions. Raises ValueError."""
    if isinstance(value, list | tuple):
        return {name: {} for name in collect("depends_on", value, read_name)}
    if not isinstance(value, dict):
        raise ValueError("is neither a list nor a map; write - and a name on each line")
    refuse(
        "depends_on",
        [
            ((str(name),), f"{name!r} is no name; write a container's or service's")
            for name in value
            if not is_name(str(name))
        ],
    )
    return {name: {} if dependency is None else dependency for name, dependency in value.items()}


RestartPolicy = Annotated[
    str, Spelling(read_restart, "restart policy", {"anyOf": [pattern(_RESTART.pattern), {"const": False}]}, final=True)
]
DependsOn = Annotated[
    dict[str, Dependency],
    Spelling(read_depends_on, "map of dependency", list_of(NAME), values={"type": "null"}, keys=NAME),
]


class LifecycleFields(Spec):
    """The fields of a container that say when it starts, stops, starts again, and how it is watched."""

    restart: Annotated[RestartPolicy | None, live("When it is started again after it ended.", default="no")] = None
    restart_policy: Annotated[RestartPacing | None, live("How soon and how often it is started again.")] = None
    depends_on: Annotated[DependsOn, live("Containers and services that start before it and stop after it.")] = {}
    stop_signal: Annotated[Signal | None, live("Signal that asks it to stop.", default="the image's, or SIGTERM")] = (
        None
    )
    stop_grace_period: Annotated[
        Seconds | None, live("Time from that signal to SIGKILL.", unit="seconds", default="10s")
    ] = None
    healthcheck: Annotated[Probing | None, live("How its health is asked for.", default="the image's")] = None
    logging: Annotated[Logging | None, live("Where its output goes.", default="local")] = None
