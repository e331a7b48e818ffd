"""Which image a follower chooses, when, and what becomes of one that does harm: by tables, and with a loop."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from reconciler.engine import open_engine
from reconciler.images import following
from reconciler.images.follow import (
    Followed,
    Verdict,
    basis_of,
    candidate_tags,
    chosen,
    is_due_to_write,
    judged,
    known_for,
    offered,
    read_followed,
)
from reconciler.images.selection import look, read_state
from reconciler.images.write_back import replaced
from reconciler.loop.settings import LoopSettings
from reconciler.registries import read_registries
from runtime.images.store import read_image
from runtime.process.client import read_process
from schemas.errors import Missing, Refused
from schemas.image import ImageSpec
from schemas.image_follow import FollowSpec
from schemas.names import Key, Kind
from tests.images.shop import Shop, image_shop
from tests.loop.driving import driven
from tests.machine.machine import Machine, until
from tests.machine.probe import document
from tests.machine.test_images import base_layer, version_layer
from tests.registry.samples import Sample, descriptor, digest_of, image, push
from tests.sources.repositories import Repository

OLD, NEW = (f"registry.lan/app:{tag}@sha256:{digit * 64}" for tag, digit in (("1.4.0", "a"), ("1.5.0", "b")))
SEMVER = FollowSpec(semver=">=1.4 <2")


@pytest.mark.parametrize(
    ("spec", "tags", "expected"),
    [
        ({"semver": ">=1.4 <2"}, ("1.3.9", "1.10.0", "1.9.1", "2.0.0", "latest"), ("1.10.0",)),
        ({"semver": ">=1.4 <2"}, ("2.0.0-rc.1", "1.3"), ()),
        ({"policy": "digest"}, ("1.0", "2.0"), ("1.4.0",)),
        ({"policy": "newest-by-time", "tags": "main-*"}, ("main-1", "pr-2", "main-3"), ("main-1", "main-3")),
        ({"policy": "newest-by-time"}, ("a", "b"), ("a", "b")),
    ],
)
def test_tags_that_fit_are_looked_at(spec: dict[str, str], tags: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert candidate_tags(FollowSpec.model_validate(spec), OLD, tags) == expected


def running(**more: object) -> Followed:
    return replace(Followed("basis", selected=OLD, available=NEW), **more)  # type: ignore[arg-type]


def test_a_newer_one_is_taken_within_its_window_alone() -> None:
    assert chosen(running(), 5.0, {}, is_open=False) == running(held="outside its window")
    taken = chosen(running(), 5.0, {"web": 2}, is_open=True)
    assert (taken.selected, taken.previous, taken.since, taken.counts) == (NEW, OLD, 5.0, {"web": 2})
    assert chosen(taken, 6.0, {}, is_open=True) == taken
    assert read_followed(json.loads(json.dumps(taken.fields()))) == taken


def test_one_that_was_well_for_long_enough_stays() -> None:
    taken = chosen(running(), 5.0, {}, is_open=True)
    waiting = judged(taken, SEMVER, Verdict.WAITING, "", 20.0)
    well = judged(waiting, SEMVER, Verdict.GOOD, "", 30.0)
    assert well.on_probation and judged(well, SEMVER, Verdict.GOOD, "", 59.0).on_probation
    stays = judged(well, SEMVER, Verdict.GOOD, "", 60.0)
    assert (stays.selected, stays.previous, stays.bad) == (NEW, "", {})


@pytest.mark.parametrize(("verdict", "now"), [(Verdict.BAD, 6.0), (Verdict.WAITING, 306.0)])
def test_one_that_does_harm_is_rolled_back_and_never_taken_again(verdict: Verdict, now: float) -> None:
    taken = chosen(running(), 5.0, {}, is_open=True)
    back = judged(taken, SEMVER, verdict, "Container/web is unhealthy", now)
    assert (back.selected, back.previous) == (OLD, "") and back.bad == {NEW: "Container/web is unhealthy"}
    again = chosen(offered(back, NEW, now), now, {}, is_open=True)
    assert again.selected == OLD and again.held == "it was rolled back: Container/web is unhealthy"
    newer = NEW.replace("1.5.0", "1.5.1").replace("b" * 64, "c" * 64)
    assert chosen(offered(again, newer, now), now, {}, is_open=True).selected == newer


def test_a_choice_is_kept_when_it_is_written_back_and_another_wish_begins_anew() -> None:
    state = running(basis=basis_of("registry.lan/app:1.4.0", SEMVER), selected=NEW)
    assert known_for(state, NEW, SEMVER) == state
    assert known_for(state, "registry.lan/app:1.4.0", SEMVER) == state
    by_hand = OLD.replace("a" * 64, "d" * 64)
    assert known_for(state, by_hand, SEMVER).selected == by_hand
    assert known_for(state, "registry.lan/app:1.4.0", FollowSpec(semver="^1.4")).selected == ""


def test_only_what_was_found_good_is_written_back() -> None:
    spec = FollowSpec(semver=">=1.4 <2", write_back="git")
    assert is_due_to_write(running(selected=NEW), OLD, spec)
    assert not is_due_to_write(running(selected=NEW, previous=OLD), OLD, spec)
    assert not is_due_to_write(running(selected=NEW), NEW, spec)
    assert not is_due_to_write(running(selected=NEW), OLD, SEMVER)


FILE = """\
# the shop
apiVersion: trimtab/v1
kind: Image
metadata: {name: app}
spec:
  ref: "registry.lan/app:1.4.0"  # kept
  follow: {semver: ">=1.4 <2"}
