"""RUN, CMD, ENTRYPOINT and HEALTHCHECK: the instructions that hold a command.

Called by `read_instruction`. Raises Fault.

Source: Dockerfile reference, "Shell and exec form", "RUN", "HEALTHCHECK".
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.dockerfile.faults import Fault
from schemas.dockerfile.flags import Given, read_flags, text_of, texts_of
from schemas.dockerfile.instructions import Cmd, Command, Entrypoint, Healthcheck, Instruction, Origin, Run
from schemas.dockerfile.run_mount import check_mount
from schemas.dockerfile.statement import Statement
from schemas.nearest import suggest
from schemas.units import read_seconds

NETWORKS = ("default", "none", "host")
SECURITIES = ("sandbox", "insecure")
SHORTEST = 0.001
"""Seconds: a shorter interval is refused, but for 0, which is the engine's default."""


def read_run(statement: Statement, origin: Origin) -> Instruction:
    given = read_flags("run", statement.flags)
    for mount in given.get("mount", ()):
        try:
            check_mount(mount.text)
        except Fault as fault:
            raise Fault(fault.message, fault.remedy, mount.offset) from None
    if not statement.words:
        raise Fault("RUN needs a command", "write RUN COMMAND", statement.word.offset)
    return Run(
        origin,
        _command(statement),
        statement.heredocs,
        texts_of(given, "mount"),
        _one_of(given, "network", NETWORKS),
        _one_of(given, "security", SECURITIES),
    )


def _one_of(given: Given, flag: str, known: Sequence[str]) -> str:
    """The flag's value; the first of `known` if it was not given."""
    value = text_of(given, flag, known[0])
    if value in known:
        return value
    remedy = suggest(value, known, otherwise=f"write {', '.join(known)}")
    raise Fault(f"--{flag}={value} cannot be", remedy, given[flag][0].offset)


def _command(statement: Statement) -> Command:
    return Command(tuple(word.text for word in statement.words), not statement.is_json)


def read_cmd(statement: Statement, origin: Origin) -> Instruction:
    return Cmd(origin, _command(statement))


def read_entrypoint(statement: Statement, origin: Origin) -> Instruction:
    return Entrypoint(origin, _command(statement))


def read_healthcheck(statement: Statement, origin: Origin) -> Instruction:
    given = read_flags("healthcheck", statement.flags)
    if not statement.words:
        raise Fault("HEALTHCHECK needs an argument", "write HEALTHCHECK CMD … or NONE", statement.word.offset)
    kind, command = statement.words[0], tuple(word.text for word in statement.words[1:])
    if kind.text.upper() == "NONE":
        if command or given:
            raise Fault("HEALTHCHECK NONE takes nothing more", "write HEALTHCHECK NONE", kind.offset)
        return Healthcheck(origin, ("NONE",))
    if kind.text.upper() != "CMD":
        raise Fault(f"{kind.text!r} is no kind of health check", "write HEALTHCHECK CMD … or NONE", kind.offset)
    if not command:
        raise Fault("HEALTHCHECK CMD needs a command", "write HEALTHCHECK CMD COMMAND", kind.offset)
    return Healthcheck(
        origin,
        ("CMD" if statement.is_json else "CMD-SHELL", *command),
        _seconds(given, "interval"),
        _seconds(given, "timeout"),
        _seconds(given, "start-period"),
        _seconds(given, "start-interval"),
        _retries(given),
    )


def _seconds(given: Given, flag: str) -> float | None:
    if not text_of(given, flag):
        return None
    text = text_of(given, flag)
    try:
        seconds = read_seconds(text)
    except ValueError as error:
        raise Fault(f"--{flag}: {error}", "", given[flag][0].offset) from None
    if text[-1:].isdigit() and seconds:
        raise Fault(f"--{flag}={text} has no unit", f"write --{flag}={text}s", given[flag][0].offset)
    if 0 < seconds < SHORTEST:
        raise Fault(f"--{flag}={text} is too short", "write at least 1ms", given[flag][0].offset)
    return seconds


def _retries(given: Given) -> int | None:
    text = text_of(given, "retries")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Fault(f"--retries={text} is no number", "write a number, as in --retries=3", given["retries"][0].offset)
    return int(text)
