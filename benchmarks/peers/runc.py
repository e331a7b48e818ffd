"""`runc run` of a bundle that is ready: no image, no network beyond an empty namespace, as with ours.

Two bundles: ours as it is (namespaces, limits, seccomp, capabilities, hidden paths; runc 1.1 maps no layers, so the
root is a plain directory), and one whose user namespace is the host's, which runc does sooner.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground, run
from benchmarks.records import ABSENT
from benchmarks.timing import Sample, milliseconds

RUN, RUN_USER = "runc run", "runc run, user namespace"


def why_not() -> str:
    return "" if shutil.which("runc") else ABSENT


def samples(ground: Ground, config: Mapping[str, Any]) -> dict[str, Sample]:
    """By name; `config` is our `config.json`."""
    found = {}
    for number, (name, users) in enumerate(((RUN, False), (RUN_USER, True))):
        bundle, state = ground.directory(f"runc{number}")
        make_bundle(bundle, adapted(config, f"/{ground.cgroup}/runc{number}", users=users), ground.tree)
        found[name] = sample(bundle, state)
    return found


def sample(bundle: Path, state: Path) -> Sample:
    command = ("runc", "--root", str(state), "run", "--bundle", str(bundle), "bench")
    return lambda: milliseconds(lambda: run(*command))


def adapted(config: Mapping[str, Any], cgroup: str, *, users: bool) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(config))
    made["root"] = {"path": "rootfs"}
    made["process"]["terminal"] = False
    made.pop("annotations", None)
    linux = made["linux"]
    linux["cgroupsPath"] = cgroup
    if not users:
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "user"]
        linux.pop("uidMappings", None)
        linux.pop("gidMappings", None)
    return made


def make_bundle(bundle: Path, config: Mapping[str, Any], tree: Path) -> None:
    """The root belongs to the container's root, whoever that is on the host."""
    run("cp", "-a", str(tree), str(bundle / "rootfs"))
    for mapping in config["linux"].get("uidMappings", ()):
        run("chown", "-R", f"{mapping['hostID']}:{mapping['hostID']}", str(bundle / "rootfs"))
    (bundle / "config.json").write_text(json.dumps(config))
