"""Clients that follow: many, greedy, or asleep. They have a share of their own, and give back what they held."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.feed import Feed
from reconciler.api.problems import TooMany
from reconciler.api.shares import Shares, Use
from reconciler.daemon.worker import VISITORS, Worker
from reconciler.engine import open_engine
from schemas.errors import RetryLater
from tests.api.conftest import Asking, Connection
from tests.api.followers import follow, followers, held, until
from tests.cli.conftest import shop_manifest
from tests.cli.engine import making_engine
from tests.daemon.running import daemon

pytestmark = pytest.mark.kernel

PATIENCE = 1
MOST = 440
POOL = 48 + 1 + 1 + 12
"""Threads for what is done in a moment, by the settings below: they come when they are needed, and stay."""
FLOOD = """\
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: flood}
spec: {image: busybox, command: [sh, -c, "seq 1 200000; sleep 100000"], deploy: {replicas: 2}, stop_grace_period: 0s,
  network_mode: none}
"""
EXTRA = """\
apiVersion: trimtab/v1
kind: Config
metadata: {name: extra}
spec: {content: one}
"""


@pytest.fixture(scope="module")
def narrow(busybox_tree: Path) -> Iterator[Asking]:
    """A daemon that gives its followers 440 places and one second."""
    with making_engine() as engine:
        engine.write("shop.yaml", shop_manifest(busybox_tree) + FLOOD)
        engine.ok("-H", "none", "apply", "--set", "shop", "shop.yaml")
        given = {"FOLLOWERS": MOST, "PATIENCE": PATIENCE, "PASSES": 1, "PROBES": 1}
        engine.environment |= {f"TRIMTAB_DAEMON_{name}": str(value) for name, value in given.items()}
        with daemon(engine) as served:
            yield Asking(served)
            assert '"fault"' not in served.running.so_far().err, served.running.so_far().err[-4000:]


def apply(api: Asking, content: str = "one") -> None:
    body = {"manifests": [{"name": "extra.yaml", "text": EXTRA.replace("one", content)}], "set": "extra"}
    api.ask("POST", "/v1/apply", body)


def test_two_hundred_followers_lock_nobody_out_and_leave_nothing(narrow: Asking) -> None:
    apply(narrow)
    narrow.engine.ok("get")
    before = held(narrow)
    events, logs = "/v1/events?follow=true", "/v1/containers/db/logs?follow=true"
    with followers(narrow, events, "/v1/watch", events, logs, count=200) as statuses:
        assert statuses == [200] * 200
        assert narrow.ask("GET", "/v1/health")["status"] == "ok"
        assert narrow.raw("GET", "/metrics")[0] == 200
        assert narrow.ask("GET", "/v1/objects")["items"]
        assert narrow.engine.ok("get", "-o", "name").lines
        narrow.engine.write("extra.yaml", EXTRA.replace("one", "two"))
        narrow.engine.ok("apply", "--set", "extra", "extra.yaml")
        apply(narrow, "three")
        assert held(narrow).threads - before.threads < 50 + POOL + 20, "only logs are followed by threads"
    until(lambda: held(narrow).descriptors <= before.descriptors)
    with followers(narrow, logs, count=150):
        assert held(narrow).threads >= before.threads + 150
    until(lambda: held(narrow).threads <= before.threads + POOL)
    until(lambda: held(narrow).descriptors <= before.descriptors)


def test_a_greedy_client_is_told_to_come_later_and_others_are_served(narrow: Asking) -> None:
    with followers(narrow, "/v1/watch", count=MOST // 2) as statuses:
        assert statuses == [200] * (MOST // 2)
        connection = Connection(narrow.daemon.socket)
        connection.request("GET", "/v1/events?follow=true")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Retry-After")) == (429, "1")
        connection.close()
        problem = narrow.problem("GET", "/v1/watch", status=429)
        assert problem["detail"] == f"root follows {MOST // 2} streams already" and problem["hint"]
        said = narrow.engine.run("logs", "-f", "db")
        assert said.code == 1 and "follows" in said.err
        assert narrow.ask("GET", "/v1/health")["status"] == "ok"
        assert narrow.engine.ok("get", "-o", "name").lines
        apply(narrow, "four")
    with followers(narrow, "/v1/watch", count=1) as statuses:
        assert statuses == [200]


def test_one_that_never_reads_while_a_container_floods_its_log_is_given_up(narrow: Asking) -> None:
    assert narrow.ask("GET", "/v1/health")["status"] == "ok"
    before = held(narrow)
    asleep = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(16)]
    try:
        for number, channel in enumerate(asleep):
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            channel.connect(str(narrow.daemon.socket))
            name = "flood" if number % 2 else "flood-1"
            channel.sendall(f"GET /v1/containers/{name}/logs?follow=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert narrow.ask("GET", "/v1/health")["status"] == "ok"
        assert narrow.engine.ok("get", "-o", "name").lines
        # their ends of the connections are still open, and nobody read a byte
        until(lambda: given_up(asleep))
        until(lambda: held(narrow).descriptors <= before.descriptors and held(narrow).threads <= before.threads + 12)
        assert held(narrow).memory - before.memory < 100 << 20
    finally:
        for channel in asleep:
            channel.close()


def given_up(channels: list[socket.socket]) -> bool:
    """Whether the daemon has ended all of the connections; reads nothing."""
    poll = select.poll()
    for channel in channels:
        poll.register(channel, 0)
    return sum(bool(event & select.POLLHUP) for _, event in poll.poll(0)) == len(channels)


def hear(
    api: Asking, path: str, enough: Callable[[list[dict[str, Any]]], bool], meanwhile: Callable[[], object]
) -> Any:
    """What a follower is told from before `meanwhile` until it is enough."""
    connection = Connection(api.daemon.socket)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    told: list[dict[str, Any]] = []

    def listen() -> None:
        while not enough(told):
            if line := answer.readline().strip():
                told.append(json.loads(line))

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    meanwhile()
    listening.join(60)
    assert not listening.is_alive(), told
    connection.close()
    return told


def test_events_are_told_while_they_happen_after_those_before(narrow: Asking) -> None:
    apply(narrow, "five")

    def happen() -> None:
        apply(narrow, "six")
        narrow.engine.ok("-H", "none", "delete", "--set", "extra")

    def enough(told: list[dict[str, Any]]) -> bool:
        return bool(told) and told[-1]["reason"] == "Deleted"

    path = "/v1/events?follow=true&object=config/extra&last=1"
    told = hear(narrow, path, enough, happen)
    assert {event["object"] for event in told} == {"Config/extra"}
    reasons = [event["reason"] for event in told]
    assert reasons[0] in ("Created", "Updated", "Replaced") and reasons[-1] == "Deleted" and len(reasons) >= 3
    shown = narrow.raw("GET", "/v1/events?object=config/extra")[2].splitlines()
    assert told == [json.loads(line) for line in shown][-len(told) :], "none was left out, none came twice"
    apply(narrow)


def test_lines_of_a_log_are_told_while_they_are_written(narrow: Asking) -> None:
    def write() -> None:
        narrow.engine.ok("exec", "db", "sh", "-c", "echo first >/proc/1/fd/1; echo second >/proc/1/fd/2")

    def enough(told: list[dict[str, Any]]) -> bool:
        return {"first", "second"} <= {line["text"] for line in told}

    told = hear(narrow, "/v1/containers/db/logs?follow=true&tail=0", enough, write)
    assert [(line["container"], line["text"]) for line in told if line["stream"] == "stdout"] == [("db", "first")]
    assert [line["text"] for line in told if line["stream"] == "stderr"] == ["second"]


def test_what_is_no_longer_kept_or_not_yet_there_cannot_be_watched(narrow: Asking) -> None:
    apply(narrow, "seven")
    newest = narrow.ask("GET", "/v1/objects")["resourceVersion"]
    assert newest > 1
    assert "yet" in narrow.problem("GET", f"/v1/watch?resourceVersion={newest + 1000}", status=410)["detail"]
    with open_engine(narrow.engine.layout) as engine, engine.database.begin() as store:
        store.execute("DELETE FROM changes WHERE id < ?", (newest,))
    problem = narrow.problem("GET", "/v1/watch?resourceVersion=0", status=410)
    assert problem["hint"] == "list the objects again" and "no longer kept" in problem["detail"]
    status, connection = follow(narrow, f"/v1/watch?resourceVersion={newest}")
    connection.close()
    assert status == 200


def test_a_look_at_the_store_that_failed_is_no_answer_to_the_next() -> None:
    answers: list[list[int] | Exception] = [RetryLater("the store is locked", step="read"), [8]]

    def read(after: int) -> list[int]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def work() -> None:
        feed = Feed(Worker(2), lambda: 8, read)
        with pytest.raises(RetryLater):
            await feed.after(7, 10)
        assert await feed.after(7, 10) == [8]

    asyncio.run(work())


def test_each_use_has_its_share() -> None:
    shares = Shares(lambda: False, followers=4)
    with ExitStack() as stack:
        for client in ("ann", "ann", "bob", "bob"):
            stack.enter_context(shares.taken(Use.FOLLOW, client))
        with pytest.raises(TooMany, match="ann follows 2 streams already"), shares.taken(Use.FOLLOW, "ann"):
            pass
        with pytest.raises(RetryLater, match="4 streams are followed"), shares.taken(Use.FOLLOW, "eve"):
            pass
        for _ in range(VISITORS):
            stack.enter_context(shares.taken(Use.READ, "ann"))
        with pytest.raises(RetryLater, match="calls that read"), shares.taken(Use.READ, "eve"):
            pass
        stack.enter_context(shares.taken(Use.WRITE, "eve"))
        stack.enter_context(shares.taken(Use.ALWAYS, "eve"))
    assert shares[Use.FOLLOW] == shares[Use.READ] == shares[Use.WRITE] == 0
    with pytest.raises(RetryLater, match="stopping"), Shares(lambda: True).taken(Use.READ, "ann"):
        pass
    with Shares(lambda: True).taken(Use.ALWAYS, "ann"):
        pass
