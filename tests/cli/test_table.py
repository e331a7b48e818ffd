"""Text for terminals: aligned, and harmless whatever it holds."""

from __future__ import annotations

from reconciler.cli.outline import outline
from reconciler.cli.table import printable, shortened, table_lines


def test_columns_are_aligned_and_nothing_is_a_dash() -> None:
    assert list(table_lines(("NAME", "SIZE"), [("a-long-name", ""), ("b", "12 B")])) == [
        "NAME         SIZE",
        "a-long-name  -",
        "b            12 B",
    ]


def test_a_name_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\rc\nd") == "a�[2Jb�c d"


def test_what_is_too_long_ends_with_an_ellipsis() -> None:
    assert (shortened("abcdef", 6), shortened("abcdefg", 6)) == ("abcdef", "abcde…")


def test_an_outline_indents_what_nests_and_leaves_out_what_is_none() -> None:
    value = {
        "a": 1,
        "none": None,
        "empty": {},
        "flag": True,
        "list": ["x", 2],
        "nested": {"b": "c"},
        "many": [{"x": 1, "y": 2}, {"x": 3}],
        "text": "one\ntwo\n",
    }
    assert list(outline(value, 0)) == [
        "a: 1",
        "empty: (none)",
        "flag: yes",
        "list: x, 2",
        "nested:",
        "  b: c",
        "many:",
        "  - x: 1",
        "    y: 2",
        "  - x: 3",
        "text:",
        "  one",
        "  two",
    ]
