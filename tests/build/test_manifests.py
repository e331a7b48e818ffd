"""`Image.spec.build` and compose's `build:` from end to end: built, drifting with the files it takes, rolled out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.wanted.builds import build_wanted
from runtime.images.platforms import machine_platform
from runtime.images.store import read_image
from schemas.build import BuildSpec
from schemas.errors import Refused
from tests.cli.engine import Engine, making_engine

pytestmark = pytest.mark.kernel

BASE = "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: busybox}\nspec: {rootfs: ROOTFS}\n"
COMPOSE = """\
services:
  web:
    build:
      {context: web, args: {GREETING: hello}, secrets: [key], labels: {team: shop},
      cache_from: ["type=local,src=kept"], cache_to: ["type=local,dest=kept"]}
    network_mode: none
    stop_grace_period: 0s
secrets:
  key: {content: sesame-very-secret}
"""
DOCKERFILE = """\
FROM busybox
ARG GREETING
COPY page.txt /page
RUN --mount=type=secret,id=key,required test -s /run/secrets/key && echo $GREETING > /greeting
CMD ["sh", "-c", "cat /greeting /page; exec sleep 1000000"]
"""


@pytest.fixture
def based(busybox_tree: Path) -> Iterator[Engine]:
    """The files of the shop, and an image to build from."""
    with making_engine() as engine:
        files = {
            "base.yaml": BASE.replace("ROOTFS", str(busybox_tree)),
            "compose.yaml": COMPOSE,
            "web/Dockerfile": DOCKERFILE,
            "web/page.txt": "one\n",
            "web/notes.txt": "not taken\n",
        }
        for name, text in files.items():
            (engine.base / name).parent.mkdir(exist_ok=True)
            (engine.base / name).write_text(text)
        engine.ok("apply", "--set", "base", "base.yaml")
        yield engine


@pytest.fixture
def shop(based: Engine) -> Engine:
    """What `compose.yaml` asks for runs."""
    based.ok("apply", "--set", "shop", "compose.yaml")
    return based


def test_it_is_built_and_runs_and_a_changed_file_rolls_it(shop: Engine) -> None:
    assert shop.run("logs", "web").lines == ["hello", "one"]
    record = read_image(shop.layout, "web")
    assert record is not None
    assert record.config.labels == {"team": "shop"}
    assert (shop.base / "kept/index.json").is_file()
    assert shop.run("diff", "--set", "shop", "compose.yaml").code == 0

    (shop.base / "web/notes.txt").write_text("changed, and taken by nothing\n")
    assert shop.run("diff", "--set", "shop", "compose.yaml").code == 0

    (shop.base / "web/page.txt").write_text("two\n")
    said = shop.run("diff", "--set", "shop", "compose.yaml")
    assert said.code == 1
    assert "changed: page.txt" in said.out
    assert "Container/web" in said.out
    assert shop.run("apply", "--set", "shop", "compose.yaml").code == 0
    assert shop.run("logs", "web").lines == ["hello", "two"]
    assert shop.run("diff", "--set", "shop", "compose.yaml").code == 0


def test_a_build_waits_for_the_images_of_its_set(shop: Engine) -> None:
    tree = next(
        line.split("rootfs:")[1].strip(" }")
        for line in (shop.base / "base.yaml").read_text().splitlines()
        if "rootfs" in line
    )
    text = (
        "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: a-child}\n"
        "spec: {build: {context: web, dockerfile_inline: 'FROM z-base'}}\n---\n"
        f"apiVersion: trimtab/v1\nkind: Image\nmetadata: {{name: z-base}}\nspec: {{rootfs: {tree}}}\n"
    )
    (shop.base / "both.yaml").write_text(text)
    said = shop.run("apply", "--set", "both", "both.yaml")
    assert said.code == 0, said.out + said.err
    assert shop.run("delete", "--set", "both").code == 0


def test_a_build_that_fails_leaves_what_runs_alone(shop: Engine) -> None:
    before = read_image(shop.layout, "web")
    (shop.base / "web/Dockerfile").write_text("FROM busybox\nRUN echo about to fail; exit 4\n")
    said = shop.run("apply", "--set", "shop", "compose.yaml")
    assert said.code == 1
    assert "ended with 4" in said.out + said.err
    assert "about to fail" in said.out + said.err
    assert read_image(shop.layout, "web") == before
    assert shop.run("logs", "web").lines == ["hello", "one"]


def test_the_command_line_builds_what_a_container_uses(shop: Engine) -> None:
    said = shop.run(
        "image",
        "build",
        "-t",
        "tool",
        "--build-arg",
        "GREETING=hi",
        "--secret",
        "id=key,src=compose.yaml",
        "--progress",
        "json",
        "--platform",
        str(machine_platform()),
        "--cache-from",
        "type=local,src=kept",
        "--cache-to",
        "type=local,dest=mine,mode=max",
        "web",
    )
    assert said.code == 0, said.err
    assert (shop.base / "mine/index.json").is_file()
    events = [json.loads(line) for line in said.lines]
    assert events[-1]["event"] == "image"
    assert events[-1]["name"] == "tool"
    record = read_image(shop.layout, "tool")
    assert record is not None
    assert record.digest == events[-1]["digest"]
    assert record.tags == ("docker.io/library/tool:latest",)


def test_mistakes_in_a_dockerfile_are_told_with_their_line_and_warnings_by_name(shop: Engine) -> None:
    (shop.base / "web/Bad").write_text("FROM busybox\nCOPI page.txt /\n")
    said = shop.run("image", "build", "-t", "tool", "-f", "web/Bad", "web")
    assert said.code == 2
    assert said.err.startswith("Bad:2:1 COPI")
    (shop.base / "web/Odd").write_text("FROM busybox\nMAINTAINER somebody\n")
    said = shop.run("image", "build", "-t", "tool", "-f", "web/Odd", "--check", "web")
    assert said.code == 1
    assert "MaintainerDeprecated" in said.err


CHAIN = """\
services:
  web:
    build: {context: web, dockerfile_inline: "FROM z-base\\nCOPY --from=m-tools /tool /tool\\nCOPY page.txt /page"}
    command: [sh, -c, "cat /base /tool /page; exec sleep 1000000"]
    network_mode: none
    stop_grace_period: 0s
  idle:
    image: z-base
    command: [sleep, "1000000"]
    network_mode: none
    stop_grace_period: 0s
