"""Archives that other tools wrote are read, and what we write other tools read: skopeo is the other tool."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from backports import zstd

from runtime.images.config import ImageConfig
from runtime.images.digests import digest_of
from runtime.images.documents import canonical_json
from runtime.images.ensure import ImageWanted, ensure_image
from runtime.images.load import import_tar, load_archive
from runtime.images.oci import DOCKER_MANIFEST
from runtime.images.platforms import Platform, machine_platform
from runtime.images.record import ImageRecord
from runtime.images.save import Form, save_image, save_layout
from runtime.images.store import damage, layer_directories, list_images, read_image
from runtime.layout import Layout
from schemas.errors import Refused
from tests.conftest import missing
from tests.images.trees import directory, file, listing, make_layout, symlink, tar_of

pytestmark = pytest.mark.kernel

CONFIG = ImageConfig(cmd=("/bin/sh", "-c", "date"), env=("A=b",), labels={"k": "v"}, exposed_ports=("80/tcp",))
BASE = tar_of(directory("./"), directory("etc"), file("etc/name", b"base"), symlink("lib", "usr/lib"))
UPPER = tar_of(directory("etc"), file("etc/name", b"upper"), file("etc/.wh.gone"))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_layout(tmp_path / "made", [BASE, UPPER], CONFIG)


def skopeo(*words: str | Path) -> str:
    program = shutil.which("skopeo")
    if program is None:
        missing("skopeo (Debian package skopeo)")
    words = ("--insecure-policy", *words)
    done = subprocess.run([str(program), *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trees(layout: Layout, record: ImageRecord) -> list[object]:
    return [listing(path) for path in layer_directories(layout, record)]


def load(layout: Layout, path: Path, name: str = "web") -> ImageRecord:
    record = ensure_image(layout, ImageWanted(name, archive=path))
    assert damage(layout, record) is None
    return record


def test_an_oci_layout_directory_is_read(layout: Layout, made: Path) -> None:
    record = load(layout, made)
    assert record.config == CONFIG
    assert record.tags == ("example.test/made:1",)
    upper, base = layer_directories(layout, record)
    assert (base / "etc/name").read_text() == "base"
    assert (upper / "etc/name").read_text() == "upper"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_what_skopeo_writes_is_read_as_the_same_image(layout: Layout, made: Path, tmp_path: Path, form: str) -> None:
    first = load(layout, made)
    target = tmp_path / "copied"
    tag = ":example.test/made:1" if form == "docker-archive" else ":1"
    skopeo("copy", f"oci:{made}", f"{form}:{target}{tag}")
    second = load(layout, target, "again")
    assert second.config == first.config
    assert second.layers == first.layers
    assert trees(layout, second) == trees(layout, first)
    if form == "docker-archive":
        assert second.tags == ("example.test/made:1",)
        assert second.config_digest == first.config_digest


@pytest.mark.parametrize("packed", [gzip.compress, zstd.compress])
def test_a_compressed_archive_is_read(layout: Layout, made: Path, tmp_path: Path, packed: object) -> None:
    skopeo("copy", f"oci:{made}", f"docker-archive:{tmp_path}/plain.tar:example.test/made:1")
    assert callable(packed)
    (tmp_path / "packed").write_bytes(packed((tmp_path / "plain.tar").read_bytes()))
    assert load(layout, tmp_path / "packed").layers == load(layout, made, "again").layers


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress])
def test_layers_are_read_in_every_compression(layout: Layout, tmp_path: Path, compress: object) -> None:
    assert callable(compress)
    made = make_layout(tmp_path / "made", [BASE, UPPER], CONFIG, compress=compress)
    record = load(layout, made)
    assert (layer_directories(layout, record)[1] / "etc/name").read_text() == "base"


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_skopeo_reads_the_docker_archive_that_is_saved(layout: Layout, tmp_path: Path, compress: object) -> None:
    assert callable(compress)
    record = load(layout, make_layout(tmp_path / "made", [BASE, UPPER], CONFIG, compress=compress))
    with (tmp_path / "saved.tar").open("wb") as saved:
        save_image(layout, record, saved.write, Form.DOCKER)
    said = json.loads(skopeo("inspect", f"docker-archive:{tmp_path}/saved.tar"))
    assert said["Layers"] == list(record.layers)
    assert said["Env"] == ["A=b"]
    said = json.loads(skopeo("inspect", "--raw", "--config", f"docker-archive:{tmp_path}/saved.tar"))
    assert said["rootfs"]["diff_ids"] == list(record.layers)
    assert load(layout, tmp_path / "saved.tar", "again").config_digest == record.config_digest


def test_skopeo_reads_the_oci_archive_and_the_layout_that_are_saved(layout: Layout, made: Path, tmp_path: Path) -> None:
    record = load(layout, made)
    with (tmp_path / "saved.tar").open("wb") as saved:
        save_image(layout, record, saved.write, Form.OCI)
    save_layout(layout, record, tmp_path / "saved")
    for source in (f"oci-archive:{tmp_path}/saved.tar:1", f"oci:{tmp_path}/saved:1"):
        said = json.loads(skopeo("inspect", source))
        assert (said["Digest"], len(said["Layers"])) == (record.digest, 2)
    for path in (tmp_path / "saved.tar", tmp_path / "saved"):
        again = load(layout, path, "again")
        assert (again.digest, again.tags) == (record.digest, record.tags)


def test_saving_twice_gives_the_same_bytes(layout: Layout, made: Path) -> None:
    record = load(layout, made)
    for form in Form:
        first, second = bytearray(), bytearray()
        save_image(layout, record, first.extend, form)
        save_image(layout, record, second.extend, form)
        assert first == second


def test_an_old_docker_archive_with_linked_layers_is_read(layout: Layout, tmp_path: Path) -> None:
    """As `docker save` wrote until 2023: a directory per layer, and links where two images share one."""
    config = canonical_json(
        {
            "os": "linux",
            "architecture": machine_platform().architecture,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(BASE), digest_of(BASE)]},
            "config": {"Cmd": ["/bin/sh"], "Labels": None, "Volumes": None},
        }
    )
    listed = [{"Config": "abc.json", "RepoTags": ["old:1"], "Layers": ["one/layer.tar", "two/layer.tar"]}]
    archive = tar_of(
        file("one/VERSION", b"1.0"),
        file("one/json", b"{}"),
        file("one/layer.tar", BASE),
        symlink("two/layer.tar", "../one/layer.tar"),
        file("abc.json", config),
        file("repositories", b"{}"),
        file("manifest.json", canonical_json(listed)),
    )
    (tmp_path / "old.tar").write_bytes(archive)
    record = load(layout, tmp_path / "old.tar")
    assert record.tags == ("docker.io/library/old:1",)
    assert len(record.layers) == 2
    assert len(layer_directories(layout, record)) == 1


def test_the_entry_for_this_platform_is_chosen(layout: Layout, tmp_path: Path) -> None:
    here, other = machine_platform(), Platform("linux", "s390x")
    made = make_layout(tmp_path / "made", [BASE], CONFIG, platforms=[other, here])
    assert load(layout, made).platform == here
    alone = make_layout(tmp_path / "other", [BASE], CONFIG, platforms=[other])
    with pytest.raises(Refused, match="is for linux/s390x, not for"):
        ensure_image(layout, ImageWanted("other", archive=alone))
    both = make_layout(tmp_path / "both", [BASE], CONFIG, platforms=[other, Platform("linux", "riscv64")])
    with pytest.raises(Refused, match="it is for linux/riscv64, linux/s390x"):
        ensure_image(layout, ImageWanted("both", archive=both))
    forced = ensure_image(layout, ImageWanted("other", archive=alone, platform=other))
    assert forced.platform == other


def test_docker_schema_2_is_read(layout: Layout, made: Path) -> None:
    index = json.loads((made / "index.json").read_bytes())
    entry = index["manifests"][0]
    path = made / "blobs" / entry["digest"].replace(":", "/")
    manifest = json.loads(path.read_bytes())
    manifest["mediaType"] = entry["mediaType"] = DOCKER_MANIFEST
    manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    for layer in manifest["layers"]:
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    content = canonical_json(manifest)
    entry["digest"], entry["size"] = digest_of(content), len(content)
    (made / "blobs" / entry["digest"].replace(":", "/")).write_bytes(content)
    (made / "index.json").write_bytes(canonical_json(index))
    assert load(layout, made).media_type == DOCKER_MANIFEST


def test_load_records_every_image_of_an_archive_by_its_tag(layout: Layout, tmp_path: Path) -> None:
    one = make_layout(tmp_path / "one", [BASE], CONFIG, name="example.test/shop/web:1.2")
    two = make_layout(tmp_path / "two", [UPPER], CONFIG, name="example.test/db:latest")
    entries = [json.loads((made / "index.json").read_bytes())["manifests"][0] for made in (one, two)]
    shutil.copytree(two / "blobs", one / "blobs", dirs_exist_ok=True)
    (one / "index.json").write_bytes(canonical_json({"schemaVersion": 2, "manifests": entries}))
    with pytest.raises(Refused, match="holds 2 images"):
        ensure_image(layout, ImageWanted("both", archive=one))
    assert [record.name for record in load_archive(layout, one)] == ["web-1.2", "db"]
    assert [record.name for record in list_images(layout)] == ["db", "web-1.2"]
    with pytest.raises(Refused, match="cannot name 2 images"):
        load_archive(layout, one, "web")


def test_a_loaded_image_answers_its_reference_with_no_registry(layout: Layout, made: Path) -> None:
    loaded = load_archive(layout, made)[0]
    for policy in ("missing", "never"):
        record = ensure_image(layout, ImageWanted(f"web-{policy}", ref="example.test/made:1", pull_policy=policy))
        assert record.digest == loaded.digest
    pinned = f"example.test/made@{loaded.digest}"
    assert ensure_image(layout, ImageWanted("pinned", ref=pinned, pull_policy="never")).digest == loaded.digest
    with pytest.raises(Refused, match="not on this machine, and `pull_policy` is never"):
        ensure_image(layout, ImageWanted("other", ref="example.test/other:1", pull_policy="never"))


def test_an_imported_tar_is_an_image(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(BASE)
    with (tmp_path / "root.tar").open("rb") as source:
        record = import_tar(layout, "imported", source, CONFIG)
    assert read_image(layout, "imported") == record
    assert (layer_directories(layout, record)[0] / "etc/name").read_text() == "base"


# what is wrong is refused


def test_a_truncated_archive_is_refused(layout: Layout, made: Path, tmp_path: Path) -> None:
    skopeo("copy", f"oci:{made}", f"docker-archive:{tmp_path}/whole.tar:example.test/made:1")
    whole = (tmp_path / "whole.tar").read_bytes()
    for cut in (700, len(whole) // 2, len(whole) // 3):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        with pytest.raises(Refused, match=r"cut off|neither|does not hold|damaged"):
            ensure_image(layout, ImageWanted("cut", archive=tmp_path / "cut.tar"))
    assert read_image(layout, "cut") is None


def test_a_layer_whose_content_differs_from_its_diff_id_is_refused(layout: Layout, tmp_path: Path) -> None:
    made = make_layout(tmp_path / "made", [BASE], CONFIG, diff_ids=[digest_of(UPPER)])
    with pytest.raises(Refused, match=r"the layer unpacks to sha256:.*, and the image says sha256:"):
        ensure_image(layout, ImageWanted("web", archive=made))
    assert read_image(layout, "web") is None


def test_a_blob_that_differs_from_its_digest_is_refused(layout: Layout, made: Path) -> None:
    path = made / "blobs" / digest_of(BASE).replace(":", "/")
    path.write_bytes(BASE[:-1] + b"x")
    with pytest.raises(Refused, match="the bytes received as"):
        ensure_image(layout, ImageWanted("web", archive=made))


def test_a_config_of_other_layers_is_refused(layout: Layout, tmp_path: Path) -> None:
    made = make_layout(tmp_path / "made", [BASE], CONFIG, diff_ids=[digest_of(BASE), digest_of(UPPER)])
    with pytest.raises(Refused, match="tells of 2 layers, the manifest of 1"):
        ensure_image(layout, ImageWanted("web", archive=made))


def test_an_archive_that_lacks_a_blob_is_refused(layout: Layout, made: Path) -> None:
    (made / "blobs" / digest_of(UPPER).replace(":", "/")).unlink()
    with pytest.raises(Refused, match="lacks the blob sha256:"):
        ensure_image(layout, ImageWanted("web", archive=made))


def test_a_link_out_of_the_archive_reads_nothing(layout: Layout, tmp_path: Path) -> None:
    listed = [{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]
    archive = tar_of(
        symlink("config.json", "/etc/passwd"),
        symlink("layer.tar", "../../../etc/shadow"),
        file("manifest.json", canonical_json(listed)),
    )
    (tmp_path / "evil.tar").write_bytes(archive)
    with pytest.raises(Refused, match=r"lists 'config.json', which it does not hold"):
        ensure_image(layout, ImageWanted("web", archive=tmp_path / "evil.tar"))


def test_a_file_that_is_no_archive_is_refused(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n" * 1000)
    with tarfile.open(tmp_path / "tree.tar", "w") as archive:
        archive.add("/etc/hostname", "etc/hostname")
    for name, said in (("text", "not a tar archive"), ("tree.tar", "no image archive"), ("nowhere", "No such file")):
        with pytest.raises(Refused, match=said):
            ensure_image(layout, ImageWanted("web", archive=tmp_path / name))
