"""Which health check a container has: its manifest's, with what its image says filled in."""

from __future__ import annotations

from dataclasses import asdict

from reconciler.desired import Desired
from reconciler.health import Check, check_of
from reconciler.resolve.expand import recorded_image
from runtime.images.store import read_image
from runtime.layout import Layout


def health_check(layout: Layout, want: Desired) -> Check | None:
    """None where nobody asks."""
    spec = want.fields["spec"]
    told = spec.get("healthcheck") or {}
    if told.get("disable"):
        return None
    image = read_image(layout, recorded_image(spec, want.needs))
    inherited = image.config.healthcheck if image is not None else None
    return check_of(spec, asdict(inherited) if inherited is not None else None)
