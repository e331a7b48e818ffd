"""With a daemon and without: the same words, the same exit codes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, Said, making_engine
from tests.daemon.running import Daemon, daemon
from tests.registry.distribution import docker_registry

pytestmark = pytest.mark.kernel

CHANGING = re.compile(
    r"\d+(\.\d+)? (ms|s|KiB|MiB|GiB|B)\b|\b\d+[smhd](\d+[smh])?\b|0\.\d+ s|\d{4}-\d\d-\d\dT[\d:.]+Z|\"tasks\": \d+"
)
"""Times and sizes: they are different from one look to the next."""
DIGEST = re.compile(r"\b[0-9a-f]{8,64}\b")


@pytest.fixture(scope="module")
def served(busybox_tree: Path) -> Iterator[Daemon]:
    with making_engine() as engine:
        engine.write("shop.yaml", shop_manifest(busybox_tree))
        engine.write("more.yaml", MORE)
        engine.write("secret.txt", "from a file\n")
        engine.write("some.env", "COLOUR=red\nSIZE=${UNITS}\n")
        engine.write("bad.yaml", "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: x}\nspec: {imagee: y}\n")
        engine.ok("-H", "none", "apply", "--set", "shop", "shop.yaml")
        with daemon(engine) as made:
            yield made


MORE = """\
apiVersion: trimtab/v1
kind: Secret
metadata: {name: filed}
spec: {file: secret.txt}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: extra}
spec: {image: busybox, command: [sleep, "1000"], env_file: [some.env], environment: {WHO: "${WHO}"}, secrets: [filed]}
"""


def steady(said: Said) -> Said:
    """What was said with one sign for all that changes, and without the padding that its width asked for."""
    return Said(said.code, even(said.out), even(said.err))


def even(text: str) -> str:
    return re.sub(r" {2,}", "  ", CHANGING.sub("#", text))


READING = [
    ["diff", "--set", "shop", "shop.yaml"],
    ["diff", "-o", "json", "--set", "shop", "shop.yaml"],
    ["diff", "more.yaml"],
    ["diff", "bad.yaml"],
    ["diff", "missing.yaml"],
    ["diff"],
    ["apply", "--dry-run", "more.yaml"],
    ["apply", "--set", "shop", "shop.yaml"],
    ["apply", "--set", "shop", "shop.yaml", "-o", "json"],
    ["validate", "more.yaml"],
    ["validate", "bad.yaml"],
    ["get"],
    ["get", "containers", "-o", "wide", "--show-origin"],
    ["get", "-o", "yaml"],
    ["get", "-o", "json", "image"],
    ["get", "container/nobody"],
    ["describe", "container/db"],
    ["describe", "service/web", "-o", "json"],
    ["logs", "db"],
    ["logs", "-n", "1", "--stream", "stderr", "db"],
    ["logs", "nobody"],
    ["events"],
    ["events", "-o", "json", "container/db"],
    ["image", "ls"],
    ["image", "inspect", "busybox"],
    ["image", "rm", "busybox"],
    ["image", "history", "busybox"],
    ["image", "history", "-o", "json", "busybox"],
    ["image", "diff", "busybox", "busybox"],
    ["image", "sbom", "busybox"],
    ["image", "sbom", "nothing"],
    ["volume", "ls"],
    ["volume", "rm", "nothing"],
    ["history"],
    ["history", "-o", "json", "shop"],
    ["why", "container/db"],
    ["why", "container/nobody"],
    ["wait", "container/db", "--timeout", "20s"],
    ["system", "fsck"],
    ["system", "prune", "--dry-run"],
    ["system", "info"],
    ["system", "check", "--all"],
    ["system", "df"],
    ["delete", "--dry-run", "--set", "shop"],
    ["delete"],
    ["explain", "container.ports"],
    ["version"],
]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_says_the_same_with_a_daemon(served: Daemon, words: list[str]) -> None:
    served.engine.environment |= {"WHO": "me", "UNITS": "4"}
    alone = served.engine.run("-H", "none", *words)
    through = steady(served.engine.run(*words))
    # the kernel gives the members of a set in any order
    assert sorted(through.out.splitlines()) == sorted(steady(alone).out.splitlines())
    assert (through.code, through.err) == (alone.code, steady(alone).err)


def test_manifests_by_standard_input_with_files_and_variables_of_the_client(served: Daemon) -> None:
    engine = served.engine
    engine.environment |= {"WHO": "somebody", "UNITS": "40"}
    done = engine.run("apply", "--set", "more", "-", stdin=MORE.encode())
    assert done.code == 0, done
    assert engine.ok("exec", "extra", "sh", "-c", "echo $WHO $COLOUR $SIZE; cat /run/secrets/filed").lines == [
        "somebody red 40",
        "from a file",
    ]
    assert engine.run("-H", "none", "diff", "--set", "more", "-", stdin=MORE.encode()).code == 0
    engine.environment["WHO"] = "another"
    assert engine.run("diff", "--set", "more", "-", stdin=MORE.encode()).code == 1
    assert engine.ok("delete", "--set", "more").code == 0


def test_an_image_is_saved_and_loaded_through_the_daemon(served: Daemon) -> None:
    engine = served.engine
    for form in ("docker-archive", "oci-archive", "oci-layout"):
        engine.ok("image", "save", "busybox", "--format", form, "--output", "saved")
        loaded = engine.ok("image", "load", "saved", "--name", "again")
        assert loaded.lines == ["again"]
        assert engine.ok("image", "rm", "again").lines[0] == "- Image/again removed"
        saved = engine.base / "saved"
        subprocess.run(["rm", "-r", str(saved)], check=True)
    assert not [path.name for path in engine.base.iterdir() if path.name.startswith(".saved")]
    assert engine.run("image", "save", "nothing", "--output", "saved").code == 2
    assert not (engine.base / "saved").exists()


MOVING = [
    ["image", "tag", "busybox", "REGISTRY/PLACE/box:1"],
    ["image", "push", "busybox", "REGISTRY/PLACE/box:1", "-q"],
    ["image", "pull", "-q", "REGISTRY/PLACE/box:1"],
    ["image", "pull", "-q", "REGISTRY/PLACE/nothing:1"],
    ["image", "copy", "REGISTRY/PLACE/box:1", "REGISTRY/PLACE/copied:2", "-q"],
    ["image", "manifest", "create", "-q", "REGISTRY/PLACE/box:all", "REGISTRY/PLACE/box:1"],
    ["image", "manifest", "inspect", "REGISTRY/PLACE/box:all"],
    ["image", "sign", "--key", "ours.key", "REGISTRY/PLACE/box:1"],
    ["image", "verify", "--key", "ours.pub", "REGISTRY/PLACE/box:1"],
    ["image", "verify", "--key", "other.pub", "REGISTRY/PLACE/box:1"],
    ["image", "referrers", "REGISTRY/PLACE/box:1"],
    ["image", "commit", "-q", "-c", "ENV A=b", "db", "db-PLACE"],
    ["image", "rm", "db-PLACE"],
    ["image", "export", "db", "--output", "PLACE.tar"],
    ["suspend", "container/db"],
    ["get", "container/db"],
    ["resume", "container/db"],
]


def test_images_move_and_containers_rest_the_same_way(served: Daemon, tmp_path: Path) -> None:
    engine = served.engine
    for name in ("ours", "other"):
        key = str(engine.base / f"{name}.key")
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
        public = ["openssl", "ec", "-in", key, "-pubout", "-out", str(engine.base / f"{name}.pub")]
        subprocess.run(public, check=True, capture_output=True)
    with docker_registry(tmp_path / "registry") as registry:
        (engine.layout.root / "registries.yaml").write_text(f"registries:\n  {registry.host}: {{insecure: true}}\n")
        for words in MOVING:
            alone, through = (
                told_of_place(engine, place, options, [word.replace("REGISTRY", registry.host) for word in words])
                for place, options in (("zz-1", ("-H", "none")), ("zz-2", ()))
            )
            assert through == alone, words
            refused = words[-1] == "REGISTRY/PLACE/nothing:1" or "other.pub" in words
            assert through.code == (2 if refused else 0), through


def told_of_place(engine: Engine, place: str, options: Sequence[str], words: Sequence[str]) -> Said:
    """What is said of one place, in words that fit each."""
    said = steady(engine.run(*options, *(word.replace("PLACE", place) for word in words)))
    out, err = (DIGEST.sub("@", text).replace(place, "*") for text in (said.out, said.err))
    return Said(said.code, out, err)


def test_a_log_is_followed_until_the_client_leaves(served: Daemon) -> None:
    following = served.engine.start("logs", "-f", "db")
    try:
        while "5$" not in following.so_far().out:
            assert following.process.poll() is None
    finally:
        following.interrupt()
    assert following.wait().code == 130
    served.wait_log('"command": "logs"')
