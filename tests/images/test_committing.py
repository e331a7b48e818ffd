"""`Image.spec.commit`: an image of a container's changes, by manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.images.documents import read_document
from runtime.images.store import layer_directories, read_image
from schemas.errors import Invalid
from tests.machine.machine import Machine, told
from tests.machine.probe import document, own_machine

pytestmark = pytest.mark.kernel

WORK = {"image": "busybox", "network_mode": "none", "stop_grace_period": "0s"}


@pytest.fixture(scope="module")
def machine(busybox_tree: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as made:
        yield made


def text(machine: Machine, **commit: object) -> str:
    spec = {"container": "work", "author": "Ann", "message": "one", "changes": ['CMD ["cat", "/made"]'], **commit}
    return machine.image + document("Container", "work", **WORK) + document("Image", "filled", commit=spec)


def made(machine: Machine) -> str:
    record = read_image(machine.layout, "filled")
    assert record is not None
    return next(
        (top / "made").read_text() for top in layer_directories(machine.layout, record) if (top / "made").exists()
    )


def test_it_is_committed_after_its_container_and_once_for_each_wish(machine: Machine) -> None:
    machine.converge(machine.image + document("Container", "work", **WORK))
    machine.inside("work", "sh", "-c", "echo first > /made")
    machine.converge(text(machine))
    first = read_image(machine.layout, "filled")
    assert first is not None and made(machine) == "first\n"
    assert first.config.cmd == ("cat", "/made") and first.config.env == ("PATH=/bin",)
    config = read_document((machine.layout.blobs / "sha256" / first.config_digest.split(":")[1]).read_bytes(), "config")
    line = config.children("history")[-1]
    assert (line.text("author"), line.text("comment")) == ("Ann", "one")

    machine.inside("work", "sh", "-c", "echo second > /made")
    assert machine.diff(text(machine)).empty
    machine.converge(text(machine, message="two"))
    assert made(machine) == "second\n"
    machine.converge(text(machine, message="two", pause=False))
    assert made(machine) == "second\n"


def test_a_whole_set_is_committed_in_one_apply_and_runs_what_was_committed(machine: Machine) -> None:
    machine.delete()
    user = document("Container", "user", **{**WORK, "image": "filled", "command": ["sleep", "2147483647"]})
    machine.converge(text(machine, changes=["ENV MADE=here"]) + user)
    assert "MADE=here" in machine.inside("user", "sh", "-c", "tr '\\0' '\\n' < /proc/1/environ")
    machine.delete()
    assert read_image(machine.layout, "filled") is None


def test_what_was_committed_and_is_lost_is_committed_again(machine: Machine) -> None:
    machine.converge(machine.image + document("Container", "work", **WORK))
    machine.inside("work", "sh", "-c", "echo third > /made")
    machine.converge(text(machine))
    record = read_image(machine.layout, "filled")
    assert record is not None
    (machine.layout.blobs / "sha256" / record.blobs[-1].digest.split(":")[1]).unlink()
    (said,) = told(machine.diff(text(machine)))
    assert "Image/filled update: drift: content" in said
    machine.converge(text(machine))
    assert made(machine) == "third\n"
    machine.delete()


def test_a_container_of_the_image_that_is_made_of_it_is_refused(machine: Machine) -> None:
    work = document("Container", "work", **{**WORK, "image": "filled"})
    with pytest.raises(Invalid) as refused:
        machine.diff(machine.image + work + document("Image", "filled", commit={"container": "work"}))
    assert "waits for itself: Container/work -> Image/filled -> Container/work" in str(refused.value)


def test_a_container_that_is_not_there_and_an_instruction_that_is_none_are_refused(machine: Machine) -> None:
    with pytest.raises(Invalid) as refused:
        machine.diff(document("Image", "filled", commit={"container": "nobody"}))
    assert "there is no Container nobody" in str(refused.value)
    outcomes = machine.apply(text(machine, changes=["RUN true"]))
    (failed,) = [each for each in outcomes if not each.ok]
    assert "cannot be a change of a commit" in str(failed.error)
    machine.delete()
