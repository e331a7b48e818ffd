"""Cgroups behind one interface: v1 hierarchies, the unified one, or both on one machine.

`path` is a cgroup's path below every hierarchy's root (`Layout.cgroup`), `resources` is OCI's `linux.resources`. Errors
are BadResources (a ValueError), MissingController and other OSErrors. Called by `runtime.process` and the reconciler's
observation; decides no limits.
"""

from runtime.kernel.cgroup.delegation import HoldsProcesses
from runtime.kernel.cgroup.devices import ALWAYS_ALLOWED
from runtime.kernel.cgroup.directories import processes
from runtime.kernel.cgroup.entering import enter, join, open_entries
from runtime.kernel.cgroup.files import BadResources, MissingController
from runtime.kernel.cgroup.freezer import freeze, is_frozen, kill, thaw
from runtime.kernel.cgroup.hierarchies import MissingHierarchies, Version, detect, hierarchies
from runtime.kernel.cgroup.limits import Difference, complete, differences, ensure_limits, read_limits, write_limits
from runtime.kernel.cgroup.notices import memory_notices
from runtime.kernel.cgroup.tree import add, create, delegate, open_directory, places, remove, remove_if_empty
from runtime.kernel.cgroup.usage import Usage, oom_kills, read_usage

__all__ = [
    "ALWAYS_ALLOWED",
    "BadResources",
    "Difference",
    "HoldsProcesses",
    "MissingController",
    "MissingHierarchies",
    "Usage",
    "Version",
    "add",
    "complete",
    "create",
    "delegate",
    "detect",
    "differences",
    "ensure_limits",
    "enter",
    "freeze",
    "hierarchies",
    "is_frozen",
    "join",
    "kill",
    "memory_notices",
    "oom_kills",
    "open_directory",
    "open_entries",
    "places",
    "processes",
    "read_limits",
    "read_usage",
    "remove",
    "remove_if_empty",
    "thaw",
    "write_limits",
]