"""
IMAGES = """\
apiVersion: trimtab/v1
kind: Image
metadata: {name: z-base}
spec: {build: {context: base, dockerfile_inline: "FROM busybox\\nCOPY base.txt /base"}}
---
apiVersion: trimtab/v1
kind: Image
metadata: {name: m-tools}
spec: {build: {context: base, dockerfile_inline: "FROM z-base\\nCOPY tool.txt /tool"}}
"""


def test_an_image_built_from_a_built_one_comes_after_it_and_is_built_again_with_it(based: Engine) -> None:
    (based.base / "base").mkdir()
    for name in ("base", "tool"):
        (based.base / f"base/{name}.txt").write_text(f"{name} one\n")
    (based.base / "chain.yaml").write_text(IMAGES)
    based.write("chain-compose.yaml", CHAIN)
    words = ("--set", "chain", "chain.yaml", "chain-compose.yaml")
    based.ok("apply", *words)
    assert based.run("logs", "web").lines == ["base one", "tool one", "one"]
    assert based.run("diff", *words).code == 0

    (based.base / "base/base.txt").write_text("base two\n")
    said = based.run("diff", *words)
    assert said.code == 1
    order = [line.split()[1] for line in said.lines if line.startswith(("~", "±"))]
    assert order.index("Image/z-base") < order.index("Image/m-tools") < order.index("Image/web")
    assert {"Container/web", "Container/idle"} <= set(order)
    based.ok("apply", *words)
    assert based.run("logs", "web").lines == ["base two", "tool one", "one"]
    assert based.run("diff", *words).code == 0


def test_a_base_that_cannot_be_built_keeps_what_is_built_from_it_from_being_built(based: Engine) -> None:
    (based.base / "bad.yaml").write_text(
        "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: a-child}\n"
        "spec: {build: {context: web, dockerfile_inline: 'FROM z-bad'}}\n---\n"
        "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: z-bad}\n"
        'spec: {build: {context: web, dockerfile_inline: "FROM busybox\\nCOPY nothing /"}}\n'
    )
    said = based.run("apply", "--set", "bad", "bad.yaml")
    assert said.code == 1
    assert "nothing" in said.out + said.err
    assert read_image(based.layout, "a-child") is None


def test_another_machines_platform_is_refused_and_this_ones_is_built(based: Engine) -> None:
    other = "linux/s390x" if machine_platform().architecture != "s390x" else "linux/amd64"
    said = based.run("image", "build", "-t", "tool", "--platform", other, "web")
    assert said.code != 0
    assert f"cannot build for {other}" in said.err
    assert "image manifest create" in said.err
    with pytest.raises(Refused, match="cannot build for"):
        build_wanted("app", BuildSpec(context=".", platforms=(other,)), {})
    assert build_wanted("app", BuildSpec(context=".", platforms=(str(machine_platform()),)), {}).name == "app"


def test_every_field_of_a_build_is_asked_of_the_builder() -> None:
    spec = BuildSpec(
        context="/c",
        dockerfile="web.Dockerfile",
        target="prod",
        args={"A": "1", "B": None, "C": None},
        additional_contexts={"assets": "/a"},
        labels={"l": "1"},
        tags=("shop/web:1",),
        ssh=("default=/agent",),
        shm_size="1m",
        network="host",
        extra_hosts={"db": ["10.0.0.1"]},
        no_cache=True,
        pull=True,
        privileged=True,
        cache_from=("r.lan/c",),
        cache_to=("type=local,dest=/k",),
    )
    wanted = build_wanted("app", spec, {"B": "2"}, {"key": b"s"})
    assert wanted.contexts == {"": "/c", "assets": "/a"}
    assert (wanted.dockerfile, wanted.target, wanted.network) == ("web.Dockerfile", "prod", "host")
    assert wanted.arguments == {"A": "1", "B": "2"}
    assert wanted.labels == {"l": "1"}
    assert wanted.tags == ("docker.io/library/app:latest", "docker.io/shop/web:1")
    assert wanted.agents == {"default": Path("/agent")}
    assert (wanted.shm_size, dict(wanted.extra_hosts)) == (1 << 20, {"db": ("10.0.0.1",)})
    assert (wanted.without_cache, wanted.pull, wanted.allow_insecure) == (("*",), True, True)
    assert wanted.secrets == {"key": b"s"}
    assert [str(each) for each in (*wanted.cache_from, *wanted.cache_to)] == [
        "type=registry,ref=r.lan/c:latest",
        "type=local,dest=/k",
    ]


def test_images_that_are_built_from_each_other_are_refused(based: Engine) -> None:
    (based.base / "round.yaml").write_text(
        "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: one}\n"
        "spec: {build: {context: web, dockerfile_inline: 'FROM two'}}\n---\n"
        "apiVersion: trimtab/v1\nkind: Image\nmetadata: {name: two}\n"
        'spec: {build: {context: web, dockerfile_inline: "FROM busybox\\nCOPY --from=one / /"}}\n'
    )
    said = based.run("diff", "--set", "round", "round.yaml")
    assert said.code == 2
    assert "Image/one and Image/two are built from each other" in said.err
