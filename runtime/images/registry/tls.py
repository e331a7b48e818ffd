"""Whom we believe: the TLS context of one host.

Called for every host a pull speaks to, redirects included; each has its own, so a client certificate is never shown to
another host. Source: Docker's certs.d, one directory per `host[:port]`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from runtime.images.registry.settings import HOST_PATTERN, RegistrySettings
from schemas.errors import Refused


def trust(host: str, settings: RegistrySettings) -> ssl.SSLContext:
    """The system's CAs, those of `certs.d/HOST` and of the settings, and the client certificate. Raises Refused."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    known = settings.host(host)
    if known.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for directory in certificate_directories(host, settings):
        for path in sorted(directory.glob("*.crt")):
            load_ca(context, path)
        for path in sorted(directory.glob("*.cert")):
            load_client(context, path, path.with_suffix(".key"))
    if known.ca:
        load_ca(context, known.ca)
    if known.cert and known.key:
        load_client(context, known.cert, known.key)
    return context


def certificate_directories(host: str, settings: RegistrySettings) -> Iterator[Path]:
    """Docker's `certs.d/HOST[:PORT]`, where there are such."""
    if HOST_PATTERN.fullmatch(host):
        yield from (directory for root in settings.certs if (directory := root / host).is_dir())


def load_ca(context: ssl.SSLContext, path: Path) -> None:
    """Believe these authorities too. Raises Refused."""
    try:
        context.load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise Refused(
            "this CA certificate cannot be read",
            step="prepare TLS",
            path=str(path),
            errno=error.errno,
            hint="it must be PEM",
        ) from error


def load_client(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Present this certificate. Raises Refused, also for a key with a password: nobody is there to type it."""
    try:
        context.load_cert_chain(cert, key, password=no_password)
    except OSError as error:
        raise Refused(
            "this client certificate cannot be used",
            step="prepare TLS",
            path=str(cert),
            errno=error.errno,
            hint=f"it and {key} must be PEM, belong together, and have no passphrase",
        ) from error


def no_password() -> str:
    """OpenSSL would ask on the terminal otherwise."""
    return ""
