"""How a container's health is asked for: a command run inside it, again and again.

`disable: true` and `test: [NONE]` become the same. Fields left out take the image's HEALTHCHECK, then Docker's
defaults; whoever runs the check fills them in.

Source: Compose Specification, services, healthcheck; image-spec, Healthcheck of Docker's image format.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import model_validator

from schemas import units
from schemas.field import Spec, part
from schemas.plain_types import DURATION, Flag, Seconds, read_text, whole
from schemas.spelling import Spelling

Retries = Annotated[int, whole(1, 2**31 - 1)]
LEAST_PERIOD = 0.001
"""Seconds, as Docker has it."""
KINDS_OF_TEST = ("CMD", "CMD-SHELL", "NONE")


def read_period(value: Any) -> float | None:
    """A duration of a millisecond or more; None for 0, which means the default."""
    seconds = units.read_seconds(value)
    if 0 < seconds < LEAST_PERIOD:
        raise ValueError(f"{value!r} is too short; write at least 1ms")
    return seconds or None


def read_test(value: Any) -> tuple[str, ...] | None:
    """Text is run by the image's shell; a list says by its first word how; empty is the image's. Raises ValueError."""
    if isinstance(value, str):
        return ("CMD-SHELL", read_text(value)) if value.strip() else None
    if not isinstance(value, list | tuple):
        raise ValueError("is neither text nor a list; write a command, or a list as in [CMD, curl, -f, localhost]")
    words = tuple(read_text(word) for word in value)
    if not words:
        return None
    if words[0] not in KINDS_OF_TEST:
        raise ValueError(f"starts with {words[0]!r}; start the list with CMD, CMD-SHELL or NONE")
    if words[0] == "NONE":
        return ("NONE",)
    if len(words) < 2 or (words[0] == "CMD-SHELL" and len(words) > 2):
        raise ValueError(f"{words[0]} takes {'one command text' if words[0] == 'CMD-SHELL' else 'a command'} after it")
    return words


TEST = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "prefixItems": [{"enum": list(KINDS_OF_TEST)}], "items": {"type": ["string", "number"]}},
    ]
}
Period = Annotated[float | None, Spelling(read_period, "duration", DURATION, final=True)]
Test = Annotated[tuple[str, ...] | None, Spelling(read_test, "command", TEST, final=True)]


class Healthcheck(Spec):
    """A command run inside the container at intervals: exit code 0 is healthy."""

    test: Annotated[
        Test,
        part(
            "The command: text for the shell, or a list that starts with CMD, CMD-SHELL or NONE.", default="the image's"
        ),
    ] = None
    interval: Annotated[Period, part("Time between two checks.", unit="seconds", default="30s")] = None
    timeout: Annotated[Period, part("A check that takes longer failed.", unit="seconds", default="30s")] = None
    retries: Annotated[Retries | None, part("Failures in a row that make it unhealthy.", default="3")] = None
    start_period: Annotated[
        Seconds | None, part("Time from the start in which failures do not count.", unit="seconds", default="0s")
    ] = None
    start_interval: Annotated[
        Period, part("Time between two checks in the start period.", unit="seconds", default="5s")
    ] = None
    disable: Annotated[Flag, part("No check, not even the image's.")] = False

    @model_validator(mode="before")
    @classmethod
    def _disabled(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        test = value.get("test")
        if value.get("disable") in (True, "true") or (
            isinstance(test, list | tuple) and test[:1] in (["NONE"], ("NONE",))
        ):
            return {**value, "test": ("NONE",), "disable": True}
        return value
