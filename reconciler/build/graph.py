"""From a Dockerfile to the steps of a build: pure, the half of the solver that decides.

Given the Dockerfile, what the build was given, and what its base images say of themselves, `plan_build` lists the steps
of the stages that the target needs, each with what its cache key is made of, and the config the image will have. It
reads no file, asks no registry and runs nothing: digests of files are the business of whoever walks the context.

Images name triggers and triggers name images, so images are asked for in rounds: `missing_images` until there is none.

Source: Dockerfile reference; OCI image-spec 1.1, config.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from reconciler.build.configure import configured, variables
from reconciler.build.describe import created_by
from reconciler.build.execute import execute, shows_files
from reconciler.build.steps import Execute, FromContext, FromStep, Input, MakeDirectory, Start, Step, Work
from reconciler.build.transfer import Take, transfer
from runtime.images.config import ImageConfig
from schemas.dockerfile.evaluate import DEFAULT_PATH, Inputs, Scope, base_scope, evaluate, global_variables
from schemas.dockerfile.evaluate import Step as Evaluated
from schemas.dockerfile.faults import Fault
from schemas.dockerfile.instructions import Add, Cmd, Copy, Entrypoint, Instruction, Maintainer, Run, Workdir
from schemas.dockerfile.parse import Dockerfile
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.stages import (
    ContextSource,
    ImageSource,
    ResolvedStage,
    Source,
    StageGraph,
    StageSource,
    resolve_stages,
)
from schemas.errors import Invalid

Configs = Mapping[str, ImageConfig]
"""What images say of themselves, by reference in full."""


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One line of the history, and the step whose layer belongs to it; None: no layer."""

    created_by: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """What a stage makes: the tree of its last step, the config, and the history above that of `base`, an image."""

    tree: int
    config: ImageConfig
    platform: Platform
    base: str = ""
    author: str = ""
    history: tuple[HistoryLine, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildGraph:
    """The steps, in an order to do them in; what each needed stage makes; the stage aimed at."""

    steps: tuple[Step, ...]
    stages: Mapping[int, Built]
    target: int

    @property
    def result(self) -> Built:
        """What the target makes."""
        return self.stages[self.target]


def missing_images(
    dockerfile: Dockerfile, inputs: Inputs, configs: Configs, contexts: Collection[str] = ()
) -> tuple[str, ...]:
    """The images whose configs must be known before the build can be planned; sorted. Raises Invalid."""
    graph = _resolved(dockerfile, inputs, configs, contexts)
    return tuple(image for image in graph.images if image not in configs)


def plan_build(
    dockerfile: Dockerfile,
    inputs: Inputs,
    configs: Configs,
    contexts: Collection[str] = (),
    *,
    without_cache: Collection[str] = (),
) -> BuildGraph:
    """The steps that the target needs. Raises Invalid with every problem found in a stage.

    `without_cache` names stages whose steps are done anew, by name or number; `*` is all. No image may be missing.
    """
    graph = _resolved(dockerfile, inputs, configs, contexts)
    planning = _Planning(dockerfile, inputs, configs, global_variables(dockerfile, inputs), without_cache)
    for number in graph.needed:
        planning.plan_stage(graph.stages[number])
    return BuildGraph(tuple(planning.steps), planning.built, graph.target)


def _resolved(dockerfile: Dockerfile, inputs: Inputs, configs: Configs, contexts: Collection[str]) -> StageGraph:
    """The stages with the triggers of the images known so far."""
    bare = resolve_stages(dockerfile, inputs, contexts)
    triggers = {
        stage.stage.number: configs[stage.base.reference].on_build
        for stage in bare.stages
        if isinstance(stage.base, ImageSource) and stage.base.reference in configs
    }
    return resolve_stages(dockerfile, inputs, contexts, triggers) if any(triggers.values()) else bare


@dataclass(slots=True)
class _Stage:
    """A stage while its instructions are gone through."""

    resolved: ResolvedStage
    name: str
    tree: int
    config: ImageConfig
    length: int
    base: str = ""
    author: str = ""
    history: list[HistoryLine] = field(default_factory=list)
    has_command: bool = False
    count: int = 1

    def title(self, text: str) -> str:
        """`[build 2/5] RUN make`."""
        return f"[{self.name} {self.count}/{self.length}] {text}"


@dataclass(slots=True)
class _Planning:
    """The steps so far, and what the stages so far have made."""

    dockerfile: Dockerfile
    inputs: Inputs
    configs: Configs
    globals_: Mapping[str, str]
    without_cache: Collection[str]
    steps: list[Step] = field(default_factory=list)
    built: dict[int, Built] = field(default_factory=dict)
    scopes: dict[int, Scope] = field(default_factory=dict)
    starts: dict[Start, int] = field(default_factory=dict)

    def plan_stage(self, resolved: ResolvedStage) -> None:
        stage = self._begin(resolved)
        scope = self._scope(resolved, stage)
        if resolved.replaced_by is None:
            steps = evaluate(self.dockerfile, resolved.instructions, scope, self.inputs, self.globals_)
            for index, step in enumerate(steps):
                self._instruct(stage, index, step)
                scope = step.after
        number = resolved.stage.number
        self.scopes[number] = scope
        self.built[number] = Built(
            stage.tree, stage.config, resolved.platform, stage.base, stage.author, tuple(stage.history)
        )

    def _begin(self, resolved: ResolvedStage) -> _Stage:
        """The stage before its first instruction: the tree, the config and the history of its base."""
        start = resolved.stage.start
        length = 1 + sum(isinstance(each, Run | Copy | Add | Workdir) for each in resolved.instructions)
        stage = _Stage(resolved, start.stage or f"stage-{resolved.stage.number}", -1, ImageConfig(), length)
        source = resolved.replaced_by or resolved.base
        if isinstance(source, StageSource):
            parent = self.built[source.number]
            stage.tree, stage.base, stage.author = parent.tree, parent.base, parent.author
            stage.config, stage.history = replace(parent.config, on_build=()), list(parent.history)
            return stage
        if isinstance(source, ImageSource):
            stage.base = source.reference
            stage.config = replace(self.configs[source.reference], on_build=())
        stage.tree = self._start(source, resolved, stage.title(start.origin.text))
        if "PATH" not in variables(stage.config):
            stage.config = replace(stage.config, env=(*stage.config.env, f"PATH={DEFAULT_PATH}"))
        return stage

    def _scope(self, resolved: ResolvedStage, stage: _Stage) -> Scope:
        parent = self.scopes[resolved.base.number] if isinstance(resolved.base, StageSource) else None
        return base_scope(variables(stage.config), parent if resolved.replaced_by is None else None)

    def _start(self, source: Source, resolved: ResolvedStage, title: str) -> int:
        """The step that brings an image or a context; one for all who begin with it."""
        image = source.reference if isinstance(source, ImageSource) else ""
        context = source.name if isinstance(source, ContextSource) else ""
        work = Start(resolved.platform, image, context)
        if work not in self.starts:
            number = len(self.steps)
            place = resolved.stage.start.origin.place
            self.starts[work] = number
            self.steps.append(Step(number, resolved.stage.number, title, place, work))
        return self.starts[work]

    def _instruct(self, stage: _Stage, index: int, evaluated: Evaluated) -> None:
        """One instruction: its step, if it touches files; its part of the config; its line of history."""
        instruction, scope = evaluated.instruction, evaluated.after
        before = stage.config
        stage.config = _configured(before, instruction, stage.has_command)
        stage.has_command = stage.has_command or isinstance(instruction, Cmd)
        command: tuple[str, ...] = ()
        made: int | None = None
        if isinstance(instruction, Run):
            work, inputs = self._execute(stage, index, evaluated)
            command = work.arguments
            made = self._add(stage, instruction, work, inputs)
        elif isinstance(instruction, Copy | Add):
            copied, taken = transfer(instruction, before.working_dir, self._take(stage, index, 0))
            made = self._add(stage, instruction, copied, taken, is_linked=instruction.link)
        elif isinstance(instruction, Workdir) and stage.config.working_dir != "/":
            made = self._add(stage, instruction, MakeDirectory(stage.config.working_dir, stage.config.user), ())
        elif isinstance(instruction, Maintainer):
            stage.author = instruction.maintainer
        elif isinstance(instruction, Cmd | Entrypoint):
            command = stage.config.cmd if isinstance(instruction, Cmd) else stage.config.entrypoint
        stage.history.append(HistoryLine(created_by(instruction, scope.arguments, command), made))

    def _execute(self, stage: _Stage, index: int, evaluated: Evaluated) -> tuple[Execute, tuple[Input, ...]]:
        run, mounts = evaluated.instruction, evaluated.mounts
        if not isinstance(run, Run):
            raise TypeError(f"{run.name} runs nothing")
        takes = [self._take(stage, index, at) if shows_files(mount) else None for at, mount in enumerate(mounts)]
        try:
            return execute(run, mounts, takes, stage.config, evaluated.after.variables)
        except Fault as fault:
            raise Invalid([self.dockerfile.problem(run, fault.message, fault.remedy)]) from None

    def _take(self, stage: _Stage, index: int, at: int) -> Take:
        """Takes files from the source that the instruction at `index`, or its mount number `at`, names."""
        sources = stage.resolved.sources.get(index, ())
        source = sources[at] if at < len(sources) else None
        if source is None or isinstance(source, ContextSource):
            context = source.name if source else ""
            return lambda paths, exclude: FromContext(context, paths, exclude)
        if isinstance(source, StageSource):
            step = self.built[source.number].tree
        else:
            step = self._start(source, stage.resolved, stage.title(f"FROM {getattr(source, 'written', 'scratch')}"))
        return lambda paths, exclude: FromStep(step, paths, exclude)

    def _add(
        self, stage: _Stage, instruction: Instruction, work: Work, inputs: tuple[Input, ...], *, is_linked: bool = False
    ) -> int:
        number = len(self.steps)
        stage.count += 1
        given = (stage.resolved.stage.start.stage, str(stage.resolved.stage.number), "*")
        self.steps.append(
            Step(
                number=number,
                stage=stage.resolved.stage.number,
                title=stage.title(instruction.origin.text),
                place=instruction.origin.place,
                work=work,
                parent=None if is_linked else stage.tree,
                on_top=stage.tree,
                inputs=inputs,
                is_cached=not any(name in self.without_cache for name in given if name),
            )
        )
        stage.tree = number
        return number


def _configured(config: ImageConfig, instruction: Instruction, has_command: bool) -> ImageConfig:
    """The config after the instruction. An ENTRYPOINT leaves a CMD that stood before it in the same stage."""
    after = configured(config, instruction)
    return replace(after, cmd=config.cmd) if isinstance(instruction, Entrypoint) and has_command else after
