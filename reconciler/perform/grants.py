"""Secrets and Configs as files of one container, on tmpfs, with the owner and mode its manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.desired import Desired
from reconciler.perform.context import Context
from runtime.volumes.secrets import Projected, project
from schemas.container import ContainerSpec
from schemas.names import Kind


def project_grants(context: Context, want: Desired, spec: ContainerSpec) -> Mapping[str, Path]:
    """Target in the container -> file to mount there, read-only."""
    grants = [(Kind.SECRET, grant) for grant in spec.secrets] + [(Kind.CONFIG, grant) for grant in spec.configs]
    if not grants:
        return {}
    entries = [
        Projected(kind.value, grant.source, f"{index}", grant.uid or 0, grant.gid or 0, grant.mode)
        for index, (kind, grant) in enumerate(grants)
    ]
    offset = want.facts.get("user_namespace") or 0
    directory = project(context.engine.layout, want.key.name, entries, offset)
    return {grant.target: directory / str(index) for index, (_, grant) in enumerate(grants)}
