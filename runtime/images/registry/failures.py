"""What a failed exchange with a registry is to the user: one of our two families, with what to do about it.

Called by `transport` and `client`, and the only place where aiohttp's exceptions are known by name. Never puts a
query string (signed addresses), a header or a credential into a message.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from runtime.images.registry.retry import Transient, retry_after
from runtime.images.registry.settings import RegistrySettings
from schemas.errors import Refused, RetryLater

_DETAIL_LIMIT = 8192
_WILL_NOT_HEAL = frozenset({501, 505})


@dataclass(frozen=True, slots=True)
class Errand:
    """What a request is for, as errors tell it."""

    image: str
    step: str

    def to(self, step: str) -> Errand:
        return replace(self, step=step)


class Unreachable(Transient):
    """No connection came about: final at the first contact with a host, later one more broken connection."""


class NoTls(Refused):
    """The other side does not speak TLS as asked. An insecure registry may be spoken to in plain HTTP."""


def shown(url: URL) -> str:
    """An address without what may be secret in it."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def refused(message: str, errand: Errand, url: URL, hint: str = "", errno: int | None = None) -> Refused:
    """A refusal that names image, step and address."""
    return Refused(message, object=errand.image, step=errand.step, path=shown(url), hint=hint, errno=errno)


def transient(message: str, errand: Errand, url: URL, hint: str = "", errno: int | None = None) -> Transient:
    """A failure that the same attempt may outlive."""
    return Transient(later(message, errand, url, hint, errno))


def later(message: str, errand: Errand, url: URL, hint: str = "", errno: int | None = None) -> RetryLater:
    """A failure that a later apply may outlive."""
    return RetryLater(message, object=errand.image, step=errand.step, path=shown(url), hint=hint, errno=errno)


def connection_failure(error: Exception, url: URL, errand: Errand, settings: RegistrySettings) -> Exception:
    """What to raise for a connection that did not come about or broke: Transient, Unreachable, NoTls or Refused."""
    host = url.authority
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return refused(
                f"the certificate of {host} is not trusted: {verify_message(error.certificate_error)}",
                errand,
                url,
                hint=f"put its CA into /etc/docker/certs.d/{host}/ca.crt, or set `insecure: true` for {host}",
            )
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return tls_failure(error, url, errand)
        case aiohttp.ClientOSError() if isinstance(error.__cause__, ssl.SSLError) or "[SSL:" in str(error):
            return tls_failure(error, url, errand)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Unreachable(unreachable(error, url, errand, settings))
        case aiohttp.ClientHttpProxyError():
            return refused(f"the proxy answered {error.status}", errand, url, hint="see HTTPS_PROXY in the environment")
        case aiohttp.SocketTimeoutError():
            return transient(f"{host} sent nothing for {settings.stall_timeout:g} s", errand, url)
        case TimeoutError() | asyncio.TimeoutError():
            return transient(f"{host} did not answer within {settings.request_timeout:g} s", errand, url)
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
            hint = "" if url.scheme == "http" else "if it always does: does the registry want a client certificate?"
            return transient(f"the connection to {host} broke", errand, url, hint, getattr(error, "errno", None))
    return refused(f"{host} does not answer as an HTTP server does", errand, url, hint="is this a registry's address?")


def unreachable(
    error: aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError,
    url: URL,
    errand: Errand,
    settings: RegistrySettings,
) -> RetryLater:
    """Why no connection came about."""
    host = url.authority
    match error:
        case aiohttp.ConnectionTimeoutError():
            text = f"{host} did not accept a connection within {settings.connect_timeout:g} s"
            return later(text, errand, url, hint="is a firewall or a proxy in between?")
        case aiohttp.ClientConnectorDNSError():
            hint = "is the name right, and does this machine's DNS answer?"
            return later(f"the name {url.host} cannot be resolved", errand, url, hint, error.errno)
        case aiohttp.ClientProxyConnectionError():
            hint = "see HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment"
            return later("the proxy cannot be reached", errand, url, hint, error.errno)
    reason = os.strerror(error.errno) if error.errno else str(error.os_error)
    hint = f"is the registry running, and is {host} right?"
    return later(f"no connection to {host}: {reason}", errand, url, hint, error.errno)


def tls_failure(error: Exception, url: URL, errand: Errand) -> Refused:
    """What went wrong before HTTP began, with the remedy."""
    text = str(error).upper()
    if "CERTIFICATE_REQUIRED" in text or "BAD_CERTIFICATE" in text or "HANDSHAKE_FAILURE" in text:
        hint = f"it may want a client certificate: put x.cert and x.key into /etc/docker/certs.d/{url.authority}/"
        return refused(f"{url.authority} refuses the TLS connection", errand, url, hint=hint)
    return NoTls(
        f"{url.authority} does not speak TLS",
        object=errand.image,
        step=errand.step,
        path=shown(url),
        hint=f"for a plain HTTP registry set `insecure: true` for {url.authority}",
    )


def verify_message(error: Exception) -> str:
    """OpenSSL's words for a certificate that it does not believe."""
    return str(getattr(error, "verify_message", "")) or type(error).__name__


async def status_failure(
    response: aiohttp.ClientResponse, errand: Errand, account: str, settings: RegistrySettings, note: str = ""
) -> Exception:
    """What to raise for an answer that is none of those wanted. Reads a little of it; `note` is added to the hint."""
    status, url = response.status, response.url
    detail = await error_detail(response, settings)
    host = url.authority
    login = f"log in with `docker login {account}`" + (f" ({note})" if note else "")
    match status:
        case 401:
            return refused(f"{host} wants to know who asks{detail}", errand, url, f"{login}; is the name right?")
        case 403:
            return refused(
                f"{host} denies access{detail}", errand, url, f"{login} as somebody who may read it; is the name right?"
            )
        case 404:
            return refused(f"{host} does not have this{detail}", errand, url, missing_hint(errand))
        case 429:
            failure = later(
                f"{host} asks for fewer requests{detail}", errand, url, f"wait, or {login} for a higher limit"
            )
            return Transient(failure, pause=retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
        case 408 | 425:
            return transient(f"{host} answered {status}{detail}", errand, url)
    if status >= 500 and status not in _WILL_NOT_HEAL:
        failure = later(f"{host} answered {status}{detail}", errand, url, "the registry has a problem of its own")
        return Transient(failure, pause=retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
    return refused(f"{host} answered {status}{detail}", errand, url, "is this a registry's address?")


def missing_hint(errand: Errand) -> str:
    """What a 404 means at this step."""
    if "layer" in errand.step or "config" in errand.step:
        return "the registry has lost a part of this image (or it is a foreign layer): push it again"
    return "no such tag; is the name right?"


async def error_detail(response: aiohttp.ClientResponse, settings: RegistrySettings) -> str:
    """`: CODE message` of the distribution-spec's error body, or nothing. A stranger's text: cut and cleaned."""
    try:
        async with asyncio.timeout(settings.stall_timeout):
            body = await response.content.read(_DETAIL_LIMIT)
        first = json.loads(body)["errors"][0]
        found = f"{first.get('code', '')} {first.get('message', '')}".strip()
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    found = "".join(letter if letter.isprintable() else " " for letter in found[:200])
    return f": {found}" if found else ""
