"""Image references and digests: `nginx` is `docker.io/library/nginx:latest`.

The grammar is that of the distribution project (reference grammar, image-spec descriptor digests), with its
normalisation for Docker Hub's short names. Standard library only; knows nothing of registries or of the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
DEFAULT_TAG = "latest"
LONGEST_NAME = 255
"""Characters of a repository's path (reference grammar, RepositoryNameTotalLengthMax)."""

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN = re.compile(rf"{_HOST}(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")

REFERENCE_PATTERN = (
    rf"(?:{_HOST}(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}))?"
)


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of an algorithm we verify: sha256 or sha512, in lower-case hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


def parse_digest(text: str) -> tuple[str, str]:
    """`sha256:ab…` -> (`sha256`, `ab…`). Safe as a file name. Raises ValueError."""
    if not is_digest(text):
        raise ValueError(f"{text!r} is no digest; write sha256: and 64 hexadecimal digits")
    algorithm, _, encoded = text.partition(":")
    return algorithm, encoded


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An image in a registry: `domain/path:tag@digest`, tag or digest or both."""

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference and fill in docker.io, library/ and latest. Raises ValueError, saying what is wrong."""
        rest, at, digest = text.partition("@")
        if at:
            parse_digest(digest)
        elif _IDENTIFIER.fullmatch(text):
            raise ValueError(f"{text!r} is an image's identifier; write a name, as in nginx@sha256:{text[:8]}…")
        domain, remainder = _split_domain(rest)
        path, colon, tag = remainder.partition(":")
        _require_path(path, text)
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(f"{tag!r} is no tag; write up to 128 letters, digits, and . _ -, as in {path}:1.27")
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"{domain!r} is no registry; write HOST or HOST:PORT, as in registry.example.com:5000")
        return cls(domain, path, tag if colon else None if at else DEFAULT_TAG, digest or None)

    @property
    def name(self) -> str:
        """`docker.io/library/nginx`: domain and path."""
        return f"{self.domain}/{self.path}"

    @property
    def pin(self) -> str:
        """What to ask the registry's manifests endpoint for: the digest if there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def familiar(self) -> str:
        """As people write it: without docker.io and library/."""
        path = self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path
        return self._with_pins(path if self.domain == DEFAULT_DOMAIN else self.name)

    def with_digest(self, digest: str) -> Reference:
        """The same, pinned. Raises ValueError if `digest` is none."""
        parse_digest(digest)
        return replace(self, digest=digest)

    def __str__(self) -> str:
        return self._with_pins(self.name)

    def _with_pins(self, name: str) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{name}{tag}@{self.digest}" if self.digest else f"{name}{tag}"


def _split_domain(name: str) -> tuple[str, str]:
    """The registry, and the rest: the first component is a registry if it can be no repository's name."""
    first, slash, remainder = name.partition("/")
    if not slash or not (first == "localhost" or set(".:") & set(first) or first != first.lower()):
        domain, remainder = DEFAULT_DOMAIN, name
    else:
        domain = DEFAULT_DOMAIN if first == LEGACY_DOMAIN else first
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = f"library/{remainder}"
    return domain, remainder


def _require_path(path: str, text: str) -> None:
    if "://" in text:
        raise ValueError(f"{text!r} is a URL; leave out {text.partition('://')[0]}://")
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        written = path if path in text else path.removeprefix("library/")
        raise ValueError(f"the repository {written!r} has capitals; write {written.lower()!r}")
    if len(path) > LONGEST_NAME:
        raise ValueError(f"the repository's name has {len(path)} characters; write at most {LONGEST_NAME}")
    if not _PATH.fullmatch(path):
        raise ValueError(f"{text!r} is no image reference; write one as in nginx:1.27 or registry.example.com/shop/web")
