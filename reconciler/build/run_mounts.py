"""`RUN --mount`: what each mount is to the kernel, and what lives as long as the RUN: locks, secrets, agents' sockets.

Called by the solver for each RUN. What bind mounts show is found by the caller.

Source: Dockerfile reference, "RUN --mount".
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.build.steps import BoundMount
from runtime.images.locks import lock
from runtime.layout import Layout
from schemas.dockerfile.run_mount import Mount
from schemas.errors import Refused

if TYPE_CHECKING:
    from reconciler.build.run import Room

Entry = dict[str, Any]
LONGEST_SECONDS = 30 * 86400.0
"""How long a cache mount stays that no RUN asks for."""
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Shown:
    """What a bind mount shows: a file, or a directory of joined trees, highest first."""

    layers: tuple[Path, ...] = ()
    file: Path | None = None


def bind(bound: BoundMount, shown: Shown, room: Room) -> Entry:
    """Writable ones are copies: what is written there is lost when the RUN ends."""
    mount = bound.mount
    if not mount.read_only:
        return _entry(bound.target, _copy(shown, room, bound.target), ["rbind", "rprivate", "rw", "idmap"])
    if shown.file is not None:
        return _entry(bound.target, shown.file, ["bind", "rprivate", "ro", "nosuid", "nodev", "idmap"])
    entry = _entry(bound.target, shown.layers[0], ["bind", "rprivate", "ro"])
    return entry | {"layers": [str(layer) for layer in shown.layers]}


def _copy(shown: Shown, room: Room, target: str) -> Path:
    path = room.bundle / f"bind-{hashlib.sha256(target.encode()).hexdigest()[:12]}"
    if shown.file is not None:
        shutil.copy2(shown.file, path)
        return path
    path.mkdir()
    for layer in reversed(shown.layers):
        _copy_tree(layer, path)
    return path


def _copy_tree(source: Path, target: Path) -> None:
    done = subprocess.run(
        ["cp", "-a", "--reflink=auto", "-T", "--", str(source), str(target)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Refused(done.stderr.strip()[-300:], step="mount", path=str(source))


def cache(layout: Layout, bound: BoundMount, held: ExitStack, filled: Shown | None) -> Entry:
    """A directory that stays from one build to the next; `held` gives its lock back."""
    mount = bound.mount
    name = hashlib.sha256((mount.id or bound.target).encode()).hexdigest()[:32]
    path = _held(layout.root / "build" / "mounts", name, mount.sharing or "shared", held)
    data = path / "data"
    if not data.exists():
        new = path / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for layer in reversed(filled.layers if filled else ()):
            _copy_tree(layer, new)
        os.chown(new, mount.uid or 0, mount.gid or 0)
        new.chmod(0o755 if mount.mode is None else mount.mode)
        new.rename(data)
    options = ["rbind", "rprivate", "ro" if mount.read_only else "rw", "idmap"]
    return _entry(bound.target, data, options)


def _held(directory: Path, name: str, sharing: str, held: ExitStack) -> Path:
    """The cache's own directory, locked: for all, for one after another, or another one for each at the same time."""
    for number in range(1024):
        path = directory / (name if number == 0 else f"{name}-{number}")
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if lock(fd, wait=sharing != "private", shared=sharing == "shared"):
            held.callback(os.close, fd)
            os.utime(path)
            return path
        os.close(fd)
    raise Refused("too many builds use this cache at the same time", step="mount", hint="use sharing=locked")


def mounts_kept(layout: Layout) -> list[Path]:
    """The cache mounts that there are."""
    return sorted((layout.root / "build" / "mounts").glob("*"))


def trim_mounts(layout: Layout, longest_seconds: float = LONGEST_SECONDS) -> None:
    """Remove cache mounts that nobody asked for in so many seconds, and that nobody uses now."""
    for path in mounts_kept(layout):
        with suppress(FileNotFoundError, NotADirectoryError):
            if time.time() - path.stat().st_mtime < longest_seconds:
                continue
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if lock(fd):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)


def tmpfs(bound: BoundMount) -> Entry:
    size = [f"size={bound.mount.size}"] if bound.mount.size is not None else []
    options = ["nosuid", "nodev", "ro" if bound.mount.read_only else "rw", "mode=1777", *size]
    return {"destination": bound.target, "type": "tmpfs", "source": "tmpfs", "options": options}


def secret(bound: BoundMount, given: Mapping[str, bytes], room: Room, environment: dict[str, str]) -> Entry | None:
    """A file in the engine's live state, a variable, or both. Raises Refused where it is required and not given."""
    mount = bound.mount
    name = secret_id(mount)
    content = given.get(name)
    if content is None:
        if mount.required:
            raise Refused(f"the secret {name} is not given", step="mount", hint=f"--secret id={name},src=FILE")
        return None
    if mount.env is not None:
        environment[mount.env or name] = content.decode(errors="surrogateescape")
    if not bound.target:
        return None
    path = room.live / f"secret-{len(os.listdir(room.live))}"  # noqa: PTH208 (names, not paths)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    os.chown(path, room.id_base + (mount.uid or 0), room.id_base + (mount.gid or 0))
    path.chmod(0o400 if mount.mode is None else mount.mode)
    return _entry(bound.target, path, ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"])


def secret_id(mount: Mount) -> str:
    """As Docker finds it: `id`, `source`, or the last part of its target."""
    return mount.id or mount.source or posixpath.basename(mount.target)


def agent(bound: BoundMount, given: Mapping[str, Path], room: Room, held: ExitStack) -> Entry | None:
    """A socket in front of the agent's: an agent talks to nobody but its owner, and the RUN's root is somebody else."""
    mount = bound.mount
    name = mount.id or "default"
    upstream = given.get(name)
    if upstream is None:
        if mount.required:
            raise Refused(f"the ssh agent {name} is not given", step="mount", hint=f"--ssh {name}[=SOCKET]")
        return None
    path = room.live / f"agent-{len(os.listdir(room.live))}"  # noqa: PTH208 (names, not paths)
    listener = socket.socket(socket.AF_UNIX)
    held.callback(listener.close)
    listener.bind(str(path))
    os.chown(path, room.id_base + (mount.uid or 0), room.id_base + (mount.gid or 0))
    path.chmod(0o600 if mount.mode is None else mount.mode)
    listener.listen(8)
    threading.Thread(target=_accept, args=(listener, upstream), daemon=True).start()
    held.callback(listener.shutdown, socket.SHUT_RDWR)
    return _entry(bound.target, path, ["bind", "rprivate", "rw", "nosuid", "nodev", "noexec"])


def _accept(listener: socket.socket, upstream: Path) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_forward, args=(client, upstream), daemon=True).start()


def _forward(client: socket.socket, upstream: Path) -> None:
    """One connection, both ways, until both have said all."""
    with client, socket.socket(socket.AF_UNIX) as agent, suppress(OSError):
        agent.connect(str(upstream))
        answers = threading.Thread(target=_pass, args=(agent, client), daemon=True)
        answers.start()
        _pass(client, agent)
        answers.join()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _entry(destination: str, source: Path, options: list[str]) -> Entry:
    return {"destination": destination, "type": "bind", "source": str(source), "options": options}
