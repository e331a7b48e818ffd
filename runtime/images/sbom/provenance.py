"""How an image was built, as an in-toto statement with SLSA's predicate. Pure.

Values of build arguments and secrets are no part of it: only their names.

Source: in-toto attestation framework, Statement v1; slsa.dev, provenance v1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
STATEMENT = "https://in-toto.io/Statement/v1"
BUILD_TYPE = "urn:trimtab:dockerfile:v1"
BUILDER = "urn:trimtab:builder"
ANNOTATIONS = {"in-toto.io/predicate-type": PREDICATE}


@dataclass(frozen=True, slots=True)
class Built:
    """`bases`: digests by reference; `files`: digest of all files that were taken; moments in seconds since 1970."""

    context: str
    dockerfile: str
    platform: str
    target: str = ""
    arguments: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    bases: Mapping[str, str] = field(default_factory=dict)
    files: str = ""
    started: float = 0.0
    finished: float = 0.0


def statement_of(built: Built, name: str, digest: str) -> bytes:
    """About the image called `name`, whose manifest has that digest."""
    algorithm, _, encoded = digest.partition(":")
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {algorithm: encoded}}],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": _definition(built), "runDetails": _details(built)},
    }
    return json.dumps(statement, indent=1, sort_keys=True).encode() + b"\n"


def _definition(built: Built) -> dict[str, object]:
    external = {
        "context": built.context,
        "dockerfile": built.dockerfile,
        "target": built.target,
        "arguments": sorted(built.arguments),
        "secrets": sorted(built.secrets),
    }
    materials = [
        {"uri": f"docker-image://{reference}", "digest": dict([digest.split(":", 1)])}
        for reference, digest in sorted(built.bases.items())
    ]
    if built.files:
        materials.append({"uri": f"context://{built.context}", "digest": {"sha256": built.files}})
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {key: value for key, value in external.items() if value},
        "internalParameters": {"platform": built.platform},
        "resolvedDependencies": materials,
    }


def _details(built: Built) -> dict[str, object]:
    moments = {"startedOn": _moment(built.started), "finishedOn": _moment(built.finished)}
    return {"builder": {"id": BUILDER}, "metadata": moments}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
