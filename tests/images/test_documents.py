"""Manifests, indexes and configs from strangers: what is read, what is refused, which platform is chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.images.config import Healthcheck, ImageConfig, ImageDocument, read_image_document
from runtime.images.documents import MAX_DEPTH, read_document
from runtime.images.oci import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Index,
    Manifest,
    read_manifest,
)
from runtime.images.platforms import Platform, acceptable, choose, machine_platform
from schemas.errors import Refused

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 7}
LAYER = {"mediaType": OCI_LAYER, "digest": DIGEST, "size": 9}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
ENTRY = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 5, "platform": {"os": "linux", "architecture": "amd64"}}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [ENTRY]}


def read(document: object, media_type: str = "") -> Manifest | Index:
    return read_manifest(json.dumps(document).encode(), media_type)


def test_a_manifest_and_an_index_are_told_apart_also_without_a_media_type() -> None:
    assert isinstance(read(MANIFEST), Manifest)
    assert isinstance(read(INDEX), Index)
    assert isinstance(read({k: v for k, v in MANIFEST.items() if k != "mediaType"}), Manifest)
    assert isinstance(read({k: v for k, v in INDEX.items() if k != "mediaType"}), Index)
    assert isinstance(read(MANIFEST | {"mediaType": DOCKER_MANIFEST}, DOCKER_MANIFEST), Manifest)
    assert isinstance(read(INDEX | {"mediaType": DOCKER_LIST}, f"{DOCKER_LIST}; charset=utf-8"), Index)


def test_what_is_read_is_what_was_written() -> None:
    for document in (MANIFEST, INDEX):
        parsed = read(document)
        assert read_manifest(parsed.content()) == parsed
        assert json.loads(parsed.content()) == document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (MANIFEST | {"schemaVersion": 1}, "not of schema version 2"),
        (MANIFEST | {"schemaVersion": "2"}, "whole number"),
        (MANIFEST | {"manifests": []}, "both layers and manifests"),
        (MANIFEST | {"mediaType": OCI_INDEX}, "fields say otherwise"),
        (INDEX | {"mediaType": OCI_MANIFEST}, "fields say otherwise"),
        (MANIFEST | {"mediaType": "text/html"}, "is not an image"),
        (MANIFEST | {"config": CONFIG | {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "not an image"),
        (MANIFEST | {"config": None}, "'config' is missing"),
        (MANIFEST | {"layers": [LAYER | {"mediaType": "text/plain"}]}, r"layers\[0\] is 'text/plain'"),
        (MANIFEST | {"layers": LAYER}, "list of objects"),
        (MANIFEST | {"layers": [LAYER] * 501}, "more than 500 layers"),
        (MANIFEST | {"layers": [LAYER | {"digest": "sha256:../../etc/passwd"}]}, "not a digest"),
        (MANIFEST | {"layers": [LAYER | {"digest": "md5:" + "a" * 32}]}, "not a digest"),
        (MANIFEST | {"layers": [LAYER | {"size": -1}]}, "63 bits"),
        (MANIFEST | {"layers": [LAYER | {"size": True}]}, "63 bits"),
        (MANIFEST | {"layers": [LAYER | {"size": 1.5}]}, "63 bits"),
        (MANIFEST | {"layers": [LAYER | {"size": 2**63}]}, "63 bits"),
        (MANIFEST | {"annotations": {"a": 1}}, "object of strings"),
        (INDEX | {"manifests": [ENTRY] * 5000}, "more than 4096"),
        (INDEX | {"manifests": [{}]}, "is missing"),
        ([], "not a JSON object"),
        ("text", "not a JSON object"),
    ],
)
def test_unsound_manifests_are_refused(document: object, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read(document)


def test_a_manifest_sent_as_something_else_is_refused() -> None:
    with pytest.raises(Refused, match="was sent as"):
        read(MANIFEST, OCI_INDEX)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "sound JSON"),
        (b"\xff\xfe", "sound JSON"),
        (b'{"a": NaN}', "sound JSON"),
        (b'{"a": 1, "a": 2}', "given twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "sound JSON"),
        (b'{"a":' * 100_000, "sound JSON"),
        (b'{"a":' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}", "nested deeper"),
        (b" " * (MAX_MANIFEST + 1), "larger than"),
    ],
)
def test_unsound_json_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read_manifest(content)


def test_unknown_fields_are_ignored_as_the_specification_demands() -> None:
    assert read(MANIFEST | {"future": {"x": [1]}}) == read(MANIFEST)


# the config


FULL = ImageConfig(
    env=("PATH=/bin", "EMPTY="),
    cmd=("a", "b"),
    entrypoint=("/init",),
    user="1000:1000",
    working_dir="/srv",
    exposed_ports=("443/tcp", "80/tcp"),
    volumes=("/data",),
    labels={"k": "v"},
    stop_signal="SIGQUIT",
    healthcheck=Healthcheck(test=("CMD", "true"), interval=10**9, retries=3),
    shell=("/bin/bash", "-c"),
    on_build=("RUN x",),
)


@pytest.mark.parametrize("config", [FULL, ImageConfig()])
def test_a_config_is_read_as_it_was_written(config: ImageConfig) -> None:
    document = ImageDocument(config, Platform("linux", "arm64", "v8"), (DIGEST,), "2024-01-01T00:00:00Z")
    assert read_image_document(document.content()) == document


def test_a_config_as_docker_writes_it_is_read() -> None:
    """With `null` for what is not set, and fields of no meaning to us."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "container": "abc",
        "config": {
            "Hostname": "",
            "Tty": False,
            "Env": None,
            "Cmd": ["sh"],
            "Volumes": None,
            "Labels": None,
            "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Test": ["NONE"]},
            "OnBuild": None,
        },
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
        "history": [{"created_by": "x", "empty_layer": True}],
    }
    read_config = read_image_document(json.dumps(document).encode())
    assert read_config.config == ImageConfig(
        cmd=("sh",), exposed_ports=("80/tcp",), healthcheck=Healthcheck(test=("NONE",))
    )
    assert read_config.diff_ids == (DIGEST,)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "'rootfs' is missing"),
        ({"rootfs": {"diff_ids": ["x"]}}, "not a digest"),
        ({"rootfs": {"type": "other", "diff_ids": []}}, "not 'layers'"),
        ({"rootfs": {"diff_ids": []}, "config": {"Cmd": "sh"}}, "list of strings"),
        ({"rootfs": {"diff_ids": []}, "config": {"Env": ["A=\0"]}}, "NUL"),
        ({"rootfs": {"diff_ids": []}, "config": {"Healthcheck": {"Interval": -1}}}, "63 bits"),
        ({"rootfs": {"diff_ids": []}, "config": {"ExposedPorts": ["80"]}}, "not an object"),
    ],
)
def test_unsound_configs_are_refused(document: object, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read_image_document(json.dumps(document).encode())


def test_complaints_name_the_field_and_where_it_stands() -> None:
    document = read_document(b'{"a": {"b": [{"c": 1}]}}', "thing")
    with pytest.raises(Refused, match=r"thing a b\[0\] read: 'c' is not a string"):
        document.required("a").children("b")[0].text("c")


# platforms


@pytest.mark.parametrize(
    ("wanted", "offered", "best"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v1"], "linux/amd64/v1"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm64", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/s390x", ["linux/amd64"], None),
    ],
)
def test_the_best_platform_that_this_machine_runs_is_chosen(wanted: str, offered: list[str], best: str | None) -> None:
    platforms = [Platform(*text.split("/")) for text in offered]
    found = choose(platforms, Platform(*wanted.split("/")))
    assert (offered[found] if found is not None else None) == best


def test_an_entry_without_a_platform_is_taken_only_where_it_is_the_only_one() -> None:
    here = Platform("linux", "amd64")
    assert choose([None], here) == 0
    assert choose([None, here], here) == 1
    assert choose([None, None], here) is None


def test_platforms_are_read_as_compose_writes_them() -> None:
    assert Platform.parse("linux/arm64") == Platform("linux", "arm64", "v8")
    assert Platform.parse("linux/aarch64/v8") == Platform("linux", "arm64", "v8")
    assert Platform.parse("amd64") == Platform("linux", "amd64")
    assert Platform.parse("linux") == machine_platform()
    assert machine_platform() in acceptable(machine_platform())
    for text in ("", "a/b/c/d", "linux//v8"):
        with pytest.raises(Refused, match="not a platform"):
            Platform.parse(text)


def test_attestations_in_an_index_are_no_images() -> None:
    attestation = ENTRY | {
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    index = read(INDEX | {"manifests": [attestation, ENTRY]})
    assert isinstance(index, Index)
    assert index.choose(Platform("linux", "amd64")).platform == Platform("linux", "amd64")
    with pytest.raises(Refused, match=r"is not made for linux/s390x; it is for linux/amd64"):
        index.choose(Platform("linux", "s390x"))
