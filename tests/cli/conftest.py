"""Engines for tests of the command line: an empty one for each test, and one for a module with something applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.engine import Engine, making_engine

SHOP = """\
apiVersion: trimtab/v1
kind: Image
metadata: {name: busybox}
spec:
  rootfs: ROOTFS
  config: {cmd: [sh], env: {PATH: /bin}}
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: shop}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: pages}
---
apiVersion: trimtab/v1
kind: Secret
metadata: {name: password}
spec: {content: xyzzy-very-secret}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db, labels: {app: shop, tier: back}}
spec:
  image: busybox
  command: [sh, -c, "echo hello; sleep 0.1; echo oops >&2; sleep 0.1; echo $$PRICE; exec sleep 1000000"]
  environment: {PRICE: "5$$"}
  networks: [shop]
  volumes: ["pages:/pages"]
  secrets: [password]
  mem_limit: 32m
  stop_grace_period: 0s
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: web, labels: {app: shop}}
spec:
  image: busybox
  command: [sh, -c, "echo up; exec httpd -f -p 80"]
  networks: [shop]
  ports: ["127.0.0.1:8080:80"]
  stop_grace_period: 0s
  deploy: {replicas: 2}
"""


def shop_manifest(busybox_tree: Path) -> str:
    return SHOP.replace("ROOTFS", str(busybox_tree))


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that was never used."""
    with making_engine() as made:
        yield made


@pytest.fixture(scope="module")
def shop(busybox_tree: Path) -> Iterator[Engine]:
    """An engine with SHOP applied as the set `shop`. Tests leave it as they find it."""
    with making_engine() as made:
        made.write("shop.yaml", shop_manifest(busybox_tree))
        made.ok("apply", "--set", "shop", "shop.yaml")
        yield made


@pytest.fixture(scope="module")
def image_only(busybox_tree: Path) -> Iterator[Engine]:
    """An engine that holds the image `busybox`, in the set `base`."""
    with making_engine() as made:
        made.write("image.yaml", shop_manifest(busybox_tree).partition("---")[0])
        made.ok("apply", "--set", "base", "image.yaml")
        yield made
