"""What the instructions that run nothing and copy nothing say of an image's processes. Pure.

Called for each step of a build, and for the `--change`s of a commit. Variables are replaced already.

Source: Dockerfile reference, the section of each; OCI image-spec 1.1, config.md "Properties".
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace

from runtime.images.config import Healthcheck, ImageConfig
from schemas.dockerfile.evaluate import Inputs, base_scope, evaluate
from schemas.dockerfile.instructions import (
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Instruction,
    Label,
    OnBuild,
    Pair,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from schemas.dockerfile.instructions import Healthcheck as HealthcheckInstruction
from schemas.dockerfile.parse import parse
from schemas.dockerfile.ports import read_port
from schemas.errors import Invalid, Problem

DEFAULT_SHELL = ("/bin/sh", "-c")
CHANGES = (Cmd, Entrypoint, Env, Expose, HealthcheckInstruction, Label, OnBuild, StopSignal, User, Volume, Workdir)
"""What `docker commit --change` takes."""
NANOSECONDS = 1_000_000_000


def configured(config: ImageConfig, instruction: Instruction) -> ImageConfig:
    """The config after the instruction; the same for one that says nothing of it."""
    match instruction:
        case Env(pairs=pairs):
            return replace(config, env=with_variables(config.env, ((pair.name, pair.value) for pair in pairs)))
        case Label(pairs=pairs):
            return replace(config, labels={**config.labels, **_texts(pairs)})
        case Cmd(command=command):
            return replace(config, cmd=in_shell(command, config))
        case Entrypoint(command=command):
            # what the base had for a command were arguments of another program
            return replace(config, entrypoint=in_shell(command, config), cmd=())
        case Shell(words=words):
            return replace(config, shell=words)
        case Expose(ports=ports):
            found = {port for word in ports for port in read_port(word).ports}
            return replace(config, exposed_ports=tuple(sorted({*config.exposed_ports, *found})))
        case Volume(paths=paths):
            return replace(config, volumes=tuple(sorted({*config.volumes, *paths})))
        case Workdir(path=path):
            return replace(config, working_dir=working_directory(config, path))
        case User(user=user):
            return replace(config, user=user)
        case StopSignal(signal=signal):
            return replace(config, stop_signal=signal)
        case HealthcheckInstruction():
            return replace(config, healthcheck=_healthcheck(instruction))
        case OnBuild(expression=expression):
            return replace(config, on_build=(*config.on_build, expression))
        case _:
            return config


def with_variables(env: Sequence[str], pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """`NAME=value` each; one that is there already keeps its place."""
    found = dict(entry.split("=", 1) for entry in env if "=" in entry)
    found |= dict(pairs)
    return tuple(f"{name}={value}" for name, value in found.items())


def variables(config: ImageConfig) -> dict[str, str]:
    """The image's environment by name."""
    return dict(entry.split("=", 1) for entry in config.env if "=" in entry)


def working_directory(config: ImageConfig, path: str) -> str:
    """Relative paths count from the one before."""
    return posixpath.normpath(posixpath.join("/", config.working_dir, path))


def in_shell(command: Command, config: ImageConfig) -> tuple[str, ...]:
    """The words that are run: a text goes to the image's shell."""
    return (*(config.shell or DEFAULT_SHELL), *command.words) if command.is_shell else command.words


def changed(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """The config after instructions in words, as `--change` gives them. Raises Invalid."""
    if not changes:
        return config
    dockerfile = parse("\n".join(("FROM scratch", *changes)), "--change")
    instructions = dockerfile.stages[-1].instructions
    problems = [
        Problem(
            each.origin.place,
            each.name,
            "",
            "cannot be a change of a commit",
            f"use one of {', '.join(_change_names())}",
        )
        for each in (*instructions, *(stage.start for stage in dockerfile.stages[1:]))
        if not isinstance(each, CHANGES)
    ]
    if problems:
        raise Invalid(problems)
    for step in evaluate(dockerfile, instructions, base_scope(variables(config)), Inputs(), {}):
        config = configured(config, step.instruction)
    return config


def _change_names() -> list[str]:
    return [each.__name__.upper() for each in CHANGES]


def _texts(pairs: Iterable[Pair]) -> dict[str, str]:
    return {pair.name: pair.value for pair in pairs}


def _healthcheck(instruction: HealthcheckInstruction) -> Healthcheck:
    return Healthcheck(
        test=instruction.test,
        interval=_nanoseconds(instruction.interval),
        timeout=_nanoseconds(instruction.timeout),
        start_period=_nanoseconds(instruction.start_period),
        start_interval=_nanoseconds(instruction.start_interval),
        retries=instruction.retries or 0,
    )


def _nanoseconds(seconds: float | None) -> int:
    return round((seconds or 0) * NANOSECONDS)
