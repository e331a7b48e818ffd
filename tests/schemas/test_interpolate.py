"""Variables in values, as the Compose Specification's section Interpolation has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.interpolate import interpolate

ENVIRONMENT = {"SET": "value", "EMPTY": "", "DOLLAR": "$SET", "_x1": "odd", "BRACE": "}"}

REPLACED = [
    ("plain", "plain"),
    ("$SET", "value"),
    ("${SET}", "value"),
    ("a${SET}b$SET", "avalueb" + "value"),
    ("$SET.x", "value.x"),
    ("$_x1", "odd"),
    ("$EMPTY", ""),
    ("$DOLLAR", "$SET"),
    ("${SET:-other}", "value"),
    ("${EMPTY:-other}", "other"),
    ("${NONE:-other}", "other"),
    ("${SET-other}", "value"),
    ("${EMPTY-other}", ""),
    ("${NONE-other}", "other"),
    ("${NONE:-}", ""),
    ("${SET:?why}", "value"),
    ("${EMPTY?why}", ""),
    ("${SET:+other}", "other"),
    ("${EMPTY:+other}", ""),
    ("${NONE:+other}", ""),
    ("${EMPTY+other}", "other"),
    ("${NONE+other}", ""),
    ("${NONE:-${SET}}", "value"),
    ("${NONE:-${NONE:-deep}}", "deep"),
    ("${NONE:-a${SET}b}c", "avaluebc"),
    ("${NONE?${SET}}x", None),
    ("${SET:-${NONE}}", "value"),
    ("${NONE:+${NONE}}", ""),
    ("${NONE:-a:-b}", "a:-b"),
    ("${NONE:-http://x?y=$SET}", "http://x?y=value"),
    ("${NONE:-two\nlines}", "two\nlines"),
    ("${NONE:-$$SET}", "$SET"),
    ("$$SET", "$SET"),
    ("$${SET}", "${SET}"),
    ("$$$SET", "$value"),
    ("$$$$", "$$"),
    ("cost: 5$", "cost: 5$"),
    ("$5", "$5"),
    ("$(date)", "$(date)"),
    ("$ SET", "$ SET"),
    ("}", "}"),
    ("${BRACE}", "}"),
    ("$SETTER", None),
    ("$NONE", None),
    ("${NONE}", None),
    ("${NONE:?}", None),
    ("${EMPTY:?why}", None),
    ("${NONE?why}", None),
    ("${SET", None),
    ("${NONE:-${SET}", None),
    ("${}", None),
    ("${1}", None),
    ("${SET/a/b}", None),
    ("${SET:=x}", None),
    ("${SET :-x}", None),
    ("${" * 100 + "}" * 100, None),
    ("${A:-" * 100 + "}" * 100, None),
]


@pytest.mark.parametrize(("text", "result"), REPLACED, ids=[text[:24] for text, _ in REPLACED])
def test_a_text_becomes(text: str, result: str | None) -> None:
    found = interpolate(text, ENVIRONMENT)
    assert bool(found.faults) == (result is None)
    if result is not None:
        assert found.text == result


FAULTS = [
    ("$NONE", "the variable NONE is not set", "set it, give a default as in ${NONE:-default}, or write $$"),
    ("${NONE:?the port of the shop}", "the variable NONE is not set: the port of the shop", "set it"),
    ("${NONE?$SET and $NONE}", "the variable NONE is not set: value and ", "set it"),
    ("${EMPTY:?}", "the variable EMPTY is empty", "set it in the environment or with --env-file"),
    ("${SET/a/b}", "`${SET/a/b}` is not a variable", "write ${NAME} or ${NAME:-default}, or $$"),
    ("${SET", "`${SET` is not closed", "add the `}`"),
]


@pytest.mark.parametrize(("text", "message", "remedy"), FAULTS, ids=[text for text, _, _ in FAULTS])
def test_a_fault_says_what_to_do(text: str, message: str, remedy: str) -> None:
    ((found, mended),) = interpolate(text, ENVIRONMENT).faults
    assert found == message
    assert mended.startswith(remedy)


def test_every_unset_variable_of_a_text_is_reported() -> None:
    assert len(interpolate("$A ${B} ${C:-$D}", {}).faults) == 3


@given(st.text().filter(lambda text: "$" not in text))
def test_a_text_without_a_dollar_sign_stays_as_it_is(text: str) -> None:
    assert interpolate(text, ENVIRONMENT).text == text


@given(st.text())
def test_a_text_with_its_dollar_signs_doubled_stays_as_it_is(text: str) -> None:
    result = interpolate(text.replace("$", "$$"), ENVIRONMENT)
    assert result.text == text
    assert not result.faults


@given(st.text(alphabet="${}:-+?AB_ "), st.dictionaries(st.sampled_from(["A", "B", "_"]), st.text()))
def test_any_text_is_replaced_or_faulted_and_never_raises(text: str, environment: dict[str, str]) -> None:
    interpolate(text, environment)
