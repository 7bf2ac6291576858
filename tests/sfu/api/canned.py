"""A service that answers as it is told and remembers what it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sfu.negotiation.requests import (
    CloseTracks,
    NewTracks,
    Renegotiate,
    Renegotiated,
    SessionCreated,
    SessionDescription,
    SessionView,
    TracksResponse,
    UpdateTracks,
)
from sfu.sessions.service import SessionService

if TYPE_CHECKING:
    from sfu.base.ids import AppId, SessionId
    from sfu.sessions.statistics import SessionStatistics

Asked = tuple[str, "AppId", "SessionId | None", object]


class CannedService(SessionService):
    """`answer` is returned or, if it is an exception, raised by each operation; `asked` are the calls."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[Asked] = []

    def _answer(self, operation: str, app: AppId, session: SessionId | None, request: object) -> Any:
        self.asked.append((operation, app, session, request))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def create_session(
        self,
        app: AppId,
        description: SessionDescription | None = None,
        *,
        correlation_id: str | None = None,
        thirdparty: bool = False,
    ) -> SessionCreated:
        return self._answer("create", app, None, (description, correlation_id, thirdparty))

    async def new_tracks(self, app: AppId, session: SessionId, request: NewTracks) -> TracksResponse:
        return self._answer("new", app, session, request)

    async def renegotiate(self, app: AppId, session: SessionId, request: Renegotiate) -> Renegotiated:
        return self._answer("renegotiate", app, session, request)

    async def close_tracks(self, app: AppId, session: SessionId, request: CloseTracks) -> TracksResponse:
        return self._answer("close", app, session, request)

    async def update_tracks(self, app: AppId, session: SessionId, request: UpdateTracks) -> TracksResponse:
        return self._answer("update", app, session, request)

    async def view_session(self, app: AppId, session: SessionId) -> SessionView:
        return self._answer("view", app, session, None)

    async def session_statistics(self, app: AppId, session: SessionId) -> SessionStatistics:
        return self._answer("statistics", app, session, None)

    async def delete_session(self, app: AppId, session: SessionId) -> None:
        self._answer("delete", app, session, None)
