"""A source in one word, as the daemon's `--source` takes it: `PATH`, or `GIT_URL[#branch[:path]]`; also `#tag=v1.2`,
`#semver=1.x`, `#commit=…`. Pure but for looking whether a path is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler.sources.files import directory_name
from reconciler.sources.followed import Followed
from reconciler.sources.git.remote import last_name
from schemas.errors import Refused
from schemas.source import SourceSpec

_REMOTE = re.compile(r"(?:https?|ssh|git|file)://|[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:")
KINDS = ("branch", "tag", "commit", "semver")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def read_source(text: str, *, interval: float | None = None, prune: bool = True) -> Followed:
    """`interval` in seconds. Raises Refused for what is no source."""
    fields: dict[str, Any] = {"interval": interval, "prune": prune}
    if is_repository(text):
        fields["git"] = _git(text)
        name = _usable(last_name(fields["git"]["url"]))
    else:
        fields["directory"] = str(Path(text).absolute())
        name = directory_name(text)
    try:
        spec = SourceSpec.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(found["msg"].removeprefix("Value error, ") for found in error.errors())
        raise Refused(faults, step="read --source", path=text) from error
    return Followed(name, spec, place="--source")


def is_repository(text: str) -> bool:
    """A URL, or `user@host:path` where no such path is there."""
    return _REMOTE.match(text) is not None and ("://" in text or not Path(text).exists())


def _git(text: str) -> dict[str, str]:
    url, _, fragment = text.partition("#")
    ref, _, path = fragment.partition(":")
    fields = {"url": url}
    kind, equals, name = ref.partition("=")
    if equals and kind in KINDS:
        fields[kind] = name
    elif ref:
        fields["commit" if _COMMIT.fullmatch(ref) else "branch"] = ref
    if path:
        fields["path"] = path
    return fields


def _usable(name: str) -> str:
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-._")[:63] or "git"
