"""Operations on a session as a whole: create, renegotiate, look at, destroy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Query

from sfu.api.models import (
    DeleteSessionResponse,
    GetSessionStateResponse,
    NewSessionRequest,
    NewSessionResponse,
    RenegotiateRequest,
    RenegotiateResponse,
)
from sfu.api.operations import ERRORS, SESSION_ERRORS, AppPath, SessionPath
from sfu.base.ids import AppId, SessionId

if TYPE_CHECKING:
    from sfu.sessions.service import SessionService


def add_session_operations(router: APIRouter, service: SessionService) -> None:
    """Add the operations to `router`, whose prefix ends in `/apps/{appId}`."""

    @router.post("/sessions/new", status_code=201, response_model_exclude_none=True, responses=ERRORS)
    async def create_session(
        app_id: AppPath,
        body: Annotated[NewSessionRequest | None, Body()] = None,
        thirdparty: Annotated[
            bool, Query(description="Connect to an ICE-lite peer; refused for now")
        ] = False,
        correlation_id: Annotated[
            str | None, Query(alias="correlationId", max_length=1024, description="A label for logs")
        ] = None,
    ) -> NewSessionResponse:
        """Create a session; with an offer in the body, get its answer too."""
        offer = None if body is None else body.session_description
        return NewSessionResponse.of(
            await service.create_session(
                AppId(app_id),
                None if offer is None else offer.to_request(),
                correlation_id=correlation_id,
                thirdparty=thirdparty,
            )
        )

    @router.put(
        "/sessions/{sessionId}/renegotiate", response_model_exclude_none=True, responses=SESSION_ERRORS
    )
    async def renegotiate(
        app_id: AppPath, session_id: SessionPath, body: RenegotiateRequest
    ) -> RenegotiateResponse:
        """Answer an offer of the SFU; needed after each `requiresImmediateRenegotiation`."""
        return RenegotiateResponse.of(
            await service.renegotiate(AppId(app_id), SessionId(session_id), body.to_request())
        )

    @router.get("/sessions/{sessionId}", response_model_exclude_none=True, responses=SESSION_ERRORS)
    async def get_session(app_id: AppPath, session_id: SessionPath) -> GetSessionStateResponse:
        """The tracks that the session holds."""
        return GetSessionStateResponse.of(await service.view_session(AppId(app_id), SessionId(session_id)))

    @router.delete("/sessions/{sessionId}", responses=SESSION_ERRORS)
    async def delete_session(app_id: AppPath, session_id: SessionPath) -> DeleteSessionResponse:
        """Destroy the session: its PeerConnection is closed and its tracks end. An extension of ours."""
        await service.delete_session(AppId(app_id), SessionId(session_id))
        return DeleteSessionResponse()
