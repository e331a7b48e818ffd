"""Which stage needs what: another stage, an image, a named context; and what a target does not need at all.

Stages only look back, so their order in the file is an order to build them in. Called by the builder and the checks.
Asks no registry: an image is a name here. Triggers of base images (ONBUILD) are handed in by whoever read the images.

Source: Dockerfile reference, "FROM", "COPY --from", "RUN --mount", "ONBUILD"; Compose Specification, build,
"additional_contexts".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from schemas.dockerfile.evaluate import Inputs, global_variables
from schemas.dockerfile.instructions import Copy, From, Instruction, OnBuild, Run, Stage
from schemas.dockerfile.parse import Dockerfile, parse_trigger
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.run_mount import from_of
from schemas.dockerfile.shell_words import Expansion, Unexpandable, expand
from schemas.errors import Invalid, Place, Problem
from schemas.nearest import nearest, suggest
from schemas.reference import Reference

EMPTY_IMAGE = "scratch"
_NEVER_CONTEXTS = ("scratch", "context")


@dataclass(frozen=True, slots=True)
class StageSource:
    """What another stage, counted from 0, has made."""

    number: int


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image, as it was written and in full."""

    written: str
    reference: str


@dataclass(frozen=True, slots=True)
class ContextSource:
    """A named context given to the build."""

    name: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """`scratch`: no file at all."""


Source = StageSource | ImageSource | ContextSource | Nothing


@dataclass(frozen=True, slots=True)
class ResolvedStage:
    """A stage with its base and its sources known.

    `instructions` begin with the triggers of its base. `sources` says for the instruction at an index where COPY takes
    from, or each of RUN's mounts in their order; None is the build context. `replaced_by` is the named context that
    stands in for the whole stage.
    """

    stage: Stage
    base: Source
    platform: Platform
    instructions: tuple[Instruction, ...]
    sources: Mapping[int, tuple[Source | None, ...]]
    replaced_by: ContextSource | None = None

    @property
    def needs(self) -> frozenset[int]:
        """The numbers of the stages that must be built first."""
        if self.replaced_by is not None:
            return frozenset()
        every = [self.base, *(source for sources in self.sources.values() for source in sources)]
        return frozenset(source.number for source in every if isinstance(source, StageSource))


