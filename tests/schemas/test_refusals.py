"""What a manifest's author reads when a spec does not hold: the place, what is wrong, what to write instead."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.errors import Invalid
from schemas.kernel_words import CAPABILITIES, SIGNALS, read_signal
from schemas.load import Text, load
from schemas.names import Kind
from schemas.secret import SecretSpec


def refusals(kind: Kind, spec: Any) -> list[str]:
    """Every problem as a person reads it, without file, line and object."""
    text = json.dumps(
        {"apiVersion": "trimtab/v1", "kind": kind.value, "metadata": {"name": "a"}, "spec": spec}, indent=1
    )
    with pytest.raises(Invalid) as refusal:
        load([Text("a.json", text)], {})
    return [f"{problem.field}: {problem.message}; {problem.remedy}" for problem in refusal.value.problems]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"ports": ["8000-8002:80-81"]},
            "spec.ports[0]: maps 3 ports to 2; write two ranges of one length, as in 8000-8001:80-81",
        ),
        ({"ports": [80, "http:80"]}, "spec.ports[1]: 'http' is no port; write a number from 1 to 65535"),
        (
            {"ports": ["8080:80", "8080:81"]},
            "spec.ports[1]: publishes 8080/tcp again; keep one of them",
        ),
        (
            {"ports": ["8080:80"], "network_mode": "host"},
            "spec.ports: cannot be published with network_mode: host; leave one of them out",
        ),
        ({"cap_add": ["NET_ADMN"]}, "spec.cap_add[0]: 'NET_ADMN' is no capability; did you mean NET_ADMIN?"),
        ({"stop_signal": "SIGTREM"}, "spec.stop_signal: 'SIGTREM' is no signal; did you mean SIGTERM?"),
        ({"ulimits": {"nofiles": 5}}, "spec.ulimits.nofiles: 'nofiles' is no resource limit; did you mean nofile?"),
        (
            {"mem_limit": "1m"},
            "spec.mem_limit: '1m' is less than a container needs to start; write at least 6m",
        ),
        (
            {"mem_limit": "64m", "memswap_limit": "32m"},
            "spec.memswap_limit: is less than mem_limit, which it includes; write at least as much",
        ),
        (
            {"volumes": ["data:srv"]},
            "spec.volumes[0]: 'srv' is not absolute; write /srv",
        ),
        (
            {"volumes": ["data:/srv:rx"]},
            "spec.volumes[0]: 'rx' is no option of a volume; write some of ro, rw, z, Z, nocopy",
        ),
        (
            {"volumes": ["a:/x", "b:/x"]},
            "spec.volumes[1]: /x is mounted by volumes[0] too; keep one of them",
        ),
        (
            {"volumes": [{"type": "bind", "source": "data", "target": "/x"}]},
            (
                "spec.volumes[0].source: 'data' is neither absolute nor relative; "
                "write ./data if it stands beside the manifest"
            ),
        ),
        (
            {"volumes": [{"type": "volume", "source": "a", "target": "/x", "volume": {"subpath": "a/../../b"}}]},
            "spec.volumes[0].volume.subpath: 'a/../../b' climbs with '..'; write the path without it",
        ),
        (
            {"secrets": [{"source": "a", "mode": 440}]},
            'spec.secrets[0].mode: 440 could be octal or decimal; write it octal and quoted, as in "0440"',
        ),
        (
            {"networks": {"a": {"ipv4_address": "10.0.0"}}},
            "spec.networks.a.ipv4_address: '10.0.0' is no address; write one as in 10.0.0.5 or fd00::5",
        ),
        (
            {"networks": {"a": {"mac_address": "01:00:5e:00:00:01"}}},
            (
                "spec.networks.a.mac_address: '01:00:5e:00:00:01' is a multicast address; "
                "write one whose first byte is even, as in 02:…"
            ),
        ),
        (
            {"healthcheck": {"test": ["curl", "localhost"]}},
            "spec.healthcheck.test: starts with 'curl'; start the list with CMD, CMD-SHELL or NONE",
        ),
        ({"image": "ghcr.io/Shop/web"}, "spec.image: the repository 'Shop/web' has capitals; write 'shop/web'"),
        (
            {"image": "Busy Box:::latest"},
            (
                "spec.image: 'Busy Box:::latest' is no image reference; "
                "write one as in nginx:1.27 or registry.example.com/shop/web"
            ),
        ),
        ({"restart_policy": "always"}, "spec.restart_policy: is a map; write restart: always"),
        ({"livenessProbe": {}}, "spec.livenessProbe: is not a field here; write healthcheck:"),
        ({"container_name": "x"}, "spec.container_name: is not a field here; leave it out: metadata.name is its name"),
        (
            {"replicas": 2},
            (
                "spec.replicas: is not a field here; a Container is one process: write kind: Service, with "
                "deploy: {replicas: …}"
            ),
        ),
        ({"gpus": "all"}, "spec.gpus: is not a field here; name its device files below devices:, as /dev/dri"),
        ({"environment": ["A=1", "=x"]}, "spec.environment[1]: has no name; write NAME=VALUE"),
        ({"environment": ["A=1", "A=2"]}, "spec.environment[1]: 'A' is given twice; keep one of them"),
        ({"environment": {"": "x"}}, 'spec.environment[""]: has no name; write NAME=VALUE'),
        (
            {"extra_hosts": ["a=10.0.0.1", "b"]},
            "spec.extra_hosts[1]: 'b' has no address; write NAME=ADDRESS, as in db=10.0.0.5",
        ),
        (
            {"sysctls": {"kernel.panic": 1}},
            (
                "spec.sysctls[\"kernel.panic\"]: 'kernel.panic' belongs to the whole host; "
                "set it there, or write one of net.*, fs.mqueue.*, kernel.shm*"
            ),
        ),
        (
            {"volumes": ["/a:/srv", "/etc:/proc"]},
            "spec.volumes[1]: /proc belongs to the kernel; mount it elsewhere, as at /host/proc",
        ),
        (
            {"volumes": ["/a:/sys/kernel/debug"]},
            (
                "spec.volumes[0]: /sys/kernel/debug belongs to the kernel; mount it elsewhere, "
                "as at /host/sys/kernel/debug"
            ),
        ),
        (
            {"volumes": ["/sys/fs/cgroup:/sys/fs/cgroup"]},
            "spec.volumes[0]: /sys/fs/cgroup can only be covered read-only; add :ro, or mount it elsewhere",
        ),
        (
            {"volumes": ["/dev:/dev"]},
            (
                "spec.volumes[0]: /dev holds the container's own devices; mount what you need below it, "
                "or name it in devices"
            ),
        ),
        ({"tmpfs": ["/dev/pts"]}, "spec.tmpfs[0]: /dev/pts is the container's own; mount it elsewhere"),
        (
            {"secrets": [{"source": "key", "target": "/proc/sys/key"}]},
            "spec.secrets[0]: /proc/sys/key belongs to the kernel; mount it elsewhere, as at /host/proc/sys/key",
        ),
        (
            {"devices": ["/dev/fuse:/proc/fuse"]},
            "spec.devices[0]: /proc/fuse belongs to the kernel; name a path below /dev",
        ),
        (
            {"privileged": True, "volumes": ["/proc:/proc"]},
            "spec.volumes[0]: /proc belongs to the kernel; mount it elsewhere, as at /host/proc",
        ),
        ({"command": "say 'hi"}, 'spec.command: "say \'hi" has an open quote; close it, or write a list'),
    ],
)
def test_a_container_is_refused_with_place_and_remedy(fields: dict[str, Any], said: str) -> None:
    assert refusals(Kind.CONTAINER, {"image": "web", **fields}) == [said]


@pytest.mark.parametrize(
    "fields",
    [
        {"volumes": ["/dev/log:/dev/log", "/dev/shm:/dev/shm", "/dev/bus/usb:/dev/bus/usb"]},
        {"volumes": ["/sys/fs/cgroup:/sys/fs/cgroup:ro", "./meminfo:/proc/meminfo:ro", "/proc:/host/proc:ro"]},
        {"volumes": ["/devices:/devices", "/a:/processes", "/b:/system"], "tmpfs": ["/dev/mqueue"]},
        {"privileged": True, "volumes": ["/dev:/dev", "/sys:/sys"]},
    ],
)
def test_what_docker_lets_cover_the_engines_own_paths_is_accepted(fields: dict[str, Any]) -> None:
    text = json.dumps(
        {"apiVersion": "trimtab/v1", "kind": "Container", "metadata": {"name": "a"}, "spec": {"image": "w", **fields}}
    )
    assert len(load([Text("a.json", text)], {})) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apiVersion: apps/v1\nkind: Deployment\n", "'Deployment' is not a kind; write kind: Service, with deploy:"),
        ("apiVersion: v1\nkind: ConfigMap\n", "'ConfigMap' is not a kind; write kind: Config"),
        (
            "service:\n  web: {image: nginx}\n",
            "a.yaml:1:1: is neither a manifest nor a compose file; did you mean services",
        ),
        (
            "web:\n  image: nginx\n",
            "begin with `apiVersion: trimtab/v1` and `kind:`, or with `services:` as Compose does",
        ),
        (
            "apiVersion: trimtab/v1\nkind: Volume\nmetadata:\n  name: a\n  spec: {}\n",
            "metadata.spec: is not a field here; indent it less: it stands beside metadata",
        ),
        ("kind: Container\nservice: {}\n", "service: is not a field here; known here: apiVersion, kind"),
    ],
)
def test_what_other_tools_write_is_answered_in_our_words(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        load([Text("a.yaml", text)], {})
    assert said in str(refusal.value)


def test_a_secrets_short_content_tears_no_words_apart() -> None:
    text = SECRET + "spec: {content: a, file: b}\n"
    with pytest.raises(Invalid) as refusal:
        load([Text("a.yaml", text)], {})
    assert str(refusal.value) == "a.yaml:4:8 Secret/a spec.content: cannot stand beside file; keep one of them"


SECRET = "apiVersion: trimtab/v1\nkind: Secret\nmetadata: {name: a}\n"


@pytest.mark.parametrize(
    "text",
    [
        SECRET + "spec: hunter\n",
        SECRET + "spec: [hunter]\n",
        SECRET + "spec: pa$hunter\n",
        SECRET + "spec: {content: [hunter]}\n",
        SECRET + "spec: {content: pa$hunter}\n",
        SECRET + 'spec: {content: "${hunter"}\n',
        SECRET + "spec: {content: !!int hunter}\n",
        SECRET + "spec: {environment: hunter 2}\n",
        SECRET + "spec: {contents: hunter}\n",
        SECRET + "data: {key: hunter}\n",
        "apiVersion: trimtab/v1\nkind: Secrte\nmetadata: {name: a}\nspec: hunter\n",
        "secrets: {a: hunter}\n",
        "secrets: {a: {content: pa$hunter}}\n",
        "secrets: {a: {content: {b: hunter}}}\n",
    ],
)
def test_nothing_of_a_secret_is_told(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        load([Text("a.yaml", text)], {})
    assert "hunter" not in str(refusal.value)


def test_a_sysctl_of_the_host_is_refused() -> None:
    (said,) = refusals(Kind.CONTAINER, {"image": "web", "sysctls": {"vm.overcommit_memory": 1}})
    assert said.startswith(
        "spec.sysctls[\"vm.overcommit_memory\"]: 'vm.overcommit_memory' belongs to the whole host; set it there"
    )


@pytest.mark.parametrize(
    "name",
    [
        "kernel.hostname",
        "kernel.core_pattern",
        "net",
        "net..a",
        "fs.file-max",
        "kernel.shmmax/../x",
        "net/../kernel/core_pattern",
        "net/./x",
        "net.a/b",
        "net/",
        "kernel/core_pattern",
    ],
)
def test_only_sysctls_of_a_namespace_are_accepted(name: str) -> None:
    assert len(refusals(Kind.CONTAINER, {"image": "web", "sysctls": {name: "1"}})) == 1


def test_every_wrong_field_is_told_at_once() -> None:
    spec = {"image": "web", "ports": ["x", 80, "y"], "cap_add": ["NO"], "cpus": -1, "hostnam": "a"}
    fields = [said.partition(":")[0] for said in refusals(Kind.CONTAINER, spec)]
    assert sorted(fields) == ["spec.cap_add[0]", "spec.cpus", "spec.hostnam", "spec.ports[0]", "spec.ports[2]"]


def test_every_contradiction_is_told_at_once() -> None:
    spec = {"image": "web", "cpus": 1, "cpu_quota": 5000, "memswap_limit": "1g", "mem_reservation": "6m"}
    fields = [said.partition(":")[0] for said in refusals(Kind.CONTAINER, spec)]
    assert sorted(fields) == ["spec.cpus", "spec.memswap_limit"]


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        (
            Kind.IMAGE,
            {"build": {"context": ".", "dockerfile": "a", "dockerfile_inline": "FROM scratch"}},
            "spec.build.dockerfile_inline: cannot stand beside dockerfile; keep one of them",
        ),
        (Kind.IMAGE, {}, "spec: does not say where it comes from; write one of ref, archive, rootfs, build, commit"),
        (Kind.IMAGE, {"ref": "a", "rootfs": "./b"}, "spec.rootfs: cannot stand beside ref; keep one of them"),
        (
            Kind.NETWORK,
            {"ipam": {"config": [{"subnet": "10.1.2.3/16"}]}},
            "spec.ipam.config[0].subnet: '10.1.2.3/16' has bits set beyond its prefix; write 10.1.0.0/16",
        ),
        (
            Kind.NETWORK,
            {"ipam": {"config": [{"subnet": "10.1.0.0/16"}, {"subnet": "10.1.9.0/24"}]}},
            "spec.ipam.config[1].subnet: overlaps 10.1.0.0/16; write another",
        ),
        (
            Kind.NETWORK,
            {"ipam": {"config": [{"subnet": "10.1.0.0/16", "gateway": "10.2.0.1"}]}},
            "spec.ipam.config[0].gateway: 10.2.0.1 lies outside 10.1.0.0/16; write one inside it",
        ),
        (
            Kind.VOLUME,
            {"external": True, "size": "1g"},
            "spec.size: belongs to whoever made it; with external: true leave it out",
        ),
        (
            Kind.SERVICE,
            {"image": "web", "deploy": {"mode": "global"}},
            (
                "spec.deploy.mode: global spreads over machines, and this engine has one; "
                "write replicated, with replicas: 1"
            ),
        ),
        (
            Kind.SERVICE,
            {"image": "web", "networks": {"a": {"ipv4_address": "10.0.0.5"}}, "deploy": {"replicas": 2}},
            "spec.networks.a.ipv4_address: is one address, and there are several replicas; leave it out",
        ),
        (
            Kind.SOURCE,
            {"git": {"url": "https://me:hunter2@example.com/a"}},
            "spec.git.url: holds a password; put it into a Secret and name that with secret:",
        ),
        (
            Kind.SOURCE,
            {"git": {"url": "http://example.com/a"}},
            (
                "spec.git.url: lets anybody on the way change the manifests; "
                "use https or ssh, or require signatures by verify"
            ),
        ),
        (
            Kind.SOURCE,
            {"git": {"url": "https://example.com/a", "semver": "newest"}},
            "spec.git.semver: 'newest' is no range of versions; write one as in >=1.4 <2",
        ),
        (
            Kind.SOURCE,
            {"git": {"url": "https://example.com/a", "secret": "a", "credentials": "/b"}},
            "spec.git.credentials: cannot stand beside secret; keep one of them",
        ),
        (
            Kind.SOURCE,
            {"directory": "/a", "decrypt": {"secret": "a", "file": "/b"}},
            "spec.decrypt.file: cannot stand beside secret; keep one of them",
        ),
        (
            Kind.SOURCE,
            {"directory": "/a", "webhook": {}},
            "spec.webhook: does not say where it is held; write one of secret, file",
        ),
    ],
)
def test_other_kinds_are_refused_with_place_and_remedy(kind: Kind, spec: Any, said: str) -> None:
    assert refusals(kind, spec) == [said]


HOSTILE = ["../up", "a/b", ".hidden", "a\0b", "a\nb", "", "A", "a" * 64, "-a", "a-", "/abs"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "fields",
    [
        lambda name: {"volumes": [{"type": "volume", "source": name, "target": "/x"}]},
        lambda name: {"secrets": [{"source": name}]},
        lambda name: {"configs": [name]},
        lambda name: {"networks": [name]},
        lambda name: {"networks": {name: None}},
        lambda name: {"depends_on": [name]},
        lambda name: {"network_mode": f"container:{name}"},
        lambda name: {"ipc": f"service:{name}"},
    ],
)
def test_a_name_that_is_no_file_name_is_refused_wherever_one_stands(name: str, fields: Any) -> None:
    assert refusals(Kind.CONTAINER, {"image": "web", **fields(name)})


@pytest.mark.parametrize(
    "fields",
    [
        {"hostname": "a\nb"},
        {"extra_hosts": {"a b": "10.0.0.1"}},
        {"extra_hosts": ["a=10.0.0.1\n10.0.0.2 b"]},
        {"dns_search": ["a b"]},
        {"dns_opt": ["ndots:1\nnameserver 6.6.6.6"]},
        {"environment": {"": "x"}},
        {"environment": ["=x"]},
        {"environment": {"A\0": "x"}},
        {"user": "root\n0"},
        {"working_dir": "/a/../../b"},
        {"volumes": ["/a:/b\0c"]},
        {"tmpfs": ["/run:size=1m,uid=0,mode=0777,rw,exec,foo=bar"]},
        {"labels": {"a\nb": "c"}},
        {"group_add": ["a:b:c", ""]},
    ],
)
def test_text_that_would_break_a_file_of_the_container_is_refused(fields: dict[str, Any]) -> None:
    assert refusals(Kind.CONTAINER, {"image": "web", **fields})


def test_a_secrets_content_is_in_no_message() -> None:
    with pytest.raises(ValidationError) as refusal:
        SecretSpec.model_validate({"content": "hunter2", "file": "./a"})
    said = [error["msg"] for error in refusal.value.errors()]
    assert "hunter2" not in "".join(said)
    assert "hunter2" not in repr(SecretSpec.model_validate({"content": "hunter2"}))
    assert "hunter2" not in str(SecretSpec.model_validate({"content": "hunter2"}))


def test_ports_that_expand_without_end_are_refused() -> None:
    (said,) = refusals(Kind.CONTAINER, {"image": "web", "ports": ["1-65535"] * 1000})
    assert "asks for more than 65535 ports" in said


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signals_number_is_the_kernels(name: str) -> None:
    number = getattr(signal, f"SIG{name}", None)
    assert number is None or read_signal(int(number)) == f"SIG{name}"


def test_every_capability_of_this_kernel_has_a_name() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert len(CAPABILITIES) >= last + 1
    assert (CAPABILITIES.index("SYS_ADMIN"), CAPABILITIES.index("CHECKPOINT_RESTORE")) == (21, 40)
