"""What a daemon may be told, and what of it is refused: the pure part."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.daemon.run import loop_settings
from reconciler.daemon.settings import read_settings, settings_text
from schemas.errors import Refused


def test_what_may_be_done_at_once_reaches_the_loop_and_is_printed() -> None:
    settings = read_settings({"passes": 7, "probes": 3, "parallel": 2})
    found = loop_settings(settings)
    assert (found.passes, found.probes, found.parallel) == (7, 3, 2)
    printed = settings_text(settings)
    assert "passes: 7" in printed and "probes: 3" in printed and "parallel: 2" in printed


@pytest.mark.parametrize(("written", "word"), [("off", "off"), ("on", "on"), ('"off"', "off")])
def test_on_and_off_are_words_in_the_file(tmp_path: Path, written: str, word: str) -> None:
    file = tmp_path / "daemon.yaml"
    file.write_text(f"self_heal: {written}\n")
    assert loop_settings(read_settings({}, file)).self_heal == word


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "daemon.yaml"
    settings = read_settings({"self_heal": "window", "window": "Mon-Fri 02:00-04:30", "source": ("/srv/shop",)})
    file.write_text(settings_text(settings))
    assert read_settings({}, file).model_dump() == settings.model_dump()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"window": "noon"}, "is no window"),
        ({"self_heal": "window"}, "has no window"),
        ({"self_heal": "maybe"}, "self_heal"),
        ({"passes": 0}, "passes"),
    ],
)
def test_a_setting_that_nobody_understands_is_refused(given: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why):
        read_settings(given)
