"""The loop makes health checks: replicas leave the balancing and come back, dependents wait, the ill start anew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.network.firewall.observe import read_firewall
from runtime.process import client
from tests.loop.driving import driven
from tests.machine.machine import Machine, until

pytestmark = pytest.mark.kernel


def document(kind: str, name: str, **spec: Any) -> str:
    item = {"apiVersion": "trimtab/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return f"\n---\n{json.dumps(item)}"


def container(name: str, **spec: Any) -> str:
    return document("Container", name, image="busybox", stop_signal="SIGKILL", **spec)


CHECK = {"test": ["CMD-SHELL", "[ -e /well ]"], "interval": "50ms", "retries": 2, "timeout": "5s"}


def backends(machine: Machine, service: str) -> set[str]:
    return {
        backend.container
        for balance in read_firewall(machine.layout).services.values()
        if balance.service.startswith(f"{service}_AT_")
        for backend in balance.backends
    }


def test_an_unhealthy_replica_leaves_the_balancing_and_comes_back(machine: Machine) -> None:
    text = machine.image + document(
        "Service",
        "web",
        image="busybox",
        stop_signal="SIGKILL",
        command=["sh", "-c", "touch /well; sleep 1000"],
        healthcheck=CHECK,
        deploy={"replicas": 2},
    )
    machine.converge(text)
    assert backends(machine, "web") == {"web-1", "web-2"}
    with driven(machine.layout) as loop:
        until(lambda: sum(event == "health" for event, _ in loop.told) == 2)
        pid = machine.process("web-1").pid
        machine.inside("web-1", "rm", "/well")
        until(lambda: backends(machine, "web") == {"web-2"})
        loop.settle()
        assert machine.process("web-1").pid == pid
        machine.inside("web-1", "touch", "/well")
        until(lambda: backends(machine, "web") == {"web-1", "web-2"})
    assert machine.diff(text).empty


WEB = "mkdir -p /www; cd /www; httpd -f -p 8080 -h /www"
NETWORK_CHECKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "http": ({"http": {"port": 8080, "path": "/well"}}, "touch /www/well", "rm /www/well"),
    "tcp": ({"tcp": {"port": 9090}}, "nc -ll -p 9090 -e true >/dev/null 2>&1 & echo $! >/nc", "kill $(cat /nc)"),
}


@pytest.mark.parametrize("kind", NETWORK_CHECKS)
def test_a_check_that_needs_no_program_in_the_image_decides_who_is_balanced(machine: Machine, kind: str) -> None:
    asked, heal, hurt = NETWORK_CHECKS[kind]
    check = {**asked, "interval": "50ms", "retries": 2, "timeout": "5s"}
    web = {"image": "busybox", "stop_signal": "SIGKILL", "command": ["sh", "-c", WEB], "healthcheck": check}
    text = machine.image + document("Service", "web", **web, deploy={"replicas": 2})
    machine.converge(text)
    for name in ("web-1", "web-2"):
        machine.inside(name, "sh", "-c", heal)
    with driven(machine.layout):
        until(lambda: backends(machine, "web") == {"web-1", "web-2"})
        machine.inside("web-2", "sh", "-c", hurt)
        until(lambda: backends(machine, "web") == {"web-1"})
        machine.inside("web-2", "sh", "-c", heal)
        until(lambda: backends(machine, "web") == {"web-1", "web-2"})


def test_failures_count_from_the_end_of_the_start_period_on(machine: Machine) -> None:
    """Looked at every `start_interval` meanwhile: well within the period, though `interval` is an hour."""
    asks = ["CMD-SHELL", "echo >>/asked; [ -e /well ]"]
    check = {"test": asks, "interval": "1h", "start_period": "1h", "start_interval": "50ms", "retries": 1}
    machine.converge(machine.image + container("slow", healthcheck=check))
    with driven(machine.layout) as loop:
        asked = machine.layout.container("slow") / "upper/asked"
        until(lambda: asked.exists() and asked.stat().st_size >= 3)
        machine.inside("slow", "touch", "/well")
        until(lambda: any(event == "health" for event, _ in loop.told))
        assert [told["status"] for event, told in loop.told if event == "health"] == ["healthy"], loop.told


def test_what_waits_for_health_starts_when_it_is_there_also_at_boot(machine: Machine) -> None:
    text = (
        machine.image
        + container("db", healthcheck=CHECK, restart="always")
        + container("web", depends_on={"db": {"condition": "service_healthy"}}, restart="always")
    )
    machine.apply(machine.image + container("db", healthcheck=CHECK, restart="always"))
    machine.inside("db", "touch", "/well")
    machine.converge(text)
    for name in ("web", "db"):
        client.delete(machine.layout, name, force=True)
        (machine.layout.container(name) / "exit.json").unlink(missing_ok=True)
    (machine.layout.container("db") / "upper/well").unlink()
    with driven(machine.layout) as loop:
        until(lambda: any(event == "health" for event, _ in loop.told))
        assert client.read_process(machine.layout, "web") is None
        machine.inside("db", "touch", "/well")
        until(lambda: is_running(machine, "web"))
    assert machine.diff(text).empty


@pytest.mark.parametrize("deed", ["restart", "replace"])
def test_an_unhealthy_container_is_made_anew_as_often_as_its_flap_limit_says(machine: Machine, deed: str) -> None:
    check = {**CHECK, "test": ["CMD", "false"], "on_unhealthy": deed, "flap_limit": 2}
    text = machine.image + container("ill", healthcheck=check)
    machine.converge(text)
    with driven(machine.layout) as loop:
        until(lambda: sum("health: unhealthy" in action for action in loop.actions()) >= 2)
        until(lambda: sum(event == "health" for event, _ in loop.told) >= 3)
        loop.settle()
        made = [action for action in loop.actions() if "health: unhealthy" in action]
        assert len(made) == (2 if deed == "restart" else 4), made
        assert all(f" {deed}: drift: health: unhealthy → healthy" in action for action in made)


def is_running(machine: Machine, name: str) -> bool:
    process = client.read_process(machine.layout, name)
    return process is not None and process.phase.value == "running"