@dataclass(frozen=True, slots=True)
class StageGraph:
    """All stages, the one aimed at, and those it needs, itself last: an order to build them in."""

    stages: tuple[ResolvedStage, ...]
    target: int
    needed: tuple[int, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The images that the needed stages take from, in full; sorted."""
        found: set[str] = set()
        for stage in (self.stages[number] for number in self.needed if not self.stages[number].replaced_by):
            every = [stage.base, *(source for sources in stage.sources.values() for source in sources)]
            found |= {source.reference for source in every if isinstance(source, ImageSource)}
        return tuple(sorted(found))


@dataclass(slots=True)
class _Resolving:
    """What is known while the stages are gone through in order."""

    dockerfile: Dockerfile
    inputs: Inputs
    contexts: Collection[str]
    variables: Mapping[str, str]
    done: list[ResolvedStage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, instruction: Instruction, message: str, remedy: str = "") -> None:
        self.problems.append(self.dockerfile.problem(instruction, message, remedy))


def resolve_stages(
    dockerfile: Dockerfile,
    inputs: Inputs,
    contexts: Collection[str] = (),
    triggers: Mapping[int, tuple[str, ...]] | None = None,
) -> StageGraph:
    """Find every stage's base and sources. Raises Invalid with every problem found.

    `contexts` are the names of the contexts given to the build; `triggers` the ONBUILD expressions of the image that is
    the base of the stage with that number.
    """
    state = _Resolving(dockerfile, inputs, contexts, global_variables(dockerfile, inputs))
    for stage in dockerfile.stages:
        state.done.append(_resolve(stage, state, (triggers or {}).get(stage.number, ())))
    target = _target(dockerfile, inputs.target, state)
    if state.problems:
        raise Invalid(state.problems)
    return StageGraph(tuple(state.done), target, _needed(state.done, target))


def _needed(stages: list[ResolvedStage], target: int) -> tuple[int, ...]:
    needed = {target}
    for number in range(target, -1, -1):
        if number in needed:
            needed |= stages[number].needs
    return tuple(sorted(needed))


def _target(dockerfile: Dockerfile, target: str, state: _Resolving) -> int:
    if not target:
        return len(dockerfile.stages) - 1
    for stage in reversed(dockerfile.stages):
        if target.lower() in (stage.start.stage, str(stage.number)):
            return stage.number
    names = [stage.start.stage for stage in dockerfile.stages if stage.start.stage]
    remedy = suggest(target, names, otherwise=f"its stages are {', '.join(names)}" if names else "name no target")
    state.problems.append(Problem(Place(dockerfile.name, 1, 1), "", "", f"has no stage {target}", remedy))
    return 0


def _resolve(stage: Stage, state: _Resolving, triggers: tuple[str, ...]) -> ResolvedStage:
    base = _base(stage.start, state)
    instructions = (*_triggers(stage, base, triggers, state), *stage.instructions)
    replaced = stage.start.stage and _named_context(stage.start.stage, state.contexts)
    return ResolvedStage(
        stage,
        base,
        _platform(stage.start, base, state),
        instructions,
        {at: found for at, each in enumerate(instructions) if (found := _sources(each, stage, state))},
        replaced or None,
    )


def _triggers(stage: Stage, base: Source, of_image: tuple[str, ...], state: _Resolving) -> list[Instruction]:
    """The instructions that the base, an image or a stage, has left for this stage to begin with."""
    found = [parse_trigger(expression, f"ONBUILD of {stage.start.image}") for expression in of_image]
    if isinstance(base, StageSource):
        parent = state.done[base.number].instructions
        found += [instruction.trigger for instruction in parent if isinstance(instruction, OnBuild)]
    return found


def _expanded(start: From, word: str, state: _Resolving) -> Expansion:
    try:
        return expand(word, state.variables, state.dockerfile.escape)
    except Unexpandable as error:
        state.refuse(start, str(error))
        return expand("", {})


def _nearest_name(unset: Collection[str], state: _Resolving, otherwise: str) -> str:
    """A remedy for a value that is empty: the ARG that was meant, if one is alike."""
    for name in sorted(unset):
        found = nearest(name, state.variables)
        if found is not None:
            return f"did you mean ${found}?"
    return otherwise


def _base(start: From, state: _Resolving) -> Source:
    problems = len(state.problems)
    expansion = _expanded(start, start.image, state)
    if expansion.text:
        return _named_stage(expansion.text, state) or _outside(start, expansion.text, state)
    if len(state.problems) == problems:
        otherwise = "give its ARG a value, before the first FROM or to the build"
        remedy = _nearest_name(expansion.unset, state, otherwise)
        state.refuse(start, f"the base {start.image} is empty", remedy)
    return Nothing()


def _named_stage(name: str, state: _Resolving) -> StageSource | None:
    """The nearest stage above with this name."""
    for resolved in reversed(state.done):
        if resolved.stage.start.stage == name.lower():
            return StageSource(resolved.stage.number)
    return None


def _outside(instruction: Instruction, name: str, state: _Resolving) -> Source:
    """The named context or the image of this name."""
    context = _named_context(name, state.contexts)
    if context is not None:
        return context
    if name == EMPTY_IMAGE:
        return Nothing()
    try:
        return ImageSource(name, str(Reference.parse(name)))
    except ValueError as error:
        state.refuse(instruction, str(error))
        return Nothing()


def _named_context(name: str, contexts: Collection[str]) -> ContextSource | None:
    """`alpine`, `alpine:latest` and `docker.io/library/alpine` name the same context."""
    if name.lower() in _NEVER_CONTEXTS:
        return None
    for context in contexts:
        if context == name or _reference(context) == (_reference(name) or name):
            return ContextSource(context)
    return None


def _reference(name: str) -> str | None:
    try:
        return str(Reference.parse(name))
    except ValueError:
        return None


def _platform(start: From, base: Source, state: _Resolving) -> Platform:
    if not start.platform:
        return state.done[base.number].platform if isinstance(base, StageSource) else state.inputs.target_platform
    problems = len(state.problems)
    expansion = _expanded(start, start.platform, state)
    try:
        return Platform.parse(expansion.text)
    except ValueError as error:
        if len(state.problems) == problems and expansion.text:
            state.refuse(start, str(error))
        elif len(state.problems) == problems:
            remedy = _nearest_name(expansion.unset, state, "use $BUILDPLATFORM or $TARGETPLATFORM")
            state.refuse(start, f"--platform={start.platform} is empty", remedy)
        return state.inputs.target_platform


def _sources(instruction: Instruction, stage: Stage, state: _Resolving) -> tuple[Source | None, ...]:
    if isinstance(instruction, OnBuild):
        return ()
    if isinstance(instruction, Copy):
        return (_source(instruction, instruction.from_, stage, state),) if instruction.from_ else ()
    if isinstance(instruction, Run):
        names = [from_of(mount) for mount in instruction.mounts]
        return tuple(_source(instruction, name, stage, state) if name else None for name in names)
    return ()


def _source(instruction: Instruction, name: str, stage: Stage, state: _Resolving) -> Source:
    if name.isascii() and name.isdigit():
        if len(name) < 10 and int(name) < stage.number:
            return StageSource(int(name))
        remedy = "name one above this stage" if stage.number else "no stage is above this one"
        state.refuse(instruction, f"there is no stage {name} above", remedy)
        return Nothing()
    found = _named_stage(name, state)
    if found is not None:
        return found
    below = [each for each in state.dockerfile.stages[stage.number :] if each.start.stage == name.lower()]
    if below and _named_context(name, state.contexts) is None:
        remedy = "a stage cannot take from itself" if below[0] is stage else "move that stage up"
        state.refuse(instruction, f"stage {name} is not above this one", remedy)
        return Nothing()
    return _outside(instruction, name, state)
