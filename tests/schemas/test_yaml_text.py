"""Reading YAML: what each spelling means, what is refused, and that the places are right."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest

from schemas.errors import Place
from schemas.source_text import MAX_BYTES
from schemas.yaml_text import MAX_ALIASED, MAX_DEPTH, Document, find_spot, read_documents


def keep(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return text, ()


def read(text: str | bytes) -> list[Document]:
    documents, problems = read_documents("a.yaml", text, keep)
    assert problems == []
    assert all(document.problems == () for document in documents)
    return documents


def value_of(text: str) -> Any:
    (document,) = read(text)
    return document.value


def refusal_of(text: str | bytes) -> str:
    """All problems of a text, as a person sees them."""
    documents, problems = read_documents("a.yaml", text, keep)
    found = [problem for document in documents for problem in document.problems] + problems
    assert found, "nothing was refused"
    return "\n".join(str(problem) for problem in found)


SCALARS = [
    ("no", "no"),
    ("off", "off"),
    ("yes", "yes"),
    ("on", "on"),
    ("y", "y"),
    ("true", True),
    ("False", False),
    ("tRUE", "tRUE"),
    ("~", None),
    ("null", None),
    ("", None),
    ("12:30", "12:30"),
    ("22:22", "22:22"),
    ("190:20:30", "190:20:30"),
    ("2024-01-01", "2024-01-01"),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b11", "0b11"),
    ("0777", 777),
    ("-5", -5),
    ("+5", 5),
    ("1_000", "1_000"),
    ("1.5", 1.5),
    (".5", 0.5),
    ("5.", 5.0),
    ("1e3", 1000.0),
    ("-.inf", float("-inf")),
    ("1.25.3", "1.25.3"),
    (".", "."),
    ("-", "-"),
    ("=", "="),
    ("<<", "<<"),
    ("9" * 101, "9" * 101),
    ("'1'", "1"),
    ('"true"', "true"),
    ("!!str 1", "1"),
    ("!!int 1", 1),
    ("! 1", "1"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[text[:12] or "nothing" for text, _ in SCALARS])
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    found = value_of(f"[{text}, end]" if text not in ("", "-") else f"- {text}\n- end" if not text else f"a: '{text}'")
    found = found["a"] if text == "-" else found[0]
    assert found == value
    assert isinstance(found, type(value))
    assert not isinstance(found, date)


@pytest.mark.parametrize("text", ["1.10", "0777", "0o17", "1e3", "+5", ".5", "0x1F", "1_0.5"])
def test_a_number_remembers_how_it_was_written(text: str) -> None:
    assert str(value_of(f"a: {text}")["a"]) == text


TEXTS = [
    pytest.param("", [], id="nothing at all"),
    pytest.param("# only a comment\n", [], id="a comment"),
    pytest.param("---\n", [None], id="an empty document"),
    pytest.param("--- a\n--- b\n...\n", ["a", "b"], id="two documents"),
    pytest.param('{"a": {"b": [1, "\\/", null]}}', [{"a": {"b": [1, "/", None]}}], id="JSON"),
    pytest.param('{\n\t"a": 1,\n\t"b": [\n\t\t2\n\t]\n}\n', [{"a": 1, "b": [2]}], id="JSON indented with tabs"),
    pytest.param('{"a": "\\ud83d\\ude00"}', [{"a": "\U0001f600"}], id="JSON with a surrogate pair"),
    pytest.param('["\\\\ud83d\\\\ude00"]', [["\\ud83d\\ude00"]], id="JSON with a backslash before a u"),
    pytest.param("\ufeffa: 1", [{"a": 1}], id="a byte order mark"),
    pytest.param(b"\xef\xbb\xbfa: \xc3\xa9", [{"a": "é"}], id="bytes in UTF-8 with a mark"),
    pytest.param("a: 1\r\nb: 2\r\n", [{"a": 1, "b": 2}], id="carriage returns"),
    pytest.param("no: 1\non: 2\n", [{"no": 1, "on": 2}], id="keys that YAML 1.1 reads as booleans"),
    pytest.param("a: &x [1]\nb: *x\n", [{"a": [1], "b": [1]}], id="an alias"),
    pytest.param("&k a: 1\nb: *k\n", [{"a": 1, "b": "a"}], id="an alias of a key"),
    pytest.param(
        "a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", [{"a": {"p": 1, "q": 2}, "b": {"q": 3, "p": 1}}], id="a merge"
    ),
    pytest.param("b:\n  q: 3\n  <<: {p: 1, q: 2}\n", [{"b": {"q": 3, "p": 1}}], id="a merge after the key that wins"),
    pytest.param("<<: [{a: 1}, {a: 2, b: 2}]\n", [{"a": 1, "b": 2}], id="a merge of a list: the first wins"),
    pytest.param('"<<": {a: 1}\n', [{"<<": {"a": 1}}], id="a quoted << is a key like any other"),
    pytest.param("a: !!map {b: 1}\n", [{"a": {"b": 1}}], id="a standard tag"),
]


@pytest.mark.parametrize(("text", "values"), TEXTS)
def test_a_text_holds(text: str | bytes, values: list[object]) -> None:
    assert [document.value for document in read(text)] == values


REFUSED = [
    pytest.param("a: 1\nb: 2\na: 3\n", "a.yaml:3:1 a: the key a was already given at a.yaml:1:1", id="a duplicate key"),
    pytest.param(
        "kind: A\nkind: B\n",
        "was already given at a.yaml:1:1; where another object begins, write a line `---` before it",
        id="a next document without its line",
    ),
    pytest.param('a: 1\n"a": 3\n', "a.yaml:2:1 a: the key a was already given", id="a duplicate in another spelling"),
    pytest.param("x:\n- {a: 1, a: 2}\n", "a.yaml:2:10 x[0].a: the key a was already", id="a duplicate deep inside"),
    pytest.param("<<: {a: 1}\n<<: {b: 1}\n", "a.yaml:2:1", id="two merges in one mapping"),
    pytest.param("a: b\n\tc: 1\n", "a.yaml:2:1: is indented with a tab; indent with spaces", id="a tab in a scalar"),
    pytest.param(
        '{"a": 1 "b": 2}',
        "a.yaml:1:12: did not find expected ',' or '}'; write the `,` that is missing before it",
        id="JSON without a comma",
    ),
    pytest.param(
        '{"a": [1 2}',
        "write the `,` that is missing before it, or close the list with `]`",
        id="JSON with open bracket",
    ),
    pytest.param('{"a": 1, , }', "a.yaml:1:10: did not find expected node content; write", id="JSON with two commas"),
    pytest.param("80: a\n", 'a.yaml:1:1: the key 80 is not text; quote it: "80"', id="a number as a key"),
    pytest.param("true: a\n", "the key true is not text", id="a boolean as a key"),
    pytest.param("~: a\n", "the key ~ is not text", id="null as a key"),
    pytest.param("? \n: a\n", "the key null is not text", id="no key"),
    pytest.param(": a\n", "a.yaml:1:1: did not find expected key", id="a colon and no key"),
    pytest.param("? [a]\n: b\n", "a.yaml:1:3: a key is a list", id="a list as a key"),
    pytest.param("a: &x b\n*x : c\n", "a.yaml:2:1: a key is a list, a mapping or an alias", id="an alias as a key"),
    pytest.param("a:\n\t- b\n", "a.yaml:2:1: is indented with a tab; indent with spaces", id="a tab"),
    pytest.param(
        "a: @b\n", "a.yaml:1:4: a plain value cannot begin with '@'; put the value in quotes", id="an at sign"
    ),
    pytest.param("a: b: c\n", "a.yaml:1:5: mapping values are not allowed", id="a colon in a value"),
    pytest.param("a: 'x\n", "a.yaml:2:1: found unexpected end of stream", id="an open quote"),
    pytest.param("a: [1, 2\n", "a.yaml:2:1: did not find expected ',' or ']'", id="an open list"),
    pytest.param("- a\n- b\n c: 1\n", "a.yaml:3:3: mapping values are not allowed", id="ragged indentation"),
    pytest.param("%FOO\n---\n", "a.yaml:1:", id="an unknown directive"),
    pytest.param('a: "\\q"\n', "unknown escape character", id="an unknown escape"),
    pytest.param("a: !Ref x\n", "a.yaml:1:4 a: the tag !Ref is not known here; remove the tag", id="a custom tag"),
    pytest.param("a: !!python/object/apply:os.system [x]\n", "the tag !!python/object/apply:os.system", id="Python"),
    pytest.param("a: !!binary aGk=\n", "the tag !!binary", id="binary"),
    pytest.param("!!set {a: , b: }\n", "the tag !!set", id="a set"),
    pytest.param("a: !!int x\n", "'x' is not what its tag says", id="text tagged as a number"),
    pytest.param("a: !!map [1]\n", "the tag !!map", id="a list tagged as a mapping"),
    pytest.param("a: *x\n", "a.yaml:1:4 a: the alias *x has no anchor before it", id="an unknown alias"),
    pytest.param("--- &x a\n--- *x\n", "has no anchor before it", id="an anchor of another document"),
    pytest.param("a: &x [*x]\n", "a.yaml:1:8: the alias *x stands inside what it names", id="a recursive alias"),
    pytest.param("a: {<<: 1}\n", "a.yaml:1:5", id="a merge of a number"),
    pytest.param("a: {<<: }\n", "`<<` merges mappings only", id="a merge of nothing"),
    pytest.param("a: \x00\n", "a.yaml:1:4: holds the character U+0000", id="a NUL"),
    pytest.param("a: b\nc: \x1b\n", "a.yaml:2:4: holds the character U+001B", id="an escape character"),
    pytest.param("a: b\nc: d\u2028\n", "a.yaml:2:5: holds the character U+2028", id="a line end of YAML 1.1 alone"),
    pytest.param("a: \ud800\n", "a.yaml:1:4: holds the character U+D800", id="half of a surrogate pair"),
    pytest.param(b"a: 1\nb: \xff\n", "a.yaml:2:4: is not UTF-8; save the file as UTF-8", id="a byte that is not UTF-8"),
    pytest.param("a: 1".encode("utf-16"), "a.yaml:1:1: is UTF-16; save the file as UTF-8", id="UTF-16"),
    pytest.param("[" * 70, f"is nested more than {MAX_DEPTH} levels deep", id="deep nesting"),
    pytest.param("- " * 100_000, "levels deep", id="nesting that would exhaust the stack"),
    pytest.param("{" * 100_000, "levels deep", id="flow nesting that would exhaust the stack"),
    pytest.param(
        "a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 70)),
        "a.yaml:64:12: is nested more than 64 levels deep",
        id="deep nesting by way of aliases",
    ),
    pytest.param("#" * (MAX_BYTES + 1), "a.yaml:1:1: is larger than 4 MiB", id="a huge text"),
]


def test_a_text_may_be_as_deep_as_allowed() -> None:
    deep = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert read(f"a: &a {deep}\nb: *a\nc: *a\n")


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_it_is_refused_with_place_and_remedy(text: str | bytes, problem: str) -> None:
    assert problem in refusal_of(text)


def test_billions_of_laughs_are_refused_quickly() -> None:
    lines = ["a0: &a0 [ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    before = time.perf_counter()
    assert f"aliases add more than {MAX_ALIASED:,} values" in refusal_of("\n".join(lines))
    assert time.perf_counter() - before < 1


def test_all_that_does_not_end_the_parse_is_reported_at_once() -> None:
    problems = refusal_of("a: 1\na: 2\nb: !x 1\n---\n80: 1\n---\n'")
    assert [line.split()[0].rstrip(":") for line in problems.splitlines()] == [
        "a.yaml:2:1",
        "a.yaml:3:4",
        "a.yaml:5:1",
        "a.yaml:7:2",
    ]


PLACES = """\
web:
  ports: [80, 443]
  env:
    - A
    -   - B
