"""Credentials for TURN, as the published API gives them out: for whoever has the token of a TURN key.

A time to live beyond `turn.credential_ttl_limit` is shortened to it rather than refused: the published
API's own examples ask for more than it gives, and its clients do not look at what they got.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Path
from starlette.responses import Response

from sfu.api.auth import CHALLENGE, bearer_secret
from sfu.api.errors import ApiError
from sfu.api.models import IceServer, IceServersResponse, TurnCredentialRequest, TurnCredentialResponse
from sfu.api.operations import TURN_ERRORS
from sfu.api.route import count_refused
from sfu.turn.service import CredentialRefused, TurnAway

if TYPE_CHECKING:
    from starlette.requests import Request

    from sfu.api.route import Admit
    from sfu.base.rates import Rates
    from sfu.turn.service import Issued, TurnService

KeyPath = Annotated[str, Path(alias="keyId", description="The TURN key's id")]
UsernamePath = Annotated[str, Path(description="A username that was given out by this key")]
CredentialBody = Annotated[TurnCredentialRequest | None, Body()]


def admit_key(turn: TurnService, rate: Rates) -> Admit:
    """Lets a request pass whose token is one of the key's, as often as `rate` says; else 401, 404, 429."""

    async def admit(request: Request) -> None:
        key_id = request.path_params["keyId"]
        try:
            token = bearer_secret(request.headers, "The TURN key's token")
            key = turn.key(key_id)
            if key is None:
                raise ApiError(404, "TURN key not found")
            if not key.accepts(token):
                raise ApiError(401, "The TURN key's token is wrong", CHALLENGE)
        except ApiError as error:
            count_refused("secret" if error.status_code == 401 else "key")
            raise
        if not rate.allow(key_id, asyncio.get_running_loop().time()):
            count_refused("rate")
            raise ApiError(429, "Too many calls for this TURN key", {"retry-after": "1"})

    return admit


def add_turn_operations(router: APIRouter, turn: TurnService) -> None:
    """Add the operations to `router`, whose prefix ends in `/turn/keys/{keyId}`."""

    @router.post(
        "/credentials/generate-ice-servers",
        status_code=201,
        response_model_exclude_none=True,
        responses=TURN_ERRORS,
    )
    async def generate_ice_servers(key_id: KeyPath, body: CredentialBody = None) -> IceServersResponse:
        """Make a credential; the answer is what RTCPeerConnection takes as `iceServers`."""
        issued = _issue(turn, key_id, body)
        servers = [IceServer(urls=[*issued.urls.stun])] if issued.urls.stun else []
        credential = IceServer(urls=[*issued.urls.turn], username=issued.username, credential=issued.password)
        return IceServersResponse(ice_servers=[*servers, credential])

    @router.post(
        "/credentials/generate", status_code=201, response_model_exclude_none=True, responses=TURN_ERRORS
    )
    async def generate(key_id: KeyPath, body: CredentialBody = None) -> TurnCredentialResponse:
        """Make a credential; the answer has one server with all URLs, as older clients want it."""
        issued = _issue(turn, key_id, body)
        return TurnCredentialResponse(
            ice_servers=IceServer(
                urls=[*issued.urls.stun, *issued.urls.turn],
                username=issued.username,
                credential=issued.password,
            )
        )

    @router.post(
        "/credentials/{username}/revoke", status_code=204, response_class=Response, responses=TURN_ERRORS
    )
    async def revoke(key_id: KeyPath, username: UsernamePath) -> None:
        """End a credential before its time, and what was allocated with it. To do so again is no fault."""
        if not await turn.revoke(key_id, username):
            raise ApiError(404, "The username is none that this TURN key gave out")


def _issue(turn: TurnService, key_id: str, body: TurnCredentialRequest | None) -> Issued:
    asked = body or TurnCredentialRequest()
    try:
        return turn.issue(key_id, asked.ttl, asked.custom_identifier or "")
    except CredentialRefused as refused:
        raise ApiError(406, f"Invalid value: {refused}") from None
    except TurnAway as away:
        raise ApiError(503, str(away), {"retry-after": "1"}) from None
