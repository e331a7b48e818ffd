"""Which sources of ADD lie elsewhere: a URL, or a git repository. And what COPY and ADD refuse of either.

Called when variables are known. Fetches nothing.

Source: Dockerfile reference, "ADD": "Adding files from remote URLs", "Adding files from a Git repository".
"""

from __future__ import annotations

import re
from enum import Enum

from schemas.dockerfile.faults import Fault
from schemas.dockerfile.instructions import Add, Copy

_GIT = re.compile(r"(?:git|ssh)://.+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:(?!//).+|https?://[^?#]+\.git(?:[?#].*)?")
_HTTP = re.compile(r"https?://.+", re.IGNORECASE)


class Remote(Enum):
    HTTP = "http"
    GIT = "git"


def remote_of(source: str) -> Remote | None:
    """How the source is fetched; None if it is a path."""
    if _GIT.fullmatch(source):
        return Remote.GIT
    return Remote.HTTP if _HTTP.fullmatch(source) else None


def require_sources(instruction: Copy | Add) -> None:
    """Refuse what only ADD takes, and a checksum of anything but one remote source. Raises Fault."""
    remotes = [source for source in instruction.sources if remote_of(source)]
    if isinstance(instruction, Copy):
        if remotes:
            raise Fault(f"COPY does not fetch {remotes[0]}", "use ADD")
        return
    if instruction.checksum and (len(instruction.sources) != 1 or not remotes or instruction.files):
        raise Fault("--checksum is for one source that is fetched", "give each source an ADD of its own")
