"""Which sources can be followed, how `--source` is read, and what is tried again: the pure parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.daemon.settings import Settings
from reconciler.sources.attempts import NOTHING, Attempt, Memory, Next, Result, decide, parameters_of
from reconciler.sources.files import set_name
from reconciler.sources.followed import Followed, sort_out
from reconciler.sources.git.refs import choose, patterns, read_refs
from reconciler.sources.git.remote import last_name, read_remote
from reconciler.sources.git.tree import Entry, is_path, resolve
from reconciler.sources.setting import read_source
from schemas.errors import Refused
from schemas.source import GitSource, SourceSpec


def source(name: str, by: str = "", **fields: Any) -> Followed:
    return Followed(name, SourceSpec.model_validate({"directory": f"/srv/{name}", **fields}), by)


def test_sources_that_do_not_meet_are_all_followed() -> None:
    chosen, refused = sort_out([source("a"), source("b", depends_on=["a"]), source("c", by="a")])
    assert set(chosen) == {"a", "b", "c"} and not refused


@pytest.mark.parametrize(
    ("sources", "refused", "why"),
    [
        ([source("a"), source("a", by="x")], {"a (/srv/a)"}, "there is another source a"),
        ([source("a"), source("b", set="a")], {"b"}, "has its objects from source a already"),
        ([source("a", by="s", set="s")], {"a"}, "take itself away"),
        ([source("a", depends_on=["a"])], {"a"}, "waits for itself: a -> a"),
        ([source("a", depends_on=["b"]), source("b", depends_on=["a"])], {"a", "b"}, "a -> b -> a"),
        ([source("a", by="b"), source("b", by="a")], {"a", "b"}, "a -> b -> a"),
        ([source("a", depends_on=["b"]), source("b", by="a")], {"a", "b"}, "a -> b -> a"),
    ],
)
def test_sources_that_cannot_go_together_are_refused(sources: list[Followed], refused: set[str], why: str) -> None:
    chosen, found = sort_out([*sources, source("free")])
    assert set(found) == refused
    assert why in next(iter(found.values()))
    assert "free" in chosen


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.lists(st.sampled_from("abcd"), max_size=3)), max_size=4))
def test_what_is_followed_never_waits_in_a_circle(given: list[tuple[str, list[str]]]) -> None:
    chosen, refused = sort_out([source(name, depends_on=needs) for name, needs in given])
    done: set[str] = set()
    for _ in chosen:
        done |= {n for n, s in chosen.items() if all(need in done or need not in chosen for need in s.spec.depends_on)}
    assert done == set(chosen)
    assert set(chosen).isdisjoint(refused)


@pytest.mark.parametrize(
    ("text", "name", "fields"),
    [
        ("https://example.com/team/Shop.git", "shop", {"url": "https://example.com/team/Shop.git"}),
        ("https://example.com/shop#main:deploy/prod", "shop", {"branch": "main", "path": "deploy/prod"}),
        ("git@example.com:team/shop.git#v1", "shop", {"url": "git@example.com:team/shop.git", "branch": "v1"}),
        ("ssh://git@example.com:22/shop#:deploy", "shop", {"path": "deploy", "branch": None}),
        ("file:///srv/shop#" + "a" * 40, "shop", {"commit": "a" * 40}),
        ("file:///srv/shop#semver=>=1.4 <2:deploy", "shop", {"semver": ">=1.4 <2", "path": "deploy"}),
        ("file:///srv/shop#tag=v1.2", "shop", {"tag": "v1.2", "branch": None}),
    ],
)
def test_a_repository_in_one_word(text: str, name: str, fields: dict[str, str]) -> None:
    read = read_source(text, interval=30, prune=False)
    assert read.name == name and not read.spec.prune and read.spec.interval == 30
    for field, value in fields.items():
        assert getattr(read.spec.git, field) == value


def test_a_directory_in_one_word(tmp_path: Path) -> None:
    (tmp_path / "My Shop").mkdir()
    read = read_source(str(tmp_path / "My Shop"))
    assert (read.name, read.spec.directory, read.spec.prune) == ("my-shop", str(tmp_path / "My Shop"), True)


def test_the_set_of_a_directory_is_called_after_its_path_whatever_is_there(tmp_path: Path) -> None:
    (tmp_path / "releases" / "7").mkdir(parents=True)
    (tmp_path / "link").symlink_to("releases/7")
    for path in ("/nowhere/at/all/app", "/nowhere/app/", "/nowhere/else/../app", str(tmp_path / "app")):
        assert read_source(path).set == "app"
    assert read_source(str(tmp_path / "link")).set == set_name([str(tmp_path / "link")]) == "link"


def test_a_source_feeds_the_set_that_an_apply_of_it_names(tmp_path: Path) -> None:
    (tmp_path / "shop/.git").mkdir(parents=True)
    for there in (False, True):
        assert read_source(str(tmp_path / "shop/deploy")).set == "shop"
        (tmp_path / "shop/deploy").mkdir(exist_ok=True)
        assert set_name([str(tmp_path / "shop/deploy")]) == "shop", there


def test_a_source_of_the_command_line_prunes_like_a_declared_one(tmp_path: Path) -> None:
    declared = SourceSpec.model_validate({"directory": str(tmp_path)})
    assert read_source(str(tmp_path)).spec.prune is declared.prune is Settings().prune is True


@pytest.mark.parametrize(
    "text", ["https://u:p@example.com/x", "https://example.com/x#-o", "https:///x", "file:///x#a:../b"]
)
def test_what_git_must_not_be_given_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_source(text)


TRIED = Attempt("one", "p", Result.APPLIED)
FAILED = Attempt("two", "p", Result.REFUSED, "no")
LATE = Attempt("two", "p", Result.TIMED_OUT)


@pytest.mark.parametrize(
    ("memory", "revision", "options", "step"),
    [
        (NOTHING, "one", {}, Next.TRY),
        (NOTHING.after(TRIED), "one", {}, Next.LEAVE),
        (NOTHING.after(TRIED), "one", {"started": True}, Next.TRY),
        (NOTHING.after(TRIED), "one", {"asked": True}, Next.TRY),
        (NOTHING.after(TRIED), "two", {}, Next.TRY),
        (NOTHING.after(FAILED), "two", {}, Next.REMEMBERED),
        (NOTHING.after(FAILED), "two", {"started": True}, Next.REMEMBERED),
        (NOTHING.after(FAILED), "two", {"asked": True}, Next.TRY),
        (NOTHING.after(FAILED), "one", {}, Next.TRY),
        (NOTHING.after(TRIED), "one", {"pinned": True, "started": True}, Next.PINNED),
        (NOTHING.after(TRIED), "one", {"pinned": True, "asked": True}, Next.TRY),
        (NOTHING, "one", {"pinned": True}, Next.PINNED),
        (NOTHING.after(LATE), "two", {}, Next.TRY),
        (NOTHING.after(LATE), "two", {"pinned": True}, Next.PINNED),
    ],
)
def test_a_revision_is_tried_once(memory: Memory, revision: str, options: dict[str, bool], step: Next) -> None:
    assert decide(memory, revision, "p", **options) is step


def test_other_parameters_are_another_attempt() -> None:
    assert decide(NOTHING.after(FAILED), "two", "q") is Next.TRY
    base = source("a")
    assert parameters_of(base.spec, "a") == parameters_of(source("a", interval="5m", suspend=True).spec, "a")
    assert parameters_of(base.spec, "a") != parameters_of(source("a", prune=False).spec, "a")
    assert parameters_of(base.spec, "a") != parameters_of(base.spec, "b")


def test_what_was_applied_stays_known_when_the_next_is_refused() -> None:
    assert NOTHING.after(TRIED).after(FAILED) == Memory(FAILED, TRIED)


@given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=20), st.data())
def test_no_refused_revision_is_tried_twice_in_a_row(offered: list[str], data: st.DataObject) -> None:
    memory, tried = NOTHING, ""
    for revision in offered:
        if decide(memory, revision, "p") is Next.TRY:
            assert revision != tried
            result = data.draw(st.sampled_from(list(Result)))
            memory = memory.after(Attempt(revision, "p", result))
            tried = "" if result is Result.TIMED_OUT else revision


LISTED = (
    f"{'a' * 40}\tHEAD\n{'a' * 40}\trefs/heads/main\n{'b' * 40}\trefs/tags/v1.0.0\n{'c' * 40}\trefs/tags/v1.0.0^{{}}\n"
    f"{'d' * 40}\trefs/tags/v1.1.0\nwarning: something\n"
)


@pytest.mark.parametrize(
    ("fields", "commit"),
    [
        ({}, "a"),
        ({"branch": "main"}, "a"),
        ({"tag": "v1.0.0"}, "c"),
        ({"semver": "1.0.x"}, "c"),
        ({"semver": "*"}, "d"),
    ],
)
def test_refs_are_chosen_and_tags_peeled(fields: dict[str, str], commit: str) -> None:
    git = GitSource.model_validate({"url": "https://example.com/x", **fields})
    assert patterns(git)
    assert choose(git, read_refs(LISTED)).commit == commit * 40


@pytest.mark.parametrize(
    ("url", "shown", "scheme"),
    [
        ("git@example.com:team/shop.git", "ssh://git@example.com/team/shop.git", "ssh"),
        ("/srv/shop", "file:///srv/shop", "file"),
        ("https://me@example.com:8443/shop", "https://example.com:8443/shop", "https"),
        ("https://me:x@[::1]:8443/shop", "https://[::1]:8443/shop", "https"),
    ],
)
def test_remotes_are_shown_without_secrets(url: str, shown: str, scheme: str) -> None:
    remote = read_remote(url)
    assert (str(remote), remote.scheme) == (shown, scheme)
    assert shown.startswith(remote.origin) or remote.user
    assert last_name(url) == "shop"


@pytest.mark.parametrize("path", ["../x", "a/../b", "/etc", ".git/config", "a/.GIT/x", "a\nb", "", "a//b", "."])
def test_names_that_are_no_path_below_are_refused(path: str) -> None:
    assert not is_path(path)
    assert Entry("a/b.yaml", "100644", "x", 1).path


@given(
    st.lists(st.sampled_from(["a", "b", "..", ".", "l", "m"]), min_size=1, max_size=6),
    st.dictionaries(st.sampled_from(["l", "a/m", "b/l"]), st.lists(st.sampled_from(["a", "b", "..", "l"]), min_size=1)),
)
def test_no_link_ever_leads_out(parts: list[str], links: dict[str, list[str]]) -> None:
    end = resolve("/".join(parts), {path: "/".join(target) for path, target in links.items()})
    assert end is None or ".." not in end.split("/")
