"""The rules that checks go by: BuildKit's names, what each is about, and the finding that one makes.

Called by the checks; the command line lists them. Finds nothing itself.

Source: Dockerfile reference, "Build checks", one page for each rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from schemas.dockerfile.directives import CheckOptions, read_check_options, read_directive
from schemas.dockerfile.faults import excerpt
from schemas.errors import Place


class Rule(StrEnum):
    STAGE_NAME_CASING = "StageNameCasing"
    FROM_AS_CASING = "FromAsCasing"
    NO_EMPTY_CONTINUATION = "NoEmptyContinuation"
    CONSISTENT_INSTRUCTION_CASING = "ConsistentInstructionCasing"
    DUPLICATE_STAGE_NAME = "DuplicateStageName"
    RESERVED_STAGE_NAME = "ReservedStageName"
    JSON_ARGS_RECOMMENDED = "JSONArgsRecommended"
    MAINTAINER_DEPRECATED = "MaintainerDeprecated"
    UNDEFINED_ARG_IN_FROM = "UndefinedArgInFrom"
    UNDEFINED_VAR = "UndefinedVar"
    WORKDIR_RELATIVE_PATH = "WorkdirRelativePath"
    MULTIPLE_INSTRUCTIONS_DISALLOWED = "MultipleInstructionsDisallowed"
    LEGACY_KEY_VALUE_FORMAT = "LegacyKeyValueFormat"
    REDUNDANT_TARGET_PLATFORM = "RedundantTargetPlatform"
    SECRETS_USED_IN_ARG_OR_ENV = "SecretsUsedInArgOrEnv"
    INVALID_DEFAULT_ARG_IN_FROM = "InvalidDefaultArgInFrom"
    FROM_PLATFORM_FLAG_CONST_DISALLOWED = "FromPlatformFlagConstDisallowed"
    COPY_IGNORED_FILE = "CopyIgnoredFile"
    INVALID_DEFINITION_DESCRIPTION = "InvalidDefinitionDescription"
    EXPOSE_PROTO_CASING = "ExposeProtoCasing"
    EXPOSE_INVALID_FORMAT = "ExposeInvalidFormat"


DESCRIPTIONS: dict[Rule, str] = {
    Rule.STAGE_NAME_CASING: "Names of stages are in lower case",
    Rule.FROM_AS_CASING: "AS is written in the case of its FROM",
    Rule.NO_EMPTY_CONTINUATION: "No empty line stands inside a continued one",
    Rule.CONSISTENT_INSTRUCTION_CASING: "All instructions are in one case, upper or lower",
    Rule.DUPLICATE_STAGE_NAME: "Each stage has a name of its own",
    Rule.RESERVED_STAGE_NAME: "No stage is named scratch or context",
    Rule.JSON_ARGS_RECOMMENDED: "CMD and ENTRYPOINT are JSON, so that signals reach the program and not a shell",
    Rule.MAINTAINER_DEPRECATED: "An author is a label, not MAINTAINER",
    Rule.UNDEFINED_ARG_IN_FROM: "FROM uses only ARGs that stand before it",
    Rule.UNDEFINED_VAR: "Variables are set before they are used",
    Rule.WORKDIR_RELATIVE_PATH: "The first WORKDIR of a stage is absolute: the base image's may change",
    Rule.MULTIPLE_INSTRUCTIONS_DISALLOWED: "CMD, ENTRYPOINT, HEALTHCHECK stand once in a stage: only the last counts",
    Rule.LEGACY_KEY_VALUE_FORMAT: "ENV and LABEL are written NAME=VALUE",
    Rule.REDUNDANT_TARGET_PLATFORM: "--platform=$TARGETPLATFORM is what FROM does anyway",
    Rule.SECRETS_USED_IN_ARG_OR_ENV: "Secrets are mounted, not put into ARG or ENV, which the image keeps",
    Rule.INVALID_DEFAULT_ARG_IN_FROM: "The defaults of ARGs make FROM a whole image's name",
    Rule.FROM_PLATFORM_FLAG_CONST_DISALLOWED: "--platform is no constant, unless the stage is named after it",
    Rule.COPY_IGNORED_FILE: "COPY and ADD take nothing that .dockerignore leaves out",
    Rule.INVALID_DEFINITION_DESCRIPTION: "A comment right above ARG or FROM begins with the name it describes",
    Rule.EXPOSE_PROTO_CASING: "EXPOSE's protocols are in lower case",
    Rule.EXPOSE_INVALID_FORMAT: "EXPOSE names ports of the container alone",
}
EXPERIMENTAL = frozenset({Rule.INVALID_DEFINITION_DESCRIPTION})
"""Found only where they are asked for."""
FORMER_NAMES = {"SelfConsistentCommandCasing": Rule.CONSISTENT_INSTRUCTION_CASING}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something allowed and yet probably wrong."""

    place: Place
    rule: Rule
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.rule.value}: {self.message}"

    def shown(self, lines: Sequence[str]) -> str:
        """The finding with its source line below."""
        return f"{self}{excerpt(self.place, lines)}"


def is_wanted(rule: Rule, options: CheckOptions, comments: Iterable[str] = ()) -> bool:
    """Whether the file's `# check=`, or one right above the instruction, leaves the rule in force."""
    every = [options, *_options_of(comments)]
    if rule in EXPERIMENTAL:
        return any(_names(rule, each.experimental) for each in every)
    return not any(_names(rule, each.skip) for each in every)


def _names(rule: Rule, names: frozenset[str]) -> bool:
    return "all" in names or rule.value in names or any(FORMER_NAMES.get(name) is rule for name in names)


def _options_of(comments: Iterable[str]) -> list[CheckOptions]:
    """What `# check=` directly above an instruction says; nothing if it cannot be read."""
    found = []
    for comment in comments:
        directive = read_directive(f"#{comment}", Place("", 0, 0))
        if directive is not None and directive.name == "check":
            try:
                found.append(read_check_options(directive.value.partition(" ")[0]))
            except ValueError:
                continue
    return found
