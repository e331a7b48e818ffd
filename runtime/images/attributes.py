"""Owner, mode, time and extended attributes of what a layer holds, as the layer says, as far as it may say.

Called by the extractor inside the unpacking child. File capabilities, ACLs and `user.*` are kept; `trusted.*` and
`user.overlay.*` would speak to overlay itself, labels of security modules are the host's to give: all dropped.
"""

from __future__ import annotations

import errno
import os

from runtime.images.tree import Said
from runtime.images.untar import Entry

_CAPABILITY = b"security.capability"
_KEPT = (b"user.", b"system.posix_acl_")
_DROPPED = (b"user.overlay.",)
_UNSUPPORTED = (errno.ENOTSUP, errno.EPERM)


class Dresser:
    """Sets metadata; counts the extended attributes that were left out."""

    def __init__(self) -> None:
        self.skipped_xattrs = 0

    def file(self, fd: int, entry: Entry) -> None:
        """An open file that was made with the entry's mode."""
        if entry.uid or entry.gid:
            os.fchown(fd, entry.uid, entry.gid)
            if entry.mode & 0o6000:
                os.fchmod(fd, entry.mode)  # chown(2) takes setuid and setgid away
        if entry.xattrs:
            self._xattrs(fd, entry.xattrs)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def named(self, directory: int, name: bytes, entry: Entry, *, chmod: bool) -> None:
        """A link or a node, which cannot be opened."""
        if entry.uid or entry.gid:
            os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
            if chmod:
                os.chmod(name, entry.mode, dir_fd=directory)
        if entry.xattrs:
            os.fchdir(directory)  # lsetxattr(2) knows no directory descriptor
            self._xattrs(name, entry.xattrs)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=directory, follow_symlinks=False)

    def directory(self, fd: int, said: Said) -> None:
        os.fchown(fd, said.uid, said.gid)
        os.fchmod(fd, said.mode)
        if said.xattrs:
            self._xattrs(fd, said.xattrs)
        os.utime(fd, ns=(said.mtime_ns, said.mtime_ns))

    def _xattrs(self, target: int | bytes, xattrs: dict[bytes, bytes]) -> None:
        for name, value in xattrs.items():
            if not is_kept(name):
                self.skipped_xattrs += 1
                continue
            try:
                if isinstance(target, int):
                    os.setxattr(target, name, value)
                else:
                    os.setxattr(target, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _UNSUPPORTED or name == _CAPABILITY:
                    raise
                self.skipped_xattrs += 1


def is_kept(name: bytes) -> bool:
    """Whether a layer may set the extended attribute of that name."""
    return name == _CAPABILITY or (name.startswith(_KEPT) and not name.startswith(_DROPPED))
