"""Layers as zstd:chunked: any reader of zstd reads them, and what their table says of them is so."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from runtime.images.blobs import BlobStore
from runtime.images.chunked import MOST_BEHIND, PREFIX, Unfit, write_chunked
from runtime.images.compress import CHUNKED, compressed
from runtime.images.config import ImageConfig
from runtime.images.crc64 import crc64
from runtime.images.digests import digest_of
from runtime.images.ensure import ensure_image
from runtime.images.found import Found, read_found
from runtime.images.progress import ignore
from runtime.images.registry.push import PushWanted, push
from runtime.images.registry.settings import RegistrySettings
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.reference import Reference
from tests.conftest import missing
from tests.images.trees import directory, file, listing, symlink, tar_of
from tests.registry.samples import Address, noise

OLD_PREFIX = "io.containers.zstd-chunked"
"""What Debian 12's skopeo looks for."""
FILES = {"d/a": b"hello\n" * 1000, "d/ü": b"x", "big": noise(200_000), "d/empty": b""}
MEMBERS = (
    directory("d/", 0o1777),
    *(file(name, content, mtime=1_600_000_000, uid=7, mode=0o4755) for name, content in FILES.items()),
    file("long/" * 40 + "name", b"deep"),
    symlink("link", "d/a"),
)
TABLE: list[int] = []


def slow_crc(content: bytes) -> int:
    """As Go's hash/crc64 computes it, byte by byte."""
    if not TABLE:
        for number in range(256):
            value = number
            for _ in range(8):
                value = value >> 1 ^ (0xD800000000000000 if value & 1 else 0)
            TABLE.append(value)
    found = 2**64 - 1
    for byte in content:
        found = TABLE[(found ^ byte) & 255] ^ found >> 8
    return found ^ 2**64 - 1


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc64(b"123456789") == 0xB90956C775A41001
    assert crc64(b"") == 0


@given(st.binary(max_size=700), st.integers(0, 700))
def test_the_checksum_of_parts_is_that_of_the_whole(content: bytes, cut: int) -> None:
    assert crc64(content[cut:], crc64(content[:cut])) == slow_crc(content)


def chunked(tar: bytes, place: Path) -> tuple[bytes, dict[str, str]]:
    """The layer, and its annotations."""
    (place / "tar").write_bytes(tar)
    made = io.BytesIO()
    with (place / "tar").open("rb") as layer:
        annotations = write_chunked(layer, made.write, lambda done: None)
    return made.getvalue(), annotations


def numbers(annotations: dict[str, str], name: str) -> list[int]:
    return [int(each) for each in annotations[f"{PREFIX}.{name}"].split(":")]


def inflated(blob: bytes) -> bytes:
    return zstd.decompress(blob)


def table_of(blob: bytes, annotations: dict[str, str]) -> dict[str, Any]:
    at, length, plain, kind = numbers(annotations, "manifest-position")
    packed = blob[at : at + length]
    assert kind == 1 and digest_of(packed) == annotations[f"{PREFIX}.manifest-checksum"]
    assert len(inflated(packed)) == plain
    return dict(json.loads(inflated(packed)))


def test_it_is_zstd_of_the_very_tar(tmp_path: Path) -> None:
    tar = tar_of(*MEMBERS)
    blob, _ = chunked(tar, tmp_path)
    assert inflated(blob) == tar
    assert blob == chunked(tar, tmp_path)[0]


def test_each_file_is_found_by_the_table_alone(tmp_path: Path) -> None:
    blob, annotations = chunked(tar_of(*MEMBERS), tmp_path)
    table = table_of(blob, annotations)
    entries = {entry["name"]: entry for entry in table["entries"]}
    assert table["version"] == 1 and len(entries) == len(MEMBERS)
    for name, content in FILES.items():
        entry = entries[name]
        assert (entry["type"], entry["mode"], entry["uid"]) == ("reg", 0o4755, 7)
        assert entry["modtime"] == "2020-09-13T12:26:40Z"
        if content:
            assert inflated(blob[entry["offset"] : entry["endOffset"]]) == content
            assert (entry["digest"], entry["size"]) == (digest_of(content), len(content))
        else:
            assert not {"digest", "offset", "size"} & set(entry)
    assert entries["link"]["linkName"] == "d/a" and entries["d/"]["type"] == "dir"


