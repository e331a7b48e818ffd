"""Daemons elsewhere: TLS of both sides, ssh, contexts; and the unit that has systemd start one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.daemon import certificates
from schemas.errors import Refused
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import Daemon, daemon

pytestmark = pytest.mark.kernel


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Daemon, int, Path]]:
    """A daemon that hears TCP by certificates, its port, and where the certificates are."""
    with making_engine() as engine:
        top = engine.base / "tls"
        engine.ok(
            "system", "certs", "--directory", str(top), "--client", "client", "--client", "ci", "--host", "far.test"
        )
        server = top / "server"
        port = free_port()
        settings = engine.write(
            "daemon.yaml",
            f"log: json\nlisten: ['unix://{engine.layout.api_socket}', 'tcp://127.0.0.1:{port}']\n"
            f"tls_ca: {server}/ca.pem\ntls_certificate: {server}/cert.pem\ntls_key: {server}/key.pem\n",
        )
        with daemon(engine, "--config", settings) as served:
            yield served, port, top


def test_certificates_are_roots_alone_and_kept_when_asked_again(far: tuple[Daemon, int, Path]) -> None:
    served, _, top = far
    for key in top.rglob("key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600 and stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    before = (top / "client" / "cert.pem").read_bytes()
    again = served.engine.ok("system", "certs", "--directory", str(top), "--client", "client")
    assert again.lines[0].endswith("kept") and (top / "client" / "cert.pem").read_bytes() == before
    assert not (top / "client" / "ca" / "key.pem").exists()
    assert served.engine.run("system", "certs", "--directory", str(top), "--client", "../x").code == 2


def test_a_client_with_a_certificate_is_heard(far: tuple[Daemon, int, Path]) -> None:
    served, port, top = far
    engine = served.engine
    engine.environment["TRIMTAB_TLS"] = str(top / "clients" / "ci")
    try:
        assert engine.ok("-H", f"tcp://127.0.0.1:{port}", "system", "info").out == engine.ok("system", "info").out
    finally:
        del engine.environment["TRIMTAB_TLS"]
    assert '"ci 127.0.0.1"' in served.running.so_far().err


def hear(port: int, context: ssl.SSLContext) -> None:
    """Raises where no answer is given to these certificates."""
    plain = socket.create_connection(("127.0.0.1", port), 10)
    with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as channel:
        channel.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        if not channel.recv(100):
            raise ConnectionResetError


def test_who_has_no_certificate_or_a_strangers_is_not_heard(far: tuple[Daemon, int, Path]) -> None:
    served, port, top = far
    strange = served.engine.base / "strange"
    served.engine.ok("system", "certs", "--directory", str(strange))
    stranger, server = strange / "client", top / "server"
    for certificate in (None, stranger, server):
        context = ssl.create_default_context(cafile=str(top / "client" / "ca.pem"))
        if certificate is not None:
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            hear(port, context)
    with socket.create_connection(("127.0.0.1", port), 10) as channel:
        channel.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        channel.settimeout(20)
        with suppress(ConnectionResetError):
            assert b"HTTP" not in channel.recv(1000)


def test_a_client_speaks_to_no_daemon_that_another_authority_vouches_for(far: tuple[Daemon, int, Path]) -> None:
    served, port, _ = far
    strange = served.engine.base / "strange2"
    served.engine.ok("system", "certs", "--directory", str(strange))
    served.engine.environment["TRIMTAB_TLS"] = str(strange / "client")
    try:
        said = served.engine.run("-H", f"tcp://127.0.0.1:{port}", "get")
    finally:
        del served.engine.environment["TRIMTAB_TLS"]
    assert said.code == 1 and "certificate" in said.err.lower()


@pytest.mark.parametrize("listen", ["tcp://127.0.0.1:0", "tcp://0.0.0.0:0", "http://127.0.0.1:80", "tcp://127.0.0.1:x"])
def test_plain_tcp_is_refused(far: tuple[Daemon, int, Path], listen: str) -> None:
    engine = far[0].engine
    root, run = engine.base / "root3", engine.base / "run3"
    said = engine.run("--root", str(root), "--run", str(run), "daemon", "--listen", listen)
    assert said.code == 2 and "listen" in said.err
    outside = engine.run(
        "--root", str(root), "--run", str(run), "daemon", "--insecure-tcp", "--listen", "tcp://0.0.0.0:0"
    )
    assert outside.code == 2


def test_plain_tcp_on_loopback_where_that_is_asked_for() -> None:
    with making_engine() as engine:
        port = free_port()
        with daemon(engine, "--insecure-tcp", "--listen", f"tcp://127.0.0.1:{port}"):
            assert engine.ok("-H", f"tcp+insecure://127.0.0.1:{port}", "get", "-o", "name").code == 0
            assert engine.run("-H", f"tcp+insecure://192.0.2.1:{port}", "get").code == 1


def test_ssh_is_a_program_that_joins_the_socket_there(far: tuple[Daemon, int, Path]) -> None:
    """A program in ssh's place shows what it is called with; `test_ssh.py` has a real server."""
    served, _, _ = far
    engine = served.engine
    told = engine.base / "told"
    ssh = engine.base / "fake-ssh"
    code = "from reconciler.cli.entry import main; main()"
    ssh.write_text(
        f'#!/bin/sh\necho "$@" > {told}\nwhile [ "$1" != trimtab ]; do shift; done\nshift\n'
        f"exec {sys.executable} -c '{code}' --root {engine.layout.root} --run {engine.layout.run} \"$@\"\n"
    )
    ssh.chmod(0o755)
    engine.environment["TRIMTAB_SSH"] = str(ssh)
    try:
        assert engine.ok("-H", "ssh://me@far.test:2222", "system", "info").out == engine.ok("system", "info").out
        assert told.read_text().split() == [
            *["-p", "2222", "-T", "--", "me@far.test"],
            *["trimtab", "system", "dial-stdio"],
        ]
        assert engine.run("-H", "ssh://-oProxyCommand=evil", "get").code == 1
        assert "evil" not in told.read_text()
    finally:
        del engine.environment["TRIMTAB_SSH"]


