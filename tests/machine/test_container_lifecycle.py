"""When a container starts, stops, waits, and where its output goes; and what a change of that does to a living one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from reconciler.bundle.config import MAX_LOG_BYTES, MAX_LOG_FILES
from reconciler.settle import unsettled
from runtime.process import client
from runtime.process.logs import read_logs
from tests.conftest import SLOWER
from tests.machine.machine import Machine, told, until
from tests.machine.probe import container, document, own_machine, refusal, says

pytestmark = pytest.mark.kernel

STATES = ("running", "stopped", "paused", "created")
CHATTY = ["sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i of some length to fill a file; sleep 0.002; done"]
STOPPING = "trap 'echo asked to stop; exit 7' {signal}; echo ready; while true; do sleep 0.05; done"


@pytest.fixture(scope="module")
def machine(busybox_tree: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as made:
        made.converge(made.image)
        yield made


def phase(machine: Machine, name: str) -> str:
    process = client.read_process(machine.layout, name)
    return "none" if process is None else process.phase.value


def shown(state: str) -> set[str]:
    """The phases in which a container of that state may be."""
    return {"exited", "none"} if state == "stopped" else {state}


def test_every_state_is_reached_from_every_other(machine: Machine) -> None:
    for number, (old, new) in enumerate(permutations(STATES, 2)):
        name = f"from-{number}"
        machine.converge(machine.image + container(name, state=old))
        assert phase(machine, name) in shown(old), (old, new)
        machine.converge(machine.image + container(name, state=new))
        assert phase(machine, name) in shown(new), (old, new)
    machine.delete()


def test_a_stopped_container_leaves_its_names_and_ports(machine: Machine) -> None:
    text = machine.image + container("shown", ports=["18090:80"])
    machine.converge(text)
    from runtime.network.dns.records import read_owner
    from runtime.network.firewall.observe import read_firewall

    assert read_owner(machine.layout, "default", "shown") is not None
    machine.converge(machine.image + container("shown", ports=["18090:80"], state="stopped"))
    assert not [p for p in read_firewall(machine.layout).publications if p.container == "shown"]
    assert read_owner(machine.layout, "default", "shown") is None
    machine.converge(text)


def test_a_job_that_is_done_is_not_done_again_for_a_new_label(machine: Machine) -> None:
    job = {"command": ["sh", "-c", "echo done"], "init": False}
    machine.converge(machine.image + container("job", **job))
    client.wait(machine.layout, "job", 10)
    machine.converge(machine.image + container("job", labels={"a": "b"}, **job))
    machine.converge(machine.image + container("job", labels={"a": "c"}, **job))
    assert says(machine, "job") == ["done"]


def test_a_job_that_failed_is_started_again(machine: Machine) -> None:
    text = machine.image + container("failing", command=["sh", "-c", "exit 3"], init=False)
    machine.apply(text)
    client.wait(machine.layout, "failing", 10)
    assert any("exit code 3 → running" in line for line in told(machine.diff(text)))
    machine.delete()


def test_an_apply_tells_what_did_not_stay_up(machine: Machine) -> None:
    text = machine.image + container("short", command=["sh", "-c", "exit 3"], init=False) + container("long")
    outcomes = machine.apply(text)
    client.wait(machine.layout, "short", 10)
    assert unsettled(machine.prepared, outcomes, 0) == {
        "Container/short": "is not running: exit code 3; see `trimtab logs short`"
    }
    machine.delete()


def test_a_policy_of_always_starts_even_what_ended_well(machine: Machine) -> None:
    text = machine.image + container("again", command=["true"], init=False, restart="always")
    machine.apply(text)
    client.wait(machine.layout, "again", 10)
    assert any("completed → running" in line for line in told(machine.diff(text)))
    machine.delete()


@pytest.mark.parametrize("signal", ["TERM", "USR1"])
def test_a_container_is_asked_to_stop_by_its_signal(machine: Machine, signal: str) -> None:
    script = STOPPING.format(signal=signal)
    text = container("asked", command=["sh", "-c", script], init=False, stop_signal=f"SIG{signal}")
    machine.converge(machine.image + text)
    says(machine, "asked")
    machine.converge(machine.image + container("asked", command=["sh", "-c", script], init=False, state="stopped"))
    assert says(machine, "asked", 2) == ["ready", "asked to stop"]
    ended = machine.process("asked").exit
    assert ended is not None and ended.exit_code == 7
    machine.delete()


def test_the_images_stop_signal_counts_where_the_manifest_names_none(machine: Machine, busybox_tree: Path) -> None:
    image = document(
        "Image", "stubborn", rootfs=str(busybox_tree), config={"stop_signal": "USR2", "env": {"PATH": "/bin"}}
    )
    script = STOPPING.format(signal="USR2")
    spec = {"image": "stubborn", "command": ["sh", "-c", script], "init": False}
    machine.converge(image + container("by-image", **spec))
    says(machine, "by-image")
    machine.converge(image + container("by-image", state="stopped", **spec))
    assert says(machine, "by-image", 2)[1] == "asked to stop"
    machine.delete()


def test_what_does_not_stop_is_ended_after_its_grace(machine: Machine) -> None:
    spec = {"command": ["sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.05; done"], "init": False}
    machine.converge(machine.image + container("deaf", stop_grace_period="300ms", **spec))
    says(machine, "deaf")
    began = time.monotonic()
    machine.converge(machine.image + container("deaf", state="stopped", stop_grace_period="300ms", **spec))
    assert 0.3 <= time.monotonic() - began < 5 * SLOWER
    ended = machine.process("deaf").exit
    assert ended is not None and ended.signal == 9
    machine.delete()


def test_a_container_waits_until_its_dependency_has_completed(machine: Machine) -> None:
    first = container("first", command=["sh", "-c", "sleep 0.3; echo over"], init=False)
    after = {"first": {"condition": "service_completed_successfully"}}
    machine.converge(machine.image + first + container("second", depends_on=after))
    ended = machine.process("first").exit
    started = machine.process("second").started_at
    assert ended is not None and ended.finished_at is not None and started is not None
    assert started >= ended.finished_at
    machine.delete()


def test_a_container_waits_for_every_replica_of_a_service_that_completes(machine: Machine) -> None:
    jobs = document(
        "Service", "jobs", image="busybox", command=["sh", "-c", "sleep 0.2"], deploy={"replicas": 2}, init=False
    )
    after = {"jobs": {"condition": "service_completed_successfully"}}
    machine.converge(machine.image + jobs + container("last", depends_on=after))
    started = machine.process("last").started_at
    for name in ("jobs-1", "jobs-2"):
        ended = machine.process(name).exit
        assert ended is not None and ended.finished_at is not None and started is not None
        assert started >= ended.finished_at
    machine.delete()


def test_a_dependency_that_fails_stops_what_needs_it_alone(machine: Machine) -> None:
    broken = container("broken", command=["/no/such/program"], init=False)
    text = (
        broken
        + container("needs", depends_on=["broken"])
        + container("likes", depends_on={"broken": {"required": False}})
    )
    said = {str(o.action.key): o.result.value for o in machine.apply(machine.image + text)}
    assert said["Container/broken"] == "failed"
    assert said["Container/needs"] == "skipped"
    assert said["Container/likes"] == "created"
    machine.delete()


def test_a_program_that_is_not_there_is_told_with_the_field(machine: Machine) -> None:
    said = refusal(machine, machine.image + container("lost", command=["/no/such/program"], init=False))
    assert "Container/lost spec.command" in said and "/no/such/program" in said
    machine.delete()


def test_an_apply_waits_until_what_must_be_healthy_is(machine: Machine) -> None:
    test = ["CMD-SHELL", "[ -e /ready ] || { touch /ready; exit 1; }"]
    check = {"test": test, "interval": "1s", "retries": 3}
    text = container("checked", healthcheck=check) + container(
        "waiting", depends_on={"checked": {"condition": "service_healthy"}}
    )
    machine.converge(machine.image + text)
    assert phase(machine, "waiting") == "running"
    assert machine.inside("checked", "ls", "/ready") == "/ready\n"
    machine.delete()


def test_what_waits_for_one_that_becomes_unhealthy_does_not_start(machine: Machine) -> None:
    check = {"test": ["CMD", "false"], "interval": "100ms", "retries": 2}
    text = container("ill", healthcheck=check) + container(
        "waiting", depends_on={"ill": {"condition": "service_healthy"}}
    )
    failed = [str(outcome.error) for outcome in machine.apply(machine.image + text) if outcome.error]
    assert len(failed) == 1 and "Container/ill is unhealthy" in failed[0]
    assert client.read_process(machine.layout, "waiting") is None
    machine.delete()


def test_waiting_for_the_health_of_one_without_a_check_is_refused(machine: Machine) -> None:
    text = container("plain") + container("waiting", depends_on={"plain": {"condition": "service_healthy"}})
    failed = [str(outcome.error) for outcome in machine.apply(machine.image + text) if outcome.error]
    assert len(failed) == 1 and "Container/plain has no health check" in failed[0]
    machine.delete()


def test_a_dependency_that_starts_anew_takes_along_what_says_so(machine: Machine) -> None:
    def text(value: str) -> str:
        return (
            container("base", environment={"VALUE": value})
            + container("along", depends_on={"base": {"condition": "service_started", "restart": True}})
            + container("apart", depends_on=["base"])
        )

    machine.converge(machine.image + text("one"))
    before = {name: machine.process(name).pid for name in ("along", "apart")}
    machine.converge(machine.image + text("two"))
    assert machine.process("along").pid != before["along"]
    assert machine.process("apart").pid == before["apart"]
    machine.delete()


def log_files(machine: Machine, name: str) -> list[Path]:
    return [path for path in machine.layout.container_log(name).iterdir() if path.stat().st_size]


def run_to_its_end(machine: Machine, name: str, text: str) -> None:
    """Apply. Nothing is compared afterwards: what is just ending has its network no longer, and no record yet."""
    assert all(outcome.ok for outcome in machine.apply(text))
    client.wait(machine.layout, name, 10 * SLOWER)


def test_output_is_kept_with_its_stream(machine: Machine) -> None:
    for driver in ("local", "json-file"):
        spec = {"command": ["sh", "-c", "echo out; sleep 0.05; echo err >&2"], "init": False}
        run_to_its_end(machine, "speaks", machine.image + container("speaks", logging={"driver": driver}, **spec))
        lines = [(line.stream, line.text) for line in read_logs(machine.layout.container_log("speaks"))]
        assert lines == [("stdout", "out"), ("stderr", "err")]
        machine.delete()


def test_output_is_kept_nowhere_where_the_driver_is_none(machine: Machine) -> None:
    spec = {"command": ["echo", "unheard"], "init": False}
    run_to_its_end(machine, "quiet", machine.image + container("quiet", logging={"driver": "none"}, **spec))
    assert log_files(machine, "quiet") == []
    machine.delete()


def test_files_are_rotated_as_the_manifest_says_and_differently_without_a_restart(machine: Machine) -> None:
    def text(max_size: str, max_file: int) -> str:
        options = {"max-size": max_size, "max-file": max_file}
        return machine.image + container(
            "chatty", init=False, command=CHATTY, stop_signal="KILL", logging={"options": options}
        )

    machine.converge(text("8k", 3))
    before = machine.process("chatty").pid
    until(lambda: len(log_files(machine, "chatty")) == 3)
    assert all(path.stat().st_size <= 16 << 10 for path in log_files(machine, "chatty"))
    machine.converge(text("4k", 2))
    assert machine.process("chatty").pid == before
    until(lambda: len(log_files(machine, "chatty")) == 2)
    machine.delete()


def test_files_are_rotated_where_the_manifest_says_nothing(machine: Machine) -> None:
    flood = ["sh", "-c", f"yes {'x' * 1000} | head -c 45000000"]
    machine.apply(machine.image + container("flooding", command=flood, init=False))
    client.wait(machine.layout, "flooding", 60 * SLOWER)
    files = log_files(machine, "flooding")
    assert 2 <= len(files) <= MAX_LOG_FILES
    assert max(path.stat().st_size for path in files) <= MAX_LOG_BYTES + (1 << 20)
    machine.delete()


def test_another_log_driver_restarts_the_container(machine: Machine) -> None:
    machine.converge(machine.image + container("spoken"))
    before = machine.process("spoken").pid
    machine.converge(machine.image + container("spoken", logging={"driver": "json-file"}))
    assert machine.process("spoken").pid != before
    machine.delete()


def test_what_only_concerns_later_changes_in_place(machine: Machine) -> None:
    machine.converge(machine.image + container("stable"))
    before = machine.process("stable").pid
    later: dict[str, object] = {
        "restart": "on-failure:3",
        "stop_grace_period": "2s",
        "stop_signal": "INT",
        "expose": ["80"],
    }
    later |= {"healthcheck": {"test": ["CMD", "true"]}, "pull_policy": "missing"}
    machine.converge(machine.image + container("stable", **later))
    assert machine.process("stable").pid == before
    machine.delete()
