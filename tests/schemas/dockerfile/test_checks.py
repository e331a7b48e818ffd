"""BuildKit's rules: what breaks each, what does not, and how they are silenced."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from schemas.dockerfile.checks import check, refuse_findings
from schemas.dockerfile.evaluate import Inputs
from schemas.dockerfile.ignore import Ignore
from schemas.dockerfile.parse import parse
from schemas.dockerfile.rules import DESCRIPTIONS, Rule
from schemas.errors import Invalid

ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {"docker.io/library/known:latest": {"HOME_DIR": "/h"}}


def findings(text: str, ignore: Ignore | None = None) -> list[str]:
    """`line rule` of each."""
    found = check(parse(text, "Dockerfile"), environments=ENVIRONMENTS, ignore=ignore)
    return [f"{each.place.line} {each.rule.value}" for each in found]


def test_a_clean_dockerfile_has_no_findings() -> None:
    text = 'ARG V=1\nFROM known:$V AS one\nWORKDIR /a\nENV A="b"\nEXPOSE 80\nCMD ["x"]\nFROM one\n'
    assert findings(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a AS One\n", ["1 StageNameCasing"]),
        ("FROM a as one\n", ["1 FromAsCasing"]),
        ("from a AS one\n", ["1 FromAsCasing"]),
        ("from a as one\nrun x\n", []),
        ("FROM a\nRUN x \\\n\n  y\n", ["3 NoEmptyContinuation"]),
        ("FROM a\nRUN x\nrun y\n", ["3 ConsistentInstructionCasing"]),
        ("FROM a\nRUN x\nRun y\n", ["3 ConsistentInstructionCasing"]),
        ("from a\nrun x\nRUN y\n", ["3 ConsistentInstructionCasing"]),
        ("FROM a AS b\nFROM c AS b\n", ["2 DuplicateStageName"]),
        ("FROM a AS scratch\n", ["1 ReservedStageName"]),
        ("FROM a AS context\n", ["1 ReservedStageName"]),
        ("FROM a\nCMD x\n", ["2 JSONArgsRecommended"]),
        ("FROM a\nENTRYPOINT x\n", ["2 JSONArgsRecommended"]),
        ('FROM a\nSHELL ["b"]\nCMD x\n', []),
        ('FROM a AS b\nSHELL ["b"]\nFROM b\nCMD x\n', []),
        ("FROM a\nMAINTAINER x\n", ["2 MaintainerDeprecated"]),
        ("FROM a${X}\n", ["1 UndefinedArgInFrom"]),
        ("ARG X\nFROM a${X}\n", []),
        ("FROM --platform=${BUILDPLATFROM:-linux/amd64} a\n", ["1 UndefinedArgInFrom"]),
        ("FROM scratch\nENV A=$B\n", ["2 UndefinedVar"]),
        ("FROM known\nUSER $HOME_DIR$PATH$NO\n", ["2 UndefinedVar"]),
        ("FROM unknown\nUSER $ANY\n", []),
        ("FROM scratch\nARG B\nENV A=$B\n", []),
        ("FROM scratch AS a\nENV A=1\nFROM a\nUSER $A$B\n", ["4 UndefinedVar"]),
        ("FROM scratch\nCOPY <<E <<'F' /\n$B\nE\n$C\nF\n", ["2 UndefinedVar"]),
        ("FROM a\nWORKDIR b\nWORKDIR c\n", ["2 WorkdirRelativePath"]),
        ("FROM a\nWORKDIR /b\nWORKDIR c\n", []),
        ("FROM a AS b\nWORKDIR /b\nFROM b\nWORKDIR c\n", []),
        ('FROM a\nCMD ["x"]\nCMD ["y"]\n', ["2 MultipleInstructionsDisallowed"]),
        ('FROM a\nENTRYPOINT ["x"]\nCMD ["y"]\n', []),
        ("FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n", ["2 MultipleInstructionsDisallowed"]),
        ('FROM a AS b\nCMD ["x"]\nFROM b\nCMD ["y"]\n', []),
        ("FROM a\nENV b c\n", ["2 LegacyKeyValueFormat"]),
        ("FROM a\nLABEL b c\n", ["2 LegacyKeyValueFormat"]),
        ("FROM --platform=$TARGETPLATFORM a\n", ["1 RedundantTargetPlatform"]),
        ("FROM --platform=${BUILDPLATFORM} a\n", []),
        ("FROM a\nARG DB_PASSWORD\nENV API_TOKEN=x\n", ["2 SecretsUsedInArgOrEnv", "3 SecretsUsedInArgOrEnv"]),
        ("FROM a\nENV PUBLIC_KEY=x KEY_FILE=y MONKEY=z TOKEN_VERSION=1\n", []),
        ("ARG I\nFROM $I:x\n", ["2 InvalidDefaultArgInFrom"]),
        ("ARG I=a\nFROM $I:x\n", []),
        ("FROM --platform=linux/arm64 a\n", ["1 FromPlatformFlagConstDisallowed"]),
        ("FROM --platform=linux/arm64 a AS build-arm64\n", []),
        ("FROM a\nEXPOSE 80/TCP\n", ["2 ExposeProtoCasing"]),
        ("FROM a\nEXPOSE 127.0.0.1:80:80 8080:80\n", ["2 ExposeInvalidFormat", "2 ExposeInvalidFormat"]),
    ],
)
def test_a_rule_finds_what_breaks_it(text: str, found: list[str]) -> None:
    given = Inputs({"I": "a"}) if "ARG I\n" in text else Inputs()
    result = check(parse(text, "Dockerfile"), given, environments=ENVIRONMENTS)
    assert [f"{each.place.line} {each.rule.value}" for each in result] == found


@pytest.mark.parametrize(
    ("patterns", "line", "is_found"),
    [
        (["a"], "COPY a /", True),
        (["a"], "COPY b a /", True),
        (["a"], "ADD ./a/b /", True),
        (["a"], "ADD https://example.com/a /", False),
        (["a"], "COPY --from=x a /", False),
        (["a", "!a/b"], "COPY a /", False),
        (["*"], "COPY . /", True),
        (["a"], "COPY . /", False),
    ],
)
def test_a_source_that_the_ignore_file_leaves_out_is_found(patterns: list[str], line: str, is_found: bool) -> None:
    assert findings(f"FROM y\n{line}\n", Ignore(patterns)) == (["2 CopyIgnoredFile"] if is_found else [])


DESCRIBED = """# check=experimental=InvalidDefinitionDescription
# foo this is foo
ARG foo
# bar this is not foo
ARG foo
# what this is
FROM a AS base

