"""The certificate that the registry shows, as its files are now: a renewed one counts from the next connection on.

Files that do not fit together, as in the middle of a renewal, are told of in the log, and the one before still counts.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from reconciler.daemon.log import logger
from reconciler.registry.settings import Settings
from reconciler.registry.watched import stamp
from schemas.errors import Refused

LOG = logger("registry")


def certificates_of(settings: Settings) -> Certificates | None:
    """None: plain HTTP. Raises Refused for certificates that cannot be used."""
    if settings.tls_certificate is None or settings.tls_key is None:
        if settings.tls_certificate or settings.tls_key or settings.tls_ca:
            raise Refused("--tls-certificate and --tls-key belong together", step="listen")
        return None
    return Certificates(settings.tls_certificate, settings.tls_key, settings.tls_ca)


class Certificates:
    """`context`: what a server listens with."""

    def __init__(self, certificate: Path, key: Path, ca: Path | None) -> None:
        """Raises Refused."""
        self._files = (certificate, key, ca)
        self._stamps = self._look()
        self.context = self._current = tls_context(*self._files)
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Read the files, if they changed."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._current = tls_context(*self._files)
            LOG.info("certificate read anew", path=str(self._files[0]))
        except Refused as error:
            LOG.warning("the certificate stays the one it was", error=str(error))

    def _look(self) -> tuple[object, ...]:
        return tuple(stamp(file) if file is not None else None for file in self._files)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """At each handshake, whether the client names a server or not."""
        self.refresh()
        if self._current is not context:
            connection.context = self._current


def tls_context(certificate: Path, key: Path, ca: Path | None) -> ssl.SSLContext:
    """Raises Refused for certificates that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if ca is not None:
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
            # who resumes a session shows no certificate: it would be heard after its CA was taken out
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
    except OSError as error:
        place = str(certificate)
        raise Refused(f"the certificates cannot be used: {error}", step="listen", path=place) from error
    return context
