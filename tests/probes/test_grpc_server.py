"""The gRPC health check against the reference implementation's server, in a network namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from reconciler.probes.grpc import ask_grpc
from runtime.kernel.process import start_time
from runtime.process.records import Phase, ProcessRecord

pytestmark = pytest.mark.kernel

SERVER = """
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

server, answers = grpc.server(ThreadPoolExecutor(2)), health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(answers, server)
answers.set("", health_pb2.HealthCheckResponse.SERVING)
answers.set("shop.Cart", health_pb2.HealthCheckResponse.SERVING)
print(server.add_insecure_port("127.0.0.1:50051"), flush=True)
server.start()
for line in sys.stdin:
    answers.set("shop.Cart", health_pb2.HealthCheckResponse.ServingStatus.Value(line.strip()))
    print("set", flush=True)
server.stop(0)
"""
INSIDE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, SERVER]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(INSIDE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    try:
        assert child.stdout.readline() == "50051\n"
        yield child
    finally:
        child.stdin.close()
        assert child.wait(20) == 0
        child.stdout.close()


def asked(server: subprocess.Popen[str], service: str = "") -> tuple[bool, str]:
    began = start_time(server.pid)
    assert began is not None
    record = ProcessRecord("here", Phase.RUNNING, server.pid, began, 0.0)
    return ask_grpc(record, {"port": 50051, "service": service}, 10.0)


def test_a_server_that_serves_is_healthy(server: subprocess.Popen[str]) -> None:
    assert asked(server) == (True, "SERVING")
    assert asked(server, "shop.Cart") == (True, "SERVING")


def test_a_service_that_does_not_serve_or_is_not_known_is_not(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write("NOT_SERVING\n")
    server.stdin.flush()
    assert server.stdout.readline() == "set\n"
    assert asked(server, "shop.Cart") == (False, "NOT_SERVING")
    assert asked(server) == (True, "SERVING"), "of the server as a whole nothing was said"
    assert asked(server, "shop.Unknown") == (False, "UNKNOWN")
