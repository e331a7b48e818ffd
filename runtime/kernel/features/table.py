"""The table of features: what is asked, what its lack switches off, and the remedy."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime.kernel.features import links, mounts, system


@dataclass(frozen=True, slots=True)
class Feature:
    """One answer. `detail` tells more of what is there, or why it is not; the rest is what its lack means."""

    name: str
    available: bool
    detail: str
    switches_off: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Probe:
    """`ask` returns a detail or raises OSError with the reason."""

    name: str
    ask: Callable[[Path], str]
    switches_off: str
    remedy: str


NEWER_KERNEL = "run a newer kernel"
USE_V2 = "boot with cgroup_no_v1=all, or mount the controller"
LOAD = "load the module `{}`, or a kernel built with it"

CONTROLLERS = (
    ("memory", "mem_limit, memswap_limit, mem_reservation, the count of OOM kills"),
    ("cpu", "cpus, cpu_shares, cpu_quota"),
    ("cpuset", "cpuset"),
    ("pids", "pids_limit"),
    ("blkio", "blkio_config"),
    ("freezer", "state: paused"),
    ("hugetlb", "hugepage limits of an OCI configuration"),
)
LINKS = (
    ("bridge", "networks with driver bridge"),
    ("veth", "networks with driver bridge"),
    ("vxlan", "networks across machines"),
    ("macvlan", "networks with driver macvlan"),
    ("ipvlan", "networks with driver ipvlan"),
)

PROBES = (
    Probe("kernel 6.1", system.kernel, "nothing is tested on it", NEWER_KERNEL),
    Probe("clone3", system.clone3, "containers", NEWER_KERNEL),
    Probe("pidfd", system.pidfd, "containers", NEWER_KERNEL),
    Probe("openat2", system.openat2, "safe unpacking of images, bind mounts", NEWER_KERNEL),
    Probe(
        "user namespaces",
        mounts.user_namespaces,
        "a user namespace of its own for every container",
        "set user.max_user_namespaces above 0; until then userns_mode: host; in a chroot the kernel makes none",
    ),
    Probe("time namespaces", partial(system.namespace, "time"), "time offsets", "a kernel with CONFIG_TIME_NS"),
    Probe("cgroup namespaces", partial(system.namespace, "cgroup"), "cgroup: private", NEWER_KERNEL),
    Probe(
        "id-mapped mounts",
        mounts.idmapped_mounts,
        "user namespaces with shared layers and volumes",
        "keep the engine's root on ext4, xfs or btrfs",
    ),
    Probe("overlay", mounts.overlay, "containers from images", LOAD.format("overlay")),
    Probe(
        "overlay lowerdir+",
        mounts.overlay_by_layer,
        "layers named one by one (an older way is used)",
        "Linux 6.5 or newer; nothing is lost without",
    ),
    Probe(
        "project quotas",
        system.project_quota,
        "size of volumes",
        "mount the file system of the engine's root with prjquota (ext4: tune2fs -O project,quota -Q prjquota)",
    ),
    Probe("cgroups", system.cgroups, "containers", "mount cgroup2 at /sys/fs/cgroup"),
    *(Probe(f"cgroup {name}", partial(system.controller, name), lost, USE_V2) for name, lost in CONTROLLERS),
    Probe("cgroup devices", system.device_rules, "confinement to devices", "a kernel with CONFIG_CGROUP_BPF"),
    Probe("swap accounting", system.swap_accounting, "memswap_limit", "boot with swapaccount=1"),
    Probe("cgroup.kill", system.kill_at_once, "nothing: processes are frozen and killed one by one", "cgroup v2"),
    Probe("pressure stall information", system.pressure, "pressure in metrics", "boot with psi=1"),
    Probe("seccomp", system.seccomp, "the filter of system calls", "a kernel with CONFIG_SECCOMP_FILTER"),
    Probe("libseccomp", system.libseccomp_version, "the filter of system calls", "install libseccomp2"),
    Probe("AppArmor", system.apparmor_on, "the AppArmor profile", "boot with lsm=...,apparmor and install apparmor"),
    Probe(
        "hard limits", system.raising_limits, "ulimits above the engine's own", "run the engine with CAP_SYS_RESOURCE"
    ),
    Probe("nftables", system.nftables_tables, "published ports, isolation, services", "install libnftables1"),
    *(Probe(name, partial(links.link_kind, name), lost, LOAD.format(name)) for name, lost in LINKS),
    Probe(
        "br_netfilter",
        links.bridge_netfilter,
        "rules between containers of one network",
        LOAD.format("br_netfilter"),
    ),
)


def probe(root: Path) -> tuple[Feature, ...]:
    """Every feature, in an order for reading. `root` is the engine's directory, or where it will be."""
    place = nearest(root)
    return tuple(_answer(one, place) for one in PROBES)


def nearest(root: Path) -> Path:
    """The directory itself or its nearest ancestor that exists: what is on the same file system."""
    return next(path for path in (root.absolute(), *root.absolute().parents) if path.is_dir())


def _answer(one: Probe, place: Path) -> Feature:
    try:
        detail = one.ask(place)
    except OSError as error:
        return Feature(one.name, False, _reason(error), one.switches_off, one.remedy)
    return Feature(one.name, True, detail, one.switches_off, one.remedy)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or os.strerror(error.errno or 0)
