"""Texts made to take forever, or to fill the memory with problems: they end in time that grows with their size."""

from __future__ import annotations

import time

import pytest

from schemas.check import check
from schemas.errors import Invalid, Problem
from schemas.load import MOST, Text, load

HEAD = "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: web}\nspec:\n  image: a\n"
SECONDS = 10
"""Far more than any of these takes on a busy machine, far less than a quadratic one of them would."""


def lines(text: str, count: int) -> str:
    return "".join(text.replace("%", str(number)) for number in range(count))


def anchors(count: int) -> str:
    merged = ",".join(f"*a{number}" for number in range(count))
    return lines("a%: &a% {k: 1}\n", count) + "b:\n" + lines("  k%: 1\n", count) + f"  <<: [{merged}]\n"


TEXTS = [
    pytest.param(lines("a: %\n", 100_000), id="a key again and again"),
    pytest.param(lines("k%: 1\n", 50_000), id="unknown fields of the envelope"),
    pytest.param(HEAD + lines("  k%: 1\n", 50_000), id="unknown fields of the spec"),
    pytest.param(HEAD + "  ports:\n" + lines("    - x%\n", 50_000), id="wrong items"),
    pytest.param(HEAD + "  networks:\n" + lines("    - n%\n", 20_000), id="dangling networks in a list"),
    pytest.param(HEAD + "  volumes:\n" + lines("    - v%:/v%\n", 20_000), id="dangling volumes"),
    pytest.param(HEAD + "  environment:\n" + lines("    - K%=1\n", 50_000), id="a large environment"),
    pytest.param(HEAD + f"  hostname: '{'$A' * 500_000}'\n", id="variables"),
    pytest.param(HEAD + f"  hostname: '{'${A:-' * 100_000}'\n", id="nested variables"),
    pytest.param(anchors(20_000), id="merges of many anchors"),
    pytest.param(lines("---\nkind: x\n", 20_000), id="broken documents"),
    pytest.param("apiVersion: v1\nkind: List\nitems:\n" + lines("- {}\n", 50_000), id="a List of broken items"),
    pytest.param(lines("- ", 200_000), id="one list in another"),
    pytest.param("services:\n" + lines("  w%: {image: a, build: x, deploy: {a: 1}}\n", 10_000), id="a compose file"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_it_ends_in_time_and_tells_a_bearable_number_of_problems(text: str) -> None:
    before = time.process_time()
    try:
        problems: tuple[Problem, ...] = tuple(check(load([Text("a.yaml", text)], {"A": "b" * 100})))
    except Invalid as refusal:
        problems = refusal.problems
    assert time.process_time() - before < SECONDS
    assert len(problems) <= MOST + 1


def test_thousands_of_dangling_references_are_told_in_time() -> None:
    text = "---\n".join(HEAD.replace("web", f"w{n}") + f"  depends_on: [missing-{n}]\n" for n in range(2000))
    objects = load([Text("a.yaml", text)], {})
    before = time.process_time()
    assert len(check(objects)) == 2000
    assert time.process_time() - before < SECONDS
