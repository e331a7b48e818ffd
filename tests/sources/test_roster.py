"""Sources from settings and from manifests: what is tried, what is remembered, what waits, what is refused."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.sources.follower import Applied
from reconciler.sources.sops import read_keys
from reconciler.sources.status import State
from reconciler.sources.watched import WatchedDirectory
from reconciler.store.inventory import read_inventory
from reconciler.store.pins import Pin, read_pin, write_pin
from schemas.errors import Refused, RetryLater
from schemas.names import Key, Kind
from tests.sources.following import run
from tests.sources.repositories import Repository
from tests.sources.rosters import Stage, config, followed, message_of, running, source_manifest, state_of

MADE = Path(__file__).parent / "sops_made"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "shop"
    made.mkdir()
    (made / "a.yaml").write_text(config("a"))
    return made


def test_a_directory_is_applied_at_once_and_at_each_edit(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory)]) as roster:
            offer = await stage.offered(1)
            assert (offer.set, offer.prune, [str(item.key) for item in offer.declared]) == ("shop", True, ["Config/a"])
            assert offer.declared[0].origin.set == "shop"
            await stage.until(lambda: state_of(roster, "shop") is State.READY)
            written = time.monotonic()
            (directory / "a.yaml").write_text(config("a", "$TAG"))
            assert (await stage.offered(2)).declared[0].spec.content == "1"  # type: ignore[attr-defined]
            assert time.monotonic() - written < 0.3  # 100 ms on a quiet machine
            await stage.quiet(2)

    run(scenario)


def test_a_revision_that_is_not_valid_changes_nothing_and_says_file_and_line(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.offered(1)
            (directory / "b.yaml").write_text(config("b").replace("content", "contend"))
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            status = roster.statuses()["shop"]
            assert str(status.problems[0].place).startswith(f"{directory}/b.yaml:4:")
            assert "contend" in status.message and status.applied == stage.offers[0].revision.short
            (directory / "b.yaml").write_text("a: [half")
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED and "contend" not in message_of(roster))
            assert "b.yaml:1:" in message_of(roster)
            await stage.quiet(1)
            (directory / "b.yaml").write_text(config("b"))
            assert len((await stage.offered(2)).declared) == 2

    run(scenario)


def test_a_refused_revision_is_tried_once_until_another_or_a_retry(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.outcomes["shop"] = Refused("the port is taken", object="Container/web")
        async with running(stage, [followed("shop", directory, interval="1s")]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            assert "the port is taken" in roster.statuses()["shop"].message
            assert roster.fetch_now("shop")
            await stage.quiet(1, 1.5)
            assert roster.retry("shop")
            assert (await stage.offered(2)).asked
            await stage.quiet(2)
            del stage.outcomes["shop"]
            (directory / "a.yaml").write_text(config("a", "y"))
            await stage.offered(3)
            await stage.until(lambda: state_of(roster, "shop") is State.READY)
        # what is remembered outlives the daemon
        stage.outcomes["shop"] = Refused("again")
        (directory / "a.yaml").write_text(config("a", "z"))
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
        assert len(stage.offers) == 4
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            assert roster.statuses()["shop"].message == "again"
            await stage.quiet(4)
        # other parameters are another attempt
        async with running(stage, [followed("shop", directory, prune=False)]):
            assert not (await stage.offered(5)).prune

    run(scenario)


def test_what_is_not_valid_is_told_with_its_line_by_the_next_daemon_too(directory: Path, tmp_path: Path) -> None:
    (directory / "b.yaml").write_text(config("b").replace("content", "contend"))

    async def scenario() -> None:
        stage = Stage(tmp_path)
        for _ in range(2):
            async with running(stage, [followed("shop", directory)]) as roster:
                await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
                status = roster.statuses()["shop"]
                assert (status.reason, status.temporary) == ("Invalid", False)
                assert str(status.problems[0].place).startswith(f"{directory}/b.yaml:4:")
                await stage.quiet(0)

    run(scenario)


def test_a_file_that_a_refused_revision_points_at_makes_it_another(directory: Path, tmp_path: Path) -> None:
    (directory / "web.yaml").write_text(
        "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: web}\nspec: {image: a, env_file: app.env}\n"
    )

    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.outcomes["shop"] = Refused("no file app.env")
        for _ in range(2):
            async with running(stage, [followed("shop", directory)]) as roster:
                await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
                await stage.quiet(1)
        async with running(stage, [followed("shop", directory, timeout="9s")]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            await stage.quiet(1)
            (directory / "app.env").write_text("A=1")
            await stage.offered(2)
            await stage.quiet(2)

    run(scenario)


def test_a_source_that_breaks_is_begun_anew(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sources.follower.FIRST_PAUSE", 0.05)
    real, times = WatchedDirectory._look, iter((True, True, False))

    def look(self: WatchedDirectory, watch: Any) -> Any:
        if next(times, False):
            raise ZeroDivisionError("a defect")
        return real(self, watch)

    monkeypatch.setattr(WatchedDirectory, "_look", look)

    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory)]):
            await stage.offered(1)
        assert any("ZeroDivisionError" in status.message for status in stage.statuses)

    run(scenario)


def test_an_apply_whose_actions_failed_is_not_begun_again_by_the_source(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.outcomes["shop"] = Applied(False, "1 failed")
        async with running(stage, [followed("shop", directory, interval="1s")]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            assert roster.statuses()["shop"].message == "1 failed"
            await stage.quiet(1, 1.5)

    run(scenario)


def test_what_may_heal_is_tried_again(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sources.follower.FIRST_PAUSE", 0.05)

    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.outcomes["shop"] = RetryLater("another trimtab holds the engine")
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.offered(3)
            assert roster.statuses()["shop"].temporary
            del stage.outcomes["shop"]
            await stage.until(lambda: state_of(roster, "shop") is State.READY)

    run(scenario)


def test_a_defect_ends_no_source(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sources.follower.FIRST_PAUSE", 0.05)

    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.outcomes["shop"] = ZeroDivisionError("a defect")
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.offered(2)
            assert "ZeroDivisionError" in roster.statuses()["shop"].message
            del stage.outcomes["shop"]
            await stage.until(lambda: state_of(roster, "shop") is State.READY)

    run(scenario)


def test_a_vanished_source_prunes_nothing(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.offered(1)
            directory.rename(tmp_path / "away")
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            await stage.quiet(1)
            (tmp_path / "away").rename(directory)
            await stage.until(lambda: state_of(roster, "shop") is State.READY)
            await stage.quiet(1)

    run(scenario)


def test_the_daemon_begins_by_applying_what_was_applied(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        for count in (1, 2):
            async with running(stage, [followed("shop", directory)]) as roster:
                await stage.offered(count)
                await stage.until(lambda: state_of(roster, "shop") is State.READY)

    run(scenario)


def test_a_source_object_is_followed_changed_suspended_and_ended(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage) as roster:
            stage.declare("boot", source_manifest("site", directory=str(directory), set="shop"))
            roster.refresh()
            assert (await stage.offered(1)).set == "shop"
            stage.declare("boot", source_manifest("site", directory=str(directory), set="shop", suspend=True))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "site") is State.SUSPENDED)
            (directory / "a.yaml").write_text(config("a", "y"))
            await stage.quiet(1)
            stage.declare("boot", source_manifest("site", directory=str(directory), set="shop"))
            roster.refresh()
            await stage.offered(2)
            stage.declare("boot", config("other"))
            roster.refresh()
            async with asyncio.timeout(5):
                while roster.statuses():
                    await asyncio.sleep(0.01)
            (directory / "a.yaml").write_text(config("a", "z"))
            await stage.quiet(2)

    run(scenario)


def test_a_source_that_cannot_be_read_any_more_stops_no_other(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        stage.declare("boot", source_manifest("old", directory="/nowhere"))
        with stage.database.begin() as connection:
            connection.execute("UPDATE inventory SET manifest = replace(manifest, 'directory', 'folder')")
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.offered(1)
            assert "is not valid any more" in message_of(roster, "old")

    run(scenario)


def test_an_inventory_that_cannot_be_read_is_read_again(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.sources.roster.PAUSE", 0.05)
    outcomes = iter([ZeroDivisionError("a defect"), RetryLater("the disk is full")])

    def read(*arguments: Any) -> Any:
        for error in outcomes:
            raise error
        return read_inventory(*arguments)

    monkeypatch.setattr("reconciler.sources.roster.read_inventory", read)

    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory)]):
            await stage.offered(1)
        assert sum("cannot be read" in status.message for status in stage.statuses) == 2

    run(scenario)


def test_a_source_waits_for_those_it_depends_on(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        base = tmp_path / "base"
        sources = [followed("app", directory, depends_on=["base"]), followed("base", base)]
        async with running(stage, sources) as roster:
            await stage.until(lambda: state_of(roster, "app") is State.WAITING)
            assert roster.statuses()["app"].message == "waits for source base"
            stage.outcomes["base"] = Refused("not yet")
            base.mkdir()
            (base / "b.yaml").write_text(config("b"))
            await stage.offered(1)
            await stage.quiet(1)
            del stage.outcomes["base"]
            (base / "b.yaml").write_text(config("b", "y"))
            assert (await stage.offered(2)).source == "base"
            assert (await stage.offered(3)).source == "app"

    run(scenario)


def test_a_source_may_declare_sources_from_git(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        origin = Repository(tmp_path / "boot")
        origin.commit("one", a_yaml=source_manifest("site", directory=str(directory)))
        boot = followed("boot", tmp_path)
        boot = type(boot)("boot", boot.spec.model_validate({"git": {"url": origin.url}, "interval": "1s"}))
        async with running(stage, [boot]) as roster:
            assert (await stage.offered(1)).source == "boot"
            assert (await stage.offered(2)).source == "site"
            origin.git("rm", "-q", "a.yaml")
            origin.commit("two", b_yaml=config("b"))
            await stage.offered(3)
            async with asyncio.timeout(5):
                while set(roster.statuses()) != {"boot"}:
                    await asyncio.sleep(0.01)

    run(scenario)


def test_a_source_that_declares_itself_is_refused_with_its_line(directory: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage(tmp_path)
        (directory / "self.yaml").write_text(source_manifest("shop", directory=str(directory)))
        async with running(stage, [followed("shop", directory)]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            assert "self.yaml:3:12 Source/shop" in roster.statuses()["shop"].message
            await stage.quiet(0)

    run(scenario)


def test_a_refused_commit_leaves_the_files_of_the_one_before(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin")
    manifest = "apiVersion: trimtab/v1\nkind: Config\nmetadata: {name: a}\nspec: {file: a.txt}\n"
    first = origin.commit("one", a_yaml=manifest, a_txt="one")

    async def scenario() -> None:
        stage = Stage(tmp_path)
        source = followed("shop", tmp_path)
        source = type(source)("shop", source.spec.model_validate({"git": {"url": origin.url}, "interval": "1s"}))
        text = stage.layout.source("shop") / "tree/a.txt"
        async with running(stage, [source]) as roster:
            offer = await stage.offered(1)
            assert offer.declared[0].spec.file == str(text)  # type: ignore[attr-defined]
            assert offer.commit == first[:12] and offer.cause == f"source shop at {first[:12]}: one"
            assert text.read_text() == "one"
            stage.outcomes["shop"] = Refused("no")
            bad = origin.commit("two", a_txt="two")
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            assert roster.statuses()["shop"].commit == bad
            assert roster.statuses()["shop"].applied == first[:12]
            assert text.read_text() == "one"
        text.write_text("edited by hand")
        async with running(stage, [source]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            assert text.read_text() == "one"
            await stage.quiet(2)
            third = origin.commit("three", a_yaml=manifest.replace("file:", "files:"), a_txt="three")
            await stage.until(lambda: roster.statuses()["shop"].commit == third and roster.statuses()["shop"].problems)
            assert str(roster.statuses()["shop"].problems[0].place) == "a.yaml:4:8"
            assert text.read_text() == "one"

    run(scenario)


def test_a_set_that_was_rolled_back_stays_until_a_new_commit(tmp_path: Path) -> None:
    origin = Repository(tmp_path / "origin")
    commit = origin.commit("one", a_yaml=config("a"))

    async def scenario() -> None:
        stage = Stage(tmp_path)
        source = followed("shop", tmp_path)
        source = type(source)("shop", source.spec.model_validate({"git": {"url": origin.url}, "interval": "1s"}))
        async with running(stage, [source]) as roster:
            await stage.offered(1)
        write_pin(stage.database, Pin("shop", 1, commit[:12], time.time()))
        async with running(stage, [source]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.PINNED)
            await stage.quiet(1)
            origin.commit("two", a_yaml=config("a", "y"))
            await stage.offered(2)
            await stage.until(lambda: state_of(roster, "shop") is State.READY)
            assert read_pin(stage.database, "shop") is None
            # after a second rollback the newest revision in history is not what the source offers
            write_pin(stage.database, Pin("shop", 1, commit[:12], time.time()))
            roster.refresh()
            await stage.until(lambda: state_of(roster, "shop") is State.PINNED)
            roster.retry("shop")
            await stage.offered(3)
            await stage.until(lambda: read_pin(stage.database, "shop") is None)

    run(scenario)


def test_decrypted_contents_stand_in_no_manifest(directory: Path, tmp_path: Path) -> None:
    (directory / "secret.yaml").write_bytes((MADE / "content.yaml").read_bytes())
    (directory / "file.yaml").write_text(config("f").replace("content: 'x'", "file: token.bin"))
    (directory / "token.bin").write_bytes((MADE / "token.bin").read_bytes())

    async def scenario() -> None:
        stage = Stage(tmp_path)
        source = followed("shop", directory, decrypt={"file": str(MADE / "keys.txt")})
        async with running(stage, [source]):
            offer = await stage.offered(1)
            secret = next(item for item in offer.declared if item.key == Key(Kind.SECRET, "db"))
            assert secret.spec.content is None  # type: ignore[attr-defined]
            assert "wörd" in offer.environment[secret.spec.environment]  # type: ignore[attr-defined]
            assert "wörd" not in repr(offer)
            assert offer.caller.read_bytes(directory / "token.bin") == "binary\nsecret é\n".encode()
        assert "wörd" not in (stage.layout.store).read_bytes().decode(errors="replace")

    assert read_keys((MADE / "keys.txt").read_bytes())
    run(scenario)


def test_a_key_from_a_secret_is_used_and_told_when_missing(directory: Path, tmp_path: Path) -> None:
    (directory / "secret.yaml").write_bytes((MADE / "content.yaml").read_bytes())

    async def scenario() -> None:
        stage = Stage(tmp_path)
        async with running(stage, [followed("shop", directory, decrypt={"secret": "age"})]) as roster:
            await stage.until(lambda: state_of(roster, "shop") is State.STALLED)
            assert "there is no Secret age" in roster.statuses()["shop"].message
            key = (MADE / "keys.txt").read_text().strip()
            stage.declare("boot", config("age", key).replace("Config", "Secret"))
            roster.retry("shop")
            await stage.offered(1)

    run(scenario)


def test_a_webhooks_secret_is_the_sources(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("s3cret\n")

    async def scenario() -> None:
        stage = Stage(tmp_path)
        sources = [
            followed("shop", directory, webhook={"file": str(tmp_path / "hook")}),
            followed("plain", directory, set="plain"),
        ]
        async with running(stage, sources) as roster:
            await stage.offered(2)
            assert await roster.webhook_secret("shop") == b"s3cret"
            assert await roster.webhook_secret("plain") is None
            assert await roster.webhook_secret("nobody") is None

    run(scenario)
