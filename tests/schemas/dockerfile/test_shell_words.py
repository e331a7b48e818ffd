"""Variables, quotes and escapes in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dockerfile.shell_pattern import read_pattern, replace, trim_end, trim_start
from schemas.dockerfile.shell_words import Keep, Unexpandable, expand

VARIABLES = {"SET": "/a/b.c.d", "EMPTY": "", "SPACED": "  one  two ", "STAR": "a*b?c", "ÄÖ": "umlaut"}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("plain", "plain"),
        ("$SET", "/a/b.c.d"),
        ("x${SET}y", "x/a/b.c.dy"),
        ("$UNSET.", "."),
        ("$ÄÖ", "umlaut"),
        ("\\$SET", "$SET"),
        ("'$SET'", "$SET"),
        ('"$SET"', "/a/b.c.d"),
        ('"a\\"b"', 'a"b'),
        ('"a\\nb"', "a\\nb"),
        ("'a\\'b", "a\\b"),
        ("a\\", "a"),
        ("a\\\\", "a\\"),
        ("$", "$"),
        ("a$-b", "ab"),
        ("$1x", "x"),
        ("${UNSET:-word}", "word"),
        ("${EMPTY:-word}", "word"),
        ("${EMPTY-word}", ""),
        ("${SET:-word}", "/a/b.c.d"),
        ("${UNSET:-${EMPTY:-deep}}", "deep"),
        ("${UNSET:+word}", ""),
        ("${EMPTY:+word}", ""),
        ("${EMPTY+word}", "word"),
        ("${SET:+word}", "word"),
        ("${SET:?no}", "/a/b.c.d"),
        ("${EMPTY?no}", ""),
        ("${SET#*/}", "a/b.c.d"),
        ("${SET##*/}", "b.c.d"),
        ("${SET%.*}", "/a/b.c"),
        ("${SET%%.*}", "/a/b"),
        ("${SET#x}", "/a/b.c.d"),
        ("${STAR#a\\*}", "b?c"),
        ("${STAR%\\??}", "a*b"),
        ("${SET/./-}", "/a/b-c.d"),
        ("${SET//./-}", "/a/b-c-d"),
        ("${SET//\\//:}", ":a:b.c.d"),
        ("${SET/nothing/x}", "/a/b.c.d"),
        ("${SET///}", "/a/b.c.d"),
        ("a<b", "a<b"),
    ],
)
def test_a_word_is_expanded(word: str, text: str) -> None:
    assert expand(word, VARIABLES).text == text


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("'open", "single quote"),
        ('"open', "double quote"),
        ("${SET", "}"),
        ("${SET:-x", "}"),
        ("${}", "no variable"),
        ("${{x}}", "no variable"),
        ("${:-x}", "no variable"),
        ("${SET:=x}", "no substitution"),
        ("${SET=x}", "no substitution"),
        ("${SET:#x}", "no substitution"),
        ("${.}", "no substitution"),
        ("${UNSET?is needed}", "UNSET: is needed"),
        ("${UNSET?}", "UNSET: is not set"),
        ("${EMPTY:?}", "EMPTY: is empty or not set"),
        ("${SET#\\a}", "no meaning"),
        ("${SET//x}", "is missing"),
        ("${A:-" * 100 + "}" * 100, "nest deeper"),
    ],
)
def test_a_word_that_cannot_be_expanded_says_why(word: str, message: str) -> None:
    with pytest.raises(Unexpandable, match=re.escape(message)):
        expand(word, VARIABLES)


def test_the_escape_character_is_the_one_of_the_file() -> None:
    assert expand("a`$SET\\b", VARIABLES, "`").text == "a$SET\\b"


def test_words_part_at_spaces_of_values_but_not_in_quotes() -> None:
    assert expand("a${SPACED}b", VARIABLES).words == ("a", "one", "two", "b")
    assert expand('a"${SPACED}"b c\\ d', VARIABLES).words == ("a  one  two b", "c d")


def test_names_found_and_not_found_are_told_apart() -> None:
    expansion = expand("$SET ${EMPTY:-$UNSET} '$NOT'", VARIABLES)
    assert (set(expansion.matched), set(expansion.unset)) == ({"SET", "EMPTY"}, {"UNSET"})


def test_what_is_kept_stays_as_written() -> None:
    assert expand("'a' $UNSET \\x", {}, keep=Keep(quotes=True, escapes=True, unset=True)).text == "'a' $UNSET \\x"
    assert expand("'$SET\" \\$SET", VARIABLES, keep=Keep(quotes_are_plain=True)).text == "'/a/b.c.d\" $SET"


def test_a_value_that_doubles_itself_is_stopped() -> None:
    with pytest.raises(Unexpandable, match="grows beyond"):
        expand("$A" * 5000, {"A": "x" * 1000})


words = st.text(st.sampled_from("ab$\\{}:-+?#%/'\"`< \n*é"), max_size=40)


@settings(max_examples=200, deadline=None)
@given(words, st.dictionaries(st.sampled_from(["a", "b", "ab"]), st.text(max_size=8)))
def test_any_text_is_expanded_or_refused(word: str, variables: dict[str, str]) -> None:
    try:
        expansion = expand(word, variables)
    except Unexpandable:
        return
    assert "".join(expansion.words) in expansion.text or expansion.words
    assert not expansion.matched & expansion.unset


@settings(max_examples=200, deadline=None)
@given(st.text("ab*?", max_size=6), st.text("ab\n", max_size=10), st.booleans())
def test_trimming_is_what_a_regular_expression_would_trim(pattern: str, value: str, longest: bool) -> None:
    star = ".*" if longest else ".*?"
    source = "".join({"*": star, "?": "."}.get(char, char) for char in pattern)
    front = re.compile(source).match(value)
    back = re.compile("".join({"*": star, "?": "."}.get(char, char) for char in reversed(pattern))).match(value[::-1])
    tokens = read_pattern(pattern)
    assert trim_start(value, tokens, longest=longest) == value[front.end() if front else 0 :]
    assert trim_end(value, tokens, longest=longest) == value[::-1][back.end() if back else 0 :][::-1]


@settings(max_examples=200, deadline=None)
@given(st.text("ab*?", min_size=1, max_size=5), st.text("ab\n", max_size=10))
def test_replacing_is_what_a_regular_expression_would_replace(pattern: str, value: str) -> None:
    source = "".join({"*": ".*", "?": "."}.get(char, char) for char in pattern)
    once = re.sub(source, "-", value, count=1)
    assert replace(value, read_pattern(pattern), "-", everywhere=False) == once
    if pattern.strip("*"):
        assert replace(value, read_pattern(pattern), "-", everywhere=True) == re.sub(source, "-", value)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    value = "a" * 20_000
    assert expand("${A//*a*a*a*a*a*b/x}${A##*a*a*a*a*b}", {"A": value}).text == value * 2
