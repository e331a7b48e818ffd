"""A bundle's `config.json`, read and checked before anything is made: OCI runtime-spec 1.x, for Linux.

What is checked here is the shape that the other files of this room rely on; what the kernel checks is left to it.
"""

from __future__ import annotations

import json
import os
from typing import Any

from runtime.process.failure import ProcessFailed, step

Spec = dict[str, Any]


def open_bundle(bundle: str) -> tuple[Spec, int]:
    """The specification in a bundle directory, and a descriptor to read it again. Raises ProcessFailed."""
    path = f"{bundle}/config.json"
    with step("read", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    try:
        spec: Spec = json.loads(text)
        check_spec(spec)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProcessFailed(f"not an OCI specification: {error!r}", step="read", path=path) from error
    return spec, descriptor


def check_spec(spec: Spec) -> None:
    """Raise ValueError (or KeyError, TypeError, AttributeError) where the shape is not a container's."""
    if not str(spec["ociVersion"]).startswith("1."):
        raise ValueError(f"ociVersion {spec['ociVersion']} is not 1.x")
    check_process(spec["process"])
    if not isinstance(spec["root"]["path"], str):
        raise ValueError("root.path is not text")
    for entry in spec.get("mounts") or ():
        if not entry["destination"].startswith("/"):
            raise ValueError(f"mount destination {entry['destination']} is not absolute")


def check_process(process: Spec) -> None:
    """The same for a `process`, of a container or of an exec."""
    if not process["args"] or not all(isinstance(argument, str) for argument in process["args"]):
        raise ValueError("process.args is empty or not text")
    if not process["cwd"].startswith("/"):
        raise ValueError(f"process.cwd {process['cwd']} is not absolute")
