"""Packages in an image's files: databases of dpkg, apk and rpm, metadata of Python and npm. Raises for nothing in them.

A database that cannot be read is told among the gaps: a list of packages that is not whole must say so.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice

from runtime.images.sbom.rpm import BadDatabase, read_rpm_rows
from runtime.kernel.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

MOST_DATABASE = 128 << 20
MOST_METADATA = 1 << 20
MOST_PACKAGES = 200_000
DEEPEST = 64
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR)
DPKG, DPKG_PARTS = "var/lib/dpkg/status", "var/lib/dpkg/status.d"
APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
RPM = ("usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite")
UNREAD_RPM = ("var/lib/rpm/Packages", "var/lib/rpm/Packages.db", "usr/lib/sysimage/rpm/Packages.db")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """`type` as package URLs have it: deb, apk, rpm, pypi, npm. `place`: the file that says so."""

    type: str
    name: str
    version: str
    architecture: str = ""
    license: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Packages:
    """`distribution`: ID and VERSION_ID of os-release(5). `gaps`: databases that could not be read."""

    packages: tuple[Package, ...]
    distribution: str = ""
    release: str = ""
    gaps: tuple[str, ...] = field(default=())


def read_packages(top: int) -> Packages:
    """Of the tree below the directory `top`. Raises OSError."""
    gaps: list[str] = []
    every = chain(_dpkg(top), _apk(top), _rpm(top, gaps), _languages(top))
    found = list(islice(every, MOST_PACKAGES + 1))
    if len(found) > MOST_PACKAGES:
        gaps.append(f"/: more than {MOST_PACKAGES} packages")
    release = dict(_pairs(_text(top, "etc/os-release") or _text(top, "usr/lib/os-release")))
    whole = tuple(sorted(set(found[:MOST_PACKAGES])))
    return Packages(whole, release.get("ID", ""), release.get("VERSION_ID", ""), tuple(gaps))


def _open(top: int, path: str, flags: int = os.O_RDONLY) -> int | None:
    """None for what is not there, or is of another kind."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    try:
        return openat2(top, path, flags | os.O_CLOEXEC | os.O_NONBLOCK, resolve=resolve)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _read(top: int, path: str, most: int) -> bytes:
    """Empty for what is not there, is no file, or is too long."""
    fd = _open(top, path)
    if fd is None:
        return b""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return b""
    with os.fdopen(fd, "rb") as file:
        content = file.read(most + 1)
    return content if len(content) <= most else b""


def _text(top: int, path: str, most: int = MOST_METADATA) -> str:
    return _read(top, path, most).decode(errors="replace")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """os-release(5)."""
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name.strip(), value.strip().strip("\"'")


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    """deb822(5): fields of one line; continued lines are left out. apk's letters read the same."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0] not in " \t":
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name, value.strip())
    if fields:
        yield fields


def _dpkg(top: int) -> Iterator[Package]:
    """deb-status: those that are installed; distroless images have a file for each."""
    files = [DPKG]
    directory = _open(top, DPKG_PARTS, os.O_RDONLY | os.O_DIRECTORY)
    if directory is not None:
        try:
            with os.scandir(directory) as entries:
                files += [f"{DPKG_PARTS}/{entry.name}" for entry in entries if not entry.name.endswith(".md5sums")]
        finally:
            os.close(directory)
    for path in files:
        for fields in _paragraphs(_text(top, path, MOST_DATABASE)):
            if fields.get("Status", "install ok installed").endswith(" installed") and "Package" in fields:
                yield Package(
                    "deb", fields["Package"], fields.get("Version", ""), fields.get("Architecture", ""), place=path
                )


def _apk(top: int) -> Iterator[Package]:
    for path in APK:
        for fields in _paragraphs(_text(top, path, MOST_DATABASE)):
            if "P" in fields:
                told = (fields.get("V", ""), fields.get("A", ""), fields.get("L", ""))
                yield Package("apk", fields["P"], *told, place=APK[0])


def _rpm(top: int, gaps: list[str]) -> Iterator[Package]:
    for path in RPM:
        fd = _open(top, path)
        if fd is None:
            continue
        try:
            for row in read_rpm_rows(fd):
                yield Package("rpm", row.name, row.version, row.architecture, row.license, path)
        except BadDatabase as error:
            gaps.append(f"/{path}: {error}")
        finally:
            os.close(fd)
    for path in UNREAD_RPM:
        fd = _open(top, path)
        if fd is not None:
            os.close(fd)
            gaps.append(f"/{path}: a database of an older rpm, which is not read")


def _languages(top: int) -> Iterator[Package]:
    """By one walk: links are not followed, and nothing is looked into that is mounted."""
    for directory, names, files, fd in os.fwalk(".", dir_fd=top, follow_symlinks=False):
        if directory.count("/") >= DEEPEST:
            names.clear()
        where = directory.removeprefix("./")
        if directory.endswith((".dist-info", ".egg-info")):
            for name in ("METADATA", "PKG-INFO"):
                if name in files:
                    yield from _python(fd, name, f"{where}/{name}")
        elif "package.json" in files and _is_module(directory):
            yield from _npm(fd, f"{where}/package.json")
        for name in files:
            if name.endswith(".egg-info"):
                yield from _python(fd, name, f"{where}/{name}")


def _is_module(directory: str) -> bool:
    """`node_modules/NAME` or `node_modules/@SCOPE/NAME`: not the tests and examples within."""
    above = directory.split("/")
    return above[-2:-1] == ["node_modules"] or (above[-3:-2] == ["node_modules"] and above[-2].startswith("@"))


def _python(fd: int, name: str, place: str) -> Iterator[Package]:
    """core-metadata: the fields before the first empty line."""
    fields = next(_paragraphs(_text(fd, name)), {})
    if fields.get("Name"):
        license = fields.get("License-Expression") or fields.get("License", "")
        yield Package("pypi", fields["Name"], fields.get("Version", ""), license=license, place=place)


def _npm(fd: int, place: str) -> Iterator[Package]:
    with suppress(ValueError, RecursionError):
        said = json.loads(_text(fd, "package.json") or "{}")
        if isinstance(said, dict) and isinstance(said.get("name"), str) and said["name"]:
            version, license = said.get("version"), said.get("license")
            texts = [value if isinstance(value, str) else "" for value in (version, license)]
            yield Package("npm", said["name"], texts[0], license=texts[1], place=place)
