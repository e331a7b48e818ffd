"""Checks a Dockerfile for what is allowed and yet probably wrong: BuildKit's rules, by their names.

Pure: called by `trimtab image build` and `--check`. Needs no image; where the environments of base images are handed in
it also finds variables that nobody sets, and where they are not it leaves those stages' variables alone rather than
guess. What is plainly wrong was refused before, by `parse` and `evaluate`.

Source: Dockerfile reference, "Build checks".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from schemas.dockerfile.check_stage import StageFacts, check_stage
from schemas.dockerfile.directives import CheckOptions, read_check_options
from schemas.dockerfile.evaluate import Inputs, Scope, base_scope, evaluate, global_variables
from schemas.dockerfile.ignore import Ignore
from schemas.dockerfile.instructions import Arg, From, Instruction
from schemas.dockerfile.parse import Dockerfile
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.rules import Finding, Rule, is_wanted
from schemas.dockerfile.shell_words import Expansion, Unexpandable, expand
from schemas.dockerfile.stages import ImageSource, Nothing, ResolvedStage, StageSource, resolve_stages
from schemas.errors import Invalid, Place, Problem
from schemas.nearest import nearest
from schemas.reference import Reference

OPTIONS_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
_RESERVED = ("context", "scratch")
Found = Iterator[tuple[Rule, Instruction, str]]


def check(
    dockerfile: Dockerfile,
    inputs: Inputs | None = None,
    *,
    contexts: Collection[str] = (),
    environments: Mapping[str, Mapping[str, str]] | None = None,
    ignore: Ignore | None = None,
    only_needed: bool = False,
) -> tuple[Finding, ...]:
    """Every finding, in the order of places. Raises Invalid where the Dockerfile cannot be evaluated.

    With `only_needed`, what stands inside stages that the target does not need is passed over, as in a build.

    `environments` are those of the images known, by reference in full, as `stages.ImageSource` has them.
    """
    given = inputs or Inputs()
    options = check_options(dockerfile, given)
    found: list[Finding] = []
    for rule, instruction, message in _all(dockerfile, given, contexts, environments or {}, ignore, only_needed):
        origin = instruction.origin
        if is_wanted(rule, options, origin.comments):
            found.append(Finding(origin.place, rule, message))
    if is_wanted(Rule.NO_EMPTY_CONTINUATION, options):
        found += [Finding(place, Rule.NO_EMPTY_CONTINUATION, "empty continuation line") for place in dockerfile.empty]
    return tuple(sorted(set(found)))


def check_options(dockerfile: Dockerfile, inputs: Inputs) -> CheckOptions:
    """What the file's `# check=` asks for, or BUILDKIT_DOCKERFILE_CHECK given to the build. Raises Invalid."""
    text = inputs.arguments.get(OPTIONS_ARGUMENT)
    if text is None:
        return dockerfile.check
    try:
        return read_check_options(text)
    except ValueError as error:
        raise Invalid([Problem(Place(OPTIONS_ARGUMENT, 1, 1), "", "", str(error))]) from None


def refuse_findings(dockerfile: Dockerfile, findings: Collection[Finding], inputs: Inputs | None = None) -> None:
    """Raise Invalid if there are findings and `error=true` makes them errors."""
    if findings and check_options(dockerfile, inputs or Inputs()).error:
        remedy = "mend it, or skip the rule"
        raise Invalid([Problem(each.place, each.rule.value, "", each.message, remedy) for each in findings])


def _all(
    dockerfile: Dockerfile,
    inputs: Inputs,
    contexts: Collection[str],
    environments: Mapping[str, Mapping[str, str]],
    ignore: Ignore | None,
    only_needed: bool,
) -> Found:
    yield from _casing(dockerfile)
    yield from _stage_names(dockerfile)
    yield from _bases(dockerfile, inputs)
    yield from _descriptions(dockerfile)
    graph = resolve_stages(dockerfile, inputs, contexts)
    globals_ = global_variables(dockerfile, inputs)
    facts: list[StageFacts] = []
    for stage in graph.stages:
        parent = facts[stage.base.number] if isinstance(stage.base, StageSource) else None
        scope, is_known = _scope(stage, parent, environments)
        steps = evaluate(dockerfile, stage.instructions, scope, inputs, globals_)
        end = steps[-1].after if steps else scope
        facts.append(StageFacts(end, is_known, bool(parent and parent.has_workdir), bool(parent and parent.has_shell)))
        found = check_stage(stage, steps, facts[-1], ignore)
        yield from (each for each in found if not only_needed or stage.stage.number in graph.needed)


def _scope(
    stage: ResolvedStage, parent: StageFacts | None, environments: Mapping[str, Mapping[str, str]]
) -> tuple[Scope, bool]:
    """What holds at the start of the stage, and whether all of it is known."""
    if parent is not None and stage.replaced_by is None:
        return base_scope({}, parent.scope), parent.is_known
    if isinstance(stage.base, Nothing):
        return base_scope({}), stage.replaced_by is None
    reference = stage.base.reference if isinstance(stage.base, ImageSource) else ""
    return base_scope(environments.get(reference, {})), reference in environments and stage.replaced_by is None


