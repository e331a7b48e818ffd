"""HTTP, TCP and command checks in a real container that has neither shell nor client for them."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.health import Check, Result
from reconciler.probes import probe
from tests.loop.test_health import container
from tests.machine.conftest import machine, own_network
from tests.machine.machine import Machine, until

__all__ = ["machine", "own_network"]
pytestmark = pytest.mark.kernel

SERVER = ["sh", "-c", "mkdir -p /www/ok; echo well > /www/ok/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www"]


def ask(machine: Machine, kind: str, words: Any, timeout: float = 5.0) -> Result:
    return probe(machine.layout, machine.process("web"), Check(kind, words, timeout=timeout))


@pytest.fixture
def web(machine: Machine) -> Machine:
    machine.converge(machine.image + container("web", command=SERVER))
    until(lambda: ask(machine, "tcp", {"port": 8080}).ok)
    return machine


def test_http_is_asked_inside_the_containers_network(web: Machine) -> None:
    found = ask(web, "http", {"port": 8080, "path": "/ok/"})
    assert (found.ok, found.output) == (True, "200 OK: well")
    missing = ask(web, "http", {"port": 8080, "path": "/none"})
    assert not missing.ok and missing.output.startswith("404 ")
    assert not ask(web, "http", {"port": 8081}).ok


def test_tcp_wants_a_port_that_is_open(web: Machine) -> None:
    assert ask(web, "tcp", {"port": 8080}).ok
    closed = ask(web, "tcp", {"port": 8081})
    assert not closed.ok and "refused" in closed.output


def test_commands_are_run_with_and_without_the_shell(web: Machine) -> None:
    assert ask(web, "CMD", ("true",)).ok
    failed = ask(web, "CMD-SHELL", ("echo so $((1 + 1)) >&2; exit 3",))
    assert (failed.ok, failed.output) == (False, "so 2\n")
    assert not ask(web, "CMD", ("/no/such/program",)).ok


def test_a_command_that_takes_too_long_is_killed(web: Machine) -> None:
    found = ask(web, "CMD", ("sleep", "1234"), timeout=0.3)
    assert not found.ok and "took longer than 0.3 s" in found.output
    until(lambda: "sleep 1234" not in web.inside("web", "ps"))


def test_output_is_kept_to_its_end_alone(web: Machine) -> None:
    found = ask(web, "CMD-SHELL", ("yes no | head -c 100000; echo end",))
    assert found.ok and len(found.output) <= 4096 and found.output.endswith("end\n")
