"""What variables are worth: ARG before the first FROM, ARG and ENV in a stage, the predefined ones; and instructions
with their variables replaced.

A stage is walked from the environment of its base; every step says what the instruction became, which variables hold
after it, and which were used without being set. Called by the stages, the checks and the builder. Knows no image: the
environment of a base is handed in.

Source: Dockerfile reference, "ARG" (scope, predefined, automatic platform ARGs), "ENV", "Environment replacement".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas.dockerfile.expand_instruction import expand_instruction, expand_mounts
from schemas.dockerfile.faults import Fault
from schemas.dockerfile.instructions import Arg, Env, Instruction, Run
from schemas.dockerfile.parse import Dockerfile
from schemas.dockerfile.platform import LINUX, Platform
from schemas.dockerfile.run_mount import Mount
from schemas.dockerfile.shell_words import Unexpandable, expand
from schemas.errors import Invalid, Problem

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""Given to RUN if given to the build, in either case of letters, without an ARG; never part of a cache key."""
NEVER_UNUSED = ("SOURCE_DATE_EPOCH", "BUILDKIT_")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a build is given beside its Dockerfile: values for ARGs, the stage aimed at, the platforms."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    target_platform: Platform = LINUX
    build_platform: Platform = LINUX


@dataclass(frozen=True, slots=True)
class Scope:
    """What holds at one point of a stage.

    `environment` goes into the image; `variables` adds the ARGs to it; `arguments` are the ARGs that have a value, in
    the order of their instructions; `declared` are the names of all.
    """

    environment: Mapping[str, str]
    variables: Mapping[str, str]
    arguments: Mapping[str, str] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction with its variables replaced, what holds before it and after it.

    `unset` was used without being set; `mounts` are RUN's.
    """

    instruction: Instruction
    before: Scope
    after: Scope
    unset: frozenset[str] = frozenset()
    mounts: tuple[Mount, ...] = ()


def base_scope(environment: Mapping[str, str], parent: Scope | None = None) -> Scope:
    """What holds at the start of a stage: the environment of its image, and all that held at its parent's end."""
    if parent is not None:
        return replace(parent, variables={**parent.variables, **parent.environment})
    with_path = {"PATH": DEFAULT_PATH, **environment}
    return Scope(with_path, with_path)


def predefined(inputs: Inputs, target: str) -> dict[str, str]:
    """The automatic ARGs: BUILDPLATFORM and its parts, TARGETPLATFORM and its parts, TARGETSTAGE."""
    build, aim = inputs.build_platform, inputs.target_platform
    values = {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": "",
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(aim),
        "TARGETOS": aim.os,
        "TARGETOSVERSION": "",
        "TARGETARCH": aim.architecture,
        "TARGETVARIANT": aim.variant,
        "TARGETSTAGE": target or "default",
    }
    return {name: inputs.arguments.get(name, value) for name, value in values.items()}


def global_variables(dockerfile: Dockerfile, inputs: Inputs) -> dict[str, str]:
    """The automatic ARGs and those before the first FROM. Raises Invalid."""
    values = predefined(inputs, inputs.target or dockerfile.stages[-1].start.stage)
    problems: list[Problem] = []
    for instruction in dockerfile.arguments:
        for argument in instruction.arguments:
            try:
                if argument.name in inputs.arguments:
                    values[argument.name] = inputs.arguments[argument.name]
                elif argument.default is not None:
                    values[argument.name] = expand(argument.default, values, dockerfile.escape).text
            except Unexpandable as error:
                problems.append(dockerfile.problem(instruction, str(error)))
    if problems:
        raise Invalid(problems)
    return values


def proxy_environment(inputs: Inputs) -> dict[str, str]:
    """The proxies given to the build, as RUN gets them: in capitals and in small letters."""
    found: dict[str, str] = {}
    for name, value in sorted(inputs.arguments.items()):
        if name.upper() in PROXIES:
            found |= {name.upper(): value, name.lower(): value}
    return found


def unused_arguments(dockerfile: Dockerfile, inputs: Inputs) -> tuple[str, ...]:
    """The values given to the build that no ARG takes; sorted."""
    instructions = [*dockerfile.arguments, *(each for stage in dockerfile.stages for each in stage.instructions)]
    taken = {argument.name for each in instructions if isinstance(each, Arg) for argument in each.arguments}
    taken |= predefined(inputs, "").keys()
    return tuple(
        name
        for name in sorted(inputs.arguments)
        if name not in taken and name.upper() not in PROXIES and not name.startswith(NEVER_UNUSED)
    )


def evaluate(
    dockerfile: Dockerfile,
    instructions: Sequence[Instruction],
    scope: Scope,
    inputs: Inputs,
    globals_: Mapping[str, str],
) -> tuple[Step, ...]:
    """Walk a stage's instructions from `scope` on. Raises Invalid with every problem found."""
    steps: list[Step] = []
    problems: list[Problem] = []
    for instruction in instructions:
        try:
            step = _step(instruction, scope, inputs, globals_, dockerfile.escape)
        except Unexpandable as error:
            problems.append(dockerfile.problem(instruction, str(error)))
        except Fault as fault:
            problems.append(dockerfile.problem(instruction, fault.message, fault.remedy))
        else:
            steps.append(step)
            scope = step.after
    if problems:
        raise Invalid(problems)
    return tuple(steps)


def _step(instruction: Instruction, scope: Scope, inputs: Inputs, globals_: Mapping[str, str], escape: str) -> Step:
    if isinstance(instruction, Arg):
        return _declare(instruction, scope, inputs, globals_, escape)
    expanded, unset = expand_instruction(instruction, scope.variables, escape)
    if isinstance(expanded, Env):
        pairs = {pair.name: pair.value for pair in expanded.pairs}
        after = replace(scope, environment={**scope.environment, **pairs}, variables={**scope.variables, **pairs})
        return Step(expanded, scope, after, _really(unset, scope))
    if isinstance(expanded, Run):
        mounts, more = expand_mounts(expanded, scope.variables, escape)
        return Step(expanded, scope, scope, _really(unset | more, scope), mounts)
    return Step(expanded, scope, scope, _really(unset, scope))


def _really(unset: Iterable[str], scope: Scope) -> frozenset[str]:
    """Without the ARGs that have no value: they are declared, and empty on purpose."""
    return frozenset(unset) - scope.declared


def _declare(instruction: Arg, scope: Scope, inputs: Inputs, globals_: Mapping[str, str], escape: str) -> Step:
    """ARG: the value given to the build, else the default, else that of the ARG before the first FROM."""
    before, unset = scope, frozenset[str]()
    for argument in instruction.arguments:
        name = argument.name
        value = inputs.arguments.get(name)
        if value is None and argument.default is not None:
            expansion = expand(argument.default, scope.variables, escape)
            unset |= _really(expansion.unset, scope)
            value = expansion.text
        elif value is None:
            value = globals_.get(name)
        scope = replace(scope, declared=scope.declared | {name})
        if value is not None:
            scope = replace(
                scope,
                variables={**scope.variables, name: value},
                arguments={**{key: each for key, each in scope.arguments.items() if key != name}, name: value},
            )
    return Step(instruction, before, scope, unset)
