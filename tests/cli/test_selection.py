"""Which objects a command line means, and what was meant where there is none."""

from __future__ import annotations

import pytest

from reconciler.cli.selection import EVERYTHING, Labels, Selection, in_order, read_selection, select
from schemas.errors import Refused
from schemas.kind_words import find_kind
from schemas.names import Key, Kind

WEB, DB = Key(Kind.CONTAINER, "web"), Key(Kind.CONTAINER, "db")
DATA = Key(Kind.VOLUME, "data")


@pytest.mark.parametrize("word", ["container", "Container", "CONTAINERS", "containers"])
def test_a_kind_is_read_in_any_case_singular_or_plural(word: str) -> None:
    assert find_kind(word) is Kind.CONTAINER


@pytest.mark.parametrize("words", [[], ["all"], ["container", "all"]])
def test_nothing_and_all_mean_everything(words: list[str]) -> None:
    assert read_selection(words) == EVERYTHING


def test_kinds_and_objects_may_be_mixed_and_joined_by_commas() -> None:
    assert read_selection(["volumes,container/web", "volume"]) == Selection((Kind.VOLUME,), (WEB,))


def test_selected_objects_stand_by_kind_and_name() -> None:
    assert select(read_selection(["volume", "container"]), {DATA, WEB, DB}) == [DB, WEB, DATA]


def test_numbers_in_names_are_ordered_by_their_value() -> None:
    names = ["web-10", "web-2", "web", "2", "10"]
    keys = sorted((Key(Kind.CONTAINER, name) for name in names), key=in_order)
    assert [key.name for key in keys] == ["2", "10", "web", "web-2", "web-10"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [("container/webb", "did you mean Container/web?"), ("image/data", "did you mean Volume/data?")],
)
def test_an_unknown_object_is_refused_with_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(Refused) as refused:
        select(read_selection([word]), {DATA, WEB, DB})
    assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("words", "labels", "matches"),
    [
        (["app=shop"], {"app": "shop"}, True),
        (["app=shop"], {"app": "other"}, False),
        (["app"], {"app": ""}, True),
        (["app"], {}, False),
        (["app=shop,tier=db"], {"app": "shop"}, False),
        (["a=b=c"], {"a": "b=c"}, True),
        ([], {}, True),
    ],
)
def test_labels_match_when_all_are_there(words: list[str], labels: dict[str, str], matches: bool) -> None:
    assert Labels.read(words).match(labels) is matches
