"""An engine with Debian's registry beside it: manifests in, and a look into the registry by another way than ours."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.machine.machine import Machine
from tests.machine.probe import own_machine
from tests.registry.distribution import docker_registry
from tests.registry.samples import OCI_MANIFEST, Address

ACCEPT = f"{OCI_MANIFEST}, application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Shop:
    machine: Machine
    registry: Address

    def ref(self, name: str, tag: str = "1") -> str:
        return f"{self.registry.host}/{name}:{tag}"

    def manifest(self, name: str, tag: str = "1") -> dict[str, Any] | None:
        """What the registry says, its `digest` added; None where there is no such tag."""
        request = urllib.request.Request(
            f"http://{self.registry.host}/v2/{name}/manifests/{tag}", headers={"Accept": ACCEPT}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            assert error.code == 404
            error.close()
            return None
        return {**json.loads(content), "digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}

    def blob(self, name: str, digest: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.registry.host}/v2/{name}/blobs/{digest}", timeout=20) as response:
            content: bytes = response.read()
            return content

    def settle(self, host: str = "") -> None:
        """How registries are reached."""
        hosts = ", ".join(f"'{each}': {{insecure: true}}" for each in filter(None, (self.registry.host, host)))
        (self.machine.layout.root / "registries.yaml").write_text(f"registries: {{{hosts}}}\nattempts: 1\n")


@contextmanager
def image_shop(busybox_tree: Path, directory: Path) -> Iterator[Shop]:
    with own_machine(busybox_tree) as machine, docker_registry(directory) as registry:
        shop = Shop(machine, registry)
        shop.settle()
        yield shop
