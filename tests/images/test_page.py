"""What the page about images says of pushing, packages, following and trust: its manifests and commands run here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.layout import Layout
from tests.cli.engine import CODE, making_engine, plain_environment
from tests.conftest import SLOWER
from tests.registry.distribution import docker_registry
from tests.registry.samples import image, push

BLOCK = re.compile(r"^```(sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = ("Pushed by a manifest", "What is in it, and how it was built", "Following a repository", "Whom to trust")


def blocks() -> Iterator[tuple[str, str, str]]:
    """Section, kind, text. A section's commands come before its manifest: that uses what they make."""
    page = Path("docs/images.md").read_text()
    for section in SECTIONS:
        begin = page.index(f"## {section}\n")
        found = BLOCK.findall(page[begin : page.index("\n## ", begin + 1)])
        assert found, section
        yield from ((section, kind, text) for kind, text in sorted(found))


def script(layout: Layout, place: Path, host: str) -> str:
    lines = ["set -eux"]
    for number, (_, kind, text) in enumerate(blocks()):
        text = text.replace("registry.lan:5000", host)
        if kind == "yaml":
            (place / f"{number}.yaml").write_text(text)
            text = f"trimtab apply --set s{number} {number}.yaml"
        lines.append(text)
    return "\n".join(lines)


@pytest.mark.kernel
def test_manifests_and_commands_of_the_page_work(tmp_path: Path) -> None:
    with making_engine() as engine, docker_registry(tmp_path / "registry") as registry:
        place = engine.base
        engine.layout.root.mkdir()
        (engine.layout.root / "registries.yaml").write_text(f"registries: {{'{registry.host}': {{insecure: true}}}}\n")
        (place / "shop" / "etc").mkdir(parents=True)
        (place / "shop" / "etc" / "os-release").write_text("ID=shop\n")
        (place / "shop" / "Dockerfile").write_text("FROM scratch\nCOPY etc /etc\n")
        for tag in ("1.4.0", "1.9.2", "2.0.0"):
            push(registry, "team/app", tag, image())
        program = place / "trimtab"
        words = " ".join(("--root", str(engine.layout.root), "--run", str(engine.layout.run)))
        start = f'{sys.executable} -c "from reconciler.cli.entry import main; main()" {words}'
        program.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
        program.chmod(0o755)
        environment = plain_environment() | {"PYTHONPATH": str(CODE), "HOME": str(place)}
        environment["PATH"] = f"{place}:{environment['PATH']}"
        with (place / "said").open("w+") as said:
            done = subprocess.run(
                ["bash", "-c", script(engine.layout, place, registry.host)],
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=100 * SLOWER,
                check=False,
            )
            said.seek(0)
            output = said.read()
        assert done.returncode == 0, output
        assert json.loads((place / "packages.json").read_text())["components"][0]["name"] == "shop"
        assert json.loads((place / "provenance.json").read_text())["predicateType"].startswith("https://slsa.dev/")
        assert "application/vnd.cyclonedx+json" in output
        told = json.loads(engine.ok("image", "inspect", "app").out)
        assert f"{registry.host}/team/app:1.9.2@" in json.dumps(told)