---
{apiVersion: trimtab/v1, kind: Image, metadata: {name: other}, spec: {ref: registry.lan/app:1.4.0, platform: arm64}}
"""


@pytest.mark.parametrize("name", ["app", "other"])
def test_one_value_of_the_file_is_written_and_nothing_else(name: str) -> None:
    after = replaced(FILE, "shop.yaml", Key(Kind.IMAGE, name), NEW)
    old = '"registry.lan/app:1.4.0"  #' if name == "app" else "{ref: registry.lan/app:1.4.0,"
    assert after == FILE.replace(old, old.replace("registry.lan/app:1.4.0", NEW))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [('app:1.4.0"', '${REPO}:1.4.0"', "not written out"), ("name: app", "name: else", "is not in shop.yaml")],
)
def test_what_is_not_written_out_is_not_written_back(old: str, new: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        replaced(FILE.replace(old, new, 1), "shop.yaml", Key(Kind.IMAGE, "app"), NEW)


@dataclass(frozen=True)
class Apps:
    """Versions of an application: one that is good says so in a file."""

    shop: Shop
    base: bytes

    def push(self, name: str, tag: str, created: str = "", *, broken: bool = False) -> str:
        layers = (version_layer("bad" if broken else f"good {tag}"),)
        sample = image(self.base, *layers, pack=quickly) if name in ("app", "rolled") else image(*layers)
        return push(self.shop.registry, name, tag, dated(sample, created) if created else sample)

    def running(self) -> str:
        return self.shop.machine.inside("web", "cat", "/version")

    def reference(self) -> str:
        record = read_image(self.shop.machine.layout, "app")
        assert record is not None
        return record.reference

    def state(self, spec: ImageSpec) -> Followed:
        with open_engine(self.shop.machine.layout) as engine:
            return read_state(engine.database, "app", spec)


def quickly(tar: bytes) -> bytes:
    return gzip.compress(tar, 1, mtime=0)


def dated(sample: Sample, created: str) -> Sample:
    """The same image, made at that time."""
    manifest = json.loads(sample.content)
    config = json.loads(sample.blobs[manifest["config"]["digest"]]) | {"created": created}
    content = json.dumps(config).encode()
    manifest["config"] = descriptor(manifest["config"]["mediaType"], content)
    return replace(sample, content=json.dumps(manifest).encode(), blobs={**sample.blobs, digest_of(content): content})


@pytest.fixture(scope="module")
def apps(busybox_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apps]:
    with image_shop(busybox_tree, tmp_path_factory.mktemp("registry")) as shop:
        yield Apps(shop, base_layer(busybox_tree))


WEB_SPEC = {
    "image": "app",
    "command": ["/bin/sleep", "2147483647"],
    "network_mode": "none",
    "stop_grace_period": "0s",
    "healthcheck": {
        "test": ["CMD", "/bin/busybox", "grep", "-q", "good", "/version"],
        "interval": "50ms",
        "retries": 1,
    },
}
WEB = document("Container", "web", **WEB_SPEC)


@pytest.mark.kernel
def test_the_newest_version_rolls_out_a_bad_one_is_rolled_back_and_the_good_one_is_written_to_the_branch(
    apps: Apps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BEAT_SECONDS", 0.05)
    machine = apps.shop.machine
    apps.push("app", "1.3.0")
    first = apps.push("app", "1.4.0")
    follow = {"semver": ">=1.4 <2", "interval": "1s", "settle": "200ms", "write_back": "git"}
    spec = {"ref": apps.shop.ref("app", "1.4.0"), "follow": follow}
    work = Repository(tmp_path / "work")
    work.commit("first", shop_yaml=document("Image", "app", **spec) + WEB)
    work.git("clone", "-q", "--bare", str(work.path), str(tmp_path / "bare"))
    source = document(
        "Source", "deploy", git={"url": f"file://{tmp_path}/bare", "branch": "main"}, set="shop", suspend=True
    )
    machine.converge(source, set_name="sources")
    machine.converge(document("Image", "app", **spec) + WEB)
    wish = ImageSpec.model_validate(spec)
    assert apps.running() == "good 1.4.0" and apps.state(wish).selected.endswith(f":1.4.0@{first}")

    with driven(machine.layout, LoopSettings(store_poll=0.05)) as loop:
        second = apps.push("app", "1.5.0")
        until(lambda: apps.state(wish).written.endswith(f":1.5.0@{second}"))
        loop.settle()
        assert apps.running() == "good 1.5.0"
        third = apps.push("app", "1.6.0", broken=True)
        until(lambda: any(each.endswith(f":1.6.0@{third}") for each in apps.state(wish).bad))
        until(lambda: apps.reference().endswith(f":1.5.0@{second}"))
        loop.settle()
    assert apps.running() == "good 1.5.0"
    state = apps.state(wish)
    assert state.selected.endswith(f":1.5.0@{second}") and "Container/web is unhealthy" in state.held

    work.git("pull", "-q", str(tmp_path / "bare"), "main")
    written = (work.path / "shop.yaml").read_text()
    assert f"{apps.shop.ref('app', '1.5.0')}@{second}" in written and "1.6.0" not in written
    assert work.git("log", "-1", "--format=%an %s").startswith("trimtab Image/app: ")
    machine.converge(written)
    assert apps.running() == "good 1.5.0"
    machine.delete()
    machine.delete("sources")
    assert apps.state(wish).selected == ""


def version(machine: Machine, name: str) -> str:
    """Of the container's process now; empty while it is being replaced."""
    process = read_process(machine.layout, name)
    try:
        return Path(f"/proc/{process.pid}/root/version").read_text().strip() if process is not None else ""
    except OSError:
        return ""


