"""What this machine has not is refused with its place before anything is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.engine import open_engine
from reconciler.store.inventory import read_inventory
from schemas.errors import Invalid
from tests.machine.machine import Machine, told

pytestmark = pytest.mark.kernel

PROCESSORS = os.cpu_count()
NR_OPEN = int(Path("/proc/sys/fs/nr_open").read_text())


def web(machine: Machine, *fields: str) -> str:
    head = "apiVersion: trimtab/v1\nkind: Container\nmetadata: {name: web}\nspec:\n  image: busybox\n"
    return f"{machine.image}---\n{head}" + "".join(f"  {field}\n" for field in fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["cpuset: 0,8000"], "spec.cpuset: this machine has no processor 8000; write some of 0"),
        (["cpus: 8000"], f"spec.cpus: 8000 processors are more than the {PROCESSORS} of this machine; write 0.01 to"),
        (
            ["ulimits: {nofile: 2147483647}"],
            f"open files than this kernel allows, {NR_OPEN} (fs.nr_open); write at most",
        ),
        (["ulimits: {nofile: -1}"], "spec.ulimits.nofile: unlimited is more open files than this kernel allows"),
        (["devices: [/dev/null, /dev/nothing]"], "spec.devices[1]: there is no device /dev/nothing; mend the path"),
        (["devices: [/etc/passwd:/dev/passwd]"], "spec.devices[0]: /etc/passwd is no device; name a device"),
        (
            ["security_opt: [seccomp=/nowhere.json]"],
            "spec.security_opt[0]: /nowhere.json: No such file or directory; name",
        ),
        (["security_opt: [seccomp=/etc/passwd]"], "spec.security_opt[0]: /etc/passwd: is no JSON"),
        (
            ["volumes: [{type: bind, source: /nowhere, target: /x, bind: {create_host_path: false}}]"],
            "spec.volumes[0].source: there is no /nowhere; make it first, or write create_host_path: true",
        ),
    ],
)
def test_it_is_refused_before_anything_is_touched(fields: list[str], said: str, machine: Machine) -> None:
    with pytest.raises(Invalid) as refusal:
        machine.apply(web(machine, *fields))
    (problem,) = refusal.value.problems
    assert said in str(problem)
    assert (problem.place.file, problem.place.line) == ("shop.yaml", web(machine, *fields).count("\n"))
    with open_engine(machine.layout) as engine:
        assert read_inventory(engine.database) == {}


@pytest.mark.parametrize("field", ["rootfs", "archive"])
def test_an_image_of_nothing_is_refused(field: str, machine: Machine) -> None:
    text = f"apiVersion: trimtab/v1\nkind: Image\nmetadata: {{name: a}}\nspec:\n  {field}: /nowhere\n"
    with pytest.raises(Invalid, match=rf"shop.yaml:5:3 Image/a spec.{field}: there is no /nowhere; mend the path"):
        machine.apply(text)


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        (
            "Volume",
            "driver_opts: {type: none, o: bind, device: /nowhere}",
            "spec.driver_opts.device: there is no /nowhere",
        ),
        ("Volume", "driver_opts: {type: ext4, device: /dev/nowhere}", "there is no /dev/nowhere; mend the path"),
        (
            "Network",
            "driver: macvlan\n  driver_opts: {parent: eth9}",
            "spec.driver_opts.parent: there is no link eth9; this machine has",
        ),
    ],
)
def test_what_a_volume_or_network_stands_on_is_there(kind: str, spec: str, said: str, machine: Machine) -> None:
    with pytest.raises(Invalid) as refusal:
        machine.diff(f"apiVersion: trimtab/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n  {spec}\n")
    assert said in str(refusal.value)


def test_a_mount_that_fits_nothing_names_its_entry(machine: Machine) -> None:
    outcomes = machine.apply(web(machine, 'volumes: ["/etc/hostname:/etc"]'))
    (error,) = [str(outcome.error) for outcome in outcomes if outcome.error]
    assert error.startswith("Container/web spec.volumes[0]: ")
    assert error.endswith("a file can only be mounted over a file, a directory over a directory")


@pytest.mark.parametrize(
    ("field", "path", "said"),
    [
        ("user: nobodyhere", "user", "the image has no user 'nobodyhere'; write a number, or add the user"),
        ("user: 0:nogroup-here", "user", "the image has no group 'nogroup-here'; write a number, or add the group"),
        ("group_add: [5, strangers]", "group_add[1]", "the image has no group 'strangers'; write a number, or"),
    ],
)
def test_a_user_that_the_image_has_not_takes_nothing_away(field: str, path: str, said: str, machine: Machine) -> None:
    machine.converge(web(machine, "stop_grace_period: 0s"))
    before = machine.process("web").pid
    text = web(machine, "stop_grace_period: 0s", field)
    with pytest.raises(Invalid) as refusal:
        machine.apply(text)
    (problem,) = refusal.value.problems
    assert f"Container/web spec.{path}: {said}" in str(problem)
    assert (problem.place.file, problem.place.line) == ("shop.yaml", text.count("\n"))
    assert machine.process("web").pid == before


def test_a_user_that_an_image_has_not_that_comes_first_takes_nothing_away(machine: Machine) -> None:
    machine.converge(web(machine, "stop_grace_period: 0s"))
    before = machine.process("web").pid
    text = web(machine, "stop_grace_period: 0s", "user: nobodyhere")
    outcomes = machine.apply(text.replace("{PATH: /bin}", "{PATH: /bin, NEW: image}"))
    (error,) = [outcome.error for outcome in outcomes if outcome.error]
    assert "the image has no user 'nobodyhere'" in str(error)
    assert machine.process("web").pid == before


def test_what_runs_already_is_not_asked_again(machine: Machine, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    text = web(machine, f"security_opt: [seccomp={profile}]")
    machine.converge(text)
    profile.unlink()
    assert machine.diff(text).empty


def test_a_host_path_that_will_be_made_is_told(machine: Machine, tmp_path: Path) -> None:
    text = web(machine, f"volumes: [{tmp_path}/data:/data]")
    plan = machine.diff(text)
    assert [note.describe() for note in plan.notes] == [
        f"Container/web spec.volumes[0]: {tmp_path}/data is made as a directory: nothing is there"
    ]
    assert "+ Container/web create: does not exist" in told(plan)
    machine.converge(text)
    assert (tmp_path / "data").is_dir() and machine.diff(text).notes == ()
