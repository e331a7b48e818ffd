"""The OpenAPI 3.1 document, made of the same declarations that requests are checked by. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from reconciler.api.declared import JSON, Route
from reconciler.api.problems import MEDIA_TYPE, ProblemDocument
from reconciler.cli.version_command import VERSION

REFERENCE = "#/components/schemas/{model}"
PROBLEMS = {
    400: "Not HTTP as it should be",
    403: "Not for you",
    404: "There is no such thing",
    408: "The body did not come",
    409: "Refused",
}
PROBLEMS |= {
    410: "No longer kept",
    413: "Too large",
    415: "Not such a body",
    421: "Another root",
    422: "Not valid",
    426: "Upgrade",
}
PROBLEMS |= {429: "You follow too much at once", 503: "Try again later"}


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    known = list(routes)
    models: set[type[BaseModel]] = {ProblemDocument}
    for route in known:
        models |= {model for model in (route.answer, route.body) if model is not None}
    wanted = [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)]
    names, definitions = models_json_schema(wanted, ref_template=REFERENCE)  # type: ignore[arg-type]
    paths: dict[str, dict[str, Any]] = {}
    for route in known:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "trimtab", "version": VERSION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "http://localhost", "description": "a UNIX socket, or TCP with certificates"}],
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def _operation(route: Route, names: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_in_path(route), *_in_query(route.query)],
        "responses": _responses(route, names),
    }
    if route.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": names[route.body, "validation"]}}}
    elif route.raw:
        schema = {"type": "string", "contentMediaType": "application/x-tar"}
        made["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": schema}}}
    return made


def _identifier(route: Route) -> str:
    words = re.findall(r"[a-z]+", route.path.removeprefix("/v1"))
    return "_".join((route.method.lower(), *words))


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _in_query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _plain(field)}
        for name, field in schema.get("properties", {}).items()
    ]


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not given is left out, never null."""
    options = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    kept = {name: value for name, value in field.items() if name not in ("anyOf", "title", "default")}
    return kept | (options[0] if len(options) == 1 else {"anyOf": options} if options else {})


def _responses(route: Route, names: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.answer is not None:
        found["content"] = {JSON: {"schema": names[route.answer, "validation"]}}
    elif route.status == HTTPStatus.OK:
        found["content"] = {route.media: {}}
    problem = {MEDIA_TYPE: {"schema": names[ProblemDocument, "validation"]}}
    problems = {str(status): {"description": text, "content": problem} for status, text in PROBLEMS.items()}
    return {str(route.status): found, **problems}