@pytest.mark.kernel
def test_a_bad_version_comes_to_one_replica_of_a_service_and_goes_from_it(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BEAT_SECONDS", 0.05)
    machine = apps.shop.machine
    first = apps.push("rolled", "1.4.0")
    spec = {"ref": apps.shop.ref("rolled", "1.4.0"), "follow": {"semver": ">=1.4 <2", "interval": "1s", "settle": "0s"}}
    update = {"parallelism": 1, "monitor": "200ms"}
    service = {**WEB_SPEC, "deploy": {"replicas": 2, "update_config": update, "rollback_config": update}}
    text = document("Image", "app", **spec) + document("Service", "site", **service)
    wish = ImageSpec.model_validate(spec)
    machine.converge(text)
    before = {name: machine.process(name).pid for name in ("site-1", "site-2")}
    with driven(machine.layout, LoopSettings(store_poll=0.05)) as loop:
        second = apps.push("rolled", "1.5.0", broken=True)
        until(lambda: any(each.endswith(f":1.5.0@{second}") for each in apps.state(wish).bad))
        until(lambda: apps.reference().endswith(f":1.4.0@{first}"))
        until(lambda: version(machine, "site-1") == "good 1.4.0")
        loop.settle()
        assert machine.process("site-2").pid == before["site-2"]
        third = apps.push("rolled", "1.6.0")
        until(lambda: apps.state(wish).selected.endswith(f":1.6.0@{third}") and not apps.state(wish).on_probation)
    assert {version(machine, name) for name in before} == {"good 1.6.0"}
    machine.delete()


@pytest.mark.kernel
def test_a_moved_tag_and_the_image_made_last_are_found(apps: Apps) -> None:
    settings = read_registries(apps.shop.machine.layout)
    first = apps.push("moving", "latest", "2024-01-01T00:00:00Z")
    spec = ImageSpec.model_validate({"ref": apps.shop.ref("moving", "latest"), "follow": "digest"})
    assert look(Followed(), spec, settings).available.endswith(f"moving:latest@{first}")
    second = apps.push("moving", "latest", "2024-01-02T00:00:00Z")
    assert look(Followed(), spec, settings).available.endswith(f"moving:latest@{second}")

    last = apps.push("moving", "main-a", "2024-03-01T00:00:00+01:00")
    apps.push("moving", "main-b", "2024-02-28T23:30:00-02:00".replace("28", "27"))
    apps.push("moving", "other", "2025-01-01T00:00:00Z")
    follow = {"policy": "newest-by-time", "tags": "main-*"}
    spec = ImageSpec.model_validate({"ref": apps.shop.ref("moving"), "follow": follow})
    state = look(Followed(), spec, settings)
    assert state.available.endswith(f"moving:main-a@{last}") and len(state.times) == 2


@pytest.mark.kernel
def test_a_repository_without_what_fits_and_one_that_is_offline_are_told(apps: Apps) -> None:
    apps.push("none", "0.1.0")
    machine = apps.shop.machine
    spec = {"ref": apps.shop.ref("none"), "follow": {"semver": ">=1.4 <2"}}
    (failed,) = [each for each in machine.apply(document("Image", "app", **spec)) if not each.ok]
    assert isinstance(failed.error, Missing) and "no tag of the repository fits" in str(failed.error)
    assert read_image(machine.layout, "app") is None
    machine.delete()
    spec["ref"] = "127.0.0.1:9/none:1"
    image_ = following.Image(Key(Kind.IMAGE, "app"), ImageSpec.model_validate(spec), ())
    with open_engine(machine.layout) as engine:
        _, state = following.advance(engine, image_, 1000.0, datetime(2026, 11, 24, 12, 0))
        assert "127.0.0.1:9" in state.failure and state.checked_at == 1000.0
        _, later = following.advance(engine, image_, 1001.0, datetime(2026, 11, 24, 12, 0))
        assert later == state
