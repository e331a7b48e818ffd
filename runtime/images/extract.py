"""Makes the tree of one layer from the entries of its archive: overlay-ready, and never outside the directory given.

Called inside the unpacking child. Names are below the top, `..` is refused, a file never goes through a link that
stands in its place. Whiteouts become overlay's (image-spec `layer.md`, "Whiteouts"; kernel
`filesystems/overlayfs.rst`, "whiteouts and opaque directories"). Replacing what an earlier entry of the same layer
made is allowed, as with tar(1). Reports which directories the layer only implied: overlay takes a directory's
metadata from the top-most layer that has it, so an implied one must later be given those of the layers below.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from runtime.images.attributes import Dresser
from runtime.images.limits import Limits
from runtime.images.tarheader import padding
from runtime.images.tarstream import TarStream
from runtime.images.tree import Said, Tree, is_whiteout, join, set_opaque
from runtime.images.unsound import Unsound
from runtime.images.untar import (
    CHARACTER,
    DEVICE,
    DIRECTORY,
    FIFO,
    Entry,
    stored_size,
)

WHITEOUT_PREFIX = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
HARMLESS_DEVICES = frozenset({(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)})
"""Character devices: null, zero, full, random, urandom, tty, console, ptmx."""
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {CHARACTER: stat.S_IFCHR, DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class Extractor:
    """Unpacks into the directory `root` (a descriptor), which must be empty and nobody else's."""

    def __init__(self, root: int, limits: Limits) -> None:
        self._limits = limits
        self._tree = Tree(root, limits)
        self._dresser = Dresser()
        self._newest_ns = 0
        self.entries = 0
        self.bytes = 0
        self.hiding: set[bytes] = set()
        """Directories with whiteouts in them."""

    @property
    def implied(self) -> frozenset[bytes]:
        """Directories that the layer holds and says nothing about."""
        return frozenset(self._tree.implied)

    @property
    def skipped_xattrs(self) -> int:
        """Extended attributes that a layer may not set, or the file system cannot keep."""
        return self._dresser.skipped_xattrs

    def extract(self, entries: Iterable[Entry], stream: TarStream) -> None:
        """Make every entry, under a umask of 0. Raises Unsound, OSError (the disk)."""
        try:
            for entry in entries:
                self.entries += 1
                if self.entries > self._limits.entries:
                    raise Unsound(f"more than {self._limits.entries} entries", hint="raise the limit `entries`")
                self._newest_ns = max(self._newest_ns, entry.mtime_ns)
                self._make(entry, stream)
            self._tree.finish(self._dress, self._newest_ns)
        finally:
            self._tree.close()

    def _make(self, entry: Entry, stream: TarStream) -> None:
        path = self._normal(entry.path)
        parent, _, name = path.rpartition(b"/")
        self._tree.settle()
        try:
            if not path:
                self._make_top(entry)
            elif name.startswith(WHITEOUT_PREFIX):
                self._white_out(path, parent, name)
            else:
                self._make_named(entry, path, *self._tree.directory(parent), name, stream)
                return
        except OSError as error:
            raise _translated(error, path) from error
        _skip_content(entry, stream)

    def _make_top(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise Unsound("the layer's top is not a directory", entry.path)
        self._say(b"", entry)

    def _make_named(
        self, entry: Entry, path: bytes, directory: int, real: bytes, name: bytes, stream: TarStream
    ) -> None:
        match entry.kind:
            case b"0":
                self._make_file(entry, directory, name, path, stream)
            case b"5":
                self._make_directory(entry, directory, name, join(real, name))
            case b"2":
                self._make_symlink(entry, directory, name)
            case b"1":
                self._make_hard_link(entry, directory, name)
            case _:
                self._make_node(entry, directory, name)

    # files

    def _make_file(self, entry: Entry, directory: int, name: bytes, path: bytes, stream: TarStream) -> None:
        try:
            fd = os.open(name, _NEW_FILE, entry.mode, dir_fd=directory)
        except FileExistsError:
            self._tree.clear(directory, name)
            fd = os.open(name, _NEW_FILE, entry.mode, dir_fd=directory)
        try:
            if entry.data is None:
                self._write(fd, entry.size, path, stream)
            else:
                self._write_pieces(fd, entry, path, stream)
            self._dresser.file(fd, entry)
        finally:
            os.close(fd)

    def _write(self, fd: int, size: int, path: bytes, stream: TarStream) -> None:
        self.bytes += size
        if (small := stream.whole(size + padding(size))) is not None:  # most files
            _write_all(fd, small[:size])
            return
        _copy(stream, fd, size, path)
        _skip(stream, padding(size), path)

    def _write_pieces(self, fd: int, entry: Entry, path: bytes, stream: TarStream) -> None:
        """A sparse file: only its data is written; the rest stays holes."""
        for offset, length in entry.data or ():
            os.lseek(fd, offset, os.SEEK_SET)
            _copy(stream, fd, length, path)
        _skip(stream, padding(stored_size(entry)), path)
        os.ftruncate(fd, entry.size)
        self.bytes += stored_size(entry)

    # everything else

    def _make_directory(self, entry: Entry, directory: int, name: bytes, real: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                self._tree.clear(directory, name)
                os.mkdir(name, 0o700, dir_fd=directory)
                if is_whiteout(found):
                    set_opaque(directory, name)
        self._say(real, entry)

    def _make_symlink(self, entry: Entry, directory: int, name: bytes) -> None:
        try:
            os.symlink(entry.link, name, dir_fd=directory)
        except FileExistsError:
            self._tree.clear(directory, name)
            os.symlink(entry.link, name, dir_fd=directory)
        self._dresser.named(directory, name, entry, chmod=False)

    def _make_hard_link(self, entry: Entry, directory: int, name: bytes) -> None:
        parent, _, last = self._normal(entry.link).rpartition(b"/")
        source, _ = self._tree.directory(parent, make=False)
        if not last or stat.S_ISDIR(os.stat(last, dir_fd=source, follow_symlinks=False).st_mode):
            raise Unsound("a hard link to a directory", entry.path)
        try:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            if _is_same(source, last, directory, name):
                return
            self._tree.clear(directory, name)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)

    def _make_node(self, entry: Entry, directory: int, name: bytes) -> None:
        if entry.kind != FIFO and not self._is_allowed_device(entry):
            raise Unsound(
                f"a {'block' if entry.kind == DEVICE else 'character'} device node {entry.major}:{entry.minor}",
                entry.path,
                hint="allow device nodes in layers if you trust the image",
            )
        mode, device = _NODES[entry.kind] | entry.mode, os.makedev(entry.major, entry.minor)
        try:
            os.mknod(name, mode, device, dir_fd=directory)
        except FileExistsError:
            self._tree.clear(directory, name)
            os.mknod(name, mode, device, dir_fd=directory)
        self._dresser.named(directory, name, entry, chmod=True)

    def _is_allowed_device(self, entry: Entry) -> bool:
        """0/0 is overlay's own whiteout: it can only hide."""
        number = (entry.major, entry.minor)
        harmless = entry.kind == CHARACTER and (number in HARMLESS_DEVICES or number == (0, 0))
        return harmless or self._limits.device_nodes

    # whiteouts

    def _white_out(self, path: bytes, parent: bytes, mark: bytes) -> None:
        """Hide `name` of the layers below; what this layer itself has under that name stays (image-spec)."""
        name = mark[len(WHITEOUT_PREFIX) :]
        directory, real = self._tree.directory(parent)
        if mark == OPAQUE_MARK:
            set_opaque(directory)
        elif name.startswith(WHITEOUT_PREFIX):
            return  # aufs kept its own books under such names
        elif name in (b"", b".", b".."):
            raise Unsound("a whiteout of no name", path)
        else:
            try:
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
                self._hide_in(real)
            except FileExistsError:
                if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                    set_opaque(directory, name)

    def _hide_in(self, directory: bytes) -> None:
        if directory not in self.hiding:
            self._tree.hold(directory)
            self.hiding.add(directory)

    def _dress(self, path: bytes, fd: int, said: Said) -> None:
        try:
            self._dresser.directory(fd, said)
        except OSError as error:
            raise _translated(error, path) from error

    def _say(self, path: bytes, entry: Entry) -> None:
        self._tree.say(path, Said(entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs))

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


def _copy(stream: TarStream, fd: int, size: int, path: bytes) -> None:
    for piece in stream.pieces(size):
        size -= len(piece)
        _write_all(fd, piece)
    if size:
        raise Unsound("the archive is cut off inside a file", path)


def _write_all(fd: int, content: memoryview) -> None:
    while content:
        content = content[os.write(fd, content) :]


def _skip(stream: TarStream, count: int, path: bytes) -> None:
    if stream.skip(count) < count:
        raise Unsound("the archive is cut off inside a file", path)


def _skip_content(entry: Entry, stream: TarStream) -> None:
    size = stored_size(entry)
    _skip(stream, size + padding(size), entry.path)


def _is_same(source: int, last: bytes, directory: int, name: bytes) -> bool:
    one = os.stat(last, dir_fd=source, follow_symlinks=False)
    other = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return os.path.samestat(one, other)


_BLAME = {
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


def _translated(error: OSError, path: bytes) -> Exception:
    """What the layer is to blame for is Unsound; what the disk is to blame for stays."""
    message = _BLAME.get(error.errno or 0)
    return Unsound(message, path) if message else error
