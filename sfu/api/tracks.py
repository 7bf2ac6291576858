"""Operations on the tracks of a session: publish and pull, close, update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from sfu.api.errors import BODY_INVALID, ApiError
from sfu.api.models import CloseTracksRequest, TrackObject, TracksRequest, TracksResponse, UpdateTracksRequest
from sfu.api.operations import SESSION_ERRORS, AppPath, SessionPath
from sfu.base.ids import AppId, SessionId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.sessions.service import SessionService


def add_track_operations(router: APIRouter, service: SessionService) -> None:
    """Add the operations to `router`, whose prefix ends in `/apps/{appId}`."""

    @router.post(
        "/sessions/{sessionId}/tracks/new", response_model_exclude_none=True, responses=SESSION_ERRORS
    )
    async def new_tracks(app_id: AppPath, session_id: SessionPath, body: TracksRequest) -> TracksResponse:
        """Publish tracks, or pull tracks of other sessions.

        The status is 200 even if some tracks failed: each says so itself.
        """
        _require_names(body.tracks or ())
        return TracksResponse.of(
            await service.new_tracks(AppId(app_id), SessionId(session_id), body.to_request())
        )

    @router.put(
        "/sessions/{sessionId}/tracks/close", response_model_exclude_none=True, responses=SESSION_ERRORS
    )
    async def close_tracks(
        app_id: AppPath, session_id: SessionPath, body: CloseTracksRequest
    ) -> TracksResponse:
        """Close all that is published and pulled on some transceivers."""
        return TracksResponse.of(
            await service.close_tracks(AppId(app_id), SessionId(session_id), body.to_request())
        )

    @router.put(
        "/sessions/{sessionId}/tracks/update", response_model_exclude_none=True, responses=SESSION_ERRORS
    )
    async def update_tracks(
        app_id: AppPath, session_id: SessionPath, body: UpdateTracksRequest
    ) -> TracksResponse:
        """Change the source or the wanted layer of pulled tracks, without SDP."""
        return TracksResponse.of(
            await service.update_tracks(AppId(app_id), SessionId(session_id), body.to_request())
        )


def _require_names(tracks: Sequence[TrackObject]) -> None:
    """Refuse tracks without the names that their `location` needs, which the schema can't say."""
    for index, track in enumerate(tracks):
        wanted = {"trackName": track.track_name}
        if track.location == "remote":
            wanted["sessionId"] = track.session_id
        for field, value in wanted.items():
            if value is None:
                raise ApiError(400, f"{BODY_INVALID}tracks[{index}].{field}: Field required")
