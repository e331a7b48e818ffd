"""A bundle's `config.json`, read and checked before anything is made: OCI runtime-spec 1.x, for Linux.

What is checked here is the shape that the other files of this room rely on; what the kernel checks is left to it.
"""

from __future__ import annotations

import json
from typing import Any

from runtime.process.failure import ProcessFailed, step

Spec = dict[str, Any]


def read_bundle(bundle: str) -> Spec:
    """The specification in a bundle directory. Raises ProcessFailed where it is missing or wrong."""
    path = f"{bundle}/config.json"
    with step("read", path), open(path, "rb") as file:
        text = file.read()
    try:
        spec = json.loads(text)
        check_spec(spec)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProcessFailed(f"not an OCI specification: {error}", step="read", path=path) from error
    return spec  # type: ignore[no-any-return]


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
