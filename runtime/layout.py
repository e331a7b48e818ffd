"""Where one engine keeps its things: the only file that knows the names of directories and sockets.

Two engines with different root and run directories never see each other's objects: whatever lives in a
space shared by the machine (cgroups, links, nftables) carries `engine_id`. Standard library only, since the
launcher imports it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runtime.defaults import ROOT, RUN

DEFAULT_ROOT = Path(ROOT)
DEFAULT_RUN = Path(RUN)


@dataclass(frozen=True)
class Layout:
    """Paths of one engine. `root` survives a reboot; `run` is live state and does not."""

    root: Path = DEFAULT_ROOT
    run: Path = DEFAULT_RUN

    @cached_property
    def engine_id(self) -> str:
        """Six hexadecimal digits that differ between engines on one machine."""
        text = f"{self.root.absolute()}\0{self.run.absolute()}"
        return hashlib.sha256(text.encode()).hexdigest()[:6]

    # on disk
    @property
    def blobs(self) -> Path:
        """`blobs/sha256/<hex>`: content by digest."""
        return self.root / "blobs"

    @property
    def layers(self) -> Path:
        """`layers/<diffID hex>`: one unpacked tree per layer."""
        return self.root / "layers"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def store(self) -> Path:
        return self.root / "state.db"

    @property
    def registry(self) -> Path:
        """What the registry's repositories hold: SQLite; the bytes are blobs."""
        return self.root / "registry.db"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def source(self, name: str) -> Path:
        """What is kept of a git source: `repository`, `home`, and `tree` with the files that manifests point at."""
        return self.root / "sources" / name

    @property
    def daemon_lock(self) -> Path:
        return self.root / "daemon.lock"

    def container(self, name: str) -> Path:
        """A container's bundle: `config.json`, `upper`, `work`, `rootfs`, `log/`, `exit.json`, `record.json`."""
        return self.root / "containers" / name

    def container_log(self, name: str) -> Path:
        return self.container(name) / "log"

    # live
    @property
    def launcher_socket(self) -> Path:
        return self.run / "launcher.sock"

    @property
    def api_socket(self) -> Path:
        return self.run / "api.sock"

    def live(self, name: str) -> Path:
        """A container's live state: `state.json`, `monitor.sock`, generated `hosts`, `resolv.conf`, `hostname`."""
        return self.run / "containers" / name

    @property
    def secrets(self) -> Path:
        """A tmpfs of the engine's: contents of Secrets and Configs."""
        return self.run / "secrets"

    @property
    def dns(self) -> Path:
        return self.run / "dns"

    # in spaces shared by the machine
    @property
    def nft_table(self) -> str:
        return f"trimtab-{self.engine_id}"

    def cgroup(self, name: str) -> str:
        """Path below each cgroup hierarchy's root (runtime-spec `linux.cgroupsPath`).

        A directory beside the kernel's own files: the suffix keeps a container called `tasks` from being one of them.
        """
        return f"/trimtab-{self.engine_id}/{name}{'' if name.startswith('.') else '.container'}"

    def link(self, kind: str, name: str) -> str:
        """An interface name of at most 15 bytes: `tt<kind><engine><hash of name>`, kind one letter."""
        digest = hashlib.sha256(name.encode()).hexdigest()[:6]
        return f"tt{kind}{self.engine_id}{digest}"
