"""Phases, records and options: tables, no kernel."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runtime.kernel import mount
from runtime.process import protocol
from runtime.process.executable import home_of
from runtime.process.failure import ProcessFailed, step
from runtime.process.mount_options import parse_options
from runtime.process.namespace_plan import plan_namespaces
from runtime.process.records import (
    ExitRecord,
    Phase,
    ProcessRecord,
    read_exit,
    read_state,
    write_exit,
    write_state,
)


@pytest.mark.parametrize(
    ("phase", "can"),
    [
        (Phase.CREATED, {"start", "kill"}),
        (Phase.RUNNING, {"kill", "pause", "exec"}),
        (Phase.PAUSED, {"kill", "resume"}),
        (Phase.EXITED, {"delete"}),
    ],
)
def test_what_can_be_done_in_each_phase(phase: Phase, can: set[str]) -> None:
    verbs = ("start", "kill", "pause", "resume", "exec", "delete")
    assert {verb for verb in verbs if getattr(phase, f"can_{verb}")} == can


def test_an_exit_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = ExitRecord(137, 9, True, 1.5, 2.5, "why")
    assert read_exit(str(tmp_path)) is None
    write_exit(str(tmp_path), record)
    assert read_exit(str(tmp_path)) == record
    assert [path.name for path in tmp_path.iterdir()] == ["exit.json"]


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = ProcessRecord("one", Phase.RUNNING, 1, 2, 3.0, 4.0, 5, 6, "/bundle", "/cgroup")
    assert read_state(str(tmp_path)) is None
    write_state(str(tmp_path), record)
    assert read_state(str(tmp_path)) == record


def test_a_failure_survives_its_journey() -> None:
    with pytest.raises(ProcessFailed) as caught, step("mount", "/x"):
        raise FileNotFoundError(2, "No such file", "/y")
    again = ProcessFailed.from_message(caught.value.to_message())
    assert (again.step, again.path, again.errno, str(again)) == ("mount", "/x", 2, "mount /x: No such file")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["bind"], {"bind": True, "recursive": False}),
        (["rbind", "ro"], {"bind": True, "recursive": True, "set": mount.MOUNT_ATTR_RDONLY}),
        (["ro", "rw"], {"set": 0, "clear": mount.MOUNT_ATTR_RDONLY}),
        (["rw", "ro"], {"set": mount.MOUNT_ATTR_RDONLY, "clear": 0}),
        (["rro"], {"recursive_set": mount.MOUNT_ATTR_RDONLY, "set": 0}),
        (["noatime"], {"set": mount.MOUNT_ATTR_NOATIME, "clear": mount.MOUNT_ATTR__ATIME}),
        (["rslave"], {"propagation": mount.MS_SLAVE, "recursive_propagation": True}),
        (["shared"], {"propagation": mount.MS_SHARED, "recursive_propagation": False}),
        (["idmap"], {"idmap": True, "recursive_idmap": False}),
        (["ridmap"], {"idmap": True, "recursive_idmap": True}),
        (["tmpcopyup", "size=1m", "mode=755"], {"copy_up": True, "data": {"size": "1m", "mode": "755"}}),
        (["newinstance"], {"data": {"newinstance": None}}),
        (["defaults"], {"data": {}}),
    ],
)
def test_options_of_a_mount(options: list[str], expected: dict[str, object]) -> None:
    made = parse_options(options, "tmpfs")
    assert {name: getattr(made, name) for name in expected} == expected


def test_a_type_of_bind_is_a_bind_and_has_no_data() -> None:
    made = parse_options(["ro", "size=1m"], "bind")
    assert (made.bind, made.data) == (True, {})


def test_a_plan_of_namespaces() -> None:
    entries = [{"type": "mount"}, {"type": "pid", "path": "/p"}, {"type": "cgroup"}, {"type": "user"}]
    plan = plan_namespaces({"linux": {"namespaces": entries}})
    assert plan.joins == (("pid", "/p"),)
    assert plan.makes("user")
    assert not plan.makes("pid")
    assert plan.has("pid")
    assert not plan.has("network")
    assert plan.flags & 0x20000
    assert not plan.flags & 0x2000000


def test_messages_of_any_size_pass_with_their_descriptors() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for text in ("", "x" * 1000, "y" * 59_900, "z" * 3_000_000):
            protocol.send(ours, {"text": text}, (0,))
            received = protocol.receive(theirs)
            assert received is not None
            assert received[0] == {"text": text}
            assert len(received[1]) == 1
            socket.close(received[1][0])
        ours.close()
        assert protocol.receive(theirs) is None


def test_a_socket_may_have_a_long_name(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    path = str(deep / "monitor.sock")
    with protocol.listen(path) as server, protocol.connect(path) as client:
        accepted, _ = server.accept()
        with accepted:
            protocol.send(client, {"x": 1})
            assert protocol.receive(accepted) == ({"x": 1}, [])


def test_home_of_a_user_nobody_lists() -> None:
    assert home_of(4_123_456) == "/"
    assert home_of(0) == "/root"
