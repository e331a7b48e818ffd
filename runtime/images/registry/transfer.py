"""What a blob on its way between the store and a registry has with it, whichever way it goes.

Base of `download` and `upload`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from runtime.images.blobs import BlobStore
from runtime.images.oci import Descriptor
from runtime.images.registry.failures import Errand
from runtime.images.registry.settings import RegistrySettings


@dataclass
class Transfer:
    """`pool` reads and writes the store's files; `report` hears how many bytes have arrived."""

    store: BlobStore
    blob: Descriptor
    errand: Errand
    settings: RegistrySettings
    pool: Executor
    report: Callable[[int], None]
