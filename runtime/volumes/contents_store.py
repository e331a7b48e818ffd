"""Where contents of Secrets and Configs stand: a tmpfs of the engine's, and the key their digests are made with.

The tmpfs is mounted once, private to root, bounded, and not swapped out where the kernel can promise that. After a
reboot it is empty and everything in it reads as missing. The key stands on disk, readable to root alone: without it a
digest tells nothing, not even of a short password.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from runtime.kernel import mount
from runtime.layout import Layout
from schemas.errors import RetryLater

STORE_BYTES = 256 << 20
STORE_INODES = 1 << 17
KEY_BYTES = 32


def ensure_store(layout: Layout) -> None:
    """Have the tmpfs mounted on the engine's secrets directory. Raises RetryLater."""
    if is_mounted(layout):
        return
    layout.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        directory = os.open(layout.secrets, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if not is_mounted(layout):  # Of two at once the second would hide what the first one keeps.
                _mount_on(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise RetryLater(
            error.strerror or str(error), step="mount the secrets' tmpfs", path=str(layout.secrets), errno=error.errno
        ) from error


def _mount_on(directory: int) -> None:
    tree = _new_tmpfs()
    try:
        mount.move_mount(tree, directory)
    finally:
        os.close(tree)


def _new_tmpfs() -> int:
    options: dict[str, str | None] = {
        "source": "trimtab-secrets",
        "mode": "0700",
        "size": str(STORE_BYTES),
        "nr_inodes": str(STORE_INODES),
    }
    attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
    try:
        return mount.new_mount("tmpfs", {**options, "noswap": None}, attributes)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Before Linux 6.4 tmpfs does not know `noswap`.
            raise
    return mount.new_mount("tmpfs", options, attributes)


def remove_store(layout: Layout) -> bool:
    """Take the tmpfs away with what stands on it; False where there is none."""
    if not is_mounted(layout):
        return False
    mount.umount2(str(layout.secrets))
    return True


def is_mounted(layout: Layout) -> bool:
    """Whether the tmpfs stands; what lies in a plain directory of that name is not looked at."""
    return layout.secrets.is_mount()


def content_digest(layout: Layout, content: bytes) -> str:
    """`hmac-sha256:<hex>` under this engine's key: equal for equal contents, of no use without the key."""
    return f"hmac-sha256:{hmac.new(_key(layout), content, hashlib.sha256).hexdigest()}"


def _key(layout: Layout) -> bytes:
    path = layout.root / "secrets.key"
    with suppress(FileNotFoundError):
        status = path.stat()
        key = _read_key(path, status.st_ino, status.st_mtime_ns)
        if len(key) == KEY_BYTES:
            return key
        path.unlink()  # Never written whole, hence never used.
    _make_key(path)
    return path.read_bytes()


@lru_cache(8)
def _read_key(path: Path, inode: int, changed: int) -> bytes:
    """Once for all contents of a pass, as long as it is the same file."""
    return path.read_bytes()


def _make_key(path: Path) -> None:
    """Write a key under another name and link it into place: of two at once the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, os.urandom(KEY_BYTES))
        os.fsync(descriptor)
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        os.close(descriptor)
        temporary.unlink()
