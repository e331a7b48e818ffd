"""SIGKILL at random points of pull, unpack, build, commit, push and collection: the store is consistent after each,
work goes on, nothing temporary is left. And collection that races pulls and builds harms none of them.

`TRIMTAB_KILLS=300` asks for that many kills; without it there are as many as a few seconds allow.
"""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.build.build import build
from reconciler.build.cache import kept
from reconciler.build.wanted import BuildWanted
from runtime.images.blobs import BlobStore
from runtime.images.collect import collect
from runtime.images.commit import CommitWanted, commit
from runtime.images.config import ImageConfig
from runtime.images.digests import digest_of
from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.layers import BROKEN, PARTIAL
from runtime.images.progress import ignore
from runtime.images.registry.settings import HostSettings, RegistrySettings
from runtime.images.store import damage, list_images, read_image, remove_image
from runtime.images.to_registry import push_image
from runtime.layout import Layout
from schemas.reference import Reference
from tests.images.trees import directory, file, tar_of
from tests.registry.distribution import docker_registry
from tests.registry.samples import image, noise, push

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("TRIMTAB_KILLS", "0"))
FEW = 10
SECONDS = 4.0
"""For kills beyond a few, and for racing, where nobody asked for more."""


@dataclass(frozen=True)
class World:
    """An engine with a registry that has an image `app`; a context, and a container's writable directory."""

    layout: Layout
    settings: RegistrySettings
    host: str
    context: Path
    upper: Path

    def pull(self) -> None:
        wanted = ImageWanted("app", ref=f"{self.host}/app:1", pull_policy="always")
        ensure_image(self.layout, wanted, self.settings)

    def build(self) -> None:
        text = "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY --from=one /a /b\nCOPY b /c\n"
        build(self.layout, BuildWanted("built", {"": str(self.context)}, text=text, sbom=True))

    def commit(self) -> None:
        base = read_image(self.layout, "base")
        assert base is not None
        commit(self.layout, CommitWanted("committed", "web", base, self.upper, ImageConfig(cmd=("x",))))

    def push(self) -> None:
        base = read_image(self.layout, "base")
        assert base is not None
        target = Reference.parse(f"{self.host}/pushed:{time.monotonic_ns()}")
        push_image(self.layout, base, target, self.settings, ignore)

    def collect(self) -> None:
        """With something to collect: the image that was pulled is forgotten first."""
        remove_image(self.layout, "app")
        collect(self.layout, kept(self.layout))

    def deeds(self) -> tuple[Callable[[], None], ...]:
        return (self.pull, self.build, self.commit, self.push, self.collect)


@pytest.fixture
def world(layout: Layout, tmp_path: Path) -> Iterator[World]:
    with docker_registry(tmp_path / "registry") as registry:
        folders = [directory(f"d{index}") for index in range(4)]
        layers = [
            tar_of(*folders, *(file(f"d{index % 4}/{number}-{index}", b"x" * 3000) for index in range(150)))
            for number in range(3)
        ]
        push(registry, "app", "1", image(*layers, tar_of(file("noise", noise(2_000_000)))))
        context, upper, rootfs = tmp_path / "context", tmp_path / "upper", tmp_path / "rootfs"
        for place in (context / "a", context / "b", upper, rootfs / "etc"):
            place.mkdir(parents=True)
            for index in range(60):
                (place / f"f{index}").write_bytes(noise(2000, index))
        made = World(
            layout, RegistrySettings({registry.host: HostSettings(insecure=True)}), registry.host, context, upper
        )
        ensure_image(layout, ImageWanted("base", rootfs=rootfs))
        yield made


def forked(deed: Callable[[], None]) -> int:
    """The pid of a child that does it."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        deed()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def require_consistent(layout: Layout) -> None:
    """Every record tells of a whole image, and every blob is what its name says."""
    for record in list_images(layout):
        assert damage(layout, record) is None, record.name
    store = BlobStore(layout)
    for digest in store.digests():
        assert digest_of(store.path(digest).read_bytes()) == digest


def require_tidy(layout: Layout) -> None:
    """After a collection: nothing that a maker who is gone has left, but what a pull is to be continued from."""
    left = [path.name for path in layout.layers.iterdir() if path.name.endswith(PARTIAL) or BROKEN in path.name]
    assert left == []
    assert [path.name for path in BlobStore(layout).partials() if path.name.startswith("new-")] == []
    assert list((layout.images / "leases").glob("*.lease")) == []


def test_kills_at_random_points_leave_the_store_consistent_and_the_work_goes_on(world: World) -> None:
    layout, moments = world.layout, random.Random(KILLS)
    lasting: dict[str, float] = {}
    for deed in (*world.deeds(), world.pull):
        begun = time.monotonic()
        assert ended(forked(deed)) == 0
        lasting[deed.__name__] = time.monotonic() - begun
    killed, enough = 0, time.monotonic() + SECONDS
    for number in range(KILLS or 1000):
        if not KILLS and number >= FEW and time.monotonic() > enough:
            break
        deed = world.deeds()[number % len(world.deeds())]
        child = forked(deed)
        time.sleep(moments.uniform(0, 1.1 * lasting[deed.__name__]))
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        assert code in (0, -signal.SIGKILL), deed.__name__
        killed += code != 0
        require_consistent(layout)
        if number % 5 == 4:
            for each in ("app", "built", "committed"):
                remove_image(layout, each)
            until_tidy(world)
    assert killed > 0
    for deed in (world.pull, world.build, world.commit, world.push):
        assert ended(forked(deed)) == 0
    until_tidy(world)
    assert {record.name for record in list_images(layout)} == {"app", "base", "built", "committed"}
    require_consistent(layout)


def until_tidy(world: World) -> None:
    """A collection; a killed maker's own children may take a moment to be gone."""
    deadline = time.monotonic() + 20
    while True:
        collect(world.layout, kept(world.layout))
        try:
            require_tidy(world.layout)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def again(deed: Callable[[], None], until: float) -> Callable[[], None]:
    def repeat() -> None:
        while time.monotonic() < until:
            deed()

    return repeat


def test_collection_that_races_pulls_builds_and_commits_harms_none(world: World) -> None:
    until = time.monotonic() + (30.0 if KILLS else 2.0)

    def pull_anew() -> None:
        remove_image(world.layout, "app")
        world.pull()

    def build_anew() -> None:
        (world.context / "a" / "f0").write_bytes(os.urandom(100))
        world.build()

    def sweep() -> None:
        collect(world.layout, kept(world.layout))

    children = [forked(again(deed, until)) for deed in (pull_anew, build_anew, world.commit, sweep)]
    assert [ended(child) for child in children] == [0, 0, 0, 0]
    require_consistent(world.layout)
    assert {record.name for record in list_images(world.layout)} == {"app", "base", "built", "committed"}
