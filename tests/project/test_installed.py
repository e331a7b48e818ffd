"""`pip install .` gives the commands `trimtab` and `trimtab-oci`, which need nothing of the repository any more.

A wheel is built and installed offline into a virtual environment of its own; only the packages it depends on are the
test run's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.engine import Engine, making_engine
from tests.conftest import missing
from tests.process.bundles import in_host_users, specification

CODE = Path(__file__).resolve().parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-index", "--no-deps", "--no-cache-dir"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the installed commands."""
    for module in ("hatchling", "pip"):
        if find_spec(module) is None:
            missing(f"the Python package {module}")
    base = tmp_path_factory.mktemp("installed")
    environment = base / "venv"
    venv.create(environment, symlinks=True)
    pip("wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", str(base), str(CODE))
    (wheel,) = base.glob("trimtab-*.whl")
    pip("--python", str(environment / "bin/python"), "install", *OFFLINE, "--no-compile", str(wheel))
    (packages,) = environment.glob("lib/python*/site-packages")
    # the directory alone: what its own .pth files add, the repository for one, is not followed
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return environment / "bin"


def pip(*arguments: str) -> None:
    done = subprocess.run([*PIP, *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


@dataclass
class Installed(Engine):
    programs: Path = Path()

    def command(self, *arguments: str) -> list[str]:
        return [str(self.programs / "trimtab"), *super().command(*arguments)[3:]]


@pytest.fixture(scope="module")
def engine(programs: Path) -> Iterator[Engine]:
    with making_engine(own_network=os.geteuid() == 0) as made:
        yield Installed(made.base, made.layout, {"PYTHONPATH": ""}, programs)


def test_the_packages_are_those_of_the_wheel(programs: Path) -> None:
    code = "import reconciler, runtime, schemas; print(reconciler.__file__, runtime.__file__, schemas.__file__)"
    done = subprocess.run([programs / "python", "-c", code], capture_output=True, text=True, cwd="/", check=True)
    places = done.stdout.split()
    assert len(places) == 3 and all(place.startswith(f"{programs.parent}/lib/") for place in places)


def test_commands_that_need_no_engine(engine: Engine) -> None:
    assert engine.ok("version").out.startswith("trimtab 0.")
    assert "mem_limit" in engine.ok("explain", "Container").out
    assert json.loads(engine.ok("schema", "Service").out)["$defs"]
    assert engine.ok("validate", str(CODE / "manifests/examples")).code == 0
    assert "trimtab" in engine.ok("completion", "bash").out


@pytest.mark.kernel
def test_a_manifest_becomes_a_container(engine: Engine, busybox_tree: Path) -> None:
    manifest = engine.write(
        "one.yaml",
        f"""
apiVersion: trimtab/v1
kind: Image
metadata: {{name: busybox}}
spec: {{rootfs: {busybox_tree}}}
---
apiVersion: trimtab/v1
kind: Container
metadata: {{name: one}}
spec: {{image: busybox, init: true, command: [sh, -c, "echo it runs; exec sleep 1000"]}}
""",
    )
    engine.ok("apply", manifest)
    assert engine.ok("exec", "one", "cat", "/proc/1/comm").code == 0
    assert engine.ok("logs", "one").out.endswith("it runs\n")
    assert engine.ok("diff", manifest).code == 0
    own = engine.layout.run
    started = [line for line in command_lines() if str(own) in line and "launch.py" in line]
    assert started and all("/venv/lib/" in line for line in started)
    engine.ok("delete", manifest)


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended


@pytest.mark.kernel
def test_a_bundle_is_run_by_the_oci_face(programs: Path, tmp_path: Path, busybox_tree: Path) -> None:
    spec = in_host_users(specification("/bin/echo", "it runs"))
    spec["root"] = {"path": str(busybox_tree), "readonly": True}
    spec["linux"]["cgroupsPath"] = f"/trimtab-test-{os.getpid()}"
    (tmp_path / "config.json").write_text(json.dumps(spec))
    face = [str(programs / "trimtab-oci"), "--root", str(tmp_path / "run")]
    done = subprocess.run([*face, "run", "one"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "it runs\n"), done
    told = subprocess.run([*face, "features"], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(told.stdout)["ociVersionMax"].startswith("1.")