def test_the_tar_is_put_together_again_from_files_and_record(tmp_path: Path) -> None:
    tar = tar_of(*MEMBERS)
    blob, annotations = chunked(tar, tmp_path)
    at, length, plain = numbers(annotations, "tarsplit-position")
    record = blob[at : at + length]
    assert table_of(blob, annotations)["tarSplitDigest"] == digest_of(record)
    lines = inflated(record)
    assert len(lines) == plain
    contents = FILES | {"long/" * 40 + "name": b"deep"}
    made = b""
    for position, line in enumerate(map(json.loads, lines.splitlines())):
        assert line["position"] == position
        payload = base64.b64decode(line["payload"] or "")
        if line["type"] == 2:
            made += payload
        elif line.get("size"):
            assert int.from_bytes(payload, "big") == slow_crc(contents[line["name"]])
            made += contents[line["name"]]
    assert made == tar


def test_the_footer_says_what_the_annotations_say(tmp_path: Path) -> None:
    blob, annotations = chunked(tar_of(*MEMBERS), tmp_path)
    footer = blob[-64:]
    assert footer[-8:] == b"GNUlInUx" and blob[-72:-64] == b"\x50\x2a\x4d\x18\x40\0\0\0"
    found = [int.from_bytes(footer[start : start + 8], "little") for start in range(0, 56, 8)]
    assert found == [*numbers(annotations, "manifest-position"), *numbers(annotations, "tarsplit-position")]


@pytest.mark.parametrize(
    "members",
    [
        (file(os.fsdecode(b"no\xffutf8"), b"x"),),
        (file("a", b"x"), file("./a", b"y")),
        (file("a", b"x", pax_headers={"atime": "1.5"}),),
        (file("a", b"x" * 9, pax_headers={"GNU.sparse.map": "0,9", "GNU.sparse.size": "9"}),),
    ],
    ids=["name", "twice", "time", "sparse"],
)
def test_what_the_table_cannot_say_is_not_written_so(members: Any, tmp_path: Path) -> None:
    with pytest.raises(Unfit):
        chunked(tar_of(*members), tmp_path)


def test_what_is_behind_an_archives_end_is_not_all_held_in_memory(tmp_path: Path) -> None:
    tar = tar_of(*MEMBERS)
    padded = tar + bytes(10_240)
    assert inflated(chunked(padded, tmp_path)[0]) == padded
    with pytest.raises(Unfit, match="behind the archive's end"):
        chunked(tar + bytes(MOST_BEHIND), tmp_path)


@pytest.fixture
def make(layout: Layout, tmp_path: Path) -> Callable[[str], tuple[Path, Found]]:
    """`make(name)`: a tree with a file of that name, and an image of it."""

    def made(name: str) -> tuple[Path, Found]:
        rootfs = tmp_path / "rootfs"
        (rootfs / "etc").mkdir(parents=True)
        (rootfs / "etc" / name).write_bytes(b"hello\n" * 1000)
        (rootfs / "etc" / "other").write_bytes(noise(300_000))
        os.link(rootfs / "etc" / "other", rootfs / "twin")
        (rootfs / "link").symlink_to("etc/other")
        os.setxattr(rootfs / "etc" / "other", "user.told", b"\x00\xff")
        record = ensure_image(layout, ImageWanted("made", rootfs=rootfs, config=ImageConfig()))
        return rootfs, read_found(BlobStore(layout), record.digest)

    return made


Make = Callable[[str], tuple[Path, Found]]


