"""From a file to the machine: a source's offers applied by the real engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyrage
import pytest

from reconciler.actions import Action
from reconciler.engine import Engine, open_engine
from reconciler.history import going_back
from reconciler.lock import engine_lock
from reconciler.perform import dispatch
from reconciler.perform.context import Context
from reconciler.reconcile import carry_out, prepare
from reconciler.sources import applying
from reconciler.sources.applying import apply_offer
from reconciler.sources.follower import Applied
from reconciler.sources.offer import Offer
from reconciler.sources.roster import Roster, Tell, silent
from reconciler.sources.status import SourceStatus, State
from reconciler.store.attempts import forget_attempts
from reconciler.store.inventory import forget, read_inventory
from reconciler.store.revisions import read_revision, read_revisions
from runtime.layout import Layout
from runtime.volumes.secrets import read_secret_content
from schemas.errors import Refused
from schemas.names import Key, Kind
from tests.sources.following import run
from tests.sources.rosters import config, followed, source_manifest
from tests.sources.sealing import seal

MADE = Path(__file__).parent / "sops_made"
pytestmark = pytest.mark.kernel


@pytest.fixture
def engine(layout: Layout) -> Iterator[Engine]:
    with open_engine(layout) as opened:
        yield opened


def roster_of(engine: Engine, *paths: Path, tell: Tell = silent, **fields: object) -> Roster:
    async def apply(offer: Offer) -> Applied:
        return await asyncio.to_thread(apply_offer, engine, offer, lambda *_: None, parallel=1)

    sources = [followed(path.name, path, **fields) for path in paths]
    return Roster(engine.layout, engine.database, apply, sources, {}, tell)


def content(engine: Engine, name: str, kind: Kind = Kind.CONFIG) -> bytes | None:
    return read_secret_content(engine.layout, kind.value, name)


async def until(roster: Roster, name: str, state: State, message: str = "") -> None:
    try:
        async with asyncio.timeout(20):
            while (status := roster.statuses().get(name)) is None or (
                status.state != state or message not in status.message
            ):
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(roster.statuses()) from None


def test_what_a_directory_says_is_made_and_pruned(engine: Engine, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "a.yaml").write_text(config("a", "one"))
    (shop / "b.yaml").write_text(config("b", "one"))

    async def scenario() -> None:
        roster = roster_of(engine, shop)
        task = asyncio.create_task(roster.run())
        await until(roster, "shop", State.READY, "2 created")
        assert content(engine, "a") == b"one"
        (shop / "a.yaml").write_text(config("a", "two"))
        (shop / "b.yaml").unlink()
        await until(roster, "shop", State.READY, "deleted")
        assert (content(engine, "a"), content(engine, "b")) == (b"two", None)
        (shop / "a.yaml").write_text("kind: [half")
        await until(roster, "shop", State.STALLED, "a.yaml:1:")
        assert content(engine, "a") == b"two"
        (shop / "a.yaml").unlink()
        await until(roster, "shop", State.STALLED, "no manifests")
        assert content(engine, "a") == b"two"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)
    assert [revision.cause.split(" at ")[0] for revision in read_revisions(engine.database, "shop")] == [
        "source shop"
    ] * 2


def test_a_decrypted_secret_is_on_the_tmpfs_and_not_in_the_store(engine: Engine, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "secret.yaml").write_bytes((MADE / "content.yaml").read_bytes())

    async def scenario() -> None:
        roster = roster_of(engine, shop, decrypt={"file": str(MADE / "keys.txt")})
        task = asyncio.create_task(roster.run())
        await until(roster, "shop", State.READY)
        assert content(engine, "db", Kind.SECRET) == 'pass: "wörd" \n two 😀'.encode()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)
    for file in engine.layout.root.rglob("*"):
        assert not file.is_file() or "wörd".encode() not in file.read_bytes(), file
    assert "content" not in read_inventory(engine.database)[Key(Kind.SECRET, "db")].manifest["spec"]


def test_a_source_in_a_source_is_followed_and_its_objects_outlive_it(engine: Engine, tmp_path: Path) -> None:
    boot, shop = tmp_path / "boot", tmp_path / "shop"
    boot.mkdir()
    shop.mkdir()
    (shop / "a.yaml").write_text(config("a"))
    (boot / "shop.yaml").write_text(source_manifest("shop", directory="../shop"))
    (boot / "other.yaml").write_text(config("other"))

    async def scenario() -> None:
        roster = roster_of(engine, boot)
        task = asyncio.create_task(roster.run())
        await until(roster, "shop", State.READY)
        assert read_inventory(engine.database)[Key(Kind.CONFIG, "a")].set == "shop"
        (boot / "shop.yaml").unlink()
        await until(roster, "boot", State.READY, "deleted")
        async with asyncio.timeout(10):
            while "shop" in roster.statuses():
                await asyncio.sleep(0.01)
        assert content(engine, "a") == b"x"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)


def test_an_object_of_another_set_is_refused_with_both_places(engine: Engine, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.mkdir()
    (one / "a.yaml").write_text(config("a"))

    async def scenario() -> None:
        roster = roster_of(engine, one, two)
        task = asyncio.create_task(roster.run())
        await until(roster, "one", State.READY)
        (two / "mine.yaml").write_text(config("a"))
        await until(roster, "two", State.STALLED, f"belongs to the set one ({one}/a.yaml:1)")
        message = roster.statuses()["two"].message
        assert f"{two}/mine.yaml:1:1" in message
        assert "spec.set of the Source is to be one" in message and "--set" not in message
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)


def test_an_apply_that_takes_longer_than_its_timeout_ends_between_two_actions_and_is_gone_on_with(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    for name in "abc":
        (shop / f"{name}.yaml").write_text(config(name, "one"))
    hours: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(hours), time=time.time)
    perform = dispatch.perform

    def slowly(context: Context, action: Action) -> None:
        perform(context, action)
        if not hours:
            hours.append(3600.0)

    monkeypatch.setattr(applying, "time", clock)
    monkeypatch.setattr(dispatch, "perform", slowly)
    monkeypatch.setattr("reconciler.sources.follower.FIRST_PAUSE", 0.05)
    told: list[SourceStatus] = []

    async def scenario() -> None:
        roster = roster_of(engine, shop, tell=told.append, timeout="10m")
        task = asyncio.create_task(roster.run())
        await until(roster, "shop", State.READY, "1 unchanged, 2 created")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)
    (overdue,) = [status for status in told if status.state is State.STALLED]
    assert (overdue.reason, overdue.temporary) == ("TimedOut", True)
    first, done, left, last = overdue.message.splitlines()
    assert first.startswith("was not done within 600 s (timeout): ")
    assert "1 created" in first and "2 skipped" in first
    assert last == "it is gone on with by and by"
    made, others = done.removeprefix("done: "), left.removeprefix("not done: ").split(", ")
    assert sorted([made, *others]) == ["create Config/a", "create Config/b", "create Config/c"]
    assert [content(engine, name) for name in "abc"] == [b"one"] * 3


def sealed_secret(password: str, recipient: object) -> str:
    tree = {
        "apiVersion": "trimtab/v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "spec": {"content": password},
    }
    made = json.loads(seal(tree, recipient, lambda name: name == "content"))
    made["sops"]["encrypted_regex"] = "^content$"
    return json.dumps(made, indent=2)


def go_back(engine: Engine, revision: int) -> None:
    found = read_revision(engine.database, revision)
    assert found is not None
    with engine_lock(engine.layout.lock, 10.0):
        outcomes = carry_out(prepare(engine, going_back(engine.database, found, {})), lambda *_: None, 1)
    assert all(outcome.ok for outcome in outcomes), outcomes


def test_a_rollback_decrypts_what_was_encrypted_then_or_is_refused(engine: Engine, tmp_path: Path) -> None:
    boot, shop, key = tmp_path / "boot", tmp_path / "shop", tmp_path / "age.key"
    boot.mkdir()
    shop.mkdir()
    identity = pyrage.x25519.Identity.generate()
    keys = f"{identity}\n{(MADE / 'keys.txt').read_text()}"
    key.write_text(keys)
    (shop / "token.bin").write_bytes((MADE / "token.bin").read_bytes())
    (shop / "file.yaml").write_text(config("token").replace("content: 'x'", "file: token.bin"))
    (shop / "plain.yaml").write_text(config("plain", "one"))
    (shop / "db.json").write_text(sealed_secret("first-of-all", identity.to_public()))
    (boot / "shop.yaml").write_text(source_manifest("shop", directory="../shop", decrypt={"file": str(key)}))

    async def scenario() -> None:
        roster = roster_of(engine, boot)
        task = asyncio.create_task(roster.run())
        await until(roster, "shop", State.READY)
        assert content(engine, "db", Kind.SECRET) == b"first-of-all"
        for name, text in (("db.json", sealed_secret("second-and-last", identity.to_public())), ("plain.yaml", "")):
            (tmp_path / name).write_text(text or config("plain", "two"))
            (tmp_path / name).rename(shop / name)
        async with asyncio.timeout(20):
            while (content(engine, "db", Kind.SECRET), content(engine, "plain")) != (b"second-and-last", b"two"):
                await asyncio.sleep(0.01)
        await until(roster, "shop", State.READY)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)
    first, *_, last = (revision.id for revision in read_revisions(engine.database, "shop"))
    for revision, password in ((first, b"first-of-all"), (last, b"second-and-last"), (first, b"first-of-all")):
        go_back(engine, revision)
        assert content(engine, "db", Kind.SECRET) == password
        assert content(engine, "token") == "binary\nsecret é\n".encode()
    for file in engine.layout.root.rglob("*"):
        found = file.read_bytes() if file.is_file() else b""
        assert b"first-of-all" not in found and b"second-and-last" not in found, file
    key.unlink()
    with pytest.raises(Refused, match=r"age\.key"):
        go_back(engine, last)
    forget(engine.database, Key(Kind.SOURCE, "shop"))
    forget_attempts(engine.database, "shop")
    with pytest.raises(Refused, match="no Source with its key feeds the set shop any more"):
        go_back(engine, last)
    assert content(engine, "db", Kind.SECRET) == b"first-of-all"
