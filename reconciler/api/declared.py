"""What a path of the API takes and gives, declared once: the router, the checks and the OpenAPI document read it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from reconciler.api.served import Served
from reconciler.api.shares import Use

BODY_SECONDS = 60.0
MOST_BODY = 64 << 20
JSON = "application/json"
LINES = "application/x-ndjson"


class Taken(BaseModel):
    """What is taken from outside: nothing unknown."""

    model_config = ConfigDict(extra="forbid")


class Nothing(Taken):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was checked. `path`: the names in its path."""

    served: Served
    request: web.Request
    path: dict[str, str]
    query: Any
    body: Any


Run = Callable[[Asked], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """`answer`: the model of the document, or None for `media` that is no JSON document. `raw`: the body is bytes.
    `by_itself`: `run` reads the body and takes its share."""

    method: str
    path: str
    summary: str
    run: Run
    answer: type[BaseModel] | None = None
    query: type[Taken] = Nothing
    body: type[BaseModel] | None = None
    status: int = 200
    media: str = JSON
    raw: bool = False
    tag: str = "objects"
    use: Use = Use.READ
    by_itself: bool = False

    async def handle(self, served: Served, request: web.Request) -> web.StreamResponse:
        """Raises ValidationError, HTTP errors, and whatever the work raises."""
        query = self.query.model_validate(_query(self.query, request))
        if self.by_itself:
            return await self.run(Asked(served, request, dict(request.match_info), query, None))
        body = self.body.model_validate_json(await _body(request)) if self.body is not None else None
        with served.shares.taken(self.use, served.person(request)):
            return await self.run(Asked(served, request, dict(request.match_info), query, body))


def _query(model: type[Taken], request: web.Request) -> dict[str, Any]:
    """A parameter given several times is a list, where one is meant."""
    many = {name for name, field in model.model_fields.items() if "tuple" in str(field.annotation)}
    return {
        name: request.query.getall(name) if name in many else request.query[name]
        for name in dict.fromkeys(request.query)
    }


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason="the body did not come") from None


def document(text: str | bytes, status: int = 200) -> web.Response:
    """JSON that is text already."""
    body = text.encode(errors="replace") if isinstance(text, str) else text
    return web.Response(body=body, status=status, content_type=JSON)
