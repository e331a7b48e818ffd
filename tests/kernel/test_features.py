"""Probes tell the truth about this machine, quickly, and leave nothing behind."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from runtime.kernel import apparmor, cgroup, features, rlimits
from runtime.kernel.features import links, table
from runtime.kernel.features.table import Probe
from tests.conftest import EMULATED

pytestmark = [pytest.mark.kernel, pytest.mark.vm]


def found(root: Path) -> dict[str, features.Feature]:
    return {feature.name: feature for feature in features.probe(root)}


def test_every_feature_has_one_answer_with_its_meaning_and_remedy(tmp_path: Path) -> None:
    answers = features.probe(tmp_path)
    assert len({answer.name for answer in answers}) == len(answers) == len(table.PROBES)
    assert all(answer.switches_off and answer.remedy for answer in answers)
    assert all(answer.detail for answer in answers if not answer.available)


def test_what_every_supported_kernel_has_is_there(tmp_path: Path) -> None:
    answers = found(tmp_path)
    for name in ("kernel 6.1", "clone3", "pidfd", "openat2", "user namespaces", "overlay", "seccomp", "libseccomp"):
        assert answers[name].available, answers[name]
    for name in ("cgroup memory", "cgroup cpu", "cgroup pids", "cgroup devices", "bridge", "veth", "nftables"):
        assert answers[name].available, answers[name]


def test_answers_agree_with_those_who_use_them(tmp_path: Path) -> None:
    answers = found(tmp_path)
    assert answers["cgroups"].detail == cgroup.detect()
    assert answers["AppArmor"].available <= apparmor.is_available()
    assert answers["hard limits"].available == rlimits.can_raise()
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert answers["overlay lowerdir+"].available == (kernel >= (6, 5))


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    def traces() -> tuple[object, ...]:
        return (
            sorted(tmp_path.iterdir()),
            Path("/proc/self/mountinfo").read_text(),
            socket.if_nameindex(),
            len(list(Path("/proc/self/fd").iterdir())),
            [sorted(Path(mount).iterdir()) for mount in cgroup.hierarchies().mounts()],
        )

    features.probe(tmp_path)  # a first time, for modules and libraries
    before = traces()
    features.probe(tmp_path)
    assert traces() == before


@pytest.mark.skipif(EMULATED, reason="about time: not in an emulated machine")
def test_asking_takes_less_than_three_tenths_of_a_second(tmp_path: Path) -> None:
    features.probe(tmp_path)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        features.probe(tmp_path)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.3


def test_a_root_that_does_not_exist_yet_is_asked_about_where_it_will_be(tmp_path: Path) -> None:
    assert table.nearest(tmp_path / "not" / "yet") == tmp_path
    assert found(tmp_path / "not" / "yet")["overlay"].available
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_link_that_nobody_knows_is_told() -> None:
    with pytest.raises(OSError, match="no links of kind ttnosuch"):
        links.link_kind("ttnosuch", Path("/"))


def test_a_failing_probe_is_an_answer_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Path) -> str:
        raise FileNotFoundError(2, "no such thing")

    monkeypatch.setattr(table, "PROBES", (Probe("thing", fails, "everything", "buy one"),))
    assert features.probe(tmp_path) == (features.Feature("thing", False, "no such thing", "everything", "buy one"),)
