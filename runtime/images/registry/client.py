"""One repository at one endpoint: requests that are authorised, and answers that are what was asked for.

Called by `manifests`, `download` and `upload`, which decide what to try again and where else to look. Keeps the token
of the endpoint, asks for one only after a 401, and finds out once whether an insecure registry speaks TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import nullcontext

import aiohttp
from yarl import URL

from runtime.images.registry.challenge import parse_challenges
from runtime.images.registry.credentials import Credentials, read_credentials
from runtime.images.registry.endpoints import Endpoint
from runtime.images.registry.failures import Errand, NoTls, Unreachable, status_failure, transient
from runtime.images.registry.tokens import authorization
from runtime.images.registry.transport import Transport


class Client:
    """Made for one pull or one push; `actions` is what the registry must allow, as its token service names it.

    Without a path it speaks to the registry as a whole. `credentials`: ours, if they are not to be looked up.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        transport: Transport,
        actions: str = "pull",
        credentials: Credentials | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._actions = actions
        self._repository = endpoint.repository(path) if path else ""
        self._transport = transport
        self._schemes = list(endpoint.schemes)
        self._contacted = False
        self._first = asyncio.Lock()
        self._credentials = credentials
        self._authorization = ""
        self._authorizing = asyncio.Lock()

    async def ask(
        self,
        method: str,
        what: str,
        errand: Errand,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] = (200,),
        body: bytes | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer to `method /v2/<repository>/<what>`, its body not yet read; close it.

        `what` may also be the address, of the registry's own, where an upload was told to go on.
        Raises Refused, RetryLater (nobody is there at the first contact), Transient.
        """
        async with nullcontext() if self._contacted else self._first:
            response = await self._authorised(method, what, dict(headers or {}), errand, body)
        if response.status in ok:
            return response
        async with response:
            raise await self._judged(response, errand)

    async def _judged(self, response: aiohttp.ClientResponse, errand: Errand) -> Exception:
        if response.status in (401, 403) and not self._is_own(response.url):
            return transient(
                f"{response.url.authority} denies what the registry sent us to fetch", errand, response.url
            )
        note = self._credentials.problem if self._credentials else ""
        return await status_failure(response, errand, self.endpoint.account, self._transport.settings, note)

    async def _authorised(
        self, method: str, what: str, headers: dict[str, str], errand: Errand, body: bytes | None
    ) -> aiohttp.ClientResponse:
        sent = self._authorization
        response = await self._reach(method, what, self._with(headers, sent), errand, body)
        if response.status != 401 or not self._is_own(response.url):
            return response
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        async with self._authorizing:
            if self._authorization == sent:  # else another request has just renewed it
                self._authorization = await authorization(
                    challenges,
                    await self._who(),
                    f"repository:{self._repository}:{self._actions}" if self._repository else "",
                    response.url,
                    self.endpoint.account,
                    self._transport,
                    errand,
                )
        if not self._authorization:
            return response
        response.release()
        return await self._reach(method, what, self._with(headers, self._authorization), errand, body)

    async def _who(self) -> Credentials:
        if self._credentials is None:
            self._credentials = await asyncio.to_thread(
                read_credentials, self.endpoint.account, self._transport.settings
            )
        return self._credentials

    def _with(self, headers: dict[str, str], value: str) -> dict[str, str]:
        return {**headers, "Authorization": value} if value else headers

    async def _reach(
        self, method: str, what: str, headers: dict[str, str], errand: Errand, body: bytes | None
    ) -> aiohttp.ClientResponse:
        """One exchange; at the first contact, in the first of the endpoint's schemes that somebody speaks."""
        while True:
            try:
                response = await self._transport.send(method, self.address(what), headers, errand, body=body)
            except (Unreachable, NoTls) as failed:
                if self._contacted:
                    raise
                if len(self._schemes) == 1:
                    raise failed.failure if isinstance(failed, Unreachable) else failed from failed.__cause__
                del self._schemes[0]
            else:
                self._contacted = True
                return response

    def address(self, what: str) -> URL:
        """Where `what` of the repository is; an address stays what it is."""
        if what.startswith(("http://", "https://")):
            return URL(what, encoded=True)
        below = f"{self._repository}/{what}" if self._repository else what
        return URL(f"{self._schemes[0]}://{self.endpoint.host}/v2/{below}")

    def _is_own(self, url: URL) -> bool:
        """Whether an answer is the registry's own, and not of a host that it sent us to."""
        return url.origin() == self.address("").origin()
