"""One HTTP exchange: where it may lead, whom it trusts, what it tells to whom.

Called by `client` and `tokens`. Follows redirects itself, since an Authorization header belongs to the origin it was
meant for and TLS must not be left on the way. Does not try again, and does not judge the answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

import aiohttp
from yarl import URL

from runtime.images.registry.failures import Errand, connection_failure, refused
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.tls import trust

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_LIMIT = 5
_READ_BUFFER = 1 << 20
_SLOWEST = 64 << 10
"""Bytes a second that an upload must reach."""
_USER_AGENT = "trimtab"


@dataclass(frozen=True, slots=True)
class Transport:
    """The connections of one pull, and the TLS context of each host."""

    session: aiohttp.ClientSession
    settings: RegistrySettings
    contexts: dict[str, SSLContext] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        errand: Errand,
        *,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer, its body not yet read; close it. A `form` is posted, and then no redirect is followed.
        A `body` has time according to its length.

        Raises Transient, Unreachable, NoTls, Refused.
        """
        asked = url
        for _ in range(_REDIRECT_LIMIT + 1):
            response = await self._once(method, url, headers, errand, form if form is not None else body)
            target = redirect_target(response)
            if target is None or form is not None:
                return response
            response.release()
            check_redirect(url, target, errand)
            if target.origin() != url.origin():
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        raise refused(f"{asked.authority} redirects more than {_REDIRECT_LIMIT} times", errand, asked)

    async def _once(
        self, method: str, url: URL, headers: Mapping[str, str], errand: Errand, data: Mapping[str, str] | bytes | None
    ) -> aiohttp.ClientResponse:
        extra = len(data) / _SLOWEST if isinstance(data, bytes) else 0.0
        try:
            async with asyncio.timeout(self.settings.request_timeout + extra):
                return await self.session.request(
                    method,
                    url,
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    ssl=await self._trust(url),
                    proxy=proxy_for(url),
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise connection_failure(error, url, errand, self.settings) from error

    async def _trust(self, url: URL) -> SSLContext | bool:
        if url.scheme != "https":
            return True
        if url.authority not in self.contexts:
            self.contexts[url.authority] = await asyncio.to_thread(trust, authority(url), self.settings)
        return self.contexts[url.authority]


@asynccontextmanager
async def connected(settings: RegistrySettings) -> AsyncIterator[Transport]:
    """A transport whose connections are closed at the end."""
    timeout = aiohttp.ClientTimeout(
        total=None, connect=None, sock_connect=settings.connect_timeout, sock_read=settings.stall_timeout
    )
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=timeout,
        auto_decompress=False,  # a digest is of the bytes as they are stored
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_BUFFER,
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
    ) as session:
        yield Transport(session, settings)


async def read_small(response: aiohttp.ClientResponse, limit: int, errand: Errand, settings: RegistrySettings) -> bytes:
    """The whole body. Raises Refused when it is longer than `limit` bytes; Transient."""
    content = bytearray()
    try:
        async with asyncio.timeout(settings.request_timeout):
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > limit:
                    raise refused(f"the answer is longer than {limit} bytes", errand, response.url)
    except (aiohttp.ClientError, OSError) as error:
        raise connection_failure(error, response.url, errand, settings) from error
    return bytes(content)


def redirect_target(response: aiohttp.ClientResponse) -> URL | None:
    """Where the answer sends us; None when it is no redirect."""
    location = response.headers.get("Location")
    if response.status not in _REDIRECTS or not location:
        return None
    try:
        return response.url.join(URL(location, encoded=True))
    except ValueError:
        return URL()


def check_redirect(source: URL, target: URL, errand: Errand) -> None:
    """Raises Refused for what is no web address, and for a way out of TLS."""
    if target.scheme not in ("http", "https") or not target.host:
        raise refused(f"{source.authority} redirects to what is no web address", errand, source)
    if source.scheme == "https" and target.scheme == "http":
        raise refused(f"{source.authority} redirects from https to plain http at {target.authority}", errand, source)


def authority(url: URL) -> str:
    """`host[:port]`, without the port where it is the scheme's own."""
    return url.authority.removesuffix(":443" if url.scheme == "https" else ":80")


def proxy_for(url: URL) -> str | None:
    """The proxy that the environment names for `url`; never for this machine itself."""
    host = url.host or ""
    if is_loopback(host):
        return None
    if urllib.request.proxy_bypass(url.authority):
        return None
    return urllib.request.getproxies().get(url.scheme)


def is_loopback(host: str) -> bool:
    """Whether the host can only be this machine, by its name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
