"""Errors as clients get them: RFC 9457 problems, `application/problem+json`.

`type` names the family (`about:blank` where HTTP says it all), `detail` says it in words; ours beside the standard's:
`object`, `step`, `path`, `hint`, and for invalid input `errors`: [{"file", "line", "column", "object", "field",
"message", "remedy"}].
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from schemas.errors import Invalid, Missing, Refused, RetryLater, TrimtabError

MEDIA_TYPE = "application/problem+json"
LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
TYPES = "https://trimtab.dev/problems/"
"""Where the types would be explained; they are names, not addresses."""


class FieldError(BaseModel):
    """One thing wrong with the input."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    object: str | None = None
    field: str | None = None
    remedy: str | None = None


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    object: str | None = None
    step: str | None = None
    path: str | None = None
    hint: str | None = None
    errors: list[FieldError] = Field(default_factory=list)


class Gone(Refused):
    """There was, and it is not kept any more."""


class TooMany(RetryLater):
    """Of one client's: others are still served."""


def problem_of(error: Exception) -> ProblemDocument:
    """What a client is told of an error; nothing of an unexpected one's insides."""
    match error:
        case Invalid():
            return _made("invalid", HTTPStatus.UNPROCESSABLE_ENTITY, "the input is not valid", errors=_faults(error))
        case Missing():
            return _told(error, "not-found", HTTPStatus.NOT_FOUND)
        case Gone():
            return _told(error, "gone", HTTPStatus.GONE)
        case Refused():
            return _told(error, "refused", HTTPStatus.CONFLICT)
        case TooMany():
            return _told(error, "too-many", HTTPStatus.TOO_MANY_REQUESTS)
        case RetryLater():
            return _told(error, "retry-later", HTTPStatus.SERVICE_UNAVAILABLE)
        case ValidationError():
            return _made("request", HTTPStatus.UNPROCESSABLE_ENTITY, "the request is not valid", errors=_fields(error))
        case web.HTTPException():
            status = HTTPStatus(error.status)
            return ProblemDocument(title=status.phrase, status=status, detail=error.reason or status.phrase)
        case _:
            return _made("fault", HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of trimtab; the daemon's log says more")


def _made(name: str, status: HTTPStatus, detail: str, errors: list[FieldError] | None = None) -> ProblemDocument:
    return ProblemDocument(type=TYPES + name, title=status.phrase, status=status, detail=detail, errors=errors or [])


def _told(error: TrimtabError, name: str, status: HTTPStatus) -> ProblemDocument:
    made = _made(name, status, error.message)
    return made.model_copy(update={each: getattr(error, each) or None for each in ("object", "step", "path", "hint")})


def _faults(error: Invalid) -> list[FieldError]:
    return [
        FieldError(
            message=problem.message,
            file=problem.place.file,
            line=problem.place.line,
            column=problem.place.column,
            object=problem.object or None,
            field=problem.field or None,
            remedy=problem.remedy or None,
        )
        for problem in error.problems
    ]


def _fields(error: ValidationError) -> list[FieldError]:
    return [
        FieldError(message=found["msg"], field=".".join(map(str, found["loc"])) or None)
        for found in error.errors(include_url=False, include_context=False, include_input=False)[:100]
    ]


def problem_response(problem: ProblemDocument) -> web.Response:
    body = problem.model_dump_json(exclude_none=True).encode(errors="replace")
    headers: dict[str, Any] = {"Retry-After": "1"} if problem.status in LATER else {}
    return web.Response(body=body, status=problem.status, content_type=MEDIA_TYPE, headers=headers)
