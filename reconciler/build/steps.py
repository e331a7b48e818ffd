"""The steps of a build as values: what each does, on which tree, with which files; what makes it the same step again.

Described here, done elsewhere. A step's `definition` holds all of it that matters to its outcome but for the content it
takes: no place, title or time, no secret, no proxy. `cache_key` joins it with the identity of what it works on and
takes; a Start has no key of its own: it is identified by the image's digest, or the context's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum

from schemas.dockerfile.instructions import InlineFile
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.remote import Remote
from schemas.dockerfile.run_mount import Mount
from schemas.errors import Place

PREFIX = ".build-"
"""Of the bundles in which steps run: a name that no manifest can say."""
KEY_VERSION = "1"
"""Counted up when a step of the same definition would come out differently: old cache is then no more found."""


@dataclass(frozen=True, slots=True)
class Start:
    """A tree to begin with: that of an image, of a named context, or an empty one if neither is named."""

    platform: Platform
    image: str = ""
    context: str = ""


@dataclass(frozen=True, slots=True)
class BoundMount:
    """One of RUN's mounts, its target absolute. `taken` is the index in the step's inputs of what it shows."""

    mount: Mount
    target: str
    taken: int | None


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a program. `script` is a file at `script_path` that must be there while it runs."""

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    working_dir: str
    user: str
    mounts: tuple[BoundMount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    script_path: str = ""
    script: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy the inputs, then the files written in the Dockerfile, to `destination`, which is absolute.

    A destination that ends in a slash is a directory. `unpack` is for archives: of paths, and of what was fetched.
    """

    destination: str
    files: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    parents: bool = False
    unpack: bool = False
    unpack_fetched: bool = False


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory and those above it, owned by `user`, unless it is there."""

    path: str
    user: str


Work = Start | Execute | Transfer | MakeDirectory


@dataclass(frozen=True, slots=True)
class FromStep:
    """Files of the tree that another step has made."""

    step: int
    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FromContext:
    """Files of a context; the empty name is the build's own."""

    context: str
    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FromRemote:
    """What is fetched from a URL or a repository."""

    url: str
    kind: Remote
    checksum: str = ""
    keep_git_dir: bool = False


Input = FromStep | FromContext | FromRemote


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `parent` is the step whose tree it works on; None where it works on none: a start, a linked copy.

    `on_top` is the step its layer is put on in the image all the same. Steps take only from steps of smaller number.
    """

    number: int
    stage: int
    title: str
    place: Place
    work: Work
    parent: int | None = None
    on_top: int | None = None
    inputs: tuple[Input, ...] = ()
    is_cached: bool = True
    """Whether an outcome of before may be taken."""

    @property
    def needs(self) -> frozenset[int]:
        """The steps that must be done before this one."""
        parent = () if self.parent is None else (self.parent,)
        return frozenset(parent) | {each.step for each in self.inputs if isinstance(each, FromStep)}

    @property
    def definition(self) -> str:
        """Canonical JSON of what it does and takes; steps are named by their place among the inputs alone."""
        inputs = [_plain(each) | {"step": None} if isinstance(each, FromStep) else _plain(each) for each in self.inputs]
        described = {"work": _plain(self.work), "inputs": inputs, "version": KEY_VERSION}
        return json.dumps(described, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def cache_key(step: Step, parent: str, contents: Sequence[str]) -> str:
    """The key of a step's outcome: `sha256:…`.

    `parent` is what identifies the tree it works on, empty for none; `contents` what identifies the files of each
    input, in their order: the digest of what is taken, not of where it is taken from.
    """
    if len(contents) != len(step.inputs):
        raise ValueError(f"{len(step.inputs)} inputs have {len(contents)} contents")
    joined = json.dumps([step.definition, parent, list(contents)], separators=(",", ":"))
    return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}"


def _plain(value: object) -> dict[str, object]:
    """A dataclass as a map, its type named."""
    if not is_dataclass(value):
        raise TypeError(f"{value!r} is no dataclass")
    return {"type": type(value).__name__} | {
        each.name: _plain_field(getattr(value, each.name)) for each in fields(value)
    }


def _plain_field(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Platform):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain_field(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain_field(each) for name, each in value.items()}
    return _plain(value) if is_dataclass(value) else value