def test_contexts_name_hosts(far: tuple[Daemon, int, Path]) -> None:
    served, port, top = far
    engine = served.engine
    engine.environment |= {"TRIMTAB_CONTEXTS": str(engine.base / "contexts.json")}
    try:
        engine.ok("context", "create", "far", "--host", f"tcp://127.0.0.1:{port}", "--tls", str(top / "client"))
        engine.ok("context", "create", "gone", "--host", "unix:///tmp/nobody.sock")
        assert engine.ok("context", "use", "far").code == 0
        assert [line.split()[:2] for line in engine.ok("context", "ls").lines if line.startswith("*")] == [["*", "far"]]
        assert engine.ok("--root", "/tmp/none-of-this", "system", "info").out == engine.ok("system", "info").out
        engine.ok("context", "use", "gone")
        said = engine.run("get")
        assert said.code == 1 and "nobody.sock" in said.err
        assert engine.ok("-H", "none", "get", "-o", "name").code == 0
        engine.ok("context", "rm", "gone")
        assert engine.ok("get", "-o", "name").code == 0
        assert engine.run("context", "use", "gone").code == 2
        assert engine.run("context", "create", "x", "--host", "far").code == 2
        assert set(json.loads((engine.base / "contexts.json").read_text())["contexts"]) == {"far"}
    finally:
        del engine.environment["TRIMTAB_CONTEXTS"]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[Engine, Path]]:
    """A program in systemctl's place that writes down what it is told."""
    with making_engine(own_network=False) as engine:
        told = tmp_path / "told"
        (tmp_path / "bin").mkdir()
        fake = tmp_path / "bin" / "systemctl"
        fake.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
        fake.chmod(0o755)
        engine.environment["PATH"] = f"{tmp_path}/bin:{os.environ['PATH']}"
        yield engine, told


