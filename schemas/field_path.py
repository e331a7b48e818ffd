"""Where inside an object a value stands: `("spec", "ports", 0)`, written `spec.ports[0]`.

Called by everything that names a field to a person. A key that holds anything but letters, digits, `_` and `-` is
quoted in brackets: `metadata.labels["app.kubernetes.io/name"]`.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def format_path(path: Path) -> str:
    """`("spec", "ports", 0)` -> `spec.ports[0]`. The empty path is the empty text."""
    return "".join(_step(step) for step in path).removeprefix(".")


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _PLAIN.fullmatch(step):
        return f".{step}"
    return '["' + step.replace("\\", "\\\\").replace('"', '\\"') + '"]'
