"""Two spellings of one wish are one canonical spec; two wishes are two."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.addresses import PortRange
from schemas.config import ConfigSpec
from schemas.container import ContainerSpec
from schemas.image import ImageSpec
from schemas.mount import BindOptions, Mount, TmpfsOptions, VolumeOptions
from schemas.names import Kind
from schemas.network import NetworkSpec
from schemas.port import PublishedPort
from schemas.scalars import resolve
from schemas.spec_models import SPEC_MODELS
from schemas.volume import VolumeSpec


def container(**fields: Any) -> ContainerSpec:
    return ContainerSpec.model_validate({"image": "web", **fields})


SAME: list[tuple[str, Any, Any]] = [
    ("ports", ["8080:80"], [{"target": 80, "published": "8080", "protocol": "tcp", "mode": "ingress"}]),
    ("ports", [80], ["80/tcp"]),
    ("ports", ["9090-9091:80-81"], ["9090:80", "9091:81"]),
    ("ports", ["3000-3001/udp"], [{"target": 3000, "protocol": "udp"}, {"target": 3001, "protocol": "udp"}]),
    ("ports", ["8000-8010:80"], [{"target": 80, "published": "8000-8010"}]),
    ("ports", ["[::1]:53:53/udp"], ["::1:53:53/udp"]),
    ("ports", ["127.0.0.1::80"], [{"target": 80, "host_ip": "127.0.0.1"}]),
    ("ports", ["[fd00:0:0::0001]:1:1"], [{"target": 1, "published": 1, "host_ip": "fd00::1"}]),
    ("ports", ["80:80", "443:443"], ["443:443", "80:80"]),
    ("expose", [80, "90-91/udp"], ["91/udp", "80/tcp", "90/udp"]),
    ("volumes", ["data:/srv"], [{"type": "volume", "source": "data", "target": "/srv/", "volume": {"nocopy": False}}]),
    (
        "volumes",
        ["data:/srv:ro,nocopy"],
        [{"type": "volume", "source": "data", "target": "/srv", "read_only": True, "volume": {"nocopy": True}}],
    ),
    (
        "volumes",
        ["/a//b/:/c"],
        [{"type": "bind", "source": "/a/b", "target": "/c", "bind": {"create_host_path": True}}],
    ),
    (
        "volumes",
        ["./a:/c:rslave,z"],
        [{"type": "bind", "source": "./a/", "target": "/c", "bind": {"propagation": "rslave", "selinux": "z"}}],
    ),
    ("volumes", ["/cache"], [{"type": "volume", "target": "/cache"}]),
    ("volumes", ["a:/a", "b:/b"], ["b:/b", "a:/a"]),
    ("tmpfs", "/run", [{"target": "/run"}]),
    (
        "tmpfs",
        ["/run:size=64m,mode=755,exec,ro"],
        [{"target": "/run", "size": 67108864, "mode": "0755", "exec": True, "read_only": True}],
    ),
    ("environment", ["A=1", "B=x=y", "C="], {"A": 1, "B": "x=y", "C": ""}),
    ("environment", {"A": True}, {"A": "true"}),
    ("labels", ["a=b", "c"], {"a": "b", "c": ""}),
    ("labels", {"a": None}, {"a": ""}),
    ("command", "sh -c 'echo hi'", ["sh", "-c", "echo hi"]),
    ("command", ["sleep", 10], ["sleep", "10"]),
    ("env_file", ".env", [{"path": "./.env", "required": True, "format": "compose"}]),
    ("networks", ["a", "b"], {"b": None, "a": {}}),
    ("networks", {"a": {"aliases": ["y", "x", "y"]}}, {"a": {"aliases": ["x", "y"]}}),
    ("networks", {"a": {"mac_address": "02-42-AC-11-00-01"}}, {"a": {"mac_address": "02:42:ac:11:00:01"}}),
    ("dns", "9.9.9.9", ["9.9.9.9"]),
    ("dns_search", "Example.com.", ["example.com"]),
    ("extra_hosts", ["db=10.0.0.5", "v6:::1"], {"db": "10.0.0.5", "v6": ["[::1]"]}),
    ("cap_add", ["cap_net_admin", "SYS_TIME"], ["SYS_TIME", "NET_ADMIN", "NET_ADMIN"]),
    ("cap_drop", ["all"], "ALL"),
    ("security_opt", ["seccomp:unconfined", "no-new-privileges"], ["no-new-privileges=true", "seccomp=unconfined"]),
    ("devices", ["/dev/sda:/dev/xvda:wr"], [{"source": "/dev/sda", "target": "/dev/xvda", "permissions": "rw"}]),
    ("devices", ["/dev/fuse"], [{"source": "/dev/fuse"}]),
    ("devices", ["/dev/fuse:r"], ["/dev/fuse:/dev/fuse:r"]),
    ("device_cgroup_rules", ["c  1:3   wr"], ["c 1:3 rw"]),
    ("sysctls", ["net.core.somaxconn=1024"], {"net/core/somaxconn": 1024}),
    ("sysctls", {"kernel.sem": "250  32000 32 128"}, {"kernel/sem": "250 32000 32 128"}),
    (
        "ulimits",
        {"nofile": 1024, "NPROC": "-1"},
        {"nofile": {"soft": 1024, "hard": 1024}, "nproc": {"soft": -1, "hard": -1}},
    ),
    ("stop_signal", "usr1", "SIGUSR1"),
    ("stop_signal", 10, "SIGUSR1"),
    ("stop_signal", "RTMAX-30", "SIGRTMIN"),
    ("stop_grace_period", "1m30s", 90),
    ("restart", "on-failure:0", "on-failure"),
    ("restart", False, "no"),
    ("depends_on", ["db"], {"db": {"condition": "service_started", "required": True}}),
    ("healthcheck", {"test": "true"}, {"test": ["CMD-SHELL", "true"]}),
    ("healthcheck", {"disable": True, "test": "true"}, {"test": ["NONE"]}),
    ("logging", {"options": {"max-size": "10m"}}, {"driver": "local", "options": {"max_size": 10485760}}),
    ("secrets", ["key"], [{"source": "key", "target": "key", "mode": "0444"}]),
    (
        "secrets",
        [{"source": "key", "target": "/run/secrets/k", "mode": "0666", "uid": "5"}],
        [{"source": "key", "target": "k", "uid": 5}],
    ),
    ("configs", ["web"], [{"source": "web", "target": "/web"}]),
    ("cpus", "0.50", 0.5),
    ("cpus", 0, None),
    ("cpu_quota", "50ms", 50000),
    ("cpu_quota", -1, None),
    ("cpuset", "3,0-1,2", "0-3"),
    ("mem_limit", "64MiB", 67108864),
    ("mem_limit", 0, None),
    ("mem_swappiness", -1, None),
    ("pids_limit", 0, -1),
    ("group_add", [5, "mail"], ["mail", "5"]),
    ("platform", "aarch64", "linux/arm64"),
    ("pull_policy", "if_not_present", "missing"),
    ("working_dir", "/srv//app/", "/srv/app"),
    ("privileged", "true", True),
    ("user", 1000, "1000"),
    ("ports", None, []),
    ("healthcheck", None, None),
]


@pytest.mark.parametrize(("field", "one", "other"), SAME)
def test_two_spellings_are_one_spec(field: str, one: Any, other: Any) -> None:
    first, second = container(**{field: one}), container(**{field: other})
    assert first == second
    assert first.model_dump(mode="json") == second.model_dump(mode="json")


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("ports", ["80:80"], ["80:80/udp"]),
        ("ports", ["80:80", "81:81"], ["80:80"]),
        ("ports", ["80:80"], ["0.0.0.0:80:80"]),
        ("command", None, []),
        ("dns", ["9.9.9.9", "8.8.8.8"], ["8.8.8.8", "9.9.9.9"]),
        ("environment", {"A": ""}, {}),
        ("device_cgroup_rules", ["c 1:3 r", "a *:* rwm"], ["a *:* rwm", "c 1:3 r"]),
        ("volumes", ["a:/a"], ["a:/a:ro"]),
        ("memswap_limit", -1, None),
        ("healthcheck", {"disable": True}, None),
    ],
)
def test_two_wishes_are_two_specs(field: str, one: Any, other: Any) -> None:
    assert container(**{field: one}) != container(**{field: other})


def test_a_container_is_typed_throughout() -> None:
    spec = container(
        ports=["127.0.0.1:8080-8081:80-81/udp"],
        volumes=["data:/srv:ro", "./www:/www", {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1m"}}],
        tmpfs="/run:mode=0700",
    )
    assert spec.ports[1] == PublishedPort.model_validate(
        {"target": 81, "published": PortRange(8081, 8081), "host_ip": "127.0.0.1", "protocol": "udp"}
    )
    assert [mount.target for mount in spec.mounts] == ["/srv", "/www", "/t", "/run"]
    volume, bind, tmpfs, run = spec.mounts
    assert (volume.volume, volume.bind, volume.read_only) == (VolumeOptions(), None, True)
    assert (bind.source, bind.bind) == ("./www", BindOptions())
    assert tmpfs.tmpfs == TmpfsOptions(size=1 << 20)
    assert run == Mount.model_validate({"type": "tmpfs", "target": "/run", "tmpfs": {"mode": "0700"}})


def test_what_is_not_set_is_not_in_the_dump() -> None:
    spec = container(ports=["8080:80"], logging={"options": {"max-size": "1m"}})
    assert spec.model_dump(mode="json", exclude_defaults=True, by_alias=True) == {
        "image": "web",
        "ports": [{"target": 80, "published": 8080}],
        "logging": {"options": {"max-size": 1048576}},
    }


@pytest.mark.parametrize("kind", list(Kind))
def test_every_default_is_a_value_of_its_field(kind: Kind) -> None:
    model = SPEC_MODELS[kind]
    least: dict[str, Any] = {
        Kind.CONTAINER: {"image": "a"},
        Kind.SERVICE: {"image": "a"},
        Kind.IMAGE: {"ref": "a"},
        Kind.SECRET: {"file": "a"},
        Kind.CONFIG: {"file": "a"},
        Kind.SOURCE: {"directory": "a"},
    }.get(kind, {})
    spec = model.model_validate(least)
    assert model.model_validate(json.loads(spec.model_dump_json())) == spec


def test_a_variable_without_a_value_is_taken_from_whoever_applies() -> None:
    spec = ContainerSpec.model_validate(
        {"image": "web", "environment": ["HOME", "UNSET", "A=1"]}, context={"environment": {"HOME": "/root"}}
    )
    assert spec.environment == {"HOME": "/root", "A": "1"}
    assert container(environment=["HOME"]).environment == {"HOME": None}


def test_a_number_in_the_environment_keeps_its_spelling() -> None:
    spec = container(environment={"VERSION": resolve("1.10"), "MODE": resolve("0755"), "HEX": resolve("0x10")})
    assert spec.environment == {"VERSION": "1.10", "MODE": "0755", "HEX": "0x10"}


def test_a_spec_cannot_be_changed() -> None:
    spec = container()
    with pytest.raises(ValueError, match="frozen"):
        spec.image = "other"  # type: ignore[misc]


def test_an_image_reference_is_filled_in_and_a_containers_image_is_not() -> None:
    assert ImageSpec.model_validate({"ref": "nginx"}).ref == "docker.io/library/nginx:latest"
    assert container(image="nginx").image == "nginx"


def test_networks_and_volumes_read_dockers_option_names() -> None:
    network = NetworkSpec.model_validate({"driver_opts": {"com.docker.network.driver.mtu": "9000"}})
    assert network.driver_opts.mtu == 9000
    assert network == NetworkSpec.model_validate({"driver_opts": {"mtu": 9000}})
    subnets = ("FD00:0::/64", "10.0.0.0/8")
    pools = NetworkSpec.model_validate({"ipam": {"config": [{"subnet": subnet} for subnet in subnets]}}).ipam.config
    assert [pool.subnet for pool in pools] == ["fd00::/64", "10.0.0.0/8"]
    assert VolumeSpec.model_validate({"size": "1g"}).size == 1 << 30
    assert ConfigSpec.model_validate({"content": 5}).content == "5"


def test_a_sysctl_of_an_interface_with_a_dot_keeps_its_slashes() -> None:
    assert container(sysctls={"net/ipv4/conf/eth0.5/forwarding": 1}).sysctls == {"net/ipv4/conf/eth0.5/forwarding": "1"}


def test_security_options_come_taken_apart() -> None:
    options = container(security_opt=["no-new-privileges:true", "seccomp=./profile.json", "apparmor=web"]).security
    assert (options.no_new_privileges, options.seccomp, options.apparmor) == (True, "profile.json", "web")
    assert not options.unmasked_paths
    assert container(security_opt=["systempaths=unconfined"]).security.unmasked_paths
    assert container().security.no_new_privileges is None
