"""How to reach registries: what an administrator may say of them, validated.

Read by `pull` and everything below it; made by the reconciler from the content of `registries.yaml`. Reads no file.

    parallel_layers: 4
    registries:
      docker.io: {mirrors: ["mirror.example:5000", "https://harbor.example/proxy"]}
      registry.lan:5000: {insecure: true}
      registry.example: {ca: /etc/ssl/corp.pem, cert: /etc/ssl/me.pem, key: /etc/ssl/me.key}
      trusted.example: {verify: {keys: [/etc/trimtab/release.pub]}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from schemas.errors import Refused

if TYPE_CHECKING:
    from pydantic import ValidationError

HOST_PATTERN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII
)
"""`host`, `host:port`, `[v6]:port`. Never a path: a host names a directory of certificates."""

_MIRROR = re.compile(rf"(?:(?P<scheme>https?)://)?(?P<host>{HOST_PATTERN.pattern})(?:/(?P<prefix>[a-z0-9._/-]+?))?/?")


@dataclass(frozen=True, slots=True)
class Trust:
    """Who must have vouched for what comes from a registry: files, as `Image.spec.verify` has them."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid"}

    keys: tuple[Path, ...] = ()
    list: Path | None = None
    list_key: Path | None = None

    def __post_init__(self) -> None:
        if bool(self.keys) == (self.list is not None) or (self.list is None) != (self.list_key is None):
            raise ValueError("verify needs keys, or list and list_key")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One registry, by `host[:port]`."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid"}

    insecure: bool = False
    """Accept any certificate, and plain HTTP where HTTPS does not answer."""
    ca: Path | None = None
    """PEM certificates trusted beside the system's and those of `certs`."""
    cert: Path | None = None
    key: Path | None = None
    """The client certificate that this registry asks for."""
    mirrors: tuple[str, ...] = ()
    """`[http[s]://]host[:port][/prefix]`, tried in this order before the registry itself."""

    verify: Trust | None = None
    """Of every image that is pulled and of which its manifest says nothing, those of no manifest too."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together")
        for mirror in self.mirrors:
            split_mirror(mirror)


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Everything a pull may be told. Times are seconds, sizes bytes."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid"}

    registries: Mapping[str, HostSettings] = field(default_factory=dict)
    certs: tuple[Path, ...] = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))
    """Directories with one directory per `host[:port]`: `*.crt` are CAs, `x.cert` and `x.key` a client certificate."""
    docker_config: Path | None = None
    """Docker's `config.json`; None: in $DOCKER_CONFIG, or ~/.docker."""
    parallel_layers: int = 4
    attempts: int = 6
    """How often one request or one layer is tried, at most; a try that brought a good piece of a layer is free."""
    backoff: float = 0.5
    backoff_cap: float = 20.0
    retry_after_cap: float = 90.0
    """A registry that asks for a longer pause than this is not waited for."""
    connect_timeout: float = 10.0
    stall_timeout: float = 30.0
    """How long a connection may bring no byte."""
    request_timeout: float = 60.0
    """How long a manifest or a token may take in all."""
    helper_timeout: float = 20.0
    """How long a docker-credential program may run."""

    def __post_init__(self) -> None:
        for name in ("parallel_layers", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more")
        for name in ("connect_timeout", "stall_timeout", "request_timeout", "helper_timeout", "backoff_cap"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be more than 0 seconds")
        for name in ("backoff", "retry_after_cap"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be 0 seconds or more")
        if self.parallel_layers > 16:
            raise ValueError("parallel_layers must be 16 or less")
        for host in self.registries:
            if not HOST_PATTERN.fullmatch(host):
                raise ValueError(f"{host!r} is not a registry: write host or host:port")

    def host(self, name: str) -> HostSettings:
        """What was said of the registry `host[:port]`; the defaults where nothing was."""
        return self.registries.get(name, HostSettings())

    @classmethod
    def from_mapping(cls, content: Mapping[str, object], *, file: str = "registries.yaml") -> RegistrySettings:
        """Validate what `file` holds. Raises Refused with every problem found, each with its field."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_python(dict(content))
        except ValidationError as error:
            raise Refused("; ".join(problems_of(error)), object="registry settings", path=file) from error


def problems_of(error: ValidationError) -> list[str]:
    """One sentence for each problem: the field, what is wrong, and the nearest name where the field is unknown."""
    return [
        unknown_field(one["loc"])
        if one["type"] == "unexpected_keyword_argument"
        else f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors()
    ]


def unknown_field(place: tuple[int | str, ...]) -> str:
    """A refusal's words for a field that is not known."""
    known = [one.name for one in fields(HostSettings if place[0] == "registries" else RegistrySettings)]
    nearest = get_close_matches(str(place[-1]), known, 1)
    return f"{'.'.join(map(str, place))}: unknown field" + (f", did you mean {nearest[0]}?" if nearest else "")


def split_mirror(mirror: str) -> tuple[str | None, str, str]:
    """`(scheme or None, host[:port], prefix)` of a mirror. Raises ValueError."""
    found = _MIRROR.fullmatch(mirror)
    if not found:
        raise ValueError(f"{mirror!r} is not a mirror: write host[:port][/prefix], with https:// or http:// before it")
    return found["scheme"], found["host"], found["prefix"] or ""
