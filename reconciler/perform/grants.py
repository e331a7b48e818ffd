"""Secrets and Configs as files of one container, on tmpfs, with the owner and mode its manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.desired import Desired
from reconciler.perform.context import Context
from runtime.volumes.secrets import Projected, project
from schemas.container import ContainerSpec
from schemas.names import Kind


def project_grants(context: Context, want: Desired, spec: ContainerSpec, id_base: int) -> Mapping[str, Path]:
    """Target in the container -> file to mount there, read-only. `id_base`: the host's id of the container's root."""
    grants = [(Kind.SECRET, grant) for grant in spec.secrets] + [(Kind.CONFIG, grant) for grant in spec.configs]
    if not grants:
        return {}
    entries = [
        Projected(kind.value, grant.source, f"{index}", grant.uid or 0, grant.gid or 0, grant.mode)
        for index, (kind, grant) in enumerate(grants)
    ]
    directory = project(context.engine.layout, want.key.name, entries, id_base)
    return {grant.target: directory / str(index) for index, (_, grant) in enumerate(grants)}
