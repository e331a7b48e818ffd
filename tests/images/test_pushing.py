"""`Image.spec.push`: tags that follow the image, and a diff that looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.apply import Result
from runtime.images.pushed import read_pushed
from runtime.images.store import read_image
from tests.images.shop import Shop, image_shop
from tests.machine.machine import told
from tests.machine.probe import document
from tests.registry.distribution import docker_registry
from tests.registry.samples import image, push

pytestmark = [pytest.mark.kernel, pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")]


@pytest.fixture(scope="module")
def shop(busybox_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with image_shop(busybox_tree, tmp_path_factory.mktemp("registry")) as made:
        yield made


def built(shop: Shop, directory: Path, *tags: str, text: str = "one") -> str:
    """A manifest of an image that is one file, pushed as the tags."""
    directory.mkdir(exist_ok=True)
    (directory / "page").write_text(text)
    build = {"context": str(directory), "dockerfile_inline": "FROM scratch\nCOPY page /page\n"}
    return document("Image", "page", build=build, push=list(tags))


def test_what_is_built_is_pushed_and_a_tag_that_somebody_moved_is_told_and_set_right(
    shop: Shop, tmp_path: Path
) -> None:
    refs = [shop.ref("team/page", "1"), shop.ref("team/page", "latest")]
    text = built(shop, tmp_path / "context", *refs)
    shop.machine.converge(text)
    (first, latest) = (shop.manifest("team/page", tag) for tag in ("1", "latest"))
    assert first is not None and latest is not None and first["digest"] == latest["digest"]
    assert read_pushed(shop.machine.layout, "page").tags == dict.fromkeys(refs, first["digest"])

    moved = push(shop.registry, "team/page", "latest", image())
    (said,) = told(shop.machine.diff(text))
    assert said.startswith("~ Image/page update: drift: pushed") and moved in said
    shop.machine.converge(text)
    assert shop.manifest("team/page", "latest") == first

    shop.machine.converge(built(shop, tmp_path / "context", *refs, text="two"))
    second = shop.manifest("team/page", "1")
    assert second is not None and second["digest"] != first["digest"]
    assert shop.manifest("team/page", "latest") == second
    shop.machine.delete()
    assert read_pushed(shop.machine.layout, "page").tags == {}


def test_one_more_tag_is_pushed_and_replaces_no_container(shop: Shop, tmp_path: Path) -> None:
    ref, more = shop.ref("team/again"), shop.ref("team/again", "more")
    text = shop.machine.image.replace("spec:", f"spec:\n  push: [{ref}]")
    runs = (
        "---\napiVersion: trimtab/v1\nkind: Container\nmetadata: {name: user}\n"
        "spec: {image: busybox, network_mode: none, stop_grace_period: 0s}\n"
    )
    shop.machine.converge(text + runs)
    process = shop.machine.process("user")
    shop.machine.converge(text.replace(f"[{ref}]", f"[{ref}, {more}]") + runs)
    assert shop.machine.process("user").pid == process.pid
    assert shop.manifest("team/again", "more") == shop.manifest("team/again")
    shop.machine.delete()


def test_a_registry_that_does_not_answer_is_a_note_in_a_diff_and_a_failure_of_a_push(
    shop: Shop, tmp_path: Path
) -> None:
    nobody = "127.0.0.1:9/team/page:1"
    ref = shop.ref("team/offline")
    text = built(shop, tmp_path / "context", ref)
    shop.machine.converge(text)
    shop.settle("127.0.0.1:9")
    try:
        both = built(shop, tmp_path / "context", nobody, ref)
        (outcome,) = [each for each in shop.machine.apply(both) if each.result is Result.FAILED]
        assert "127.0.0.1:9" in str(outcome.error)
        assert read_image(shop.machine.layout, "page") is not None and shop.manifest("team/offline") is not None
        assert any("not pushed" in line for line in told(shop.machine.diff(both)))
    finally:
        shop.settle()
    pushed = read_pushed(shop.machine.layout, "page")
    assert list(pushed.tags) == [ref]
    shop.machine.converge(text)

    with docker_registry(tmp_path / "second") as second:
        shop.settle(second.host)
        gone = built(shop, tmp_path / "context", f"{second.host}/team/page:1")
        shop.machine.converge(gone)
    left = shop.machine.diff(gone)
    assert left.empty, told(left)
    (note,) = [each.describe() for each in left.notes]
    assert note.startswith(f"Image/page is Unknown in its registry: {second.host}/team/page:1: no connection")
    shop.settle()
    shop.machine.delete()


@pytest.mark.parametrize("kind", ["zstd", "zstd:chunked"])
def test_layers_are_pushed_as_zstd_where_that_is_asked_for_and_pull_again(
    shop: Shop, tmp_path: Path, kind: str
) -> None:
    ref = shop.ref("team/zstd")
    text = built(shop, tmp_path / "context", ref)
    shop.machine.converge(text.replace(f'["{ref}"]', f'{{"tags": ["{ref}"], "compression": "{kind}"}}'))
    first, record = shop.manifest("team/zstd"), read_image(shop.machine.layout, "page")
    assert first is not None and record is not None
    (layer,) = first["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert shop.blob("team/zstd", layer["digest"])[:4] == b"\x28\xb5\x2f\xfd"
    assert ("annotations" in layer) == (kind == "zstd:chunked")
    shop.machine.converge(text)
    second = shop.manifest("team/zstd")
    assert second is not None and second["layers"][0]["mediaType"].endswith("+gzip")
    shop.machine.converge(text.replace(f'["{ref}"]', f'{{"tags": ["{ref}"], "compression": "{kind}"}}'))
    assert shop.manifest("team/zstd") == first
    shop.machine.delete()
    shop.machine.converge(document("Image", "pulled", ref=ref))
    pulled = read_image(shop.machine.layout, "pulled")
    assert pulled is not None and pulled.layers == record.layers
    shop.machine.delete()
