"""v1's devices controller: bring `devices.list` to a policy by the fewest writes.

A running container keeps what stays allowed at every moment: only what differs is written, additions first.
"""

from __future__ import annotations

import errno

from runtime.kernel.cgroup.devices import Policy, parse_v1, v1_text
from runtime.kernel.cgroup.files import MissingController, read_file, write_file


def write(directory: str, policy: Policy) -> None:
    """Raises MissingController where the controller is not mounted, OSError(EPERM) for what the parent denies."""
    found = read(directory)
    if found.allow or policy.allow:
        _replace(directory, policy)
        return
    wanted, have = set(policy.exceptions), set(found.exceptions)
    for device, access in sorted(wanted - have, key=lambda item: item[0].sort_key()):
        write_file(f"{directory}/devices.allow", v1_text(device, access))
    for device, access in have - wanted:
        left = dict(policy.exceptions).get(device, "")
        if gone := "".join(letter for letter in access if letter not in left):
            write_file(f"{directory}/devices.deny", v1_text(device, gone))


def _replace(directory: str, policy: Policy) -> None:
    """Set the default anew, which forgets the exceptions, then name them."""
    default, exceptions = ("allow", "deny") if policy.allow else ("deny", "allow")
    try:
        write_file(f"{directory}/devices.{default}", "a")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EBUSY, "the container has cgroups of its own below: stop it first", directory) from error
    for device, access in policy.exceptions:
        write_file(f"{directory}/devices.{exceptions}", v1_text(device, access))


def read(directory: str) -> Policy:
    """The rules as the kernel lists them. Raises MissingController."""
    try:
        return parse_v1(read_file(f"{directory}/devices.list"))
    except FileNotFoundError:
        raise MissingController("devices", f"{directory}/devices.list") from None
