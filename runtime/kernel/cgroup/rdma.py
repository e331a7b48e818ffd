"""Handles and objects of RDMA devices: `linux.resources.rdma`, one file in both versions (kernel document rdma)."""

from __future__ import annotations

from typing import Any

from runtime.kernel.cgroup.files import Directory, Setting
from runtime.kernel.cgroup.section import Fields, Section

WORDS = {"hcaHandles": "hca_handle", "hcaObjects": "hca_object"}
FILE = "rdma.max"


def settings(wanted: Fields, _: Directory, observed: Fields) -> list[Setting]:
    """What to write for `linux.resources.rdma`; devices that are no longer named lose their limit."""
    lost: dict[str, Fields] = {device: {} for device in observed.get("rdma", {})}
    return [Setting("rdma", (FILE,), _line(device, limits)) for device, limits in {**lost, **wanted["rdma"]}.items()]


def _line(device: str, limits: Fields) -> str:
    return " ".join([device, *(f"{word}={limits.get(key, 'max')}" for key, word in WORDS.items())])


def read(directory: Directory) -> dict[str, Any]:
    """The same fields as they are."""
    text = directory.read(FILE)
    if text is None:
        return {}
    devices = {line.split()[0]: _limits(line.split()[1:]) for line in text.splitlines()}
    return {"rdma": {device: limits for device, limits in devices.items() if limits}}


def _limits(words: list[str]) -> dict[str, int]:
    values = dict(word.split("=") for word in words)
    return {key: int(values[word]) for key, word in WORDS.items() if values.get(word, "max") != "max"}


def complete(wanted: Fields, _: Directory) -> dict[str, Any]:
    """The wanted fields as `read` will show them."""
    return {"rdma": {device: dict(limits) for device, limits in wanted.get("rdma", {}).items() if limits}}


RDMA = Section("rdma", "rdma", settings, read, complete)
