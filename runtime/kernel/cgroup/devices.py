"""Which devices a container may open or make: `linux.resources.devices`, reduced to one policy for both versions.

OCI gives an ordered list of rules. The kernel's v1 controller knows a default and exceptions of it, and v2's program is
assembled from the same. Pure: nothing is written here. Sources: runtime-spec "Allowed Device list"; kernel document
cgroup-v1/devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.kernel.cgroup.files import BadResources

ACCESSES = "rwm"


@dataclass(frozen=True, slots=True)
class Device:
    """A device or several: None as major or minor stands for every one."""

    type: str
    major: int | None
    minor: int | None

    def covers(self, other: Device) -> bool:
        """Whether some device belongs to both."""
        return (
            self.type == other.type
            and (self.major is None or other.major is None or self.major == other.major)
            and (self.minor is None or other.minor is None or self.minor == other.minor)
        )

    def sort_key(self) -> tuple[str, int, int]:
        return self.type, -1 if self.major is None else self.major, -1 if self.minor is None else self.minor

    def __str__(self) -> str:
        return f"{self.type} {'*' if self.major is None else self.major}:{'*' if self.minor is None else self.minor}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens by default, and the devices and accesses (of `rwm`) for which the contrary does."""

    allow: bool
    exceptions: tuple[tuple[Device, str], ...] = ()


ALLOW_ALL = Policy(allow=True)

ALWAYS_ALLOWED = (
    *((Device(kind, None, None), "m") for kind in "bc"),  # a node may be made; opening it is another matter
    *((Device("c", 1, minor), "rwm") for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
    *((Device("c", 5, minor), "rwm") for minor in (0, 2)),  # tty, ptmx
    (Device("c", 136, None), "rwm"),  # the container's terminals
)
"""What runtime-spec wants in every container ("Default Devices"). Each may be used by any process of the host too."""


def policy_of(rules: Iterable[Mapping[str, Any]], default: bool = False) -> Policy:
    """The rules in their order, upon `default`. Raises BadResources for what v1's form cannot express."""
    allow, exceptions = default, dict[Device, str]()
    for rule in rules:
        access = _access(rule)
        if rule.get("type", "a") == "a":
            allow, exceptions = _wildcard(rule, access), {}
            continue
        device = _device(rule)
        if bool(rule.get("allow")) != allow:
            exceptions[device] = _joined(exceptions.get(device, "") + access)
        else:
            _withdraw(exceptions, device, access)
    return Policy(allow, tuple(sorted(exceptions.items(), key=lambda item: item[0].sort_key())))


def container_policy(rules: Iterable[Mapping[str, Any]]) -> Policy:
    """A container's: everything denied but what the rules allow, and what every container has."""
    policy = policy_of(rules)
    if policy.allow:
        return policy
    exceptions = dict(policy.exceptions)
    for device, access in ALWAYS_ALLOWED:
        exceptions[device] = _joined(exceptions.get(device, "") + access)
    return Policy(policy.allow, tuple(sorted(exceptions.items(), key=lambda item: item[0].sort_key())))


def rules_of(policy: Policy) -> list[dict[str, Any]]:
    """The policy as OCI rules, always the same for the same policy."""
    first = {"allow": policy.allow, "type": "a", "access": ACCESSES}
    return [first, *(_rule(device, access, not policy.allow) for device, access in policy.exceptions)]


def _rule(device: Device, access: str, allow: bool) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": allow, "type": device.type}
    if device.major is not None:
        rule["major"] = device.major
    if device.minor is not None:
        rule["minor"] = device.minor
    return rule | {"access": access}


def _access(rule: Mapping[str, Any]) -> str:
    access = rule.get("access", "") or ACCESSES
    if not set(access) <= set(ACCESSES):
        raise BadResources(f"devices: access {access!r} is not of r, w and m")
    return _joined(access)


def _joined(access: str) -> str:
    return "".join(letter for letter in ACCESSES if letter in access)


def _wildcard(rule: Mapping[str, Any], access: str) -> bool:
    if access != ACCESSES or _number(rule, "major") is not None or _number(rule, "minor") is not None:
        raise BadResources("devices: a rule for all types is for all devices and accesses")
    return bool(rule.get("allow"))


def _device(rule: Mapping[str, Any]) -> Device:
    if rule["type"] not in ("b", "c"):
        raise BadResources(f"devices: type {rule['type']!r} is none of a, b and c")
    return Device(rule["type"], _number(rule, "major"), _number(rule, "minor"))


def _number(rule: Mapping[str, Any], key: str) -> int | None:
    """None for every number: absent, or -1 as older configurations write it."""
    number = rule.get(key)
    return None if number is None or number < 0 else int(number)


def _withdraw(exceptions: dict[Device, str], device: Device, access: str) -> None:
    for other in [other for other in exceptions if other != device and other.covers(device)]:
        if set(exceptions[other]) & set(access):
            raise BadResources(f"devices: a rule for {device} cannot take back a part of the one for {other}")
    left = "".join(letter for letter in exceptions.get(device, "") if letter not in access)
    exceptions.pop(device, None)
    if left:
        exceptions[device] = left


def v1_text(device: Device, access: str) -> str:
    """A line for `devices.allow` and `devices.deny`."""
    return f"{device} {access}"


def parse_v1(text: str) -> Policy:
    """`devices.list`. The kernel never shows the exceptions of an allowing default."""
    exceptions = []
    for line in text.splitlines():
        kind, numbers, access = line.split()
        if kind == "a":
            return ALLOW_ALL
        major, minor = (None if part == "*" else int(part) for part in numbers.split(":"))
        exceptions.append((Device(kind, major, minor), _joined(access)))
    return Policy(False, tuple(sorted(exceptions, key=lambda item: item[0].sort_key())))
