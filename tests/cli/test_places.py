"""What fails while it is done names the field of the manifest that it is about, and where that stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.engine import Engine

pytestmark = pytest.mark.kernel

HEAD = "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: web}\nspec:\n  image: busybox\n"


@pytest.mark.parametrize(
    ("lines", "field", "at"),
    [
        ("  command: [nothing-such]\n", "spec.command", "6:3"),
        ("  entrypoint:\n    - /nothing-such\n", "spec.entrypoint", "6:3"),
        ("  working_dir: /bin/busybox\n", "spec.working_dir", "6:3"),
        ('  sysctls:\n    net.ipv4.nothing: "1"\n', 'spec.sysctls["net.ipv4.nothing"]', "7:5"),
        ("  volumes:\n    - /tmp:/x\n    - /proc/self/comm:/bin\n", "spec.volumes[1]", "8:7"),
        (
            "  volumes:\n    - {type: volume, source: data, target: /d, volume: {subpath: nope}}\n",
            "spec.volumes[0]",
            "7:7",
        ),
        ("  pid: container:idle\n", "spec.pid", "6:3"),
        ("  depends_on:\n    job: {condition: service_completed_successfully}\n", "spec.depends_on.job", "7:5"),
    ],
)
def test_a_failure_names_the_field_and_its_place(image_only: Engine, lines: str, field: str, at: str) -> None:
    others = (
        "---\napiVersion: trimtab/v1\nkind: Volume\nmetadata: {name: data}\nspec: {}\n",
        "---\n" + HEAD.replace("name: web", "name: idle") + "  state: stopped\n  command: [sleep, '9']\n",
        "---\n" + HEAD.replace("name: web", "name: job") + '  command: ["false"]\n  restart: "no"\n',
    )
    path = image_only.write("web.yaml", HEAD + lines + "".join(others))
    try:
        said = image_only.run("apply", "--no-wait", "--set", "places", path)
        (failed,) = [line for line in said.err.splitlines() if line.startswith("! Container/web ")]
        assert said.code == 1
        assert failed.startswith("! Container/web create failed: ") and f"{field}: " in failed
        assert failed.endswith(f"({path}:{at})")
    finally:
        image_only.run("delete", "--set", "places")


def test_an_image_that_is_not_to_be_had_is_told_where_it_is_named(engine: Engine) -> None:
    text = HEAD.replace("image: busybox", "image: 127.0.0.1:9/no/such:1")
    path = engine.write("web.yaml", text)
    said = engine.run("apply", "-o", "json", path)
    found = {row["object"].partition("/")[0]: row for row in json.loads(said.out)["outcomes"]}
    assert (found["Image"]["result"], found["Container"]["result"]) == ("failed", "skipped")
    assert (found["Image"]["field"], found["Image"]["fieldPlace"]) == ("spec.ref", f"{path}:5:3")
    assert (found["Container"]["field"], found["Container"]["fieldPlace"]) == (None, None)
    assert Path(path).name in engine.ok("events", "--type", "warning").out


def test_a_build_that_fails_is_told_on_lines_of_its_own_and_once(engine: Engine) -> None:
    (engine.base / "web").mkdir()
    engine.write("web/Dockerfile", "FROM scratch\nCOPY missing.txt /\n")
    path = engine.write("compose.yaml", "services:\n  web:\n    build: ./web\n    command: [sleep, '9']\n")
    said = engine.run("apply", path)
    assert said.code == 1
    failed = said.err.splitlines()
    number = next(index for index, line in enumerate(failed) if line.startswith("! Image/web create failed: "))
    assert failed[number].endswith(f"({path}:3:5)") and "Dockerfile:2:1" in failed[number]
    assert failed[number + 1].strip() == "COPY missing.txt /"
    why = engine.ok("why", "container/web").out
    assert "Nothing is left to do" not in why
    (waits,) = why.partition("Waits for:\n")[2].splitlines()
    assert waits.startswith("  Image/web: missing; failed: spec.build: Dockerfile:2:1 COPY: missing.txt is not there")
    assert json.loads(engine.ok("why", "container/web", "-o", "json").out)["pending"] == [
        "+ Container/web create: does not exist"
    ]
    assert "The last try failed: spec.build: Dockerfile:2:1" in engine.ok("why", "image/web").out
    (skipped,) = [line for line in said.lines if line.startswith("!")]
    assert skipped.startswith("! Container/web skipped: waits for Image/web, which failed: spec.build: Dockerfile:2:1 ")
