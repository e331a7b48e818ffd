"""What a repository's URL says: how it is reached, and how it is written for people. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

_SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9_.-]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>(?!//).+)")


@dataclass(frozen=True, slots=True)
class Remote:
    """`url` as git is given it; `scheme` is the only protocol that git may use; `origin` is scheme and host."""

    url: str
    scheme: str
    host: str = ""
    user: str = ""

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self._host}"

    @property
    def _host(self) -> str:
        """With its port, and the brackets of IPv6."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def path(self) -> str:
        """The directory of a `file` repository."""
        return urlsplit(self.url).path

    def __str__(self) -> str:
        """Without a password, should one stand in it."""
        parts = urlsplit(self.url)
        user = f"{parts.username}@" if parts.username and parts.scheme != "https" else ""
        return urlunsplit((parts.scheme, f"{user}{self._host}", parts.path, "", ""))


def read_remote(url: str) -> Remote:
    """Of a URL that the schema has let pass: `https://`, `ssh://`, `file://`, `git@host:path` or a path."""
    if "://" not in url:
        if url.startswith("/"):
            return Remote(f"file://{url}", "file")
        found = _SCP.fullmatch(url)
        if found is None:
            return Remote(f"file://{url}", "file")
        user = found["user"] or ""
        path = found["path"] if found["path"].startswith("/") else f"/{found['path']}"
        name = f"{user}@{found['host']}" if user else found["host"]
        return Remote(f"ssh://{name}{path}", "ssh", found["host"], user)
    parts = urlsplit(url)
    return Remote(url, parts.scheme, parts.hostname or "", parts.username or "")


def last_name(url: str) -> str:
    """The repository's own name: `shop` of `https://example.com/team/shop.git`."""
    return re.split(r"[/:]", url.rstrip("/").removesuffix(".git").rstrip("/"))[-1]
