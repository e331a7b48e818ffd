"""Makes the tree of one layer from the entries of its archive: overlay-ready, and never outside the directory given.

Called inside the unpacking child. Every directory is opened component by component, by descriptor and without
following links (`O_NOFOLLOW`); a link met on the way is resolved here, with the tree's top as `/`. What the layer
says about directories (mode, times) is set last. Reports which directories the layer only implied: overlay takes a
directory's metadata from the top-most layer that has it, so an implied one must later be given those of the layers
below.

Whiteouts become overlay's (image-spec `layer.md`, "Whiteouts"; kernel `filesystems/overlayfs.rst`, "whiteouts and
opaque directories"). Replacing what an earlier entry of the same layer made is allowed, as with tar(1).
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from typing import NamedTuple

from runtime.images.limits import Limits
from runtime.images.tarstream import TarStream
from runtime.images.unsound import Unsound
from runtime.images.untar import (
    CHARACTER,
    DEVICE,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Entry,
    padding,
    stored_size,
)

WHITEOUT_PREFIX = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
_OPAQUE_XATTR = "trusted.overlay.opaque"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORIES = 200
_MAX_LINKS = 40
"""The kernel's own bound (MAXSYMLINKS)."""
_HELD_XATTRS = 8 << 20
_KEPT_XATTRS = (b"user.", b"system.posix_acl_")
_DROPPED_XATTRS = (b"user.overlay.",)
HARMLESS_DEVICES = frozenset({(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)})
"""Character devices: null, zero, full, random, urandom, tty, console, ptmx."""


class _Directory(NamedTuple):
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[bytes, bytes] | None


