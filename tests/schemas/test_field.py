"""The declarations of fields: complete, and read alike by everybody."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from schemas.config import ConfigSpec
from schemas.container import ContainerSpec
from schemas.field import effect_of, fields_of
from schemas.image import ImageSpec
from schemas.names import Kind
from schemas.network import NetworkSpec
from schemas.service import ServiceSpec
from schemas.spec_models import SPEC_MODELS
from schemas.volume import VolumeSpec

ISSUE_FIELDS = {
    Kind.IMAGE: "ref archive rootfs config pull_policy platform build",
    Kind.CONTAINER: "image command entrypoint environment env_file working_dir user group_add hostname labels ports "
    "expose volumes tmpfs networks network_mode dns dns_search extra_hosts cap_add cap_drop privileged read_only "
    "security_opt userns_mode pid ipc uts cgroup devices device_cgroup_rules shm_size sysctls ulimits init tty "
    "stdin_open stop_signal stop_grace_period restart depends_on healthcheck logging cpus cpu_shares cpuset cpu_quota "
    "cpu_period mem_limit memswap_limit mem_reservation mem_swappiness oom_score_adj pids_limit blkio_config "
    "annotations secrets configs state",
    Kind.VOLUME: "driver driver_opts size labels external deletion_policy",
    Kind.NETWORK: "driver driver_opts internal enable_ipv4 enable_ipv6 ipam ipam.config.subnet ipam.config.gateway "
    "ipam.config.ip_range ipam.config.aux_addresses driver_opts.mtu driver_opts.enable_icc driver_opts.isolation",
    Kind.SERVICE: "image ports networks deploy.replicas deploy.labels deploy.endpoint_mode deploy.update_config "
    "deploy.rollback_config deploy.restart_policy deploy.resources.limits.memory deploy.resources.reservations.cpus",
    Kind.SECRET: "file environment content labels",
    Kind.CONFIG: "file environment content labels",
    Kind.SOURCE: "directory git interval prune set suspend depends_on timeout git.url git.branch git.path",
}


@pytest.mark.parametrize(("kind", "names"), ISSUE_FIELDS.items())
def test_every_field_that_was_asked_for_is_there(kind: Kind, names: str) -> None:
    assert set(names.split()) <= set(fields_of(SPEC_MODELS[kind]))


@pytest.mark.parametrize("kind", list(Kind))
def test_every_field_says_what_it_is(kind: Kind) -> None:
    for path, info in fields_of(SPEC_MODELS[kind]).items():
        assert info.description.strip().endswith((".", "…")), path
        assert info.effect in ("live", "restart", "replace"), path
        assert info.type_text and info.type_text != "value", path
        assert info.model is None or (info.model.__doc__ or "").strip(), path
        if "duration" in info.type_text and not info.required:
            assert info.default, path
        if info.type_text in ("size", "duration"):
            assert info.unit, path


@pytest.mark.parametrize(
    ("model", "path", "effect"),
    [
        (ContainerSpec, ("image",), "replace"),
        (ContainerSpec, ("environment", "A"), "replace"),
        (ContainerSpec, ("volumes", 0, "read_only"), "replace"),
        (ContainerSpec, ("ports", 0, "target"), "live"),
        (ContainerSpec, ("networks", "front", "aliases", 0), "live"),
        (ContainerSpec, ("labels", "volumes"), "live"),
        (ContainerSpec, ("mem_limit",), "live"),
        (ContainerSpec, ("healthcheck", "test"), "live"),
        (ContainerSpec, ("state",), "live"),
        (ContainerSpec, ("hostname",), "restart"),
        (ContainerSpec, ("ulimits", "nofile", "soft"), "restart"),
        (ContainerSpec, ("logging", "driver"), "restart"),
        (ContainerSpec, ("logging", "options", "max-size"), "live"),
        (ContainerSpec, ("logging",), "restart"),
        (ServiceSpec, ("deploy", "replicas"), "live"),
        (NetworkSpec, ("driver_opts", "mtu"), "live"),
        (NetworkSpec, ("driver_opts", "parent"), "replace"),
        (NetworkSpec, ("driver_opts",), "replace"),
        (NetworkSpec, ("ipam", "config", 0, "gateway"), "replace"),
        (VolumeSpec, ("size",), "live"),
        (ImageSpec, ("config", "cmd"), "replace"),
        (ConfigSpec, ("content",), "replace"),
    ],
)
def test_a_change_has_the_effect_declared_nearest(
    model: type[BaseModel], path: tuple[str | int, ...], effect: str
) -> None:
    assert effect_of(model, path) == effect


def test_an_unknown_field_has_no_effect() -> None:
    with pytest.raises(KeyError):
        effect_of(ContainerSpec, ("nonsense",))


def test_fields_come_in_the_order_in_which_they_are_declared() -> None:
    top = [path for path in fields_of(ServiceSpec) if "." not in path]
    assert top[:4] == ["image", "pull_policy", "platform", "command"]
    assert top[-1] == "deploy"
    assert list(fields_of(ServiceSpec)) == list(dict.fromkeys(fields_of(ServiceSpec)))


def test_what_nothing_stops_for_is_live() -> None:
    live = (
        "ports networks labels annotations restart healthcheck stop_signal stop_grace_period mem_limit cpus pids_limit"
    )
    assert {fields_of(ContainerSpec)[name].effect for name in live.split()} == {"live"}


def test_what_grants_rights_replaces() -> None:
    rights = "privileged cap_add cap_drop security_opt userns_mode read_only user"
    assert {fields_of(ContainerSpec)[name].effect for name in rights.split()} == {"replace"}