def _instructions(dockerfile: Dockerfile) -> Iterator[Instruction]:
    for stage in dockerfile.stages:
        yield stage.start
        yield from stage.instructions


def _casing(dockerfile: Dockerfile) -> Found:
    written = [instruction.origin.word for instruction in _instructions(dockerfile)]
    counts = Counter("lower" if word == word.lower() else "upper" for word in written if _is_one_case(word))
    is_lower = counts["lower"] > counts["upper"]
    for instruction in _instructions(dockerfile):
        word = instruction.origin.word
        if word != (word.lower() if is_lower else word.upper()):
            case = "lower" if is_lower else "upper"
            message = f"{word} is not in {case} case, as most instructions are"
            yield Rule.CONSISTENT_INSTRUCTION_CASING, instruction, message
    for stage in dockerfile.stages:
        word, as_word = stage.start.origin.word, stage.start.as_word
        if _is_one_case(word) and as_word != (as_word.lower() if word == word.lower() else as_word.upper()):
            yield Rule.FROM_AS_CASING, stage.start, f"{as_word} and {word} are not in the same case"


def _is_one_case(word: str) -> bool:
    return word in (word.lower(), word.upper())


def _stage_names(dockerfile: Dockerfile) -> Found:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        start = stage.start
        if start.written_stage != start.stage:
            yield Rule.STAGE_NAME_CASING, start, f"the stage's name {start.written_stage} is not in lower case"
        if start.stage in _RESERVED:
            yield Rule.RESERVED_STAGE_NAME, start, f"{start.stage} has a meaning of its own"
        if start.stage and start.stage in seen:
            yield Rule.DUPLICATE_STAGE_NAME, start, f"another stage is named {start.stage}"
        seen.add(start.stage)


def _bases(dockerfile: Dockerfile, inputs: Inputs) -> Found:
    variables = global_variables(dockerfile, inputs)
    declared = {argument.name for each in dockerfile.arguments for argument in each.arguments} | variables.keys()
    defaults = global_variables(dockerfile, Inputs(target=inputs.target))
    for stage in dockerfile.stages:
        start = stage.start
        image = _try(start.image, variables, dockerfile.escape)
        platform = _try(start.platform, variables, dockerfile.escape)
        for name in sorted((image.unset | platform.unset) - declared):
            found = nearest(name, declared)
            hint = f"; did you mean {found}?" if found else ""
            yield Rule.UNDEFINED_ARG_IN_FROM, start, f"no ARG before it declares {name}{hint}"
        if "$" in start.image and not _is_reference(_try(start.image, defaults, dockerfile.escape).text):
            message = f"the defaults of its ARGs make {start.image} no image's name"
            yield Rule.INVALID_DEFAULT_ARG_IN_FROM, start, message
        if start.platform:
            yield from _platform(start, platform, variables)


def _platform(start: From, platform: Expansion, variables: Mapping[str, str]) -> Found:
    if platform.matched == {"TARGETPLATFORM"} and platform.text == variables["TARGETPLATFORM"] and not platform.unset:
        yield Rule.REDUNDANT_TARGET_PLATFORM, start, f"--platform={start.platform} is what FROM does anyway"
    if platform.matched or platform.unset:
        return
    named = Platform.parse(platform.text)
    if named.os not in start.stage and named.architecture not in start.stage:
        message = f"--platform={platform.text} is constant; name the stage after it, or use $BUILDPLATFORM"
        yield Rule.FROM_PLATFORM_FLAG_CONST_DISALLOWED, start, message


def _try(word: str, variables: Mapping[str, str], escape: str) -> Expansion:
    """The word expanded; as it is if it cannot be, which is told elsewhere."""
    try:
        return expand(word, variables, escape)
    except Unexpandable:
        return Expansion(word, (), frozenset(), frozenset())


def _is_reference(name: str) -> bool:
    try:
        Reference.parse(name)
    except ValueError:
        return False
    return True


def _descriptions(dockerfile: Dockerfile) -> Found:
    for instruction in (*dockerfile.arguments, *_instructions(dockerfile)):
        names: list[str] = []
        if isinstance(instruction, From) and instruction.stage:
            names = [instruction.stage]
        elif isinstance(instruction, Arg):
            names = [argument.name for argument in instruction.arguments]
        comments = instruction.origin.comments
        if names and comments and comments[-1].split(" ")[0] not in names:
            wanted = names[0] if len(names) == 1 else "NAME"
            message = f"the comment above does not begin with what it describes: # {wanted} …"
            yield Rule.INVALID_DEFINITION_DESCRIPTION, instruction, message
