"""What a monitor forgets for its engine when the container has ended, and when it runs the hooks of that moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.process import client
from runtime.process.farewell import ANNOTATION, bid, farewell
from tests.process.bundles import specification
from tests.process.conftest import Box
from tests.process.test_birth import until


def records(base: Path) -> Path:
    """Records of `one` and of another, in two directories; and a file that is no directory."""
    for directory in ("a", "b"):
        (base / "records" / directory).mkdir(parents=True)
        for name in ("one", "other"):
            (base / "records" / directory / name).write_text("{}")
    (base / "records" / "file").write_text("")
    return base / "records"


def words(base: Path, token: str = "1") -> str:
    return farewell(str(base / "records"), "one", str(base / "mark"), (str(base / "incarnation"), token))


def left(base: Path) -> list[str]:
    return sorted(path.name for path in base.glob("*/*"))


def test_every_record_of_the_name_is_forgotten_and_no_other(tmp_path: Path) -> None:
    found = records(tmp_path)
    (tmp_path / "incarnation").write_text("1")
    bid(words(tmp_path))
    assert left(found) == ["other", "other"]


def test_a_late_farewell_leaves_the_records_of_the_next_incarnation_alone(tmp_path: Path) -> None:
    found = records(tmp_path)
    (tmp_path / "incarnation").write_text("2")
    bid(words(tmp_path))
    assert left(found) == ["one", "one", "other", "other"]


def test_hooks_are_called_for_by_the_mark_alone(tmp_path: Path) -> None:
    assert not bid(words(tmp_path))
    (tmp_path / "mark").touch()
    assert bid(words(tmp_path))


def test_without_an_annotation_hooks_run_as_ever() -> None:
    assert bid("")


@pytest.mark.kernel
@pytest.mark.parametrize("marked", [False, True])
def test_a_monitor_bids_farewell_when_its_container_has_ended(box: Box, tmp_path: Path, marked: bool) -> None:
    found = records(tmp_path)
    if marked:
        (tmp_path / "mark").touch()
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"touch {tmp_path}/hooked"]}
    box.write(
        "one", {**specification("true"), "hooks": {"poststop": [hook]}, "annotations": {ANNOTATION: words(tmp_path)}}
    )
    client.create(box.layout, "one")
    assert left(found) == ["one", "one", "other", "other"]
    client.start(box.layout, "one")
    client.wait(box.layout, "one", 10)
    client.delete(box.layout, "one")
    assert left(found) == ["other", "other"]
    # a deletion does not wait for hooks: a successor may be in a hurry
    until(lambda: (tmp_path / "hooked").exists() or not marked)
    assert (tmp_path / "hooked").exists() is marked
