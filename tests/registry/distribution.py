"""Debian's docker-registry as a child of the test: loopback, a port of the kernel's choice, a storage of its own."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.registry.samples import Address

USERNAME, PASSWORD = "alice", "wonderland"
_HTPASSWD = f"{USERNAME}:$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW\n"
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
_START_SECONDS = 20.0


@contextmanager
def docker_registry(directory: Path, *, auth: bool = False, tls: Path | None = None) -> Iterator[Address]:
    """A running registry. `auth`: it wants alice's password. `tls`: where server.crt, server.key and ca.crt are."""
    program = required("docker-registry", "docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "htpasswd").write_text(_HTPASSWD)
    config = directory / "config.yml"
    config.write_text(config_text(directory, auth=auth, tls=tls))
    log = directory / "log"
    with log.open("wb") as output:
        child = subprocess.Popen([program, "serve", str(config)], stdout=output, stderr=output, cwd=directory)
    try:
        yield Address(
            wait_for_address(child, log),
            USERNAME if auth else "",
            PASSWORD if auth else "",
            ssl.create_default_context(cafile=tls / "ca.crt") if tls else None,
        )
    finally:
        child.terminate()
        child.wait(timeout=20)


def config_text(directory: Path, *, auth: bool, tls: Path | None) -> str:
    lines = [
        "version: 0.1",
        "log: {level: info, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: '{directory}/storage'}}, delete: {{enabled: true}}}}",
        "http:",
        "  addr: 127.0.0.1:0",
    ]
    if tls:
        lines += [f"  tls: {{certificate: '{tls}/server.crt', key: '{tls}/server.key'}}"]
    if auth:
        lines += [f"auth: {{htpasswd: {{realm: test, path: '{directory}/htpasswd'}}}}"]
    return "\n".join(lines) + "\n"


def wait_for_address(child: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if found := _LISTENING.search(log.read_text(errors="replace")):
            return found[1]
        if child.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"docker-registry did not start: {log.read_text(errors='replace')[-2000:]}")


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_certificates(directory: Path) -> Path:
    """A CA, a server certificate for 127.0.0.1, and a client certificate, by openssl(1)."""
    directory.mkdir(parents=True, exist_ok=True)
    # Python 3.13 verifies strictly (RFC 5280): a CA says that it signs
    own = ("-x509", "-subj", "/CN=ca", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "2")
    openssl(directory, "req", *_NEW_KEY, *own, "-out", "ca.crt", "-keyout", "ca.key")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        (directory / f"{name}.ext").write_text(extension + "\n")
        openssl(directory, "req", *_NEW_KEY, "-subj", f"/CN={name}", "-out", f"{name}.csr", "-keyout", f"{name}.key")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext", "-days", "2")
        openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)
    return directory


def openssl(directory: Path, *arguments: str) -> None:
    program = required("openssl", "openssl")
    subprocess.run([program, *arguments], check=True, cwd=directory, capture_output=True, timeout=30)


def required(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        missing(f"{program} (Debian package {package})")
        raise AssertionError
    return found
