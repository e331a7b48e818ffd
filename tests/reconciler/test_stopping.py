"""How a container is stopped: by what it was made from; where nobody knows that any more, by the manifest of now."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from reconciler.desired import Desired, Observed
from reconciler.perform import stopping
from reconciler.perform.context import Context
from runtime.process import client
from runtime.process.records import Phase
from schemas.names import Key, Kind

WEB = Key(Kind.CONTAINER, "web")


@dataclass
class Pass:
    """Of a Context what `stop` looks at, and what it asked for."""

    desired: dict[Key, Desired]
    asked: list[tuple[int, float]] = field(default_factory=list)

    @property
    def engine(self) -> Any:
        return self

    layout = None
    phase = Phase.RUNNING


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Pass:
    fields = {"metadata": {}, "spec": {"image": "x", "stop_signal": "SIGINT", "stop_grace_period": 0.5}}
    made = Pass({WEB: Desired(WEB, fields, {})})
    monkeypatch.setattr(client, "read_process", lambda layout, name: made)
    monkeypatch.setattr(client, "stop", lambda layout, name, number, grace: made.asked.append((number, grace)))
    return made


def test_the_record_of_what_it_was_made_from_says_how(seen: Pass) -> None:
    have = Observed(WEB, {"spec": {"image": "x", "stop_signal": "TERM", "stop_grace_period": 3.0}}, {})
    stopping.stop(cast(Context, seen), "web", have)
    assert seen.asked == [(signal.SIGTERM, 3.0)]


@pytest.mark.parametrize("have", [None, Observed(WEB, None, {})])
def test_where_the_record_is_lost_the_manifest_says_how(seen: Pass, have: Observed | None) -> None:
    stopping.stop(cast(Context, seen), "web", have)
    assert seen.asked == [(signal.SIGINT, 0.5)]


def test_of_what_nobody_declares_any_more_it_is_dockers_way(seen: Pass) -> None:
    seen.desired.clear()
    seen_image = Observed(WEB, None, {})
    stopping.stop(cast(Context, seen), "web", seen_image)
    assert seen.asked == [(signal.SIGTERM, stopping.GRACE_SECONDS)]