@pytest.mark.kernel
def test_a_layer_that_the_table_cannot_describe_is_pushed_as_zstd(layout: Layout, make: Make) -> None:
    _, found = make(os.fsdecode(b"no\xffutf8"))
    packed = compressed(layout, BlobStore(layout), found, lambda *_: None, CHUNKED)
    (layer,) = packed.manifest.layers
    assert layer.media_type.endswith("+zstd") and layer.annotations == {}


@pytest.mark.kernel
def test_annotations_are_kept_with_a_layer_that_was_packed_before(layout: Layout, make: Make) -> None:
    _, found = make("name")
    first = compressed(layout, BlobStore(layout), found, lambda *_: None, CHUNKED)
    told: list[int] = []
    again = compressed(layout, BlobStore(layout), found, lambda digest, done, total: told.append(done), CHUNKED)
    assert again.digest == first.digest and told == []
    (layer,) = again.manifest.layers
    assert set(layer.annotations) == {
        f"{PREFIX}.{name}" for name in ("manifest-checksum", "manifest-position", "tarsplit-position")
    }
    assert compressed(layout, BlobStore(layout), again, lambda *_: None).digest == again.digest


@pytest.mark.kernel
def test_skopeo_reads_it_as_zstd_and_file_by_file(
    layout: Layout, make: Make, registry: Address, settings: RegistrySettings, tmp_path: Path
) -> None:
    program = shutil.which("skopeo")
    if program is None:
        missing("skopeo")
        return
    tree, found = make("name")
    store = BlobStore(layout)
    packed = compressed(layout, store, found, lambda *_: None, CHUNKED)
    old = with_old_spelling(store, packed.digest)
    for tag, digest in (("new", packed.digest), ("old", old)):
        wanted = PushWanted(Reference.parse(f"{registry.host}/chunked:{tag}"), digest)
        push(store, wanted, settings=settings, progress=ignore)
    for partial, tag in ((False, "new"), (True, "old")):
        place = tmp_path / tag
        said = copy_to_storage(program, f"{registry.host}/chunked:{tag}", place, is_partial=partial)
        (diff,) = (place / "root" / "overlay").glob("*/diff")
        assert shown(diff, is_timed=not partial) == shown(tree, is_timed=not partial)
        if version_of(program) < (1, 14):
            assert ("Retrieved partial blob" in said) == partial, said


def shown(tree: Path, *, is_timed: bool) -> list[tuple[object, ...]]:
    """All but the top; Debian 12's skopeo keeps no times of what it fetches file by file."""
    return [line if is_timed else (*line[:2], *line[3:]) for line in listing(tree)[1:]]


def with_old_spelling(store: BlobStore, digest: str) -> str:
    """The same image, its annotations in both spellings."""
    manifest = json.loads(store.read(digest, 1 << 20))
    for layer in manifest["layers"]:
        told = layer["annotations"]
        told |= {name.replace(PREFIX, OLD_PREFIX): value for name, value in told.items()}
    return store.add(json.dumps(manifest).encode())


def copy_to_storage(program: str, reference: str, place: Path, *, is_partial: bool) -> str:
    """Into a storage of its own; what it says of that."""
    place.mkdir()
    options = f'enable_partial_images = "{str(is_partial).lower()}", use_hard_links = "false", ostree_repos = ""'
    (place / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/root"\nrunroot = "{place}/run"\n'
        f"[storage.options]\npull_options = {{{options}}}\n"
    )
    words = ("--debug", "copy", "--src-tls-verify=false", f"docker://{reference}", "containers-storage:test/chunked:1")
    done = subprocess.run(
        [program, *words],
        env=os.environ | {"CONTAINERS_STORAGE_CONF": str(place / "storage.conf"), "STORAGE_DRIVER": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    unmount = ("umount", str(place / "root" / "overlay"))
    subprocess.run(unmount, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr


def version_of(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    assert found is not None
    return int(found[1]), int(found[2])
