"""The checks of one stage: its instructions, evaluated, one after the other.

Pure; called by `checks`.

Source: Dockerfile reference, "Build checks".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from posixpath import normpath

from schemas.dockerfile.evaluate import Scope, Step
from schemas.dockerfile.ignore import Ignore
from schemas.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Shell,
    Workdir,
)
from schemas.dockerfile.ports import read_port
from schemas.dockerfile.remote import remote_of
from schemas.dockerfile.rules import Rule
from schemas.dockerfile.stages import ResolvedStage
from schemas.nearest import nearest

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_EVERYTHING = ("*", "**", "**/*")

Found = Iterator[tuple[Rule, Instruction, str]]


@dataclass(slots=True)
class StageFacts:
    """What a stage passes on to those built from it."""

    scope: Scope
    is_known: bool
    """Whether the environment of its base is known, so that a variable not set is set by nobody."""
    has_workdir: bool = False
    has_shell: bool = False


def check_stage(stage: ResolvedStage, steps: Sequence[Step], facts: StageFacts, ignore: Ignore | None) -> Found:
    """Every finding in the stage. Tells `facts` what it has seen."""
    last: dict[str, Instruction] = {}
    for step in steps:
        instruction = step.instruction
        if facts.is_known:
            yield from _undefined(step)
        yield from _written(instruction)
        if isinstance(instruction, Copy | Add) and ignore is not None:
            yield from _ignored(instruction, ignore)
        if isinstance(instruction, Workdir):
            if not facts.has_workdir and not instruction.path.startswith("/"):
                message = f"{instruction.path} is relative, and the base image's own directory may change"
                yield Rule.WORKDIR_RELATIVE_PATH, instruction, message
            facts.has_workdir = True
        if isinstance(instruction, Shell):
            facts.has_shell = True
        if isinstance(instruction, Cmd | Entrypoint) and instruction.command.is_shell and not facts.has_shell:
            message = f'a shell runs it, and gets its signals; write {instruction.name} ["PROGRAM", "ARGUMENT"]'
            yield Rule.JSON_ARGS_RECOMMENDED, instruction, message
        if isinstance(instruction, Cmd | Entrypoint | Healthcheck):
            if instruction.name in last:
                message = f"another {instruction.name} follows in this stage, and only the last counts"
                yield Rule.MULTIPLE_INSTRUCTIONS_DISALLOWED, last[instruction.name], message
            last[instruction.name] = instruction


def _undefined(step: Step) -> Found:
    for name in sorted(step.unset):
        found = nearest(name, step.before.variables)
        hint = f"; did you mean ${found}?" if found else ""
        yield Rule.UNDEFINED_VAR, step.instruction, f"nothing sets ${name}{hint}"


def _written(instruction: Instruction) -> Found:
    """What is wrong with the instruction by itself."""
    if isinstance(instruction, Maintainer):
        message = "MAINTAINER is deprecated; write LABEL org.opencontainers.image.authors=…"
        yield Rule.MAINTAINER_DEPRECATED, instruction, message
    if isinstance(instruction, Env | Label) and any(pair.legacy for pair in instruction.pairs):
        pair = instruction.pairs[0]
        message = f'write {instruction.name} {pair.name}="…" with =, not with a space'
        yield Rule.LEGACY_KEY_VALUE_FORMAT, instruction, message
    names: list[str] = []
    if isinstance(instruction, Env):
        names = [pair.name for pair in instruction.pairs]
    elif isinstance(instruction, Arg):
        names = [argument.name for argument in instruction.arguments]
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            message = f"the image keeps {name} for all to read; use RUN --mount=type=secret"
            yield Rule.SECRETS_USED_IN_ARG_OR_ENV, instruction, message
    if isinstance(instruction, Expose):
        yield from _ports(instruction)


def _ports(instruction: Expose) -> Found:
    for port in instruction.ports:
        read = read_port(port)
        if read.protocol != read.protocol.lower():
            yield Rule.EXPOSE_PROTO_CASING, instruction, f"the protocol of {port} is not in lower case"
        if read.names_host:
            message = f"{port} names an address or a port of the host, which EXPOSE cannot publish"
            yield Rule.EXPOSE_INVALID_FORMAT, instruction, message


def _ignored(instruction: Copy | Add, ignore: Ignore) -> Found:
    """Sources that the ignore file leaves out. With exceptions in it nothing can be said for certain."""
    if ignore.has_exceptions or (isinstance(instruction, Copy) and instruction.from_):
        return
    everything = any(pattern.text in _EVERYTHING for pattern in ignore.patterns)
    for source in instruction.sources:
        path = normpath(source).lstrip("/")
        is_left_out = everything if path in ("", ".") else ignore.matches(path)
        if is_left_out and remote_of(source) is None:
            yield Rule.COPY_IGNORED_FILE, instruction, f"{source} is left out by .dockerignore"
