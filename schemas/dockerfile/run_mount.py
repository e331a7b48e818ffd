"""`RUN --mount=type=bind|cache|tmpfs|secret|ssh,…`: one mount, read and checked.

Called when the instruction is read, if no variable stands in it, and by whoever plans the step when they are known.

Source: Dockerfile reference, "RUN --mount".
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass

from schemas.dockerfile.faults import Fault
from schemas.nearest import suggest
from schemas.units import read_bytes

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_SYNONYMS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_COMMON = {"from", "source", "target", "readonly", "readwrite", "id", "env"}
_OWNED = {"mode", "uid", "gid"}
_OF_TYPE = {
    "bind": _COMMON,
    "cache": _COMMON | _OWNED | {"sharing"},
    "tmpfs": _COMMON | {"size"},
    "secret": (_COMMON | _OWNED | {"required"}) - {"from"},
    "ssh": _COMMON | _OWNED | {"required"},
}
_KNOWN = {"type", *set().union(*_OF_TYPE.values())}
_SWITCHES = ("readonly", "readwrite", "required")
_WORDS = {"true": True, "t": True, "1": True, "": True, "false": False, "f": False, "0": False}

Expand = Callable[[str], str]
Options = dict[str, str]


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount. `size` in bytes; None and the empty text: not said."""

    type: str
    target: str = ""
    """Relative to the working directory, and that directory itself if it is not said."""
    source: str = ""
    from_: str = ""
    read_only: bool = False
    id: str = ""
    sharing: str = ""
    size: int | None = None
    required: bool = False
    env: str | None = None
    """The variable a secret is given in; the empty text: named as the secret."""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def read_mount(text: str, expand: Expand = str) -> Mount:
    """Read the value of one `--mount`, each option's value through `expand`. Raises Fault."""
    options = {key: expand(value) for key, value in _read_options(text).items()}
    kind = options.pop("type", "bind").lower()
    if kind not in TYPES:
        raise Fault(f"{kind!r} is no type of mount", suggest(kind, TYPES, otherwise=f"write {', '.join(TYPES)}"))
    for key in options:
        if key not in _OF_TYPE[kind]:
            raise Fault(f"a mount of type {kind} takes no {key}", f"it takes {', '.join(sorted(_OF_TYPE[kind]))}")
    mount = Mount(
        type=kind,
        target=options.get("target", ""),
        source=options.get("source", ""),
        from_=options.get("from", ""),
        read_only=_is_read_only(kind, options),
        id=options.get("id", ""),
        sharing=_read_sharing(options.get("sharing", "")),
        size=_read_size(options["size"]) if "size" in options else None,
        required=_read_switch(options, "required"),
        env=options.get("env"),
        mode=_read_number("mode", options, 8),
        uid=_read_number("uid", options, 10),
        gid=_read_number("gid", options, 10),
    )
    _require_whole(mount)
    return mount


def check_mount(text: str) -> None:
    """Refuse what is wrong whatever the variables turn out to be. Raises Fault."""
    if "$" not in text:
        read_mount(text)
    elif "$" in _read_options(text).get("from", "").rstrip("$"):
        raise Fault("variables do not count in from=", "name a stage: FROM $IMAGE AS name, then from=name")


def from_of(text: str) -> str:
    """The stage, image or context that a mount takes from; empty for none. Raises Fault."""
    return _read_options(text).get("from", "")


def _read_options(text: str) -> Options:
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Fault(f"--mount={text} cannot be read: {error}", "write KEY=VALUE, parted by commas") from None
    options: Options = {}
    for field in fields:
        key, equals, value = field.partition("=")
        name = _SYNONYMS.get(key.lower(), key.lower())
        if name not in _KNOWN:
            known = sorted(_KNOWN | _SYNONYMS.keys())
            raise Fault(f"{key!r} is no option of a mount", suggest(key, known, otherwise=f"write {', '.join(known)}"))
        if not equals and name not in _SWITCHES:
            # A secret's `env` alone takes the secret's own name.
            if name != "env":
                raise Fault(f"{key} has no value", f"write {key}=VALUE")
        elif equals and not value and name in _SWITCHES:
            raise Fault(f"{key} has no value", f"write {key} or {key}=true")
        options[name] = value
    return options


def _is_read_only(kind: str, options: Options) -> bool:
    """What was said last counts; a bind, a secret and an agent's socket are read-only by default."""
    said = [key for key in options if key in ("readonly", "readwrite")]
    if not said:
        return kind not in ("cache", "tmpfs")
    return _read_switch(options, said[-1]) == (said[-1] == "readonly")


def _read_switch(options: Options, key: str) -> bool:
    if key not in options:
        return False
    if options[key].lower() not in _WORDS:
        raise Fault(f"{key}={options[key]} is neither true nor false", f"write {key}")
    return _WORDS[options[key].lower()]


def _read_sharing(text: str) -> str:
    if text.lower() not in ("", *SHARING):
        raise Fault(f"{text!r} is no way of sharing", suggest(text, SHARING, otherwise=f"write {', '.join(SHARING)}"))
    return text.lower()


def _read_size(text: str) -> int:
    try:
        return read_bytes(text)
    except ValueError as error:
        raise Fault(f"size: {error}") from None


def _read_number(key: str, options: Options, base: int) -> int | None:
    if key not in options:
        return None
    text = options[key]
    digits = "01234567" if base == 8 else "0123456789"
    number = int(text, base) if text and len(text) <= 12 and not text.strip(digits) else -1
    if not 0 <= number < (1 << 12 if base == 8 else 1 << 32):
        raise Fault(f"{key}={text} cannot be", f"write {key}={'0644' if base == 8 else '1000'}")
    return number


def _require_whole(mount: Mount) -> None:
    if mount.type == "secret" and not (mount.source or mount.id or mount.target):
        raise Fault("a secret needs an id", "write id=NAME")
    if mount.type == "secret" and mount.source and mount.id:
        raise Fault("source and id of a secret are the same thing", "leave one")
