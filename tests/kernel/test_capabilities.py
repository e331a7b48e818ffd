"""Sets of capabilities reduced in a child, and what a program started from it has."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from runtime.kernel import capabilities, prctl
from runtime.kernel.capabilities import DEFAULT, NUMBERS, Sets, UnknownCapability
from tests.kernel.children import in_child

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

NET_BIND = frozenset({"CAP_NET_BIND_SERVICE"})
NONE: frozenset[str] = frozenset()


def test_names_have_the_kernels_numbers() -> None:
    assert NUMBERS["CAP_CHOWN"] == 0
    assert NUMBERS["CAP_SYS_ADMIN"] == 21
    assert NUMBERS["CAP_SETFCAP"] == 31
    assert NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert len(DEFAULT) == 14


@pytest.mark.parametrize("name", ["net_admin", "CAP_NET_ADMIN", "NET_ADMIN", "cap_net_admin"])
def test_a_name_is_known_in_every_spelling(name: str) -> None:
    assert capabilities.normal_name(name) == "CAP_NET_ADMIN"


@pytest.mark.parametrize("name", ["ALL", "NET_ADMN", "", "CAP_"])
def test_what_is_no_capability_is_refused(name: str) -> None:
    with pytest.raises(UnknownCapability):
        capabilities.normal_name(name)


def test_what_is_read_is_what_proc_says() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":	", 1) for line in lines if line.startswith("Cap"))
    effective, permitted, inheritable = capabilities.capget()
    assert (effective, permitted, inheritable) == tuple(int(status[key], 16) for key in ("CapEff", "CapPrm", "CapInh"))
    assert sum(1 << NUMBERS[name] for name in capabilities.read().bounding) == int(status["CapBnd"], 16)


def reduced(*sets: frozenset[str]) -> Sets:
    capabilities.apply(*sets)
    return capabilities.read()


def test_all_five_sets_are_as_asked() -> None:
    wanted = (DEFAULT, DEFAULT, NET_BIND, DEFAULT - {"CAP_KILL"}, NET_BIND)
    found = in_child(reduced, *wanted)
    assert (found.bounding, found.permitted, found.inheritable, found.effective, found.ambient) == wanted


def test_none_at_all_is_none_at_all() -> None:
    found = in_child(reduced, NONE, NONE, NONE, NONE, NONE)
    assert found == Sets(NONE, NONE, NONE, NONE, NONE)


def test_what_was_dropped_does_not_come_back() -> None:
    def twice() -> Sets:
        capabilities.apply(DEFAULT, DEFAULT, NONE, DEFAULT, NONE)
        missing = capabilities.apply({*DEFAULT, "CAP_SYS_ADMIN"}, {*DEFAULT, "CAP_SYS_ADMIN"}, NONE, DEFAULT, NONE)
        assert missing == {"CAP_SYS_ADMIN"}
        return capabilities.read()

    assert "CAP_SYS_ADMIN" not in in_child(twice).bounding | in_child(twice).permitted


def test_what_is_not_inheritable_cannot_be_ambient_and_is_told() -> None:
    assert in_child(capabilities.apply, DEFAULT, DEFAULT, NONE, DEFAULT, NET_BIND) == NET_BIND


def test_a_program_of_root_gets_no_more_than_the_bounding_set() -> None:
    def effective() -> int:
        capabilities.apply(NET_BIND, NET_BIND, NONE, NET_BIND, NONE)
        return int(subprocess.check_output(["sed", "-n", "s/CapEff://p", "/proc/self/status"]), 16)

    assert in_child(effective) == 1 << NUMBERS["CAP_NET_BIND_SERVICE"]


def test_a_user_keeps_what_is_ambient_across_execve() -> None:
    def effective() -> tuple[int, int]:
        prctl.prctl(prctl.PR_SET_KEEPCAPS, 1)
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        capabilities.apply(DEFAULT, NET_BIND, NET_BIND, NET_BIND, NET_BIND)
        return os.getuid(), int(subprocess.check_output(["sed", "-n", "s/CapEff://p", "/proc/self/status"]), 16)

    assert in_child(effective) == (1000, 1 << NUMBERS["CAP_NET_BIND_SERVICE"])


def test_a_user_without_ambient_capabilities_starts_programs_without_any() -> None:
    def effective() -> int:
        prctl.prctl(prctl.PR_SET_KEEPCAPS, 1)
        os.setresuid(1000, 1000, 1000)
        capabilities.apply(DEFAULT, DEFAULT, NONE, DEFAULT, NONE)
        return int(subprocess.check_output(["sed", "-n", "s/CapEff://p", "/proc/self/status"]), 16)

    assert in_child(effective) == 0


def test_the_bounding_set_cannot_be_reduced_without_setpcap() -> None:
    def powerless() -> int:
        capabilities.apply(DEFAULT, NET_BIND, NONE, NET_BIND, NONE)
        try:
            capabilities.drop_bounding(NONE)
        except OSError as error:
            return error.errno or 0
        return 0

    assert in_child(powerless) == errno.EPERM


def test_securebits_are_set_and_read() -> None:
    def fixed() -> int:
        capabilities.set_securebits(prctl.SECBIT_NO_SETUID_FIXUP)
        return capabilities.securebits()

    assert in_child(fixed) == prctl.SECBIT_NO_SETUID_FIXUP
    assert capabilities.securebits() == 0
