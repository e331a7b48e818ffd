"""Who is let in, and as whom: by a password, by a token got for one, or as nobody in particular.

Without passwords everybody may do everything, or only pull where that is said. With them, what somebody may do is told
by a file of rights, else everything. The answer to a request that is not let in tells how to ask for a way in.

Source: distribution-spec 1.1; RFC 9110 section 11; RFC 6750 section 3 (Bearer).
"""

from __future__ import annotations

import re

from aiohttp import web

from reconciler.registry.errors import Denied
from reconciler.registry.passwords import Passwords, read_basic
from reconciler.registry.paths import Asked, Thing
from reconciler.registry.rights import DELETE, PULL, PUSH, RIGHTS, Rule, Visitor, read_rules
from reconciler.registry.settings import Settings
from reconciler.registry.tokens import Tokens, granted
from reconciler.registry.watched import Watched

READS = ("GET", "HEAD")
NO_ONE = ("", b"")
"""What clients show that have no name, asked for one: skopeo and podman."""
REALM = "trimtab registry"
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}", re.ASCII)


class Access:
    """Made once. Raises Refused for files that cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self._anonymous = settings.anonymous
        self._passwords = Passwords(settings.htpasswd) if settings.htpasswd is not None else None
        rights = settings.rights
        self._rules: Watched[tuple[Rule, ...]] | None = (
            Watched(rights, "read rights", read_rules, ()) if rights is not None else None
        )
        self._tokens = Tokens() if settings.tokens else None

    async def require(self, request: web.Request, asked: Asked) -> Visitor:
        """Who asks, and may. Raises Denied, with the challenge."""
        right = needed(request.method, asked)
        if self._passwords is None:
            visitor = Visitor(otherwise=(PULL,) if self._anonymous == "pull" else RIGHTS)
            if right and not visitor.may(right, asked.name):
                raise Denied(403, "DENIED", "nothing is pushed here")
            return visitor
        given = request.headers.get("Authorization", "")
        visitor = await self._visitor(given)
        # a client's first request asks for no repository, and is answered with the challenge, so that it logs in
        if (right and visitor.may(right, asked.name)) or (visitor.name and not right):
            return visitor
        if visitor.name and visitor.granted is None:
            raise Denied(403, "DENIED", f"{visitor.name} may not {right} here")
        raise self._unauthorized(request, asked, right, is_short=visitor.granted is not None)

    async def give_token(self, request: web.Request) -> web.Response:
        """For a name and a password, or for nobody in particular: what was asked for, as far as it may be.

        Raises Denied.
        """
        if self._tokens is None or request.method != "GET":
            raise Denied(404, "UNSUPPORTED", "no tokens are given here")
        given = request.headers.get("Authorization", "")
        visitor = await self._visitor(given) if given.lower().startswith("basic ") else self._nobody()
        if given and not visitor.name and read_basic(given) != NO_ONE:
            raise Denied(401, "UNAUTHORIZED", "the name or the password is wrong", _basic())
        may = granted(request.query.getall("scope", []), visitor)
        answer = self._tokens.answer(visitor.name, may, request.query.get("service", "")[:255])
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    async def _visitor(self, given: str) -> Visitor:
        """Nobody in particular, where the header is missing or not right."""
        assert self._passwords is not None
        scheme, _, token = given.partition(" ")
        if self._tokens is not None and scheme.lower() == "bearer":
            found = self._tokens.read(token.strip())
            if found is None or (found[0] and not self._passwords.has(found[0])):
                return Visitor(otherwise=())
            visitor = self._somebody(found[0]) if found[0] else self._nobody()
            return Visitor(visitor.name, visitor.rules, visitor.otherwise, found[1])
        if not given or read_basic(given) == NO_ONE:
            return self._nobody()
        name = await self._passwords.name_of(given)
        return self._somebody(name) if name else Visitor(otherwise=())

    def _somebody(self, name: str) -> Visitor:
        return Visitor(name, self._rules.now() if self._rules is not None else None)

    def _nobody(self) -> Visitor:
        if self._rules is not None:
            return Visitor(rules=self._rules.now())
        return Visitor(otherwise=(PULL,) if self._anonymous == "pull" else ())

    def _unauthorized(self, request: web.Request, asked: Asked, right: str, *, is_short: bool) -> Denied:
        challenge = _basic() if self._tokens is None else _bearer(request, asked, right, is_short=is_short)
        return Denied(401, "UNAUTHORIZED", "a name and a password are needed", challenge)


def _basic() -> dict[str, str]:
    return {"WWW-Authenticate": f'Basic realm="{REALM}", charset="UTF-8"'}


def _bearer(request: web.Request, asked: Asked, right: str, *, is_short: bool) -> dict[str, str]:
    """Where tokens are given, at the address by which the client found us, and what for."""
    host = request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        raise Denied(400, "UNAUTHORIZED", "the request names no host")
    scheme = "https" if request.secure else "http"
    parts = [f'realm="{scheme}://{host}/token"', f'service="{host}"']
    if right:
        parts.append(f'scope="repository:{asked.name}:{right if right == PULL else f"{PULL},{right}"}"')
    if is_short:
        parts.append('error="insufficient_scope"')
    return {"WWW-Authenticate": "Bearer " + ",".join(parts)}


def needed(method: str, asked: Asked) -> str:
    """Which right a request needs; "" where it is about no repository."""
    if asked.thing in (Thing.VERSION, Thing.CATALOG, Thing.TOKEN):
        return ""
    if asked.thing in (Thing.UPLOADS, Thing.UPLOAD):
        return PUSH
    if method in READS:
        return PULL
    return DELETE if method == "DELETE" else PUSH
