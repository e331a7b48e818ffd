"""Certificates for tcp://: an authority of the engine's own, the daemon's certificate, one for each client.

Made by openssl(1), which every Debian with ca-certificates has; nothing is linked into trimtab. What is there is kept:
a certificate is made anew only when it is missing, asked for, or about to expire.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import Refused

AUTHORITY_DAYS, DAYS = 3650, 397
RENEW_SECONDS = 30 * 86_400
"""A certificate that ends sooner is made anew."""
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Made:
    """A directory with `ca.pem`, `cert.pem` and `key.pem`; `new`: whether its certificate was made now."""

    directory: Path
    new: bool


REVOKED = "revoked.pem"
_LISTING = """\
[ca]
default_ca = own
[own]
database = {ca}/index.txt
crlnumber = {ca}/crlnumber
certificate = {ca}/ca.pem
private_key = {ca}/key.pem
default_md = sha256
default_crl_days = {days}
"""
"""For openssl-ca(1), which keeps the index of what is revoked."""


def make_certificates(top: Path, hosts: Sequence[str], clients: Sequence[str], *, renew: bool = False) -> list[Made]:
    """`top/ca`, `top/server` for these host names and addresses, `top/client` or `top/clients/NAME`. Raises Refused."""
    if shutil.which("openssl") is None:
        raise Refused("there is no openssl", step="make certificates", hint="install the package openssl")
    authority = top / "ca"
    _authority(authority)
    names = ",".join(_alternative(host) for host in hosts)
    made = [_leaf(authority, top / "server", hosts[0], "serverAuth", names, renew)]
    for client in clients:
        directory = _of_client(top, client)
        made.append(_leaf(authority, directory, client, "clientAuth", "", renew))
    return made


def revoke_certificates(top: Path, clients: Sequence[str]) -> Path:
    """The list of what is revoked: a daemon that is given it hears these clients no more. Their directories go, so that
    they can be made anew. Raises Refused for a client that has none."""
    authority, listed = top / "ca", top / "server" / REVOKED
    directories = [_of_client(top, client) for client in dict.fromkeys(clients)]
    for directory in directories:
        if not (directory / "cert.pem").exists():
            raise Refused("there is no certificate", step="revoke certificates", path=str(directory))
    (authority / "index.txt").touch(mode=0o600)
    if not (authority / "crlnumber").exists():
        (authority / "crlnumber").write_text("01\n")
    with _beside(listed) as new:
        (new / "settings").write_text(_LISTING.format(ca=authority, days=AUTHORITY_DAYS))
        for directory in directories:
            _revoke(new / "settings", directory / "cert.pem")
        _openssl("ca", "-config", str(new / "settings"), "-gencrl", "-out", str(new / REVOKED))
        (new / REVOKED).rename(listed)
    # not before the list tells of them, so that a try that broke off can be made again
    for directory in directories:
        shutil.rmtree(directory)
    return listed


def _of_client(top: Path, client: str) -> Path:
    return top / "client" if client == "client" else top / "clients" / client


def _revoke(settings: Path, certificate: Path) -> None:
    """In openssl's index; also where it stands there already."""
    try:
        _openssl("ca", "-config", str(settings), "-revoke", str(certificate))
    except Refused as error:
        if "Already revoked" not in error.message:
            raise


def _alternative(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        if not host or any(letter in host for letter in ",:\n "):
            raise Refused(f"{host!r} is no host name", step="make certificates") from None
        return f"DNS:{host}"


def _authority(directory: Path) -> None:
    """Its key never leaves this directory."""
    if (directory / "ca.pem").exists() and (directory / "key.pem").exists():
        return
    with _beside(directory) as new:
        _key(new / "key.pem")
        _openssl(
            *("req", "-x509", "-new", "-key", str(new / "key.pem"), "-out", str(new / "ca.pem")),
            *("-days", str(AUTHORITY_DAYS), "-subj", "/CN=trimtab authority", "-sha256"),
            *(
                "-addext",
                "basicConstraints=critical,CA:TRUE,pathlen:0",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
            ),
        )
        _keep(new, directory)


def _leaf(authority: Path, directory: Path, name: str, usage: str, names: str, renew: bool) -> Made:
    certificate = directory / "cert.pem"
    if certificate.exists() and (directory / "key.pem").exists() and not renew and _lasts(certificate):
        return Made(directory, False)
    with _beside(directory) as new:
        _key(new / "key.pem")
        request, extensions = new / "request.pem", new / "extensions"
        subject = f"/CN={name.replace('/', '-')}"
        _openssl("req", "-new", "-key", str(new / "key.pem"), "-out", str(request), "-subj", subject)
        lines = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            f"extendedKeyUsage={usage}",
        ]
        extensions.write_text("\n".join([*lines, *([f"subjectAltName={names}"] if names else [])]) + "\n")
        _openssl(
            *(
                "x509",
                "-req",
                "-in",
                str(request),
                "-CA",
                str(authority / "ca.pem"),
                "-CAkey",
                str(authority / "key.pem"),
            ),
            *("-set_serial", f"0x{os.urandom(16).hex()}", "-days", str(DAYS), "-sha256"),
            *("-extfile", str(extensions), "-out", str(new / "cert.pem")),
        )
        request.unlink()
        extensions.unlink()
        shutil.copy(authority / "ca.pem", new / "ca.pem")
        _keep(new, directory)
    return Made(directory, True)


def _lasts(certificate: Path) -> bool:
    done = subprocess.run(
        ["openssl", "x509", "-checkend", str(RENEW_SECONDS), "-noout", "-in", str(certificate)],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode == 0


def _key(path: Path) -> None:
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))
    path.chmod(0o600)


def _openssl(*words: str) -> None:
    try:
        subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", "") or str(error)
        raise Refused(f"openssl {words[0]} failed: {told.strip()}", step="make certificates") from error


class _beside:  # noqa: N801 - used like a function
    """A directory of root's alone beside the one that is to be, gone at the end."""

    def __init__(self, directory: Path) -> None:
        directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._made = tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-")

    def __enter__(self) -> Path:
        return Path(self._made.__enter__())

    def __exit__(self, *told: object) -> None:
        self._made.cleanup()


def _keep(new: Path, directory: Path) -> None:
    """Each file whole or not at all; the certificate last, since by it the others are looked for."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("key.pem", "ca.pem", "cert.pem"):
        if (new / name).exists():
            (new / name).rename(directory / name)