base: &base {x: 1,
  y: 2}
copy:
  <<: *base
  z: *base
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        pytest.param((), 1, 1, id="the root"),
        pytest.param(("web", "ports"), 2, 3, id="a key"),
        pytest.param(("web", "ports", 1), 2, 15, id="an item in flow style"),
        pytest.param(("web", "env", 0), 4, 7, id="an item in block style"),
        pytest.param(("web", "env", 1, 0), 5, 11, id="an item of an item"),
        pytest.param(("base", "y"), 7, 3, id="a key in flow style on the next line"),
        pytest.param(("copy", "y"), 7, 3, id="a merged key: where it was written"),
        pytest.param(("copy", "z"), 10, 3, id="a key whose value is an alias"),
        pytest.param(("copy", "z", "x"), 6, 14, id="below an alias: where it was written"),
        pytest.param(("web", "nothing", 3), 1, 1, id="what is not there: its nearest parent"),
    ],
)
def test_the_place_of(path: tuple[str | int, ...], line: int, column: int) -> None:
    (document,) = read(PLACES)
    found = find_spot(document.spot, path)
    assert Place("a.yaml", found[0] + 1, found[1] + 1) == Place("a.yaml", line, column)


def test_variables_are_replaced_in_values_and_not_in_keys() -> None:
    seen: list[str] = []

    def shout(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        seen.append(text)
        return text.upper(), (("is loud", "whisper"),) if "!" in text else ()

    documents, _ = read_documents("a.yaml", "$a: [$b, '$c!', plain]\n", shout)
    assert documents[0].value == {"$a": ["$B", "$C!", "plain"]}
    assert seen == ["$b", "$c!"]
    assert [str(problem) for problem in documents[0].problems] == ['a.yaml:1:10 ["$a"][1]: is loud; whisper']


def test_variables_cannot_blow_up_the_text() -> None:
    documents, problems = read_documents("a.yaml", "[" + "$a, " * 20 + "]", lambda text: ("x" * 2**20, ()))
    assert documents == []
    assert "variables make the text larger" in problems[0].message
