"""Stop a container as its manifest, else its image, says: signal, grace, then the end of the whole tree."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from typing import Any

from reconciler.desired import Observed
from reconciler.perform.context import Context
from reconciler.resolve.expand import recorded_image
from runtime.images.store import read_image
from runtime.process import client
from schemas.names import Key, Kind

GRACE_SECONDS = 10.0
"""Docker's."""


def stop(context: Context, name: str, have: Observed | None) -> None:
    """By the record of what it was made from: a changed manifest speaks for the next incarnation. Where the record is
    lost, by the manifest of now."""
    layout = context.engine.layout
    process = client.read_process(layout, name)
    if process is None or not process.phase.can_kill:
        return
    spec = _recorded(context, name, have)
    signal = signal_number(spec.get("stop_signal") or _image_signal(context, have) or "SIGTERM")
    grace = spec.get("stop_grace_period")
    client.stop(layout, name, signal, GRACE_SECONDS if grace is None else grace)


def _recorded(context: Context, name: str, have: Observed | None) -> Mapping[str, Any]:
    if have is not None and have.fields is not None:
        return dict(have.fields["spec"])
    want = context.desired.get(Key(Kind.CONTAINER, name))
    return dict(want.fields["spec"]) if want is not None else {}


def _image_signal(context: Context, have: Observed | None) -> str:
    if have is None or have.fields is None:
        return ""
    name = recorded_image(have.fields["spec"], have.needs)
    image = read_image(context.engine.layout, name)
    return image.config.stop_signal if image is not None else ""


def signal_number(name: str) -> int:
    """`SIGTERM`, `TERM`, `SIGRTMIN+3`, `15`. An image's nonsense is SIGTERM: it must not keep a container alive."""
    if name.isdigit():
        return int(name)
    base, _, offset = name.upper().removeprefix("SIG").partition("+")
    number = getattr(signals, f"SIG{base}", signals.SIGTERM)
    return int(number) + (int(offset) if offset.isdigit() else 0)
