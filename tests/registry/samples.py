"""Small images made in memory, byte for byte the same each time, and how to push them with nothing but http.client.

For tests that need a registry with something in it. Pushes with no code of the engine.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import random
import ssl
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


@dataclass(frozen=True, slots=True)
class Sample:
    """A manifest or an index, and the content by digest that it needs (other manifests among it)."""

    content: bytes
    media_type: str
    blobs: Mapping[str, bytes]
    manifests: tuple[Sample, ...] = ()
    layers: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def largest(self) -> str:
        """The digest of the largest layer."""
        return max(self.layers, key=lambda digest: len(self.blobs[digest]))


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """A tar of regular files, owned by root, at time 0."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def image(
    *layers: bytes,
    architecture: str = "amd64",
    media_type: str = OCI_MANIFEST,
    layer_type: str = OCI_LAYER,
    config_type: str = OCI_CONFIG,
    extra: Mapping[str, object] | None = None,
    pack: Callable[[bytes], bytes] = lambda tar: gzip.compress(tar, mtime=0),
) -> Sample:
    """An image of uncompressed layer tars; each is stored as gzip. `extra` goes into every layer's descriptor."""
    layers = layers or (layer_tar({"hello": b"world\n"}), layer_tar({"noise": noise(300_000)}))
    packed = [pack(layer) for layer in layers]
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }
    ).encode()
    blobs = {digest_of(blob): blob for blob in (config, *packed)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config_type, config),
        "layers": [descriptor(layer_type, blob) | dict(extra or {}) for blob in packed],
    }
    return Sample(json.dumps(manifest).encode(), media_type, blobs, layers=tuple(map(digest_of, packed)))


def docker_image(*layers: bytes, architecture: str = "amd64") -> Sample:
    return image(
        *layers,
        architecture=architecture,
        media_type=DOCKER_MANIFEST,
        layer_type=DOCKER_LAYER,
        config_type=DOCKER_CONFIG,
    )


def index(entries: Mapping[str, Sample], media_type: str = OCI_INDEX) -> Sample:
    """An index of images by platform, `os/arch[/variant]`."""
    listed = []
    for platform, sample in entries.items():
        system, architecture, variant = (*platform.split("/"), "")[:3]
        fields = {"os": system, "architecture": architecture} | ({"variant": variant} if variant else {})
        listed.append(descriptor(sample.media_type, sample.content) | {"platform": fields})
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": listed}).encode()
    return Sample(content, media_type, {}, tuple(entries.values()))


def descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a registry listens, and what it takes to get in."""

    host: str
    """`127.0.0.1:port`."""
    username: str = ""
    password: str = ""
    tls: ssl.SSLContext | None = None

    def connect(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection(self.host, timeout=60, context=self.tls)
        return http.client.HTTPConnection(self.host, timeout=60)

    @property
    def headers(self) -> dict[str, str]:
        if not self.username:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()}


def push(address: Address, repository: str, tag: str, sample: Sample) -> str:
    """Put `sample` and all it needs into the registry; returns the digest that `tag` then names."""
    for part in sample.manifests:
        push(address, repository, part.digest, part)
    connection = address.connect()
    try:
        for digest, content in sample.blobs.items():
            put_blob(connection, address, repository, digest, content)
        headers = address.headers | {"Content-Type": sample.media_type}
        require(connection, "PUT", f"/v2/{repository}/manifests/{tag}", sample.content, headers, 201)
    finally:
        connection.close()
    return sample.digest


def put_blob(
    connection: http.client.HTTPConnection, address: Address, repository: str, digest: str, content: bytes
) -> None:
    started = require(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", address.headers, 202)
    where = urlsplit(started.headers["Location"])
    headers = address.headers | {"Content-Type": "application/octet-stream"}
    path = f"{where.path}?{where.query}&digest={digest}" if where.query else f"{where.path}?digest={digest}"
    require(connection, "PUT", path, content, headers, 201)


def require(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> http.client.HTTPResponse:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read()
    assert response.status == status, f"{method} {path}: {response.status} {text[:300]!r}"
    return response