# parted by an empty line

FROM b AS c
#
# d e
#
ARG f
# x
RUN y
"""


def test_descriptions_are_checked_where_it_is_asked_for() -> None:
    assert findings(DESCRIBED) == ["5 InvalidDefinitionDescription", "7 InvalidDefinitionDescription"]
    assert findings(DESCRIBED.partition("\n")[2]) == []


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("", ["2 MaintainerDeprecated", "3 JSONArgsRecommended"]),
        ("# check=skip=MaintainerDeprecated\n", ["4 JSONArgsRecommended"]),
        ("# check=skip=MaintainerDeprecated, JSONArgsRecommended\n", []),
        ("# check=skip=all;error=true\n", []),
        ("# check=skip=Other\n", ["3 MaintainerDeprecated", "4 JSONArgsRecommended"]),
    ],
)
def test_rules_are_skipped_for_the_file(head: str, found: list[str]) -> None:
    assert findings(f"{head}FROM a\nMAINTAINER x\nCMD y\n") == found


def test_a_rule_is_skipped_for_one_instruction() -> None:
    text = "FROM a\n# check=skip=JSONArgsRecommended\nCMD y\nENTRYPOINT z\n"
    assert findings(text) == ["4 JSONArgsRecommended"]


def test_a_former_name_of_a_rule_still_skips_it() -> None:
    assert findings("# check=skip=SelfConsistentCommandCasing\nFROM a\nRuN b\n") == []


def test_findings_are_errors_where_the_file_says_so() -> None:
    strict = parse("# check=error=true\nFROM a\nCMD y\n", "Dockerfile")
    with pytest.raises(Invalid, match="Dockerfile:3:1 JSONArgsRecommended: a shell runs it"):
        refuse_findings(strict, check(strict))
    lax = parse("FROM a\nCMD y\n", "Dockerfile")
    refuse_findings(lax, check(lax))


def test_the_build_may_say_in_the_files_stead_what_is_checked() -> None:
    dockerfile = parse("# check=skip=all\nFROM a\nCMD y\nMAINTAINER z\n", "Dockerfile")
    inputs = Inputs({"BUILDKIT_DOCKERFILE_CHECK": "skip=MaintainerDeprecated;error=true"})
    found = check(dockerfile, inputs)
    assert [each.rule for each in found] == [Rule.JSON_ARGS_RECOMMENDED]
    with pytest.raises(Invalid):
        refuse_findings(dockerfile, found, inputs)
    with pytest.raises(Invalid, match="BUILDKIT_DOCKERFILE_CHECK:1:1: 'x' is no option"):
        check(dockerfile, Inputs({"BUILDKIT_DOCKERFILE_CHECK": "x"}))


def test_a_stage_that_is_not_needed_may_be_passed_over() -> None:
    dockerfile = parse("FROM a AS unused\nCMD x\nFROM b\nMAINTAINER y\n", "Dockerfile")
    assert [each.place.line for each in check(dockerfile)] == [2, 4]
    assert [each.place.line for each in check(dockerfile, only_needed=True)] == [4]


def test_a_finding_tells_the_nearest_name_and_shows_its_line() -> None:
    dockerfile = parse("ARG VERSION=1\nFROM a:1$VERSON\n", "Dockerfile")
    (found,) = check(dockerfile)
    text = "Dockerfile:2:1: UndefinedArgInFrom: no ARG before it declares VERSON; did you mean VERSION?"
    assert str(found) == text
    assert found.shown(dockerfile.lines) == f"{text}\n    FROM a:1$VERSON\n    ^"


def test_every_rule_has_a_description() -> None:
    assert DESCRIPTIONS.keys() == set(Rule)
