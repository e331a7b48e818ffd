"""How registries are reached: `registries.yaml` in the engine's root, or `/etc/trimtab/registries.yaml`."""

from __future__ import annotations

from pathlib import Path

from runtime.images.registry.settings import RegistrySettings
from runtime.layout import Layout
from schemas.errors import Refused

SYSTEM_FILE = Path("/etc/trimtab/registries.yaml")


def read_registries(layout: Layout) -> RegistrySettings:
    """Raises Refused naming the file when it is not well formed."""
    file = next((path for path in (layout.root / "registries.yaml", SYSTEM_FILE) if path.exists()), None)
    if file is None:
        return RegistrySettings()
    import yaml

    try:
        value = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise Refused(f"is no YAML: {error}", step="read registries", path=str(file)) from error
    try:
        return RegistrySettings.from_mapping(value or {})
    except Refused as error:
        error.path = str(file)
        raise
