"""What runs in a container: image, command, environment, user, directory, names, terminal. One apply, many looks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.machine import Machine
from tests.machine.probe import container, document, own_machine, run, says, status

pytestmark = pytest.mark.kernel

PASSWD = """root:x:0:0:root:/root:/bin/sh
alice:x:1000:1000:Alice:/home/alice:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
"""
GROUP = """root:x:0:
alice:x:1000:
wheel:x:10:alice
audio:x:29:
nogroup:x:65534:
"""
ENV_FILE = """# a comment
FROM_FILE=file
BOTH=file
QUOTED="two words"
"""


def shell(script: str) -> list[str]:
    return ["sh", "-c", f"{script}; exec sleep 2147483647"]


@pytest.fixture(scope="module")
def machine(busybox_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("manifests")
    tree = directory / "tree"
    shutil.copytree(busybox_tree, tree, symlinks=True)
    (tree / "etc/passwd").write_text(PASSWD)
    (tree / "etc/group").write_text(GROUP)
    (tree / "home/alice").mkdir()
    (directory / "vars.env").write_text(ENV_FILE)
    (directory / "raw.env").write_text('RAW="kept"\n')
    with own_machine(tree) as made:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AROUND", "from the caller")
            patch.delenv("NOWHERE", raising=False)
            made.converge(manifests(made, directory))
        yield made


def manifests(machine: Machine, directory: Path) -> str:
    image = document(
        "Image",
        "spoken",
        rootfs=str(directory / "tree"),
        config={
            "entrypoint": ["echo", "image-entrypoint"],
            "cmd": ["image-cmd"],
            "env": {"PATH": "/bin", "IMAGE_ONLY": "image", "BOTH": "image"},
            "user": "alice",
            "working_dir": "/home/alice",
            "labels": {"of": "image"},
        },
    )
    return "".join(
        [
            machine.image,
            image,
            container("image-says", image="spoken"),
            container("command-only", image="spoken", command=["given", "words"]),
            container("entrypoint-only", image="spoken", entrypoint=["echo", "own"]),
            container("both", image="spoken", entrypoint=["echo"], command=["own", "words"]),
            container("text-command", command='sh -c "echo one two"'),
            container(
                "env",
                image="spoken",
                entrypoint=shell("env"),
                env_file=[
                    str(directory / "vars.env"),
                    {"path": str(directory / "raw.env"), "format": "raw"},
                    {"path": str(directory / "absent.env"), "required": False},
                ],
                environment={"BOTH": "manifest", "AROUND": None, "NOWHERE": None, "EMPTY": ""},
            ),
            container("plain-env", command=shell("env")),
            container("image-user", image="spoken", entrypoint=shell("id; pwd; echo $HOME")),
            container("by-number", user="1234:4321", command=shell("id -u; id -g; echo $HOME")),
            container("by-name", user="alice:audio", group_add=["10", "nogroup"], command=shell("id")),
            container("number-known", user="1000", command=shell("id")),
            container("made-directory", working_dir="/opt/new/place", command=shell("pwd")),
            container("named", hostname="alpha", domainname="example.org", command=shell("hostname; echo $HOSTNAME")),
            container("unnamed", command=shell("hostname; echo $HOSTNAME")),
            container("reaper", command=shell("(sleep 0.01 &) ; sleep 0.2; echo ready")),
            container("terminal", tty=True, command=shell("tty; test -t 1 && echo is a terminal; echo $TERM")),
            container("listening", stdin_open=True, command=["cat"]),
            container("deaf", command=shell("cat; echo end of input")),
            container("labelled", labels={"app": "shop"}, annotations={"org.example/note": "seen"}),
        ]
    )


def test_the_images_entrypoint_and_command_run(machine: Machine) -> None:
    assert says(machine, "image-says") == ["image-entrypoint image-cmd"]


def test_a_command_takes_the_place_of_the_images_command_alone(machine: Machine) -> None:
    assert says(machine, "command-only") == ["image-entrypoint given words"]


def test_an_entrypoint_clears_the_images_command(machine: Machine) -> None:
    assert says(machine, "entrypoint-only") == ["own"]


def test_entrypoint_and_command_are_joined(machine: Machine) -> None:
    assert says(machine, "both") == ["own words"]


def test_a_command_as_text_is_split_as_a_shell_does(machine: Machine) -> None:
    assert says(machine, "text-command") == ["one two"]


def variables(machine: Machine, name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in run(machine, name, "env").splitlines() if "=" in line)


def test_the_manifests_variables_win_over_files_and_files_over_the_image(machine: Machine) -> None:
    found = variables(machine, "env")
    assert found["IMAGE_ONLY"] == "image"
    assert found["FROM_FILE"] == "file"
    assert found["BOTH"] == "manifest"
    assert found["QUOTED"] == "two words"
    assert found["RAW"] == '"kept"'
    assert found["EMPTY"] == ""


def test_a_variable_without_a_value_is_taken_from_whoever_applies(machine: Machine) -> None:
    found = variables(machine, "env")
    assert found["AROUND"] == "from the caller"
    assert "NOWHERE" not in found


def test_what_runs_finds_path_home_and_hostname(machine: Machine) -> None:
    found = variables(machine, "plain-env")
    assert found["PATH"] == "/bin"
    assert found["HOME"] == "/root"
    assert found["HOSTNAME"] == "plain-env"


def test_the_images_user_and_directory_count(machine: Machine) -> None:
    who, where, home = says(machine, "image-user", 3)
    assert who == "uid=1000(alice) gid=1000(alice) groups=10(wheel)"
    assert (where, home) == ("/home/alice", "/home/alice")


def test_a_user_by_number_need_not_be_known(machine: Machine) -> None:
    assert says(machine, "by-number", 3) == ["1234", "4321", "/"]
    assert status(machine, "by-number", "Groups") == ""


def test_a_user_and_groups_by_name_are_looked_up_in_the_image(machine: Machine) -> None:
    assert says(machine, "by-name") == ["uid=1000(alice) gid=29(audio) groups=10(wheel),65534(nogroup)"]


def test_a_user_by_number_has_the_groups_of_its_account(machine: Machine) -> None:
    assert says(machine, "number-known") == ["uid=1000(alice) gid=1000(alice) groups=10(wheel)"]


def test_a_working_directory_is_made_when_missing(machine: Machine) -> None:
    assert says(machine, "made-directory") == ["/opt/new/place"]


def test_a_container_has_the_names_it_was_given(machine: Machine) -> None:
    assert says(machine, "named", 2) == ["alpha", "alpha"]
    assert machine.inside("named", "/bin/cat", "/proc/sys/kernel/domainname") == "example.org\n"
    assert "\talpha.example.org alpha" in machine.inside("named", "/bin/cat", "/etc/hosts")
    assert machine.inside("named", "/bin/cat", "/etc/hostname") == "alpha\n"


def test_a_container_without_a_hostname_is_called_after_itself(machine: Machine) -> None:
    assert says(machine, "unnamed", 2) == ["unnamed", "unnamed"]


def test_an_init_reaps_orphans(machine: Machine) -> None:
    says(machine, "reaper")
    listing = machine.inside("reaper", "/bin/ps", "-o", "pid,stat,args")
    assert not [line for line in listing.splitlines() if " Z" in line], listing


def test_a_terminal_is_one(machine: Machine) -> None:
    said = says(machine, "terminal", 3)
    assert [line.rstrip("\r") for line in said] == ["/dev/pts/0", "is a terminal", "xterm"]


def test_standard_input_stays_open_only_when_asked(machine: Machine) -> None:
    assert says(machine, "deaf") == ["end of input"]
    assert says(machine, "listening", 0) == []
    assert machine.process("listening").exit is None


def test_labels_and_annotations_change_in_place(machine: Machine) -> None:
    before = machine.process("labelled").pid
    machine.converge(machine.image + container("labelled", labels={"app": "store"}, annotations={"a": "b"}))
    assert machine.process("labelled").pid == before
