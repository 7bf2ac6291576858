"""What the declarations of all operations share: path parameters and documented errors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from sfu.api.models import ErrorResponse

AppPath = Annotated[str, Path(alias="appId", description="The app's id")]
SessionPath = Annotated[str, Path(alias="sessionId", description="The session's id")]


def _errors(texts: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorResponse, "description": text} for status, text in texts.items()}


ERRORS = _errors(
    {
        400: "The body can't be decoded (`decoding_error`)",
        401: "The secret is wrong (`unauthorized`)",
        404: "The app is unknown (`not_found`)",
        406: "A value can't be taken (`invalid_params`, `invalid_session_description`)",
        413: "The body is too large (`payload_too_large`)",
        500: "A fault of the server (`internal_error`)",
        503: "No room, or the node is about to stop (`temporarily_unavailable_error`)",
    }
)

TURN_ERRORS = ERRORS | _errors(
    {
        401: "The token is wrong (`unauthorized`)",
        404: "The TURN key, or the username, is unknown (`not_found`)",
        406: "A value can't be taken (`invalid_params`)",
        429: "Too many calls for this TURN key (`rate_limited`)",
        503: "No TURN server listens, or what it keeps is full (`temporarily_unavailable_error`)",
    }
)

SESSION_ERRORS = ERRORS | _errors(
    {
        410: "The session is closed, has expired, or never was (`session_error`)",
        425: "The session's PeerConnection is not connected yet (`session_error`)",
        429: "Too many calls for this session (`rate_limited`)",
    }
)
