"""What is written is read back the same, by our reader and by those of YAML 1.1."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.load import substitution
from schemas.write_yaml import write_documents
from schemas.yaml_text import read_documents

TRAPS = [
    "no",
    "on",
    "y",
    "~",
    "null",
    "",
    "0777",
    "0o17",
    "1e3",
    "0E0",
    "1.10",
    "12:30",
    "2024-01-01",
    "=",
    "<<",
    "- a",
    "a: b",
]
TRAPS += [
    "a #b",
    "'",
    '"',
    "\n",
    "a\nb",
    "a\n",
    "\n\na ",
    " a",
    "a\t",
    "\t",
    "$A",
    "${A}",
    "$$",
    "\x85",
    "\u2028",
    "\ufeff",
    "\x1b",
    "\x7f",
]

text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(TRAPS)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
)


def read_back(written: str) -> list[Any]:
    documents, problems = read_documents("a.yaml", written, substitution({}))
    assert problems == []
    assert all(document.problems == () for document in documents)
    return [document.value for document in documents]


@pytest.mark.parametrize("value", TRAPS, ids=ascii)
def test_text_that_looks_like_something_else_stays_text(value: str) -> None:
    written = write_documents([{value: [value, {"a": value}]}])
    assert read_back(written) == [{value: [value, {"a": value}]}]
    if "$" not in value:
        assert yaml.safe_load(written) == {value: [value, {"a": value}]}


@given(st.lists(values.filter(lambda value: value is not None), max_size=3))
@example([{"a" * 200: {"b": "c" * 200}}])
def test_any_value_is_read_back_the_same(several: list[Any]) -> None:
    assert read_back(write_documents(several)) == several


def test_it_reads_as_a_person_would_write_it() -> None:
    value = {"kind": "Config", "spec": {"content": "a: $1\nb\n", "ports": [80, "22:22"], "labels": {}, "mode": "0444"}}
    assert (
        write_documents([value])
        == """\
kind: Config
spec:
  content: |
    a: $$1
    b
  ports:
    - 80
    - '22:22'
  labels: {}
  mode: '0444'
"""
    )


def test_numbers_that_remember_their_spelling_are_written_as_numbers() -> None:
    (value,) = read_back("[0777, 1.10, 0o17]")
    assert write_documents([value]) == "- 777\n- 1.1\n- 15\n"
