"""What `trimtab wait --for` understands: as kubectl's users write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from reconciler.cli.awaiting import Wish, read_wish
from reconciler.status import Situation, Status, status_of
from schemas.errors import Refused
from tests.cli.engine import Engine

WELL = status_of(Situation(probed="healthy"), 1.0)
GONE = status_of(Situation(exists=False), 1.0)
ITEM: Mapping[str, Any] = {
    "health": "Healthy",
    "process": {"phase": "running", "pid": 7},
    "usedBy": ["Service/web"],
    "manifest": {"metadata": {"labels": {"app.io/tier": "front"}}},
    "owner": None,
}


@pytest.mark.parametrize(
    ("text", "status", "holds"),
    [
        ("condition=Ready", WELL, True),
        ("condition=ready", WELL, True),
        ("condition=Ready", GONE, False),
        ("condition=Ready=False", GONE, True),
        ("condition=Ready=false", GONE, True),
        ("condition=Healthy", WELL, True),
        ("condition=Healthy=Unknown", GONE, True),
        ("condition=Reconciling", GONE, True),
        ("condition=Reconciling=False", WELL, True),
        ("condition=Stalled", WELL, False),
        ("condition=Stalled=False", WELL, True),
        ("sync=Synced", WELL, True),
        ("sync=OutOfSync", GONE, True),
        ("health=Healthy", WELL, True),
        ("health=missing", GONE, True),
        ("create", WELL, True),
        ("delete", WELL, False),
        ("jsonpath={.health}=Healthy", WELL, True),
        ("jsonpath={.process.phase}=running", WELL, True),
        ("jsonpath={.process.phase}=exited", WELL, False),
        ("jsonpath={.process.pid}=7", WELL, True),
        ("jsonpath={.process.pid}", WELL, True),
        ("jsonpath={.process.exit}", WELL, False),
        ("jsonpath={.owner}", WELL, False),
        ("jsonpath={.usedBy[0]}=Service/web", WELL, True),
        ("jsonpath={.usedBy[1]}", WELL, False),
        ("jsonpath={.manifest.metadata.labels['app.io/tier']}=front", WELL, True),
    ],
)
def test_a_wish_holds_or_not(text: str, status: Status, holds: bool) -> None:
    assert read_wish(text).holds(status, ITEM) is holds


def test_of_what_is_not_there_only_its_deletion_holds() -> None:
    assert read_wish("delete").holds(None)
    assert not any(read_wish(text).holds(None) for text in ("create", "condition=Ready=False", "jsonpath={.a}"))
    assert read_wish("delete") == Wish("delete")


@pytest.mark.parametrize(
    "text",
    ["Ready", "condition=Fine", "condition=Ready=Maybe", "sync=Healthy", "jsonpath=.a", "jsonpath={a}", "delete=1"],
)
def test_what_is_no_wish_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(Refused) as caught:
        read_wish(text)
    assert "jsonpath={.process.phase}=running" in str(caught.value.hint)


@pytest.mark.kernel
def test_what_is_not_there_is_waited_for_and_named_and_its_deletion_is_done(engine: Engine) -> None:
    said = engine.run("wait", "source/nobody", "--timeout", "200ms")
    assert (said.code, said.err.strip()) == (
        1,
        "Source/nobody: not condition=Ready after 0.2 s: there is no Source/nobody",
    )
    assert engine.ok("wait", "source/nobody", "--for", "delete").lines == ["Source/nobody: delete"]
    missing = engine.run("get", "source/nobody")
    assert missing.code == 2 and "nobody" in missing.err
    nothing = engine.run("get", "sources")
    assert (nothing.code, nothing.out) == (0, "")
    assert "No objects" in nothing.err
    status = engine.run("status")
    assert status.code == 2 and "no daemon answers" in status.err
