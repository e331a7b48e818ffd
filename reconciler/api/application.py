"""The aiohttp application: which path leads where, and how every error becomes a problem."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from pydantic import ValidationError

from reconciler.api.declared import MOST_BODY, Route, document
from reconciler.api.openapi import openapi
from reconciler.api.pages import refuse_pages
from reconciler.api.problems import problem_of, problem_response
from reconciler.api.routes import ROUTES
from reconciler.api.served import Served
from reconciler.daemon.log import logger
from schemas.errors import TrimtabError

LOG = logger("api")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(served: Served) -> web.Application:
    app = web.Application(middlewares=[_problems], client_max_size=MOST_BODY)
    app.router.add_get("/v1/openapi.json", _describe)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, partial(_answer, route, served))
    return app


async def _answer(route: Route, served: Served, request: web.Request) -> web.StreamResponse:
    return await route.handle(served, request)


async def _describe(request: web.Request) -> web.Response:
    return document(json.dumps(openapi(ROUTES)))


@web.middleware
async def _problems(request: web.Request, handler: Answer) -> web.StreamResponse:
    try:
        refuse_pages(request)
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem_response(problem_of(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except (TrimtabError, ValidationError) as error:
        return problem_response(problem_of(error))
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:
        LOG.error("fault", path=request.path, method=request.method, exc_info=error)
        return problem_response(problem_of(error))
