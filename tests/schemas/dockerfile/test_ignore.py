"""Ignore files: what is left out, what need not be entered, and how fast."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dockerfile.ignore import Ignore, ignore_files, read_ignore
from schemas.errors import Invalid


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        (["a"], "a", True),
        (["a"], "a/b/c", True),
        (["a"], "b/a", False),
        (["/a"], "a", True),
        (["./a/"], "a", True),
        (["a/../b"], "b", True),
        (["*"], "a/b", True),
        (["*.py"], "a.py", True),
        (["*.py"], "a/b.py", False),
        (["*/*.py"], "a/b.py", True),
        (["**/*.py"], "a.py", True),
        (["**/*.py"], "a/b/c.py", True),
        (["a/**"], "a", False),
        (["a/**"], "a/b/c", True),
        (["a/**/b"], "a/b", True),
        (["a/**/b"], "a/x/y/b", True),
        (["a/**/**/b"], "a/b", True),
        (["**/a"], "x/a", True),
        (["**/a"], "xa", False),
        (["**a"], "xa", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["a*b*c"], "aXbYbZc", True),
        (["a*b*c"], "aXbY/c", False),
        (["[a-c]x"], "bx", True),
        (["[^a-c]x"], "bx", False),
        (["[^a-c]x"], "dx", True),
        (["a\\[b"], "a[b", True),
        (["\\*"], "*", True),
        (["\\*"], "x", False),
        (["a.b+(c)"], "a.b+(c)", True),
        (["a.b"], "axb", False),
        (["a", "!a/b"], "a/b", False),
        (["a", "!a/b"], "a/c", True),
        (["a", "!a/b", "a/b/c"], "a/b/c", True),
        (["a/b", "!a"], "a/b", False),
        (["!a", "a"], "a", True),
        (["*", "!*.md", "secret.md"], "readme.md", False),
        (["*", "!*.md", "secret.md"], "secret.md", True),
        (["a "], "a", True),
        (["! a", "b"], "b", True),
        (["**"], ".", False),
        (["a"], "./a/", True),
        (["ä*"], "äö", True),
    ],
)
def test_the_last_pattern_that_matches_decides(patterns: list[str], path: str, ignored: bool) -> None:
    assert Ignore(patterns).matches(path) is ignored


@pytest.mark.parametrize(
    ("patterns", "directory", "pruned"),
    [
        (["a"], "a", True),
        (["a"], "b", False),
        (["a"], "a/b", True),
        (["a", "!a/b"], "a", False),
        (["a", "!a/b"], "a/c", True),
        (["a", "!b"], "a", True),
        (["a", "!a/*/c"], "a", False),
        (["a", "!a/*/c"], "a/x", False),
        (["a", "!a/*/c"], "a/x/y", True),
        (["a", "!**/keep"], "a", False),
        (["a", "!*.md"], "a", True),
        (["!a/b", "a"], "a", True),
        (["a/**"], "a", False),
        (["a/**"], "a/b", True),
    ],
)
def test_a_directory_is_pruned_when_nothing_below_it_is_kept(patterns: list[str], directory: str, pruned: bool) -> None:
    assert Ignore(patterns).prunes(directory) is pruned


def test_an_ignore_file_has_comments_and_empty_lines() -> None:
    ignore = read_ignore("\ufeff# comment\n\n  a  \r\n/b/\n!b/c\n # not a comment\n", ".dockerignore")
    texts = [("!" if pattern.keeps else "") + pattern.text for pattern in ignore.patterns]
    assert texts == ["a", "b", "!b/c", "# not a comment"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("!", "! stands alone"),
        ("a[", "is not closed"),
        ("a[b-", "is not closed"),
        ("a[]", "write \\]"),
        ("a[-b]", "write \\-"),
        ("a*\\", "ends in a backslash"),
    ],
)
def test_a_pattern_that_is_not_whole_is_told_with_its_line(line: str, message: str) -> None:
    with pytest.raises(Invalid, match=re.escape(message)) as caught:
        read_ignore(f"ok\n{line}\n", ".dockerignore")
    assert str(caught.value.problems[0].place) == ".dockerignore:2:1"


def test_a_dockerfile_may_have_an_ignore_file_of_its_own() -> None:
    assert ignore_files("docker/web.Dockerfile") == ("docker/web.Dockerfile.dockerignore", ".dockerignore")


def test_twenty_thousand_files_take_a_fraction_of_a_second() -> None:
    paths = [f"src/package{at // 100}/part{at // 10 % 10}/file{at}.py" for at in range(20_000)]
    patterns = [".git", "**/node_modules", "**/*.pyc", "**/__pycache__", "dist/*", "!dist/keep", "docs/**/build"]
    ignore = Ignore([*patterns, "*.log", "**/.cache", "**/*~"])
    begin = time.process_time()
    assert sum(map(ignore.matches, paths)) == 0
    assert time.process_time() - begin < 1


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    ignore = Ignore(["*a" * 20 + "b", "**/x*/" * 6 + "y"])
    begin = time.process_time()
    assert not ignore.matches("a" * 200)
    assert not ignore.matches("/".join(["x"] * 20))
    assert time.process_time() - begin < 1


def naive(pattern: str, path: str) -> bool:
    """What a pattern matches, by its definition: tried in every way, one character after the other."""
    if pattern.startswith("**") and not set(pattern[2:]) & set("*?"):
        end = pattern[2:]
        return path.endswith(end) or (end.startswith("/") and path == end[1:])
    return _naive(pattern, path)


def _naive(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern[3:] if pattern.startswith("**/") else pattern[2:]
        ends = [0, *(at + 1 for at, char in enumerate(path) if char == "/")]
        return not rest or any(_naive(rest, path[end:]) for end in ends)
    if pattern[0] == "*":
        length = len(path.split("/")[0])
        return any(_naive(pattern[1:], path[at:]) for at in range(length + 1))
    if not path or (pattern[0] != path[0] and not (pattern[0] == "?" and path[0] != "/")):
        return False
    return _naive(pattern[1:], path[1:])


def naive_ignores(patterns: list[str], path: str) -> bool:
    parts = path.split("/")
    above = ["/".join(parts[: at + 1]) for at in range(len(parts))]
    ignored = False
    for pattern in patterns:
        if any(naive(pattern.removeprefix("!"), each) for each in above):
            ignored = not pattern.startswith("!")
    return ignored


parts = st.text("ab", min_size=1, max_size=3)
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
pattern_parts = st.sampled_from(["**", "*", "a", "b", "a*", "*b", "?", "a?", "a*b*", "**a", "b**", "a**b"])
bare = st.lists(pattern_parts, min_size=1, max_size=3).map("/".join)
patterns_ = st.builds("{}{}".format, st.sampled_from(["", "", "!"]), bare)


@settings(max_examples=200, deadline=None)
@given(st.lists(patterns_, max_size=5), st.lists(paths, max_size=5))
def test_matching_is_what_trying_every_way_would_find(patterns: list[str], tried: list[str]) -> None:
    ignore = Ignore(patterns)
    for path in tried:
        assert ignore.matches(path) is naive_ignores(patterns, path), path


@settings(max_examples=200, deadline=None)
@given(st.lists(patterns_, max_size=5), paths, paths)
def test_nothing_below_a_pruned_directory_is_kept(patterns: list[str], directory: str, below: str) -> None:
    ignore = Ignore(patterns)
    if ignore.prunes(directory):
        assert ignore.matches(directory)
        assert ignore.matches(f"{directory}/{below}")


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab*?[]\\!^-/. #\n"), max_size=20), st.text("ab/*[]\\.", max_size=10))
def test_any_text_is_an_ignore_file_or_refused(text: str, path: str) -> None:
    try:
        ignore = read_ignore(text, "f")
    except Invalid as error:
        assert error.problems
        return
    assert ignore.matches(path) in (True, False)
    assert ignore.prunes(path) in (True, False)
