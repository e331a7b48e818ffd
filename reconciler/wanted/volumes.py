"""What the volume room is asked for."""

from __future__ import annotations

from runtime.volumes.records import VolumeWanted
from schemas.volume import VolumeSpec


def volume_wanted(name: str, spec: VolumeSpec, set_name: str = "") -> VolumeWanted:
    """A manifest in the words of the volumes' room; `set_name`: whose it is."""
    options = spec.driver_opts
    return VolumeWanted(
        name=name,
        driver_opts={name: value for name, value in options.model_dump().items() if value} if options else {},
        size=spec.size,
        labels=dict(spec.labels),
        deletion_policy="delete" if spec.deletion_policy == "delete" else "retain",
        set=set_name,
    )
