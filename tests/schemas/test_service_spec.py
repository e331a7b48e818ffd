"""What each replica of a service is: the service's own fields, and those that `deploy` sets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from schemas.container import ContainerSpec
from schemas.names import Kind
from schemas.service import ServiceSpec
from tests.schemas.strategies import specs


def service(**deploy: Any) -> ServiceSpec:
    return ServiceSpec.model_validate({"image": "web", "ports": ["8080:80"], "deploy": deploy})


def test_a_replica_is_a_container_with_the_services_fields() -> None:
    expected = ContainerSpec.model_validate({"image": "web", "ports": ["8080:80"]})
    assert service(replicas=3).replica() == expected


def test_limits_and_reservations_become_the_containers() -> None:
    replica = service(
        resources={"limits": {"cpus": "0.5", "memory": "50M", "pids": 9}, "reservations": {"memory": "20M", "cpus": 1}}
    ).replica()
    assert (replica.cpus, replica.mem_limit, replica.pids_limit, replica.mem_reservation) == (
        0.5,
        50 << 20,
        9,
        20 << 20,
    )


@pytest.mark.parametrize(
    ("policy", "restart"),
    [
        ({}, "always"),
        ({"condition": "any"}, "always"),
        ({"condition": "none"}, "no"),
        ({"condition": "on-failure"}, "on-failure"),
        ({"condition": "on-failure", "max_attempts": 3}, "on-failure:3"),
    ],
)
def test_a_restart_policy_becomes_the_containers(policy: dict[str, Any], restart: str) -> None:
    assert service(restart_policy=policy).replica().restart == restart


def test_without_a_restart_policy_the_containers_own_field_counts() -> None:
    spec = ServiceSpec.model_validate({"image": "web", "restart": "unless-stopped"})
    assert spec.replica().restart == "unless-stopped"


def test_limits_said_twice_must_be_equal() -> None:
    with pytest.raises(ValueError, match="differs from what deploy says; keep one of them"):
        ServiceSpec.model_validate({"image": "a", "cpus": 1, "deploy": {"resources": {"limits": {"cpus": 2}}}})


@settings(max_examples=30, deadline=None)
@given(specs(Kind.SERVICE))
def test_every_service_has_a_replica(spec: dict[str, Any]) -> None:
    declared = ServiceSpec.model_validate(spec)
    replica = declared.replica()
    assert (replica.image, replica.ports, replica.volumes) == (declared.image, declared.ports, declared.volumes)
