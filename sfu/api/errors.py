"""What an API call answers when it fails: a status and the error object, in JSON, always.

The error object is `{"errorCode", "errorDescription"}`; where there is more to tell apart, it has an
`errorSubcode`. Failures of single tracks stay inside a successful answer and are not made here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from sfu.base.log import get_logger
from sfu.directory.interface import Unavailable
from sfu.negotiation.errors import NegotiationError
from sfu.sessions.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.routing import BaseRoute

log = get_logger("api")

DECODING_ERROR = "decoding_error"
INVALID_PARAMS = "invalid_params"
TEMPORARILY_UNAVAILABLE = "temporarily_unavailable_error"

# Of a plain HTTP error only the status is known. Those not documented for the API are ours.
CODES = {
    400: DECODING_ERROR,
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "payload_too_large",
    429: "rate_limited",
    500: "internal_error",
    503: TEMPORARILY_UNAVAILABLE,
}

# Starts of what pydantic calls errors of a value whose type is right: 406, not 400.
_VALUE_ERRORS = ("too_", "string_too_", "enum", "literal_error", "greater_than", "less_than")
_SHOWN_ERRORS = 5  # chosen: enough to mend a request, and the text stays short whatever was sent

BACKEND_ERROR = "Backend error"
BODY_INVALID = "JSON body validation error: "


class ApiError(HTTPException):
    """A request is refused by the HTTP layer itself; the code follows from the status."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, text, headers)


def error_response(
    status: int,
    code: str,
    text: str,
    headers: Mapping[str, str] | None = None,
    *,
    subcode: str | None = None,
) -> Response:
    """The error object with its status."""
    body = {"errorCode": code, "errorDescription": text}
    if subcode is not None:
        body["errorSubcode"] = subcode
    return Response(json.dumps(body), status, headers, media_type="application/json")


def add_error_handlers(app: FastAPI) -> None:
    """Make every exception out of `app` an error object."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(NegotiationError, _refused)
    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Exception, _failed)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for it
    code = CODES.get(error.status_code, INVALID_PARAMS)
    headers = {"allow": _allowed(request)} if error.status_code == 405 else error.headers
    return error_response(error.status_code, code, str(error.detail), headers)


def _allowed(request: Request) -> str:
    """The methods of the path (RFC 9110 10.2.1); the router itself knows those of one operation only."""
    routes: Sequence[BaseRoute] = request.app.routes
    methods = {
        method
        for route in routes
        if isinstance(route, Route) and route.path_regex.match(request.url.path)
        for method in route.methods or ()
    }
    return ", ".join(sorted(methods))


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NegotiationError | RequestRefused)  # noqa: S101 -- registered for them
    return error_response(error.status, error.code, error.text, subcode=error.subcode)


async def _unavailable(_request: Request, error: Exception) -> Response:
    log.warning("api.directory_unavailable", reason=str(error))
    return error_response(503, TEMPORARILY_UNAVAILABLE, BACKEND_ERROR, {"retry-after": "1"})


async def _failed(_request: Request, _error: Exception) -> Response:
    # The exception goes on to the edge, which logs it.
    return error_response(500, CODES[500], BACKEND_ERROR)


async def _invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- registered for it
    errors: Sequence[Any] = error.errors()
    if not all(item["loc"][0] == "query" or item["type"].startswith(_VALUE_ERRORS) for item in errors):
        return error_response(400, DECODING_ERROR, BODY_INVALID + _described(errors))
    return error_response(406, INVALID_PARAMS, "Invalid value: " + _described(errors))


def _described(errors: Sequence[Any]) -> str:
    """Where the errors are and what they are, without the values: `tracks[0].trackName: Field required`."""
    shown = [f"{_place(item['loc'])}: {item['msg']}" for item in errors[:_SHOWN_ERRORS]]
    more = len(errors) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _place(loc: Sequence[str | int]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc[1:]]
    return "".join(steps).removeprefix(".") or str(loc[0])