class Extractor:
    """Unpacks into the directory `root` (a descriptor), which must be empty and nobody else's."""

    def __init__(self, root: int, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._open: dict[bytes, tuple[int, bytes]] = {}
        self._said: dict[bytes, _Directory] = {}
        self._held = 0
        self._newest_ns = 0
        self._stale = False
        """Something was replaced: a path that was opened may lead elsewhere now."""
        self.implied: set[bytes] = {b""}
        self.entries = 0
        self.bytes = 0
        self.skipped_xattrs = 0

    def extract(self, entries: Iterable[Entry], stream: TarStream) -> None:
        """Make every entry, under a umask of 0. Raises Unsound, OSError (the disk)."""
        try:
            for entry in entries:
                self.entries += 1
                if self.entries > self._limits.entries:
                    raise Unsound(f"more than {self._limits.entries} entries", hint="raise the limit `entries`")
                self._newest_ns = max(self._newest_ns, entry.mtime_ns)
                self._make(entry, stream)
            self._finish_directories()
        finally:
            self._close_directories()

    def _make(self, entry: Entry, stream: TarStream) -> None:
        path = self._normal(entry.path)
        if self._stale or len(self._open) > _OPEN_DIRECTORIES:
            self._close_directories()
        try:
            if not path:
                self._make_root(entry)
            elif path.rpartition(b"/")[2].startswith(WHITEOUT_PREFIX):
                self._white_out(path)
            else:
                self._make_named(entry, path, stream)
                return
        except OSError as error:
            raise _translated(error, path) from error
        _skip_content(entry, stream)

    def _make_root(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise Unsound("the layer's top is not a directory", entry.path)
        self._say(b"", entry)

    def _make_named(self, entry: Entry, path: bytes, stream: TarStream) -> None:
        parent, _, name = path.rpartition(b"/")
        directory, real = self._directory(parent)
        kind = entry.kind
        if kind == REGULAR:
            self._make_file(entry, directory, name, path, stream)
        elif kind == DIRECTORY:
            self._make_directory(entry, directory, name, real + b"/" + name if real else name)
        elif kind == SYMLINK:
            self._make_symlink(entry, directory, name)
        elif kind == HARD_LINK:
            self._make_hard_link(entry, directory, name)
        else:
            self._make_node(entry, directory, name)

    # files

    def _make_file(self, entry: Entry, directory: int, name: bytes, path: bytes, stream: TarStream) -> None:
        try:
            fd = os.open(name, _NEW_FILE, entry.mode, dir_fd=directory)
        except FileExistsError:
            self._clear(directory, name)
            fd = os.open(name, _NEW_FILE, entry.mode, dir_fd=directory)
        try:
            if entry.data is None:
                self._write(fd, entry.size, path, stream)
            else:
                self._write_pieces(fd, entry, path, stream)
            if entry.uid or entry.gid:
                os.fchown(fd, entry.uid, entry.gid)
                if entry.mode & 0o6000:
                    os.fchmod(fd, entry.mode)  # chown(2) takes setuid and setgid away
            if entry.xattrs:
                self._set_xattrs(fd, entry.xattrs)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _write(self, fd: int, size: int, path: bytes, stream: TarStream) -> None:
        pad = padding(size)
        if (small := stream.whole(size + pad)) is not None:  # most files
            _write_all(fd, small[:size])
            self.bytes += size
            return
        left = size
        for piece in stream.pieces(size):
            left -= len(piece)
            _write_all(fd, piece)
        if left or (pad and stream.skip(pad) < pad):
            raise Unsound("the archive is cut off inside a file", path)
        self.bytes += size

    def _write_pieces(self, fd: int, entry: Entry, path: bytes, stream: TarStream) -> None:
        for offset, length in entry.data or ():
            os.lseek(fd, offset, os.SEEK_SET)
            left = length
            for piece in stream.pieces(length):
                left -= len(piece)
                _write_all(fd, piece)
            if left:
                raise Unsound("the archive is cut off inside a sparse file", path)
        pad = padding(stored_size(entry))
        if stream.skip(pad) < pad:
            raise Unsound("the archive is cut off inside a sparse file", path)
        os.ftruncate(fd, entry.size)
        self.bytes += stored_size(entry)

    # everything else

    def _make_directory(self, entry: Entry, directory: int, name: bytes, real: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                self._clear(directory, name)
                os.mkdir(name, 0o700, dir_fd=directory)
                if _is_whiteout(found):
                    self._set_opaque(directory, name)
        self._say(real, entry)

    def _make_symlink(self, entry: Entry, directory: int, name: bytes) -> None:
        try:
            os.symlink(entry.link, name, dir_fd=directory)
        except FileExistsError:
            self._clear(directory, name)
            os.symlink(entry.link, name, dir_fd=directory)
        self._set_metadata(entry, directory, name, chmod=False)

    def _make_hard_link(self, entry: Entry, directory: int, name: bytes) -> None:
        target = self._normal(entry.link)
        parent, _, last = target.rpartition(b"/")
        source, _ = self._directory(parent, make=False)
        if not last or stat.S_ISDIR(os.stat(last, dir_fd=source, follow_symlinks=False).st_mode):
            raise Unsound("a hard link to a directory", entry.path)
        try:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            if self._is_same(source, last, directory, name):
                return
            self._clear(directory, name)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)

    def _make_node(self, entry: Entry, directory: int, name: bytes) -> None:
        device = os.makedev(entry.major, entry.minor)
        kind = {CHARACTER: stat.S_IFCHR, DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}[entry.kind]
        if kind == stat.S_IFBLK or (kind == stat.S_IFCHR and (entry.major, entry.minor) not in HARMLESS_DEVICES):
            self._refuse_device(entry)
        try:
            os.mknod(name, kind | entry.mode, device, dir_fd=directory)
        except FileExistsError:
            self._clear(directory, name)
            os.mknod(name, kind | entry.mode, device, dir_fd=directory)
        self._set_metadata(entry, directory, name, chmod=True)

    def _refuse_device(self, entry: Entry) -> None:
        if (entry.kind, entry.major, entry.minor) == (CHARACTER, 0, 0) or self._limits.device_nodes:
            return  # 0/0 is overlay's own whiteout: it can only hide
        kind = "block" if entry.kind == DEVICE else "character"
        raise Unsound(
            f"a {kind} device node {entry.major}:{entry.minor}",
            entry.path,
            hint="allow device nodes in layers if you trust the image",
        )

    # whiteouts

    def _white_out(self, path: bytes) -> None:
        """Hide `name` of the layers below; what this layer itself has under that name stays (image-spec)."""
        parent, _, mark = path.rpartition(b"/")
        name = mark[len(WHITEOUT_PREFIX) :]
        directory, _ = self._directory(parent)
        if mark == OPAQUE_MARK:
            os.setxattr(directory, _OPAQUE_XATTR, b"y")
        elif name.startswith(WHITEOUT_PREFIX):
            return  # aufs kept its own books under such names
        elif name in (b"", b".", b".."):
            raise Unsound("a whiteout of no name", path)
        else:
            try:
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                    self._set_opaque(directory, name)

    def _set_opaque(self, directory: int, name: bytes) -> None:
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        try:
            os.setxattr(fd, _OPAQUE_XATTR, b"y")
        finally:
            os.close(fd)

    # metadata

    def _set_metadata(self, entry: Entry, directory: int, name: bytes, *, chmod: bool) -> None:
        if entry.uid or entry.gid:
            os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
            if chmod:
                os.chmod(name, entry.mode, dir_fd=directory)
        if entry.xattrs:
            os.fchdir(directory)  # lsetxattr(2) knows no directory descriptor
            self._set_xattrs(name, entry.xattrs)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=directory, follow_symlinks=False)

    def _set_xattrs(self, target: int | bytes, xattrs: dict[bytes, bytes]) -> None:
        """Keep file capabilities, ACLs and `user.*`. `trusted.*` and `user.overlay.*` would speak to overlay itself."""
        for name, value in xattrs.items():
            if name != b"security.capability" and (
                not name.startswith(_KEPT_XATTRS) or name.startswith(_DROPPED_XATTRS)
            ):
                self.skipped_xattrs += 1
                continue
            try:
                if isinstance(target, int):
                    os.setxattr(target, name, value)
                else:
                    os.setxattr(target, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM) or name == b"security.capability":
                    raise
                self.skipped_xattrs += 1

    def _say(self, path: bytes, entry: Entry) -> None:
        """Remember what the layer says about a directory until everything in it is made."""
        if len(self._said) + len(self.implied) > self._limits.directories:
            raise Unsound(f"more than {self._limits.directories} directories", hint="raise the limit `directories`")
        if entry.xattrs:
            self._held += sum(len(name) + len(value) for name, value in entry.xattrs.items())
            if self._held > _HELD_XATTRS:
                raise Unsound("too many extended attributes of directories", path)
        self._said[path] = _Directory(entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs)
        self.implied.discard(path)

    def _finish_directories(self) -> None:
        """Deepest first. Implied directories get the layer's newest time, so that equal layers give equal trees."""
        implied = _Directory(0o755, 0, 0, self._newest_ns, None)
        self._close_directories()
        for path in sorted(self._said.keys() | self.implied, reverse=True):
            try:
                fd, real = self._directory(path, make=False)
                if real != path:
                    self.implied.discard(path)
                    continue
                self._finish_directory(fd, self._said.get(path, implied))
                if len(self._open) > _OPEN_DIRECTORIES:
                    self._close_directories()
            except (FileNotFoundError, NotADirectoryError, Unsound):
                self.implied.discard(path)  # a later entry took its place
            except OSError as error:
                raise _translated(error, path) from error

    def _finish_directory(self, fd: int, said: _Directory) -> None:
        os.fchown(fd, said.uid, said.gid)
        os.fchmod(fd, said.mode)
        if said.xattrs:
            self._set_xattrs(fd, said.xattrs)
        os.utime(fd, ns=(said.mtime_ns, said.mtime_ns))

    # directories

    def _directory(self, path: bytes, *, make: bool = True) -> tuple[int, bytes]:
        """The directory at `path`, open, and its path without links; made (as implied) where it is missing."""
        if not path:
            return self._root, b""
        found = self._open.get(path)
        if found is None:
            found = self._open[path] = self._walk(path, make)
        return found

    def _walk(self, path: bytes, make: bool) -> tuple[int, bytes]:
        above, _, name = path.rpartition(b"/")
        pending = [name]
        fd, real = self._directory(above, make=make)
        fd = os.dup(fd)
        links = 0
        try:
            while pending:
                name = pending.pop()
                if name == b"..":
                    above = real.rpartition(b"/")[0]
                    fd, real = _swap(fd, self._reopen(above)), above
                    continue
                target = self._step(fd, name, real, make)
                if isinstance(target, int):
                    fd, real = _swap(fd, target), real + b"/" + name if real else name
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise Unsound("a loop of links", path)
                if target.startswith(b"/"):
                    fd, real = _swap(fd, os.dup(self._root)), b""
                pending += [part for part in reversed(target.split(b"/")) if part not in (b"", b".")]
        except BaseException:
            os.close(fd)
            raise
        return fd, real

    def _step(self, fd: int, name: bytes, real: bytes, make: bool) -> int | bytes:
        """One component: the directory's descriptor, or where the link under that name leads."""
        try:
            return os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
            return self._imply(fd, name, real)
        except NotADirectoryError:  # open(2) says so of a link, too, when O_DIRECTORY meets O_NOFOLLOW
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                return os.readlink(name, dir_fd=fd)
            if not make or not _is_whiteout(found):
                raise
            os.unlink(name, dir_fd=fd)
            made = self._imply(fd, name, real)
            os.setxattr(made, _OPAQUE_XATTR, b"y")
            return made

    def _imply(self, fd: int, name: bytes, real: bytes) -> int:
        os.mkdir(name, 0o755, dir_fd=fd)
        path = real + b"/" + name if real else name
        if len(self._said) + len(self.implied) > self._limits.directories:
            raise Unsound(f"more than {self._limits.directories} directories", hint="raise the limit `directories`")
        self.implied.add(path)
        self._said.pop(path, None)
        return os.open(name, _OPEN_DIRECTORY, dir_fd=fd)

    def _reopen(self, real: bytes) -> int:
        """A directory by its path without links."""
        fd = os.dup(self._root)
        for name in real.split(b"/") if real else ():
            fd = _swap(fd, os.open(name, _OPEN_DIRECTORY, dir_fd=fd))
        return fd

    def _clear(self, directory: int, name: bytes) -> None:
        """Remove what an earlier entry made under that name, whole."""
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
        self._stale = True

    def _close_directories(self) -> None:
        for fd, _ in self._open.values():
            os.close(fd)
        self._open.clear()
        self._stale = False

    @staticmethod
    def _is_same(source: int, last: bytes, directory: int, name: bytes) -> bool:
        one = os.stat(last, dir_fd=source, follow_symlinks=False)
        other = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return os.path.samestat(one, other)

    def _normal(self, path: bytes) -> bytes:
        """The path below the top: no leading `/` or `./`, no doubled or trailing `/`. `..` is refused."""
        if len(path) > self._limits.path:
            raise Unsound(f"a path of more than {self._limits.path} bytes", path[:200])
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise Unsound("a path that climbs with '..'", path)
        if len(parts) > self._limits.depth:
            raise Unsound(f"a path of more than {self._limits.depth} components", path[:200])
        return b"/".join(parts)


def _write_all(fd: int, content: memoryview) -> None:
    while content:
        content = content[os.write(fd, content) :]


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _swap(old: int, new: int) -> int:
    os.close(old)
    return new


def _skip_content(entry: Entry, stream: TarStream) -> None:
    size = stored_size(entry)
    if stream.skip(size + padding(size)) < size + padding(size):
        raise Unsound("the archive is cut off inside a file", entry.path)


def _translated(error: OSError, path: bytes) -> Exception:
    """What the layer is to blame for is Unsound; what the disk is to blame for stays."""
    blame = {
        errno.ENAMETOOLONG: "a name is too long for the file system",
        errno.EINVAL: "the file system refuses a value of this entry",
        errno.ENOTDIR: "a file stands where a directory is needed",
        errno.ENOENT: "a link to something that the layer does not have",
        errno.ELOOP: "a loop of links",
        errno.EFBIG: "the file is larger than the file system allows",
        errno.EMLINK: "more hard links than the file system allows",
        errno.E2BIG: "an extended attribute is too large",
        errno.ERANGE: "an extended attribute is too large",
        errno.EOVERFLOW: "a value of this entry is out of range",
    }
    message = blame.get(error.errno or 0)
    return Unsound(message, path) if message else error
