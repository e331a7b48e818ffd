"""Resource limits by name, and the plain word where a machine forbids more."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from runtime.kernel import capabilities, rlimits
from runtime.kernel.rlimits import UNLIMITED, HardLimitForbidden, Limit, UnknownLimit
from tests.kernel.children import in_child

pytestmark = [pytest.mark.kernel, pytest.mark.vm]


def test_every_name_is_the_kernels() -> None:
    listed = Path("/proc/self/limits").read_text().count("\n") - 1
    assert len(rlimits.NUMBERS) == listed
    assert sorted(rlimits.NUMBERS.values()) == list(range(listed))


def test_a_limit_is_set_and_read_in_either_spelling() -> None:
    def lower() -> Limit:
        rlimits.set_limit("RLIMIT_NOFILE", Limit(64, 128))
        return rlimits.read_limit("nofile")

    assert in_child(lower) == Limit(64, 128)


def test_a_program_sees_its_limits() -> None:
    def count() -> str:
        rlimits.apply(
            [{"type": "RLIMIT_NOFILE", "soft": 777, "hard": 999}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
        )
        return subprocess.check_output(["/bin/sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"], text=True)

    assert in_child(count) == "777\n999\n0\n"


def test_the_limit_of_another_process_is_set() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            rlimits.set_limit("core", Limit(0, 0), child.pid)
            assert rlimits.read_limit("core", child.pid) == Limit(0, 0)
        finally:
            child.kill()


def test_unlimited_is_written_both_ways() -> None:
    def unlimited() -> list[Limit]:
        found = []
        for number in (-1, 2**64 - 1):
            rlimits.apply([{"type": "RLIMIT_CPU", "soft": number, "hard": number}])
            found.append(rlimits.read_limit("cpu"))
        return found

    assert in_child(unlimited) == [Limit(UNLIMITED, UNLIMITED)] * 2


def test_raising_a_hard_limit_without_the_capability_says_what_is_possible() -> None:
    def powerless() -> tuple[str, int, int]:
        held = capabilities.read().bounding - {"CAP_SYS_RESOURCE"}
        capabilities.apply(held, held, (), held, ())
        rlimits.set_limit("nproc", Limit(10, 500))
        assert not rlimits.can_raise()
        try:
            rlimits.set_limit("RLIMIT_NPROC", Limit(10, 501))
        except HardLimitForbidden as error:
            return str(error), error.maximum, error.errno or 0
        raise AssertionError

    message, maximum, number = in_child(powerless)
    assert "hard limit of nproc cannot be raised to 501" in message
    assert "CAP_SYS_RESOURCE" in message
    assert (maximum, number) == (500, errno.EPERM)


def test_more_files_than_the_sysctl_allows_names_the_sysctl() -> None:
    def too_many() -> str:
        try:
            rlimits.set_limit("nofile", Limit(10, UNLIMITED))
        except HardLimitForbidden as error:
            return str(error)
        raise AssertionError

    if rlimits.read_limit("nofile").hard == UNLIMITED:
        pytest.skip("this process already has it")
    assert "fs.nr_open" in in_child(too_many)


@pytest.mark.skipif(not rlimits.can_raise(), reason="about processes with CAP_SYS_RESOURCE")
def test_raising_a_hard_limit_with_the_capability_works() -> None:
    def raised() -> Limit:
        rlimits.set_limit("nproc", Limit(10, 500))
        rlimits.set_limit("nproc", Limit(10, 501))
        return rlimits.read_limit("nproc")

    assert in_child(raised) == Limit(10, 501)


def test_a_soft_limit_above_the_hard_one_is_refused() -> None:
    with pytest.raises(OSError, match="above the hard one") as caught:
        rlimits.set_limit("nofile", Limit(20, 10))
    assert caught.value.errno == errno.EINVAL


def test_an_unknown_name_and_a_process_that_is_gone_are_told() -> None:
    with pytest.raises(UnknownLimit, match="RLIMIT_FILES"):
        rlimits.set_limit("RLIMIT_FILES", Limit(1, 1))
    with pytest.raises(ProcessLookupError):
        rlimits.set_limit("core", Limit(0, 0), 2**22 - 1)
