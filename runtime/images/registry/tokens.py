"""How to answer a 401: the value of the Authorization header that a registry asked for.

Called by `client` with the challenges of the registry's own 401, never of a host it redirected to. Source:
distribution's token authentication (token and OAuth 2 forms), RFC 6750, RFC 7617.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from yarl import URL

from runtime.images.registry.challenge import Challenge
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.failures import Errand, refused, status_failure
from runtime.images.registry.transport import Transport, read_small

_TOKEN_LIMIT = 1 << 18
_VISIBLE = re.compile(r"[!-~]+")
_CLIENT_ID = "trimtab"


async def authorization(
    challenges: Sequence[Challenge],
    credentials: Credentials,
    scope: str,
    registry: URL,
    account: str,
    transport: Transport,
    errand: Errand,
) -> str:
    """A header's value that answers one of `challenges`; empty when we know nothing to answer.

    `registry` is the address that asked; `scope` what is needed where the challenge names nothing.
    Raises Refused, Transient.
    """
    by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
    if (bearer := by_scheme.get("bearer")) and bearer.parameters.get("realm"):
        token = credentials.registry_token or await fetch_token(
            bearer, credentials, scope, registry, account, transport, errand
        )
        return f"Bearer {token}"
    return credentials.basic if "basic" in by_scheme else ""


async def fetch_token(
    challenge: Challenge,
    credentials: Credentials,
    scope: str,
    registry: URL,
    account: str,
    transport: Transport,
    errand: Errand,
) -> str:
    """A token of the authorisation service that `challenge` names, for these credentials or for nobody."""
    errand = errand.to("get token")
    realm = realm_of(challenge, registry, errand)
    service = challenge.parameters.get("service", "")
    scopes = challenge.scopes or ((scope,) if scope else ())
    if credentials.identity_token:
        response = await transport.send("POST", realm, {}, errand, form=refresh_form(credentials, service, scopes))
    else:
        headers = {"Authorization": credentials.basic} if credentials.basic else {}
        response = await transport.send("GET", token_address(realm, credentials, service, scopes), headers, errand)
    async with response:
        if response.status != 200:
            raise await status_failure(response, errand, account, transport.settings, credentials.problem)
        return read_token(await read_small(response, _TOKEN_LIMIT, errand, transport.settings), errand, realm)


def realm_of(challenge: Challenge, registry: URL, errand: Errand) -> URL:
    """The service's address. A registry behind TLS may not have us tell our secrets without it."""
    try:
        realm = URL(challenge.parameters["realm"])
    except ValueError:
        realm = URL()
    if realm.scheme not in ("http", "https") or not realm.host or realm.user:
        raise refused("the registry names no usable token service", errand, registry)
    if registry.scheme == "https" and realm.scheme == "http":
        raise refused(f"the token service {realm.authority} is plain http", errand, registry)
    return realm.with_fragment(None)


def token_address(realm: URL, credentials: Credentials, service: str, scopes: Sequence[str]) -> URL:
    """Where to ask for a token by GET (distribution's token authentication)."""
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    if credentials.username:
        query.append(("account", credentials.username))
    return realm.extend_query(query)


def refresh_form(credentials: Credentials, service: str, scopes: Sequence[str]) -> dict[str, str]:
    """What to POST with an identity token (OAuth 2, RFC 6749 section 6)."""
    return {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": _CLIENT_ID,
        "scope": " ".join(scopes),
        "refresh_token": credentials.identity_token,
    }


def read_token(body: bytes, errand: Errand, realm: URL) -> str:
    """Raises Refused for an answer without a token that fits a header."""
    try:
        answer = json.loads(body)
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
        raise refused("the token service gave no token", errand, realm) from None
    return token
