"""The AppArmor profile: it compiles anywhere, and confines where the kernel has AppArmor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.kernel import apparmor
from tests.conftest import missing
from tests.kernel.children import in_child

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

HAS_APPARMOR = apparmor.is_available()
ONLY_WITH = pytest.mark.skipif(not HAS_APPARMOR, reason="about kernels with AppArmor on: runs in the virtual machine")
ONLY_WITHOUT = pytest.mark.skipif(HAS_APPARMOR, reason="about kernels without AppArmor")


def test_the_profile_is_one_that_the_parser_takes(tmp_path: Path) -> None:
    parser = next((path for path in apparmor.PARSERS if Path(path).exists()), None)
    if parser is None:
        missing("apparmor_parser (Debian package apparmor)")
        raise AssertionError
    policy = tmp_path / "profile"
    policy.write_text(apparmor.POLICY.format(name="trimtab-test"))
    done = subprocess.run([parser, "-Q", "-K", str(policy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = subprocess.run([parser, "-N", "-K", str(policy)], capture_output=True, text=True, check=True).stdout
    assert names.split() == ["trimtab-test"]


@ONLY_WITHOUT
def test_a_kernel_without_it_says_so_when_a_profile_is_asked_for() -> None:
    def enter() -> str:
        try:
            apparmor.set_profile_at_exec(apparmor.DEFAULT_PROFILE)
        except OSError as error:
            return str(error)
        raise AssertionError

    assert "AppArmor" in in_child(enter)


@ONLY_WITH
def test_the_default_profile_is_loaded_once_and_enforced() -> None:
    assert apparmor.ensure_default_profile() == apparmor.DEFAULT_PROFILE
    assert apparmor.loaded_profiles()[apparmor.DEFAULT_PROFILE] == "enforce"
    assert apparmor.ensure_default_profile() == apparmor.DEFAULT_PROFILE


@ONLY_WITH
def test_a_program_in_the_profile_writes_no_sysctl_and_mounts_nothing(tmp_path: Path) -> None:
    script = f"""
import ctypes, os
print(open("/proc/self/attr/current").read().strip())
try:
    open("/proc/sys/kernel/printk", "w")
except PermissionError:
    print("no sysctl")
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", {str(tmp_path)!r}.encode(), b"tmpfs", 0, None) == -1:
    print("no mount", ctypes.get_errno())
open({str(tmp_path / "file")!r}, "w").write("written")
"""

    def confined() -> str:
        apparmor.ensure_default_profile()
        apparmor.set_profile_at_exec(apparmor.DEFAULT_PROFILE)
        return subprocess.check_output([sys.executable, "-S", "-c", script], text=True)

    lines = in_child(confined).splitlines()
    assert lines == [f"{apparmor.DEFAULT_PROFILE} (enforce)", "no sysctl", "no mount 13"]
    assert (tmp_path / "file").read_text() == "written"


@ONLY_WITH
def test_a_profile_that_is_not_loaded_is_named() -> None:
    def enter() -> str:
        try:
            apparmor.set_profile_at_exec("trimtab-none")
        except OSError as error:
            return str(error)
        raise AssertionError

    assert "trimtab-none" in in_child(enter)
