"""Which app a request is for, and whether it may ask (RFC 6750: `Authorization: Bearer <secret>`).

A request without a secret is answered 401 before the app is looked up; one with a secret learns
whether the app exists (404), as the published API has it: app ids are public, their secrets are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.api.errors import ApiError
from sfu.base.ids import AppId

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from sfu.directory.interface import Directory

CHALLENGE = {"www-authenticate": "Bearer"}


def bearer_secret(headers: Headers, what: str = "The app's secret") -> str:
    """The secret that came with the request; `what` it is, for the error. Raises ApiError 401."""
    scheme, _, secret = headers.get("authorization", "").strip().partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise ApiError(401, f"{what} is wanted, as Authorization: Bearer <secret>", CHALLENGE)
    return secret


async def authenticate(directory: Directory, app: AppId, headers: Headers) -> None:
    """Let the request pass if its secret is one of the app's. Raises ApiError 401 or 404."""
    secret = bearer_secret(headers)
    known = await directory.get_app(app)
    if known is None:
        raise ApiError(404, "App not found")
    if not known.accepts(secret):
        raise ApiError(401, "The app's secret is wrong", CHALLENGE)
