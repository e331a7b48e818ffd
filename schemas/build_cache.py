"""Where a build's cache is read from and written to: Docker's `type=registry,ref=…` and `type=local,src=…`.

A reference alone is a registry's. Whether anything is there is the builder's business.

Source: Compose Specification, build, cache_from, cache_to; docker buildx build, --cache-from, --cache-to.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from schemas.image_words import read_reference
from schemas.paths import read_file_path
from schemas.plain_types import TEXT, read_flag, read_line, words
from schemas.spelling import INTO_BAG, SORTED

REGISTRY, LOCAL = "registry", "local"
_OPTIONS = {
    (REGISTRY, False): ("ref",),
    (LOCAL, False): ("src", "tag"),
    (REGISTRY, True): ("ref", "mode", "ignore-error"),
    (LOCAL, True): ("dest", "tag", "mode", "ignore-error"),
}
_PLACES = ("ref", "src", "dest")
MODES = ("min", "max")


@dataclass(frozen=True, slots=True)
class CachePlace:
    """`place`: a reference, or a directory, in which `tag` names one of several caches. The rest is for writing."""

    type: str
    place: str
    tag: str = "latest"
    mode: str = "min"
    ignore_error: bool = False
    is_target: bool = False

    @classmethod
    def parse(cls, text: str, *, is_target: bool) -> "CachePlace":
        """Raises ValueError with what to write instead."""
        if "=" not in text:
            return cls(REGISTRY, read_reference(text), is_target=is_target)
        given = _options(text)
        kind = given.pop("type", REGISTRY)
        known = _OPTIONS.get((kind, is_target))
        if known is None:
            raise ValueError(f"{text!r} is of a type that is not known; write type=registry or type=local")
        for name in given:
            if name not in known:
                raise ValueError(f"{text!r} has the unknown option {name!r}; write {', '.join(known)}")
        if known[0] not in given:
            raise ValueError(f"{text!r} names no place; write type={kind},{known[0]}=…")
        read: Callable[[Any], str] = read_reference if kind == REGISTRY else read_file_path
        return cls(
            kind,
            read(given[known[0]]),
            given.get("tag", "latest"),
            _mode(given.get("mode", "min")),
            read_flag(given.get("ignore-error", "false")),
            is_target,
        )

    def __str__(self) -> str:
        """As it is parsed; what is meant anyway is left out."""
        kind = {(REGISTRY, False): "ref", (REGISTRY, True): "ref", (LOCAL, False): "src", (LOCAL, True): "dest"}
        parts = [f"type={self.type}", f"{kind[self.type, self.is_target]}={self.place}"]
        parts += [f"tag={self.tag}"] if self.tag != "latest" else []
        parts += [f"mode={self.mode}"] if self.mode != "min" else []
        return ",".join([*parts, *(["ignore-error=true"] if self.ignore_error else [])])

    def at(self, directory: str) -> "CachePlace":
        """The same, in another directory."""
        return replace(self, place=directory)

    def is_same_place(self, other: "CachePlace") -> bool:
        """Whether both read and write one cache."""
        return (self.type, self.place, self.tag) == (other.type, other.place, other.tag)


def _options(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if any(not value for _, _, value in pairs):
        raise ValueError(f"{text!r} has an option without a value; write NAME=VALUE,NAME=VALUE")
    return {name.strip().lower(): value for name, _, value in pairs}


def _mode(text: str) -> str:
    if text not in MODES:
        raise ValueError(f"{text!r} is no mode; write {' or '.join(MODES)}")
    return text


def _read(value: Any, *, is_target: bool) -> str:
    return str(CachePlace.parse(read_line(value), is_target=is_target))


def read_source(value: Any) -> str:
    """One of `cache_from`. Raises ValueError."""
    return _read(value, is_target=False)


def read_target(value: Any) -> str:
    """One of `cache_to`. Raises ValueError."""
    return _read(value, is_target=True)


CacheSources = Annotated[tuple[str, ...], words(read_source, "list of cache", TEXT), INTO_BAG, SORTED]
CacheTargets = Annotated[tuple[str, ...], words(read_target, "list of cache", TEXT), INTO_BAG, SORTED]
