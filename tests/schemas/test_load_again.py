"""Loading again gives what loading gives, and reads no unchanged text twice."""

from __future__ import annotations

import pytest

from schemas.errors import Invalid
from schemas.load import Text, load, read_text
from schemas.load_again import LoadAgain


def volume(name: str, spec: str = "{}") -> str:
    return f"apiVersion: trimtab/v1\nkind: Volume\nmetadata: {{name: {name}}}\nspec: {spec}\n"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the texts that were really read."""
    names: list[str] = []

    def noted(models, source, environment):  # type: ignore[no-untyped-def]
        names.append(source.name)
        return read_text(models, source, environment)

    monkeypatch.setattr("schemas.load_again.read_text", noted)
    return names


def test_only_changed_texts_are_read_again(read: list[str]) -> None:
    again = LoadAgain()
    sources = [Text("a", volume("a")), Text("b", volume("b"))]
    assert again.load(sources, {}) == again.load(sources, {}) == load(sources, {})
    assert read == ["a", "b"]
    changed = [sources[0], Text("b", volume("c"))]
    assert again.load(changed, {}) == load(changed, {})
    assert read == ["a", "b", "b"]


def test_a_text_that_left_is_forgotten(read: list[str]) -> None:
    again = LoadAgain()
    again.load([Text("a", volume("a"))], {})
    assert again.load([], {}) == ()
    again.load([Text("a", volume("a"))], {})
    assert read == ["a", "a"]


def test_another_environment_reads_everything_again(read: list[str]) -> None:
    again = LoadAgain()
    source = [Text("a", volume("a", "{labels: {v: '${V}'}}"))]
    assert again.load(source, {"V": "1"}) != again.load(source, {"V": "2"})
    assert read == ["a", "a"]


def test_problems_are_told_every_time() -> None:
    again = LoadAgain()
    for _ in range(2):
        with pytest.raises(Invalid, match="did you mean size"):
            again.load([Text("a", volume("a", "{siz: 1m}"))], {})


def test_the_origin_is_that_of_each_call() -> None:
    again = LoadAgain()
    source = [Text("a", volume("a"))]
    assert [again.load(source, {}, commit=commit)[0].origin.commit for commit in ("one", "two")] == ["one", "two"]
