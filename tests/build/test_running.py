"""RUN in the engine's own runtime: what it sees, what becomes of it, how it is kept apart, what a kill leaves."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from reconciler.build import run as room
from reconciler.build import wire
from reconciler.build.cache import kept, trim
from reconciler.build.run_mounts import agent
from reconciler.build.steps import PREFIX, BoundMount
from runtime.images.collect import collect
from runtime.images.platforms import machine_platform
from runtime.images.store import damage, read_image
from runtime.network.network import read_network
from schemas.dockerfile.platform import Platform
from schemas.dockerfile.run_mount import Mount
from schemas.errors import Invalid
from tests.build.conftest import Builder
from tests.conftest import SLOWER

pytestmark = pytest.mark.kernel

THREE_STAGES = """\
FROM busybox AS compile
WORKDIR /work
COPY src/ ./
RUN cat a.txt b.txt > whole && echo compiled
FROM busybox AS assets
RUN mkdir -p /assets && echo asset > /assets/one && ln -s one /assets/two
FROM busybox
COPY --from=compile /work/whole /srv/whole
COPY --from=assets /assets /srv/assets/
RUN test -s /srv/whole && echo tested > /srv/tested
USER nobody
CMD ["cat", "/srv/whole"]
"""


def test_three_stages_make_one_image(running: Builder) -> None:
    running.write({"src/a.txt": "a\n", "src/b.txt": "b\n"})
    made = running.build(THREE_STAGES)
    assert running.read(made, "srv/whole") == "a\nb\n"
    assert running.read(made, "srv/tested") == "tested\n"
    link = running.find(made, "srv/assets/two")
    assert link is not None
    assert link.readlink() == Path("one")
    assert running.find(made, "work") is None
    assert running.output() == ["compiled"]
    assert len(made.record.layers) == 4
    assert damage(running.layout, made.record) is None
    assert list((running.layout.root / "containers").iterdir()) == []
    assert running.build(THREE_STAGES).done == 0


def test_a_file_that_is_removed_is_removed_from_the_image(running: Builder) -> None:
    made = running.build("FROM busybox\nRUN rm /bin/vi && echo here > /made\n")
    top = running.find(made, "made")
    assert top is not None
    mark = (top.parent / "bin/vi").stat(follow_symlinks=False)
    assert mark.st_rdev == 0
    assert not (top.parent / "etc").exists(), "what is mounted for the RUN is no part of the image"


def test_a_run_that_changes_nothing_adds_no_layer(running: Builder) -> None:
    made = running.build("FROM busybox\nRUN true\n")
    assert len(made.record.layers) == 1
    assert running.history(made)[-1]["empty_layer"] is True
    assert running.history(made)[-1]["created_by"] == "RUN /bin/sh -c true"


def test_it_has_a_user_namespace_of_its_own_and_few_rights(running: Builder) -> None:
    running.build("FROM busybox\nRUN cat /proc/self/uid_map; grep -E 'Seccomp:|CapEff' /proc/self/status; id -u\n")
    lines = running.output()
    first, base, count = lines[0].split()
    assert (first, count) == ("0", "65536")
    assert int(base) >= room.FIRST_ID
    assert "Seccomp:\t2" in lines
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff"))
    assert not effective & 1 << 21, "CAP_SYS_ADMIN"
    assert lines[-1] == "0"


def test_without_network_there_is_only_the_loopback(running: Builder) -> None:
    running.build("FROM busybox\nRUN --network=none ls /sys/class/net\n")
    assert running.output() == ["lo"]


def test_by_default_it_has_a_network_of_its_own_and_not_the_hosts(running: Builder) -> None:
    text = "FROM busybox\nRUN ls /sys/class/net; ip route; ip link show lo | head -1; readlink /proc/self/ns/net\n"
    running.build(text)
    assert running.output()[:2] == ["eth0", "lo"]
    assert running.output()[2].startswith("default via 10.")
    here = str(Path("/proc/thread-self/ns/net").readlink())
    assert running.output()[-1] != here
    running.build(text.replace("RUN", "RUN --network=host"))
    assert running.output()[-1] == here
    assert read_network(running.layout, wire.NAME) is None, "the last RUN takes it away"


def test_ipv6_is_there_within_a_run_and_leads_out_where_the_hosts_does(running: Builder) -> None:
    run = "ping -6 -c 1 ::1 >/dev/null && echo itself; ip -6 addr show eth0 | grep -c 'inet6 fd'"
    running.build(f"FROM busybox\nRUN {run}; true\n")
    assert running.output() == ["itself", "0"]
    for words in ("link add out type veth peer name in", "link set in up", "link set out up"):
        subprocess.run(["ip", *words.split()], check=True)
    subprocess.run(["ip", "-6", "route", "add", "default", "dev", "out"], check=True)
    run += "; ip -6 route | grep default; set $(ip -6 route | grep default); ping -6 -c 1 $3 >/dev/null && echo out"
    running.build(f"FROM busybox\nRUN {run}\n")
    said = running.output()
    assert said[:2] == ["itself", "1"]
    assert said[2].startswith("default via fd74")
    assert said[3] == "out"
    running.build("FROM busybox\nRUN --network=none ping -6 -c 1 ::1 >/dev/null && echo itself\n")
    assert running.output() == ["itself"]
    assert read_network(running.layout, wire.NAME) is None


def test_arguments_tell_the_platform_that_is_built_for(running: Builder) -> None:
    told = "TARGETPLATFORM BUILDPLATFORM TARGETOS"
    running.build(f"FROM busybox\nARG {told}\nRUN echo ${told.replace(' ', ' $')}\n")
    here = Platform.parse(str(machine_platform()))
    assert running.output() == [f"{here} {here} linux"]


def test_what_the_build_says_of_every_run_reaches_it(running: Builder) -> None:
    text = "FROM busybox\nRUN grep -w db /etc/hosts; df -k /dev/shm | tail -1; ls /sys/class/net; echo $http_proxy\n"
    proxy = {"http_proxy": "http://proxy.example:3128"}
    hosts = {"db": ("10.9.8.7",)}
    made = running.build(text, extra_hosts=hosts, shm_size=3 << 20, network="none", arguments=proxy)
    said = running.output()
    assert said[0].split() == ["10.9.8.7", "db"]
    assert said[1].split()[1] == "3072"
    assert said[2:] == ["lo", proxy["http_proxy"]]
    assert not any("proxy" in line for line in made.record.config.env)


def test_what_instructions_say_of_containers_stands_in_the_config(running: Builder) -> None:
    made = running.build(
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM busybox\nENV A=1 `\n  B=2\nLABEL team=shop\nEXPOSE 80 53/udp\n"
        "VOLUME /data\nSTOPSIGNAL SIGQUIT\nUSER 33:44\nWORKDIR /srv\n"
        'HEALTHCHECK --interval=5s --retries=2 CMD ["true"]\nENTRYPOINT ["/bin/echo"]\nCMD ["hello"]\n',
        labels={"made": "here"},
        tags=("registry.lan/team/app:1",),
    )
    config = made.record.config
    assert {"A=1", "B=2"} <= set(config.env)
    assert config.labels == {"team": "shop", "made": "here"}
    assert set(config.exposed_ports) == {"80/tcp", "53/udp"}
    assert tuple(config.volumes) == ("/data",)
    assert (config.stop_signal, config.user, config.working_dir) == ("SIGQUIT", "33:44", "/srv")
    assert config.healthcheck is not None
    assert (config.healthcheck.test, config.healthcheck.retries) == (("CMD", "true"), 2)
    assert (config.entrypoint, config.cmd) == (("/bin/echo",), ("hello",))
    assert made.record.tags == ("registry.lan/team/app:1",)


def test_two_runs_at_once_have_addresses_of_their_own(running: Builder) -> None:
    address = "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'; sleep 1"
    running.build(
        f"FROM busybox AS one\nRUN {address}; touch /one\nFROM busybox\nRUN {address}\nCOPY --from=one /one /\n"
    )
    assert len(set(running.output())) == 2


def test_insecure_runs_must_be_allowed(running: Builder) -> None:
    with pytest.raises(Invalid, match=r"not allowed"):
        running.build("FROM busybox\nRUN --security=insecure true\n")
    assert running.build("FROM busybox\nRUN --security=insecure true\n", allow_insecure=True).done == 1


def test_arguments_and_environment_reach_the_program(running: Builder) -> None:
    text = 'FROM busybox\nARG A=1\nENV B=$A\nSHELL ["/bin/sh", "-e", "-c"]\nRUN echo $A $B\n'
    running.build(text, arguments={"A": "2"})
    assert running.output() == ["2 2"]


def test_a_program_that_fails_ends_the_build_at_its_line(running: Builder) -> None:
    with pytest.raises(Invalid) as caught:
        running.build("FROM busybox\n\nRUN echo about; exit 3\n")
    text = str(caught.value.problems[0])
    assert text.startswith("Dockerfile:3:1 RUN")
    assert "ended with 3" in text
    assert running.output() == ["about"]
    assert read_image(running.layout, "app") is None


def test_a_program_that_is_not_there_is_told(running: Builder) -> None:
    with pytest.raises(Invalid, match=r"/nope"):
        running.build('FROM busybox\nRUN ["/nope"]\n')


def test_onbuild_runs_in_the_image_that_begins_with_it(running: Builder) -> None:
    running.write({"a": "a"})
    running.build("FROM busybox\nONBUILD COPY a /from-base\nONBUILD RUN cat /from-base\n", name="base")
    made = running.build("FROM base\n", name="child")
    assert running.read(made, "from-base") == "a"
    assert made.record.config.on_build == ()


def test_heredocs_are_scripts(running: Builder) -> None:
    running.build("FROM busybox\nRUN <<END\necho one\necho two\nEND\nRUN <<END\n#!/bin/cat\nmyself\nEND\n")
    assert running.output() == ["one", "two", "#!/bin/cat", "myself"]


# mounts


def test_a_cache_mount_stays_and_is_no_part_of_the_image(running: Builder) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/cache,sharing=locked echo x >> /cache/n; wc -l < /cache/n\n"
    made = running.build(text)
    assert running.output() == ["1"]
    assert running.find(made, "cache") is None
    running.build(text, without_cache=("*",))
    assert running.output() == ["2"]


def test_a_secret_is_seen_by_its_run_alone(running: Builder) -> None:
    text = (
        "FROM busybox\nRUN --mount=type=secret,id=key cat /run/secrets/key\n"
        'RUN --mount=type=secret,id=key,env=KEY test -n "$KEY" && ls /run 2>/dev/null || true\n'
    )
    made = running.build(text, secrets={"key": b"sesame\n"})
    assert running.output() == ["sesame"]
    assert running.find(made, "run") is None
    everything = b"".join(path.read_bytes() for path in running.layout.root.rglob("*") if path.is_file())
    assert b"sesame" not in everything
    assert b"KEY=" not in everything


def test_a_required_secret_must_be_given(running: Builder) -> None:
    with pytest.raises(Invalid, match=r"the secret key is not given"):
        running.build("FROM busybox\nRUN --mount=type=secret,id=key,required true\n")


def test_a_bind_mount_shows_just_what_the_context_has(running: Builder) -> None:
    running.write({"a": "a", "b.log": "b", ".dockerignore": "*.log\n"})
    text = "FROM busybox\nRUN --mount=target=/ctx ls /ctx; echo no > /ctx/a\n"
    with pytest.raises(Invalid, match=r"ended with 1"):
        running.build(text)
    assert running.output() == ["a", "/bin/sh: can't create /ctx/a: Read-only file system"]
    assert (running.context / "a").read_text() == "a"


def test_what_is_written_to_a_writable_bind_mount_is_lost(running: Builder) -> None:
    running.write({"a": "a"})
    made = running.build("FROM busybox\nRUN --mount=target=/ctx,rw echo yes > /ctx/a; cat /ctx/a > /copy\n")
    assert running.read(made, "copy") == "yes\n"
    assert (running.context / "a").read_text() == "a"


def test_a_bind_mount_shows_files_of_another_stage(running: Builder) -> None:
    text = (
        "FROM busybox AS one\nRUN mkdir /d && echo x > /d/f\nFROM busybox\n"
        "RUN --mount=from=one,source=/d,target=/m cat /m/f\nRUN --mount=from=one,source=/d/f,target=/f cat /f\n"
    )
    running.build(text)
    assert running.output() == ["x", "x"]


def test_a_tmpfs_is_gone_afterwards(running: Builder) -> None:
    made = running.build("FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m echo x > /t/f && df /t | tail -1\n")
    assert running.find(made, "t") is None
    assert running.output()[0].split()[:2] == ["tmpfs", "1024"]


def test_an_agent_answers_through_a_socket_of_the_runs_own(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    bound = BoundMount(Mount("ssh"), "/run/agent", None)
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as held, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen()
        entry = agent(bound, {"default": path}, room.Room("r", tmp_path, tmp_path, 70_000), held)
        assert entry is not None
        assert Path(entry["source"]).stat().st_uid == 70_000
        client.connect(entry["source"])
        connection, _ = listener.accept()
        with connection:
            client.sendall(b"hello")
            connection.sendall(connection.recv(16).upper())
            assert client.recv(16) == b"HELLO"


def test_a_forwarded_agent_is_a_socket_that_root_of_the_run_owns(running: Builder, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        made = running.build(
            "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && test -O $SSH_AUTH_SOCK && echo there\n",
            agents={"default": path},
        )
    assert running.output() == ["there"]
    assert running.find(made, "run") is None


# the cache and the collector


def test_the_collector_leaves_what_the_cache_names_and_takes_it_when_trimmed(running: Builder) -> None:
    made = running.build("FROM busybox\nRUN echo x > /x\n")
    (running.layout.images / "app.json").unlink()
    collect(running.layout, kept(running.layout))
    assert running.build("FROM busybox\nRUN echo x > /x\n").done == 0
    (running.layout.images / "app.json").unlink()
    assert trim(running.layout, most_bytes=0) >= 1
    collect(running.layout, kept(running.layout))
    again = running.build("FROM busybox\nRUN echo x > /x\n")
    assert (again.done, running.read(again, "x")) == (1, "x\n")
    assert made.record.name == again.record.name


def test_a_layer_that_was_lost_is_made_again(running: Builder) -> None:
    made = running.build("FROM busybox\nRUN echo x > /x\n")
    (running.layout.blobs / made.record.layers[-1].replace(":", "/")).unlink()
    again = running.build("FROM busybox\nRUN echo x > /x\n")
    assert again.done == 1
    assert damage(running.layout, again.record) is None


SLOW = "FROM busybox\nRUN echo one > /one\nRUN echo two > /two; exec sleep 1000\nRUN echo three > /three\n"
BUILD = """
import json
import sys
from pathlib import Path
from reconciler.build.build import build
from reconciler.build.wanted import BuildWanted
from runtime.layout import Layout
layout = Layout(Path(sys.argv[1]), Path(sys.argv[2]))
arguments = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
wanted = BuildWanted("app", {"": sys.argv[3]}, text=sys.argv[4], arguments=arguments)
build(layout, wanted, lambda told: print(told.what, told.number, flush=True))
"""


def test_a_killed_builder_leaves_a_sound_store_and_its_container_goes_with_the_next_build(running: Builder) -> None:
    layout = running.layout
    words = [str(layout.root), str(layout.run), str(running.context), SLOW]
    out = running.context.parent / "out"
    with out.open("wb") as file:
        child = subprocess.Popen([sys.executable, "-c", BUILD, *words], stdout=file)
    deadline = time.monotonic() + 30 * SLOWER
    while "begun 2" not in out.read_text() or not _sleeping(layout.root):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read_image(layout, "app") is None
    made = running.build("FROM busybox\nRUN echo one > /one\n")
    assert made.done == 0, "what was done before the kill is not done again"
    assert list((layout.root / "containers").iterdir()) == []
    assert read_network(layout, wire.NAME) is None
    assert damage(layout, made.record) is None
    collect(layout, kept(layout))
    assert not [path for path in layout.layers.iterdir() if path.name.endswith(".partial")]
    assert list((layout.blobs / "partial").iterdir()) == []
    assert damage(layout, made.record) is None


def test_a_step_that_fails_ends_the_others(running: Builder) -> None:
    begun = time.monotonic()
    text = "FROM busybox AS slow\nRUN sleep 1000\nFROM busybox\nRUN sleep 1; exit 3\nCOPY --from=slow /etc /e\n"
    with pytest.raises(Invalid, match=r"ended with 3"):
        running.build(text)
    assert time.monotonic() - begun < 60 * SLOWER
    assert list((running.layout.root / "containers").iterdir()) == []


MANY = """\
FROM busybox AS one
COPY src /src
RUN cat /src/* > /whole
FROM busybox
COPY --from=one /whole /whole
RUN --mount=from=one,source=/src,target=/s ls /s > /list
COPY --link src /linked
"""


def test_killed_at_any_moment_it_leaves_a_sound_store_and_ends_with_the_same_image(running: Builder) -> None:
    running.write({f"src/{number}": f"{number}\n" * 2000 for number in range(20)})
    layout, epoch = running.layout, {"SOURCE_DATE_EPOCH": "1000"}
    wanted = running.build(MANY, arguments=epoch).record.digest
    for path in (layout.root / "build/cache").iterdir():
        path.unlink()
    (layout.images / "app.json").unlink()
    collect(layout, ())
    words = [str(layout.root), str(layout.run), str(running.context), MANY, json.dumps(epoch)]
    chance = random.Random(7)
    for _ in range(10):
        child = subprocess.Popen([sys.executable, "-c", BUILD, *words], stdout=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.3 + chance.random() * 1.2)
        child.kill()
        child.wait()
        record = read_image(layout, "app")
        assert record is None or damage(layout, record) is None
    made = running.build(MANY, arguments=epoch)
    assert made.record.digest == wanted
    collect(layout, kept(layout))
    assert damage(layout, made.record) is None
    assert list((layout.root / "containers").iterdir()) == []
    assert not [path for path in layout.layers.iterdir() if path.name.endswith(".partial")]
    assert list((layout.blobs / "partial").iterdir()) == []
    assert read_network(layout, wire.NAME) is None


def _sleeping(root: Path) -> bool:
    """Whether the second RUN has begun: its file is in its upper directory."""
    return any(root.glob(f"containers/{PREFIX}*/upper/two"))
