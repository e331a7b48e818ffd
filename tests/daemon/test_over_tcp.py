"""Over TCP: clients that stall in a handshake or a request, and web pages that try a browser's hands."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from reconciler.api.pages import is_foreign_page, is_loopback
from tests.api.conftest import Asking
from tests.api.followers import held, until
from tests.cli.engine import making_engine
from tests.daemon.running import Daemon, daemon
from tests.daemon.test_far import free_port

pytestmark = pytest.mark.kernel

PATIENCE = 2
STALLED = 60


@pytest.fixture(scope="module")
def heard() -> Iterator[tuple[Daemon, int, int]]:
    """A daemon of little patience that hears plain TCP on loopback; and TLS, by a second one. Their ports."""
    with making_engine() as engine:
        top = engine.base / "tls"
        engine.ok("system", "certs", "--directory", str(top), "--client", "client")
        engine.environment["TRIMTAB_DAEMON_PATIENCE"] = str(PATIENCE)
        port, server = free_port(), top / "server"
        settings = engine.write(
            "daemon.yaml",
            f"log: json\nlisten: ['unix://{engine.layout.api_socket}', 'tcp://127.0.0.1:{port}']\n"
            f"tls_ca: {server}/ca.pem\ntls_certificate: {server}/cert.pem\ntls_key: {server}/key.pem\n",
        )
        with making_engine(own_network=False) as other:
            plain = free_port()
            other.environment["TRIMTAB_DAEMON_PATIENCE"] = str(PATIENCE)
            options = ("--insecure-tcp", "--listen", f"tcp://127.0.0.1:{plain}")
            with daemon(engine, "--config", settings) as secured, daemon(other, *options):
                yield secured, port, plain


def hello() -> bytes:
    """The begin of a ClientHello whose rest never comes."""
    return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20)


def test_handshakes_that_stall_harm_nobody_and_are_ended(heard: tuple[Daemon, int, int]) -> None:
    served, port, _ = heard
    api = Asking(served)
    assert api.ask("GET", "/v1/health")["status"] == "ok"
    before = held(api)
    with ExitStack() as stack:
        stalled = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(STALLED)]
        for number, channel in enumerate(stalled):
            if number % 2:
                channel.sendall(hello())
        assert api.ask("GET", "/v1/health")["status"] == "ok"
        assert served.engine.run("get").code == 0
        for channel in stalled:
            assert ended(channel), "the daemon waits no longer than its patience"
        until(lambda: held(api).descriptors <= before.descriptors)


def ended(channel: socket.socket) -> bool:
    """Whether the other side ends it; whatever it says before."""
    try:
        while channel.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_a_request_that_comes_by_drops_is_ended(heard: tuple[Daemon, int, int]) -> None:
    _, _, port = heard
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(STALLED)]
        for channel in slow:
            channel.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: ")
        assert asked(port)[0] == 200
        for _ in range(100):
            for channel in list(slow):
                if drips(channel):
                    slow.remove(channel)
            if not slow:
                break
        assert not slow
        assert asked(port)[0] == 200


def drips(channel: socket.socket) -> bool:
    """One more byte of a header; whether the daemon has ended the connection by now."""
    channel.settimeout(0.01)
    try:
        channel.sendall(b"x")
        return channel.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def asked(port: int, method: str = "GET", path: str = "/v1/health", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_web_pages_are_refused(heard: tuple[Daemon, int, int]) -> None:
    served, _, port = heard
    here = f"127.0.0.1:{port}"
    assert asked(port)[0] == asked(port, Host=f"localhost:{port}")[0] == asked(port, Host="[::1]")[0] == 200
    assert asked(port, Origin=f"http://{here}")[0] == 200
    for headers in (
        {"Host": f"rebound.example.com:{port}"},
        {"Host": f"127.0.0.1.example.com:{port}"},
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Host": f"rebound.example.com:{port}", "Origin": f"http://rebound.example.com:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        for method, path in (("GET", "/v1/objects"), ("POST", "/v1/commands"), ("POST", "/v1/apply")):
            status, text = asked(port, method, path, **headers)
            assert status == 403, (headers, path)
            assert json.loads(text)["title"] == "Forbidden"
    status, _, text = Asking(served).raw("POST", "/v1/apply", b"{}", Origin="https://example.com")
    assert (status, json.loads(text)["status"]) == (403, 403), "by whatever way"
    assert asked(port, "POST", "/hooks/none", Host="forge.example.com")[1].find(b"not authentic") >= 0


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        *(
            ("localhost", True),
            ("LOCALHOST:1", True),
            ("127.0.0.1:8443", True),
            ("127.9.9.9", True),
            ("[::1]:80", True),
        ),
        *(
            ("example.com", False),
            ("localhost.example.com", False),
            ("10.0.0.1", False),
            ("[::1", False),
            ("::", False),
        ),
    ],
)
def test_loopback_is_known_by_its_names(host: str, is_ours: bool) -> None:
    assert is_loopback(host) == is_ours


def test_pages_are_known_by_what_browsers_say() -> None:
    assert not is_foreign_page(None, None, "localhost")
    assert not is_foreign_page(None, "none", "localhost")
    assert not is_foreign_page("http://localhost:1", "same-origin", "localhost:1")
    assert is_foreign_page("http://localhost:2", "same-site", "localhost:1")
    assert is_foreign_page("http://localhost:2", None, "localhost:1")
