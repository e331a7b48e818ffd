"""Environment files, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.env_file import read_env_file, read_raw_env_file
from schemas.errors import Invalid

ENVIRONMENT = {"HOME": "/root", "EMPTY": ""}

FILES = [
    pytest.param("", {}, id="nothing"),
    pytest.param("A=1\nB=two words\n", {"A": "1", "B": "two words"}, id="plain values"),
    pytest.param("  A = 1  \n", {"A": "1"}, id="spaces around everything"),
    pytest.param("A=\nB=''\n", {"A": "", "B": ""}, id="empty values"),
    pytest.param("# A=1\n\n  # B=2\nC=3", {"C": "3"}, id="comments and blank lines, no last line end"),
    pytest.param("A=1 # one\nB=x#y\nC=# none\n", {"A": "1", "B": "x#y", "C": ""}, id="comments after values"),
    pytest.param("A='1 # one' # two\nB=\"#\"# three\n", {"A": "1 # one", "B": "#"}, id="a number sign in quotes"),
    pytest.param("export A=1\nexport\tB=2\nexportC=3\n", {"A": "1", "B": "2", "exportC": "3"}, id="export"),
    pytest.param("A: 1\nB: x=y\nC=x:y\n", {"A": "1", "B": "x=y", "C": "x:y"}, id="colons"),
    pytest.param("A=x=y=\n", {"A": "x=y="}, id="equals signs in the value"),
    pytest.param("A.b-c=1\n", {"A.b-c": "1"}, id="dots and dashes in a name"),
    pytest.param("A='x\ny'\nB=\"x\ny\"\n", {"A": "x\ny", "B": "x\ny"}, id="quotes over several lines"),
    pytest.param('A="x\\ny\\t\\"z\\" \\\\ \\q"\n', {"A": 'x\ny\t"z" \\ \\q'}, id="escapes in double quotes"),
    pytest.param(
        "A='x\\ny'\nB='it\\'s'\n", {"A": "x\\ny", "B": "it's"}, id="no escapes in single quotes but the quote"
    ),
    pytest.param("A=x\\ny\n", {"A": "x\\ny"}, id="no escapes without quotes"),
    pytest.param("A=1\r\nB='2'\r\nC=\"3\"\r\n", {"A": "1", "B": "2", "C": "3"}, id="carriage returns"),
    pytest.param(b"\xef\xbb\xbfA=\xc3\xa9\n", {"A": "é"}, id="bytes with a byte order mark"),
    pytest.param("HOME\nMISSING\n", {"HOME": "/root"}, id="names without a value are taken from the environment"),
    pytest.param("A=$HOME\nB=${A}/b\n", {"A": "/root", "B": "/root/b"}, id="variables from above and around"),
    pytest.param("HOME=/h\nA=$HOME\n", {"HOME": "/h", "A": "/h"}, id="the file goes before the environment"),
    pytest.param("A=\"$HOME\"\nB='$HOME'\n", {"A": "/root", "B": "$HOME"}, id="variables in quotes"),
    pytest.param('A="\\$HOME ${EMPTY:-x}"\n', {"A": "$HOME x"}, id="an escaped dollar sign, and a default"),
    pytest.param("A=1\nA=2\n", {"A": "2"}, id="the last of two counts"),
]


@pytest.mark.parametrize(("text", "variables"), FILES)
def test_an_environment_file_sets(text: str | bytes, variables: dict[str, str]) -> None:
    assert read_env_file("a.env", text, ENVIRONMENT) == variables


REFUSED = [
    pytest.param("A=1\n  -x\n", ["a.env:2:3: is no NAME=value"], id="a line that is no assignment"),
    pytest.param("two words=1\n", ["a.env:1:1: is no NAME=value"], id="a name with a space"),
    pytest.param("A='x\nB=1\n", ["a.env:1:3: the quote is not closed; close it with '"], id="an open quote"),
    pytest.param("A='x'y\n", ["a.env:1:6: text follows the closing quote"], id="text after the quote"),
    pytest.param("A=$X\n=1\nB=${Y:?why}\n", ["a.env:1:3", "a.env:2:1", "a.env:3:3"], id="several problems at once"),
    pytest.param("A=p$word\n", ["put the text in single quotes"], id="a password with a dollar sign"),
    pytest.param(b"A=\xff\n", ["a.env:1:3: is not UTF-8"], id="bytes that are not UTF-8"),
    pytest.param("A=\x00\n", ["a.env:1:3: holds the character U+0000"], id="a NUL"),
]


@pytest.mark.parametrize(("text", "problems"), REFUSED)
def test_it_is_refused_with_its_place(text: str | bytes, problems: list[str]) -> None:
    with pytest.raises(Invalid) as refusal:
        read_env_file("a.env", text, {})
    assert len(refusal.value.problems) == len(problems)
    for found, wanted in zip(refusal.value.problems, problems, strict=True):
        assert wanted in str(found)


RAW = [
    pytest.param("A='1' # x\nB=\"$HOME\"\n", {"A": "'1' # x", "B": '"$HOME"'}, id="quotes, comments and dollars stay"),
    pytest.param("A= 1 \n# B=2\n\n  # x\nC=", {"A": " 1 ", "C": ""}, id="spaces stay, comment lines go"),
    pytest.param("A=x=y\r\nHOME\nMISSING\n", {"A": "x=y", "HOME": "/root"}, id="names without a value"),
    pytest.param("A-b.c=1\n", {"A-b.c": "1"}, id="any name without spaces"),
]


@pytest.mark.parametrize(("text", "variables"), RAW)
def test_a_raw_file_is_taken_as_it_is(text: str, variables: dict[str, str]) -> None:
    assert read_raw_env_file("a.env", text, ENVIRONMENT) == variables


def test_a_raw_file_of_no_assignments_is_refused_line_by_line() -> None:
    with pytest.raises(Invalid) as refusal:
        read_raw_env_file("a.env", "A=1\nexport B=2\n=3\n", {})
    assert [str(problem).split(";")[0] for problem in refusal.value.problems] == [
        "a.env:2:1: is no NAME=value",
        "a.env:3:1: is no NAME=value",
    ]


names = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
printable = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))
pieces = st.sampled_from(["A", "=", ":", "'", '"', "\\", "#", " ", "\n", "\r", "$", "${", "}", "export ", "\x00"])


@given(st.lists(pieces, max_size=30).map("".join) | st.text() | st.binary())
def test_any_text_is_read_or_refused_with_places_inside_it(text: str | bytes) -> None:
    for read in (read_env_file, read_raw_env_file):
        try:
            read("a.env", text, {"A": "x"})
        except Invalid as refusal:
            decoded = text if isinstance(text, str) else text.decode(errors="replace")
            lines = decoded.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            for problem in refusal.problems:
                assert 1 <= problem.place.column <= len(lines[problem.place.line - 1]) + 1


@given(st.dictionaries(names, printable))
def test_what_single_quotes_hold_is_read_as_it_is(variables: dict[str, str]) -> None:
    kept = {name: value.replace("'", "").replace("\\", "") for name, value in variables.items()}
    text = "".join(f"{name}='{value}'\n" for name, value in kept.items())
    assert read_env_file("a.env", text, {}) == kept
    assert read_raw_env_file("a.env", text, {}) == {name: f"'{value}'" for name, value in kept.items()}