def test_a_unit_is_written_enabled_changed_and_taken_away(systemd: tuple[Engine, Path], tmp_path: Path) -> None:
    engine, told = systemd
    prefix = tmp_path / "prefix"
    unit = prefix / "etc/systemd/system/trimtab.service"
    (prefix / "etc").mkdir(parents=True)
    (prefix / "etc/group").write_text("root:x:0:\n")
    engine.ok(
        "system", "install", "--prefix", str(prefix), "--source", "shop", "--source", "https://git.test/x.git#main:prod"
    )
    text = unit.read_text()
    assert f"--source {engine.base}/shop --source 'https://git.test/x.git#main:prod'" in text
    assert f"--root {engine.layout.root}" in text
    for line in ("Type=notify", "WatchdogSec=30", "KillMode=process", "Delegate=yes", "Restart=always"):
        assert line in text.splitlines()
    start = next(line for line in text.splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart=")
    assert Path(start.split()[0]).is_absolute()
    assert told.read_text().splitlines() == [f"--root {prefix} enable trimtab.service"]
    engine.ok("system", "install", "--prefix", str(prefix))
    assert "shop" not in unit.read_text()
    assert [line.split(":")[0] for line in (prefix / "etc/group").read_text().splitlines()] == ["root", "trimtab"]
    assert engine.ok("system", "uninstall", "--prefix", str(prefix)).out.startswith("The unit is gone")
    assert not unit.exists()
    assert engine.ok("system", "uninstall", "--prefix", str(prefix)).out.startswith("There was no unit")
    assert told.read_text().splitlines()[-1] == f"--root {prefix} disable trimtab.service"


def test_without_systemd_it_is_said(systemd: tuple[Engine, Path], tmp_path: Path) -> None:
    engine, _ = systemd
    (tmp_path / "bin" / "systemctl").unlink()
    engine.environment["PATH"] = str(tmp_path / "bin")
    said = engine.run("system", "install", "--prefix", str(tmp_path / "prefix"))
    assert said.code == 2 and ("systemctl" in said.err or "no program trimtab" in said.err)


def test_a_client_whose_certificate_was_taken_back_is_heard_no_more() -> None:
    with making_engine() as engine:
        top, port = engine.base / "tls", free_port()
        directory = ("system", "certs", "--directory", str(top))
        engine.ok(*directory, "--client", "laptop", "--client", "ci")
        # what the thief has
        shutil.copytree(top / "clients" / "laptop", engine.base / "stolen")
        said = engine.ok(*directory, "--revoke", "laptop")
        assert f"tls_revoked: {top}/server/revoked.pem" in said.out
        server, address = top / "server", f"tcp://127.0.0.1:{port}"
        names = {"tls_ca": "ca.pem", "tls_certificate": "cert.pem", "tls_key": "key.pem", "tls_revoked": "revoked.pem"}
        text = "".join(f"{name}: {server}/{file}\n" for name, file in names.items())
        settings = engine.write("daemon.yaml", f"log: json\nlisten: ['{address}']\n{text}")
        engine.environment["TRIMTAB_CONTEXTS"] = str(engine.base / "contexts.json")
        with daemon(engine, "--config", settings):
            for name, certificates in (("ci", top / "clients" / "ci"), ("thief", engine.base / "stolen")):
                engine.ok("context", "create", name, "--host", address, "--tls", str(certificates))
            engine.ok("context", "use", "ci")
            assert engine.ok("get", "-o", "name").code == 0
            engine.ok("context", "use", "thief")
            assert engine.run("get", "-o", "name").code != 0
        again = engine.run(*directory, "--revoke", "laptop")
        assert again.code == 2 and "there is no certificate" in again.err


def test_a_certificate_can_be_taken_back_after_a_try_that_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates.make_certificates(tmp_path, ["localhost"], ["laptop"])
    openssl = certificates._openssl

    def broken(*words: str) -> None:
        if "-gencrl" in words:
            raise Refused("no space is left on the disk")
        openssl(*words)

    with monkeypatch.context() as patched, pytest.raises(Refused):
        patched.setattr(certificates, "_openssl", broken)
        certificates.revoke_certificates(tmp_path, ["laptop"])
    listed = certificates.revoke_certificates(tmp_path, ["laptop"])
    assert b"X509 CRL" in listed.read_bytes() and not (tmp_path / "clients" / "laptop").exists()
