"""The command face's other verbs: one container's life, and what can be asked."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from typing import Any

from runtime.kernel import apparmor, capabilities, cgroup, namespaces, seccomp
from runtime.kernel.libseccomp import COMPARISONS
from runtime.process import lifecycle, mount_options
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.hooks import OCI_VERSION
from runtime.process.oci_paths import existing, live_directory
from runtime.process.oci_spec import example_spec
from runtime.process.records import Phase, ProcessRecord

STATUS = {
    Phase.CREATED: "created",
    Phase.RUNNING: "running",
    Phase.PAUSED: "paused",
    Phase.EXITED: "stopped",
}

UPDATE_FLAGS = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-period": ("cpu", "period"),
    "cpu-share": ("cpu", "shares"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "pids-limit": ("pids", "limit"),
    "blkio-weight": ("blockIO", "weight"),
}
"""By flag: where its value stands in `linux.resources`."""


def version_text() -> str:
    """For `--version`, in the form callers look for."""
    return f"trimtab-oci\nspec: {OCI_VERSION}"


def start(options: argparse.Namespace) -> int:
    """`start`."""
    lifecycle.start(existing(options.root, options.id)[0])
    return 0


def kill(options: argparse.Namespace) -> int:
    """`kill`; a container that has stopped cannot be signalled, unless `--all` means whatever is left."""
    paths, _ = existing(options.root, options.id)
    if not lifecycle.kill(paths, _signal(options.signal), whole_tree=options.all) and not options.all:
        raise NotRunning("container not running", step="kill")
    return 0


def _signal(text: str) -> int:
    if text.isdigit():
        return int(text)
    name = text.upper()
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise ProcessFailed(f"{text!r} is no signal", step="kill") from None


def delete(options: argparse.Namespace) -> int:
    """`delete`; with `--force` also what is not there, or still runs."""
    if options.force and not os.path.exists(live_directory(options.root, options.id)):
        return 0
    paths, _ = existing(options.root, options.id)
    lifecycle.delete(paths, force=options.force)
    return 0


def pause(options: argparse.Namespace) -> int:
    """`pause`."""
    lifecycle.pause(existing(options.root, options.id)[0])
    return 0


def resume(options: argparse.Namespace) -> int:
    """`resume`."""
    lifecycle.resume(existing(options.root, options.id)[0])
    return 0


def update(options: argparse.Namespace) -> int:
    """`update`: limits from a file, or from flags."""
    paths, _ = existing(options.root, options.id)
    resources: dict[str, Any] = {}
    if options.resources:
        with open(0 if options.resources == "-" else options.resources, closefd=options.resources != "-") as file:
            resources = json.load(file)
    for flag, (section, field) in UPDATE_FLAGS.items():
        value = getattr(options, flag.replace("-", "_"))
        if value is not None:
            resources.setdefault(section, {})[field] = value if field in {"cpus", "mems"} else int(value)
    cgroup.write_limits(paths.cgroup, resources)
    return 0


def _state(options: argparse.Namespace, name: str) -> dict[str, Any]:
    paths, _ = existing(options.root, name)
    record = lifecycle.read_process(paths)
    assert record is not None
    return _oci_state(record, paths.bundle)


def _oci_state(record: ProcessRecord, bundle: str) -> dict[str, Any]:
    annotations: dict[str, str] = {}
    try:
        with open(f"{bundle}/config.json") as file:
            annotations = json.load(file).get("annotations") or {}
    except (OSError, ValueError):
        pass
    running = record.phase is not Phase.EXITED
    return {
        "ociVersion": OCI_VERSION,
        "id": record.name,
        "pid": record.pid if running else 0,
        "status": STATUS[record.phase],
        "bundle": bundle,
        "created": _rfc3339(record.created_at),
        "annotations": annotations,
    }


def _rfc3339(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def state(options: argparse.Namespace) -> int:
    """`state`."""
    print(json.dumps(_state(options, options.id), indent=2))
    return 0


def list_all(options: argparse.Namespace) -> int:
    """`list`."""
    try:
        names = sorted(os.listdir(os.path.join(options.root, "containers")))
    except FileNotFoundError:
        names = []
    states = []
    for name in names:
        try:
            states.append(_state(options, name))
        except NotRunning:
            continue
    if options.quiet:
        print("\n".join(entry["id"] for entry in states))
    elif options.format == "json":
        print(json.dumps(states))
    else:
        print(f"{'ID':<24}{'PID':<10}{'STATUS':<10}{'BUNDLE':<32}CREATED")
        for entry in states:
            print("{id:<24}{pid:<10}{status:<10}{bundle:<32}{created}".format(**entry))
    return 0


def processes(options: argparse.Namespace) -> int:
    """`ps`."""
    paths, _ = existing(options.root, options.id)
    pids = sorted(cgroup.processes(paths.cgroup))
    if options.format == "json":
        print(json.dumps(pids))
        return 0
    sys.stdout.flush()
    return subprocess.run(["ps", "-f", "-p", ",".join(map(str, pids)) or "0"], check=False).returncode


def write_spec(options: argparse.Namespace) -> int:
    """`spec`: refuses to replace one that is there."""
    with open(os.path.join(options.bundle, "config.json"), "x") as file:
        json.dump(example_spec(), file, indent=2)
    return 0


def features(options: argparse.Namespace) -> int:
    """`features`: runtime-spec features.md."""
    found = cgroup.detect()
    hooks = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    attributes = sorted(mount_options.ATTRIBUTES)
    propagation = sorted(mount_options.PROPAGATION)
    known = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": hooks,
        "mountOptions": sorted(
            {"bind", "rbind", "idmap", "ridmap", "tmpcopyup", *attributes, *propagation}
            | {f"r{name}" for name in (*attributes, *propagation)}
        ),
        "linux": {
            "namespaces": sorted(namespaces.KINDS),
            "capabilities": sorted(capabilities.known()),
            "cgroup": {
                "v1": found is not cgroup.Version.V2,
                "v2": found is cgroup.Version.V2,
                "systemd": False,
                "systemdUser": False,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(COMPARISONS),
                "archs": sorted(seccomp.ARCHITECTURES),
                "knownFlags": sorted(seccomp.FLAGS),
                "supportedFlags": sorted(seccomp.FLAGS),
            },
            "apparmor": {"enabled": apparmor.is_available()},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "potentiallyUnsafeConfigAnnotations": ["trimtab/"],
    }
    print(json.dumps(known, indent=2))
    return 0
