"""Fixtures of the kernel tests."""

from tests.kernel.cgroup_fixtures import path

__all__ = ["path"]
