"""Huge pages: `linux.resources.hugepageLimits`, bytes per page size.

Both what may be reserved and what may be used is limited, where the kernel tells them apart. Sources: runtime-spec
"Huge page limits"; kernel documents cgroup-v1/hugetlb, cgroup-v2 "HugeTLB".
"""

from __future__ import annotations

import os
import re
from typing import Any

from runtime.kernel.cgroup.files import UNLIMITED, Directory, Setting, limit_text
from runtime.kernel.cgroup.section import Fields, Section

KEY = "hugepageLimits"
FILE = re.compile(r"hugetlb\.([1-9][0-9]*[KMG]B)\.(?:max|limit_in_bytes)")


def settings(wanted: Fields, directory: Directory, observed: Fields) -> list[Setting]:
    """What to write for `linux.resources.hugepageLimits`; bytes."""
    limits = {entry["pageSize"]: entry["limit"] for entry in wanted[KEY]}
    lost = {entry["pageSize"]: UNLIMITED for entry in observed.get(KEY, []) if entry["pageSize"] not in limits}
    return [setting for size, limit in (limits | lost).items() for setting in _pair(size, limit, directory)]


def _pair(size: str, limit: int, directory: Directory) -> list[Setting]:
    last = _last(directory)
    text = limit_text(limit, directory.version)
    return [
        Setting("hugetlb", (f"hugetlb.{size}.rsvd.{last}",), text, optional=True),
        Setting("hugetlb", (f"hugetlb.{size}.{last}",), text),
    ]


def _last(directory: Directory) -> str:
    return "limit_in_bytes" if directory.version == 1 else "max"


def read(directory: Directory) -> dict[str, Any]:
    """The same fields as they are."""
    if not directory.exists():
        return {}
    sizes = sorted(match[1] for name in os.listdir(directory.path) if (match := FILE.fullmatch(name)))
    limits = {size: directory.number(f"hugetlb.{size}.{_last(directory)}") for size in sizes}
    return {
        KEY: [{"pageSize": size, "limit": limit} for size, limit in limits.items() if limit not in (None, UNLIMITED)]
    }


def complete(wanted: Fields, _: Directory) -> dict[str, Any]:
    """The wanted fields as `read` will show them: whole pages."""
    entries = [{"pageSize": entry["pageSize"], "limit": _whole(entry)} for entry in wanted.get(KEY, [])]
    return {KEY: sorted(entries, key=lambda entry: str(entry["pageSize"]))}


def _whole(entry: Fields) -> int:
    """The kernel counts whole huge pages and rounds down."""
    size = page_bytes(entry["pageSize"])
    return int(entry["limit"]) // size * size


def page_bytes(size: str) -> int:
    """`2MB` -> 2097152."""
    return int(size[:-2]) << {"K": 10, "M": 20, "G": 30}[size[-2]]


HUGETLB = Section(KEY, "hugetlb", settings, read, complete)
