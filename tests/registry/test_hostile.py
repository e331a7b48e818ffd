"""Registries that lie, send away or are not there: what is refused, and what the user is told."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable

import pytest

from runtime.images.blobs import BlobStore, partial_name
from runtime.images.registry.pull import resolve
from runtime.images.registry.settings import RegistrySettings
from schemas.errors import Refused, RetryLater
from schemas.reference import Reference
from tests.registry.conftest import Pull, insecure
from tests.registry.fake import (
    Asked,
    Fake,
    chunked,
    redirect,
    status,
)
from tests.registry.samples import OCI_INDEX, OCI_MANIFEST, SCHEMA1, Sample, digest_of, image, index, layer_tar

# lies


def test_a_layer_of_another_digest_is_refused(fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull) -> None:
    blob = sample.blobs[sample.largest]
    fake.blobs[sample.largest] = b"\0" * len(blob)
    with pytest.raises(Refused, match=r"did not send what the manifest names.*holds or makes something else"):
        pull_from(fake.host, "app:latest")
    assert not store.has(sample.largest)
    assert list(store.partials()) == []
    assert len(fake.asked(sample.largest)) == 1


@pytest.mark.parametrize("length", [10, 5_000_000])
def test_another_length_than_the_manifests_is_refused_at_once(
    length: int, fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull
) -> None:
    fake.blobs[sample.largest] = b"\0" * length
    with pytest.raises(Refused, match=f"sends {length} bytes where the manifest says"):
        pull_from(fake.host, "app:latest")
    assert not store.has(sample.largest)


def test_a_body_without_end_is_cut_at_the_size_announced(
    fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull
) -> None:
    def endless(asked: Asked) -> None:
        asked.start(200, None, Transfer_Encoding="chunked")
        for _ in range(1 << 20):
            asked.wfile.write(b"%x\r\n%s\r\n" % (1 << 16, b"\0" * (1 << 16)))

    fake.script(sample.largest, endless)
    with pytest.raises(Refused, match="longer than the"):
        pull_from(fake.host, "app:latest")
    assert partial_name(sample.largest) not in {path.name for path in store.partials()}


@pytest.mark.parametrize("whole", [True, False])
def test_a_chunked_layer_may_end_early_and_is_resumed(whole: bool, fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script(sample.largest, chunked(sample.blobs[sample.largest][:1_500_000], whole=whole))
    pull_from(fake.host, "app:latest")
    assert [one.range for one in fake.asked(sample.largest)] == [None, "bytes=1500000-"]


def test_a_manifest_of_another_digest_than_its_header_is_refused(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    lie = digest_of(b"something else")
    fake.script("/manifests/latest", status(200, sample.content, Content_Type=OCI_MANIFEST, Docker_Content_Digest=lie))
    with pytest.raises(Refused, match=f"received is {sample.digest}, not {lie}"):
        pull_from(fake.host, "app:latest")


def test_a_manifest_of_another_digest_than_asked_is_refused(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    wanted = digest_of(b"something else")
    fake.script(wanted, status(200, sample.content, Content_Type=OCI_MANIFEST))
    with pytest.raises(Refused, match=f"received is {sample.digest}, not {wanted}"):
        pull_from(fake.host, f"app@{wanted}")


def test_a_manifest_of_another_size_than_its_index_says_is_refused(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    listed = json.loads(index({"linux/amd64": sample}).content)
    listed["manifests"][0]["size"] += 1
    fake.manifests["latest"] = (json.dumps(listed).encode(), OCI_INDEX)
    with pytest.raises(Refused, match="not of the size that the index says"):
        pull_from(fake.host, "app:latest")


def test_an_index_of_indexes_without_end_is_refused(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    nested = sample
    for _ in range(5):
        nested = fake.hold(index({"linux/amd64": nested}))
    with pytest.raises(Refused, match="more than 3 indexes"):
        pull_from(fake.host, "app:latest")


def test_a_huge_manifest_is_refused_before_it_is_read_whole(fake: Fake, pull_from: Pull) -> None:
    fake.script("/manifests/latest", status(200, b" " * (64 << 20), Content_Type=OCI_MANIFEST))
    with pytest.raises(Refused, match="longer than 4194304 bytes"):
        pull_from(fake.host, "app:latest")


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", "", "text/html"])
def test_a_manifest_is_known_by_what_it_says_itself(
    content_type: str, fake: Fake, sample: Sample, pull_from: Pull
) -> None:
    fake.manifests["latest"] = (sample.content, content_type)
    assert pull_from(fake.host, "app:latest").media_type == OCI_MANIFEST


def test_a_content_type_that_contradicts_the_manifest_is_refused(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.manifests["latest"] = (sample.content, OCI_INDEX)
    with pytest.raises(Refused, match=r"was sent as .* but says"):
        pull_from(fake.host, "app:latest")


def test_a_page_instead_of_a_manifest_is_refused(fake: Fake, pull_from: Pull) -> None:
    fake.manifests["latest"] = (b"<html>Please log in to the hotel's network</html>", "text/html")
    with pytest.raises(Refused, match=r"pull manifest: manifest .*JSON"):
        pull_from(fake.host, "app:latest")


def test_schema_1_is_refused_with_the_remedy(fake: Fake, pull_from: Pull) -> None:
    old = json.dumps({"schemaVersion": 1, "name": "app", "tag": "latest", "fsLayers": [], "signatures": []}).encode()
    fake.manifests["latest"] = (old, SCHEMA1)
    with pytest.raises(Refused, match="schema 1 ended in 2017; push the image again"):
        pull_from(fake.host, "app:latest")


def test_a_huge_config_is_refused_before_any_blob(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    manifest = json.loads(sample.content)
    manifest["config"]["size"] = 1 << 40
    fake.manifests["latest"] = (json.dumps(manifest).encode(), OCI_MANIFEST)
    with pytest.raises(Refused, match="config is larger than"):
        pull_from(fake.host, "app:latest")
    assert not any("/blobs/" in one.path for one in fake.seen)


def test_the_addresses_of_a_foreign_layer_are_never_followed(fake: Fake, other: Fake, pull_from: Pull) -> None:
    sample = fake.hold(
        image(
            layer_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            extra={"urls": [f"http://{other.host}/layer"]},
        )
    )
    assert pull_from(fake.host, "app:latest").digest == sample.digest
    fake.hold(image(layer_tar({"gone": b"1"}), extra={"urls": [f"http://{other.host}/layer"]}), "gone")
    for digest in json.loads(fake.manifests["gone"][0])["layers"]:
        del fake.blobs[digest["digest"]]
    with pytest.raises(Refused, match="or it is a foreign layer"):
        pull_from(fake.host, "app:gone")
    assert other.seen == []


# sent away


def test_a_redirect_in_a_circle_is_given_up(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script(sample.largest, *[redirect(f"/v2/app/blobs/{sample.largest}")] * 50)
    with pytest.raises(Refused, match="redirects more than 5 times"):
        pull_from(fake.host, "app:latest")
    assert len(fake.asked(sample.largest)) == 6


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::1", "data:,x"])
def test_a_redirect_to_no_web_address_is_refused(where: str, fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script(sample.largest, *[redirect(where)] * 3)
    with pytest.raises(Refused, match="no web address"):
        pull_from(fake.host, "app:latest")


def test_a_signed_address_is_not_shown(fake: Fake, other: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script(sample.largest, *[redirect(f"http://user:word@{other.host}/x?signature=hunter2")] * 3)
    with pytest.raises(Refused) as refusal:
        pull_from(fake.host, "app:latest")
    assert "hunter2" not in str(refusal.value)
    assert "word" not in str(refusal.value)
    assert other.host in str(refusal.value)


# nobody there


def test_a_registry_that_is_not_running_is_told_at_once(pull_from: Pull) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RetryLater, match=f"no connection to {host}: Connection refused.*is the registry running"):
            pull_from(host, "app:latest")


def test_a_name_that_nobody_knows_is_told(pull_from: Pull) -> None:
    with pytest.raises(RetryLater, match=r"registry\.invalid cannot be resolved"):
        pull_from("registry.invalid:5000", "app:latest")


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\1\2\3\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n"])
def test_what_is_no_http_server_is_told(greeting: bytes, fake: Fake, pull_from: Pull) -> None:
    def answer(asked: Asked) -> None:
        asked.wfile.write(greeting)
        asked.cut()

    fake.script("/manifests/latest", *[answer] * 3)
    with pytest.raises(Refused, match="does not answer as an HTTP server does"):
        pull_from(fake.host, "app:latest")


def test_resolve_falls_back_to_get(fake: Fake, sample: Sample, settings: RegistrySettings) -> None:
    reference, where = Reference.parse(f"{fake.host}/app:latest"), insecure(settings, fake.host)
    assert resolve(reference, where) == sample.digest
    assert [one.method for one in fake.seen] == ["HEAD"]
    for answer in (status(405), status(200), status(200, Docker_Content_Digest="md5:1")):
        fake.seen.clear()
        fake.script("/manifests/latest", answer)
        assert resolve(reference, where) == sample.digest
        assert [one.method for one in fake.seen] == ["HEAD", "GET"]


def test_a_full_disk_is_told_and_leaves_no_piece(
    fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = full_after(1_000_000)
    monkeypatch.setattr("runtime.images.blobs.os.write", write)
    with pytest.raises(RetryLater, match=rf"{fake.host}/app:latest .*no space is left"):
        pull_from(fake.host, "app:latest")
    monkeypatch.undo()
    assert [path for path in store.partials() if path.stat().st_size > 1_000_000] == []
    assert pull_from(fake.host, "app:latest").digest == sample.digest


def full_after(limit: int) -> Callable[[int, memoryview], int]:
    real, left = os.write, [limit]

    def write(fd: int, data: memoryview) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    return write
