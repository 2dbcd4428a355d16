"""Errors as RFC 9457 problem details, and times at the border, so that every refusal says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from pipeline.ports import NotConnected, Retryable, UserError
from pipeline.wire import parse_rfc3339

TITLES = {
    400: "Bad request",
    401: "Token needed",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible now",
    421: "Wrong host name",
    422: "Not understood",
    503: "Not available now",
}


class ProblemOut(BaseModel):
    """RFC 9457 problem details; `errors` names each query or body value that was not understood."""

    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Refused: the detail says what is wrong, and what to do.",
        "content": {"application/problem+json": {"schema": ProblemOut.model_json_schema()}},
    }
}
"""For the OpenAPI document: how every route refuses."""


class Problem(HTTPException):
    """A refusal with one sentence a person can act on."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def problem(status: int, detail: str, *, headers: Any = None, errors: Sequence[Any] = ()) -> JSONResponse:
    """The response of media type application/problem+json."""
    body: dict[str, Any] = {"title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


def time_of(name: str, text: str) -> int:
    """Microseconds of an RFC 3339 query value. Problem 422 naming the parameter."""
    try:
        return parse_rfc3339(text.strip().replace(" ", "+"))
    except ValueError as error:
        raise Problem(422, f"{name}: {error}; write it like 2026-01-31T12:00:00Z") from None


def install(app: FastAPI) -> None:
    """Give `app` one handler for each kind of refusal."""

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"where": _where(e["loc"]), "what": e["msg"]} for e in error.errors()]
        return problem(422, "; ".join(f"{e['where']}: {e['what']}" for e in errors), errors=errors)

    @app.exception_handler(UserError)
    async def cannot(_: Request, error: UserError) -> JSONResponse:
        return problem(409, str(error))

    @app.exception_handler(NotConnected)
    async def away(_: Request, error: NotConnected) -> JSONResponse:
        return problem(503, f"{error}", headers={"Retry-After": "2"})

    @app.exception_handler(Retryable)
    async def busy(_: Request, error: Retryable) -> JSONResponse:
        return problem(503, f"{error}", headers={"Retry-After": f"{max(1, round(error.after))}"})


def _where(place: Sequence[Any]) -> str:
    """`query parameter limit` of ("query", "limit")."""
    kind, *path = (str(part) for part in place)
    kinds = {"query": "query parameter", "path": "path parameter", "header": "header", "body": "body"}
    return " ".join([kinds.get(kind, kind), ".".join(path)]).strip()
