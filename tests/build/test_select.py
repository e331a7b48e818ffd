"""Which files a COPY takes, and the digest of just those."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.build.select import Entry, Kind, Listing, MissingSource, Taken, digest, select


def tree(*paths: str, **links: str) -> Listing:
    """Files at the paths, whose content is their name; the directories above them; links by name."""
    entries = {path: Entry(Kind.FILE, 0o644, path) for path in paths}
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts)):
            entries["/".join(parts[:end])] = Entry(Kind.DIRECTORY, 0o755)
    return Listing(entries | {name: Entry(Kind.SYMLINK, 0o777, target) for name, target in links.items()})


TREE = tree(
    "a.txt", "b.txt", "c.md", "d/a.txt", "d/e/f.md", "d/e/g.txt", "h/i", link="d/e", loop="loop", out="/../a.txt"
)


def names(selection: tuple[Taken, ...]) -> list[str]:
    return [name for taken in selection for name, _ in taken.members]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a.txt"], ["a.txt"]),
        (["d"], ["a.txt", "e", "e/f.md", "e/g.txt"]),
        (["d/e"], ["f.md", "g.txt"]),
        (["*.txt"], ["a.txt", "b.txt"]),
        (["**/*.txt"], ["a.txt"]),
        (["d/*"], ["a.txt", "f.md", "g.txt"]),
        (["?.md", "a.txt"], ["c.md", "a.txt"]),
        (["[ab].txt"], ["a.txt", "b.txt"]),
        (["nothing*"], []),
        (["link"], ["f.md", "g.txt"]),
        (["link/f.md"], ["f.md"]),
        (["out"], ["out"]),
    ],
)
def test_a_source_takes_a_file_or_what_is_in_a_directory(paths: list[str], found: list[str]) -> None:
    assert names(select(TREE, paths)) == found


def test_the_top_takes_everything() -> None:
    assert names(select(TREE, ["."])) == TREE.names


def test_a_link_is_followed_to_a_source_and_kept_inside_it() -> None:
    (taken,) = select(TREE, ["out"])
    assert (taken.is_directory, taken.members) == (False, (("out", "a.txt"),))
    (everything,) = select(TREE, ["."])
    assert ("link", "link") in everything.members


@pytest.mark.parametrize(
    ("path", "message"),
    [("x/y", "x/y is not there"), ("loop", "loop is not there"), ("d/a.tx", "did you mean d/a.txt")],
)
def test_a_source_that_is_not_there_is_told(path: str, message: str) -> None:
    with pytest.raises(MissingSource, match=message):
        select(TREE, [path])


@pytest.mark.parametrize(
    ("paths", "exclude", "found"),
    [
        (["."], ["**/*.txt", "*.md", "link", "loop", "out", "h"], ["d", "d/e", "d/e/f.md"]),
        (["d"], ["e"], ["a.txt"]),
        (["d"], ["e", "!e/f.md"], ["a.txt", "e/f.md"]),
        (["*.txt"], ["a*"], ["b.txt"]),
        (["a.txt"], ["*.txt"], []),
    ],
)
def test_what_is_excluded_is_not_taken(paths: list[str], exclude: list[str], found: list[str]) -> None:
    assert names(select(TREE, paths, exclude)) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("d/e/f.md", ["d", "d/e", "d/e/f.md"]),
        ("d/./e/f.md", ["e", "e/f.md"]),
        ("./d/e", ["d", "d/e", "d/e/f.md", "d/e/g.txt"]),
        ("d/**/*.txt", ["d", "d/a.txt", "d/e", "d/e/g.txt"]),
        ("**/*.md", ["c.md", "d", "d/e", "d/e/f.md"]),
        ("d/./**", ["a.txt", "e", "e/f.md", "e/g.txt"]),
        ("link/./f.md", ["f.md"]),
    ],
)
def test_with_parents_the_directories_above_come_along(path: str, found: list[str]) -> None:
    assert names(select(TREE, [path], parents=True)) == found


def test_with_parents_a_path_that_is_not_there_is_told() -> None:
    with pytest.raises(MissingSource, match="d/x is not there"):
        select(TREE, ["d/x"], parents=True)


def test_the_digest_knows_what_is_taken_and_nothing_else() -> None:
    before = digest(TREE, select(TREE, ["d"]))
    others = Listing(TREE.entries | {"new": Entry(Kind.FILE, 0o600, "x"), "a.txt": Entry(Kind.FILE, 0o600, "y")})
    assert digest(others, select(others, ["d"])) == before
    for changed in (
        replace(TREE.entries["d/e/f.md"], content="other"),
        replace(TREE.entries["d/e/f.md"], mode=0o755),
        replace(TREE.entries["d/e/f.md"], uid=1),
    ):
        listing = Listing(TREE.entries | {"d/e/f.md": changed})
        assert digest(listing, select(listing, ["d"])) != before


def test_a_renamed_directory_with_the_same_files_is_the_same_input() -> None:
    one, other = tree("x/a", "x/b/c"), tree("y/a", "y/b/c")
    renamed = Listing(
        {path: replace(entry, content=entry.content.replace("y/", "x/")) for path, entry in other.entries.items()}
    )
    assert digest(one, select(one, ["x"])) == digest(renamed, select(renamed, ["y"]))


parts = st.sampled_from(["a", "b", "a.b", "ab"])
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


@settings(max_examples=100, deadline=None)
@given(st.sets(paths, min_size=1, max_size=8), paths)
def test_a_directory_has_what_begins_with_its_name_and_a_slash(files: set[str], path: str) -> None:
    whole = {file for file in files if not any(other.startswith(f"{file}/") for other in files)}
    listing = tree(*whole)
    below = [name for name in listing.names if name.startswith(f"{path}/")]
    if path not in listing.entries:
        with pytest.raises(MissingSource):
            select(listing, [path])
    elif path in whole:
        assert names(select(listing, [path])) == [path.rpartition("/")[2]]
    else:
        assert names(select(listing, [path])) == [name[len(path) + 1 :] for name in below]


def test_twenty_thousand_files_are_selected_in_a_fraction_of_a_second() -> None:
    listing = tree(*(f"src/p{at // 100}/f{at}.py" for at in range(20_000)))
    begin = time.process_time()
    selection = select(listing, ["."], ["**/*.pyc", "**/test_*"])
    digest(listing, selection)
    assert time.process_time() - begin < 2
    assert len(selection[0].members) == 20_201
