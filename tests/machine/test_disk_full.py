"""A disk that gets full while an apply pulls, unpacks, fills a volume or writes at all: told, and nothing is lost."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.images.platforms import machine_platform
from runtime.process import client
from tests.cli.engine import Engine, Said, making_engine
from tests.machine.probe import container, document
from tests.registry.distribution import docker_registry, required
from tests.registry.samples import Address, image, layer_tar, noise, push

pytestmark = pytest.mark.kernel

MIB = 1 << 20
DISK, TOO_MUCH = 24 * MIB, 20 * MIB
QUIET = {"network_mode": "none", "userns_mode": "host", "stop_grace_period": 0}
"""A tmpfs cannot be id-mapped before Linux 6.3."""


def system() -> bytes:
    """A layer with a static busybox, and as large a file at /stock as the busybox is small."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("bin", "etc", "stock"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        program = Path(required("busybox", "busybox-static")).read_bytes()
        for name, content, mode in (("bin/busybox", program, 0o755), ("stock/goods", bytes(4 * MIB), 0o644)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
        for name in ("sleep", "echo", "cat"):
            member = tarfile.TarInfo(f"bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(member)
    return buffer.getvalue()


def quickly(tar: bytes) -> bytes:
    return gzip.compress(tar, 1, mtime=0)


def fill(address: Address) -> None:
    """`app:1`; `app:noise`, too large to be pulled; `app:zeros`, too large to be unpacked."""
    base, here = system(), machine_platform().architecture
    layers = {
        "1": (),
        "noise": (layer_tar({"much": noise(TOO_MUCH)}),),
        "zeros": (layer_tar({"much": bytes(TOO_MUCH)}),),
    }
    for tag, more in layers.items():
        push(address, "app", tag, image(base, *more, architecture=here, pack=quickly))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """On a disk of DISK bytes."""
    with making_engine() as made:
        made.layout.root.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", made.layout.root], check=True)
        with docker_registry(tmp_path_factory.mktemp("registry")) as address:
            fill(address)
            made.environment["REGISTRY"] = address.host
            text = f"registries: {{'{address.host}': {{insecure: true}}}}\n"
            (made.layout.root / "registries.yaml").write_text(text)
            yield made


@pytest.fixture
def app(engine: Engine) -> Iterator[Engine]:
    """`web` runs of `app:1`, from `1.yaml`."""
    for tag in ("1", "noise", "zeros"):
        engine.write(f"{tag}.yaml", manifests(engine, tag))
    engine.ok("apply", "--set", "app", "1.yaml")
    yield engine
    free(engine)
    engine.ok("apply", "--set", "app", "--prune", "1.yaml")


def manifests(engine: Engine, tag: str) -> str:
    app = document("Image", "app", ref=f"{engine.environment['REGISTRY']}/app:{tag}")
    return app + container("web", image="app", command=["/bin/sleep", "1000000"], **QUIET)


def room(engine: Engine) -> int:
    """Bytes that are free."""
    found = os.statvfs(engine.layout.root)
    return found.f_bavail * found.f_frsize


def occupy(engine: Engine, left: int) -> None:
    """Leave no more than `left` bytes free."""
    with (engine.layout.root / "occupied").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, room(engine) - left))


def free(engine: Engine) -> None:
    (engine.layout.root / "occupied").unlink(missing_ok=True)


def partials(engine: Engine) -> list[Path]:
    """What an image on its way leaves where it does not arrive."""
    root = engine.layout.root
    trees = [path for path in (root / "layers").iterdir() if len(path.name) != 64]
    return [*(root / "blobs" / "partial").iterdir(), *trees]


def expect_told(said: Said, engine: Engine) -> None:
    assert said.code == 1, said
    assert "no space is left" in said.err.lower() or "no space left" in said.err.lower(), said
    assert str(engine.layout.root) in said.err, said
    assert "Traceback" not in said.err, said


@pytest.mark.parametrize("tag", ["noise", "zeros"], ids=["while it is pulled", "while it is unpacked"])
def test_an_image_that_does_not_fit_is_told_and_the_old_one_stays_in_use(app: Engine, tag: str) -> None:
    before, space = client.read_process(app.layout, "web"), room(app)
    expect_told(app.run("apply", "--set", "app", f"{tag}.yaml"), app)
    assert client.read_process(app.layout, "web") == before, "the old container was touched"
    assert app.ok("exec", "web", "/bin/echo", "well").out == "well\n"
    assert partials(app) == []
    assert room(app) > space - MIB, "what did not fit still takes its place"
    assert app.run("diff", "--set", "app", f"{tag}.yaml").code == 1, "the image that is wanted is not there"

    subprocess.run(["mount", "-o", f"remount,size={4 * DISK}", app.layout.root], check=True)
    try:
        app.ok("apply", "--set", "app", f"{tag}.yaml")
        assert app.run("diff", "--set", "app", f"{tag}.yaml").code == 0
        after = client.read_process(app.layout, "web")
        assert before is not None and after is not None and after.pid != before.pid
        app.ok("apply", "--set", "app", "1.yaml")
    finally:
        subprocess.run(["mount", "-o", f"remount,size={DISK}", app.layout.root], check=True)


def test_a_volume_that_cannot_be_filled_is_told_and_filled_by_the_next_apply(app: Engine) -> None:
    before = client.read_process(app.layout, "web")
    spec = {"image": "app", "command": ["/bin/sleep", "1000000"], "volumes": ["stock:/stock"], **QUIET}
    app.write(
        "more.yaml",
        manifests(app, "1") + document("Volume", "stock", deletion_policy="delete") + container("more", **spec),
    )
    occupy(app, 2 * MIB)
    expect_told(app.run("apply", "--set", "app", "more.yaml"), app)
    data = app.layout.volumes / "stock" / "_data"
    assert list(data.iterdir()) == []
    assert client.read_process(app.layout, "web") == before
    assert client.read_process(app.layout, "more") is None
    free(app)
    app.ok("apply", "--set", "app", "more.yaml")
    assert (data / "goods").stat().st_size == 4 * MIB
    assert app.run("diff", "--set", "app", "more.yaml").code == 0


def test_with_not_a_byte_left_it_is_told_and_nothing_is_touched(app: Engine) -> None:
    before = client.read_process(app.layout, "web")
    app.write(
        "more.yaml", manifests(app, "1") + container("more", image="app", command=["/bin/sleep", "1000000"], **QUIET)
    )
    occupy(app, 0)
    said = app.run("apply", "--set", "app", "more.yaml")
    assert said.code in (1, 2), said
    assert "no space" in said.err.lower() and str(app.layout.root) in said.err, said
    assert "Traceback" not in said.err and "fault of trimtab" not in said.err, said
    assert client.read_process(app.layout, "web") == before
    assert app.ok("exec", "web", "/bin/echo", "well").out == "well\n"
    free(app)
    app.ok("apply", "--set", "app", "more.yaml")
    assert app.run("diff", "--set", "app", "more.yaml").code == 0
