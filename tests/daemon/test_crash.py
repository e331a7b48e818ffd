"""The daemon dies, is upgraded, comes back: names, balancing, published ports and logs never notice."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.network.dns.process import read_dns
from runtime.process.client import read_process
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon
from tests.daemon.test_following import source
from tests.daemon.test_life import SOLO, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def shop(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as engine:
        engine.write("shop.yaml", shop_manifest(busybox_tree))
        yield engine


def answers_at(port: int) -> bool:
    """Whether a web server answers behind a published port of this host."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as channel:
            channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return channel.recv(100).startswith(b"HTTP/1.")
    except OSError:
        return False


def pids(engine: Engine) -> dict[str, int]:
    found = {name: read_process(engine.layout, name) for name in ("db", "web-1", "web-2")}
    return {name: process.pid for name, process in found.items() if process is not None and process.phase.can_exec}


def works(engine: Engine) -> None:
    """Everything that a container's users see."""
    assert answers_at(8080)
    assert engine.run("-H", "none", "exec", "db", "nslookup", "web").code == 0
    assert read_dns(engine.layout).alive
    engine.ok("-H", "none", "exec", "db", "sh", "-c", "echo more > /proc/1/fd/1")
    wait_until(lambda: "more" in engine.ok("-H", "none", "logs", "-n", "1", "db").out)


def test_nothing_that_containers_have_is_the_daemons(shop: Engine) -> None:
    with daemon(shop) as first:
        shop.ok("apply", "--set", "shop", "shop.yaml")
        wait_until(lambda: answers_at(8080))
        before = pids(shop)
        assert set(before) == {"db", "web-1", "web-2"}
        works(shop)
        first.end(signal.SIGKILL)
    works(shop)
    with daemon(shop) as second:
        works(shop)
        assert shop.ok("diff", "--set", "shop", "shop.yaml").code == 0
        second.end(signal.SIGTERM)
    works(shop)
    assert pids(shop) == before


def test_a_daemon_ends_soon_though_somebody_follows(shop: Engine) -> None:
    with daemon(shop) as served:
        shop.ok("apply", "--set", "shop", "shop.yaml")
        followers = [shop.start("logs", "-f", "db"), shop.start("events", "-f")]
        served.wait_log('"apply"')
        wait_until(lambda: "hello" in followers[0].so_far().out and "Created" in followers[1].so_far().out)
        began = time.monotonic()
        assert served.end().code == 0
        assert time.monotonic() - began < 10
        for follower in followers:
            assert follower.wait(20).code == 1 or follower.process.returncode == 0


def git(*words: str, cwd: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_git_branch_is_followed_and_its_commits_are_in_history(shop: Engine, busybox_tree: Path) -> None:
    repository = shop.base / "repo"
    deploy = repository / "deploy"
    deploy.mkdir(parents=True)
    git("init", "-q", "-b", "main", cwd=repository)
    (deploy / "shop.yaml").write_text(shop_manifest(busybox_tree).partition("---")[0] + SOLO)
    git("add", ".", cwd=repository)
    git("commit", "-qm", "first", cwd=repository)
    settings = shop.write("daemon.yaml", f"log: json\npoll: 1\nsource: ['file://{repository}#main:deploy']\n")
    with daemon(shop, "--config", settings) as served:
        source(served, "Ready", subject="first")
        assert read_process(shop.layout, "solo") is not None
        (deploy / "shop.yaml").write_text(shop_manifest(busybox_tree).partition("---")[0] + SOLO.replace("solo", "duo"))
        git("commit", "-qam", "second", cwd=repository)
        commit = git("rev-parse", "--short=7", "HEAD", cwd=repository)
        found = source(served, "Ready", subject="second")
        assert found["commit"].startswith(commit)
        wait_until(lambda: commit in shop.ok("history").out)
        why = json.loads(shop.ok("why", "container/duo", "-o", "json").out)
        assert why["origin"]["commit"].startswith(commit)
        assert (why["origin"]["file"], why["set"]) == ("deploy/shop.yaml", "repo")
        at = f"asked for it at deploy/shop.yaml:{why['origin']['line']}"
        assert any(commit in each["text"] and at in each["text"] for each in why["chain"])
        (deploy / "shop.yaml").write_text("kind: nonsense\n")
        git("commit", "-qam", "third", cwd=repository)
        assert source(served, "Stalled", subject="third")["problems"]
        assert read_process(shop.layout, "duo") is not None
