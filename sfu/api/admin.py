"""What `orchard sessions` asks of the running server, on a socket of the data directory.

No secret is wanted: who may open the data directory (mode 0700) may do all this. It is no part of the
public API and may change with any version.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request

from sfu.api.errors import ApiError, add_error_handlers
from sfu.api.stats import SessionStatisticsResponse
from sfu.base.ids import AppId, SessionId
from sfu.base.log import get_logger
from sfu.sessions.statistics import SessionStatistics

if TYPE_CHECKING:
    from pathlib import Path

    from sfu.directory.interface import Directory
    from sfu.negotiation.record import SessionRecord
    from sfu.sessions.statistics import Measure

log = get_logger("admin")


class SessionLine(BaseModel):
    """One session in a list; `created_at` is wall-clock seconds."""

    id: str
    app: str
    created_at: float
    state: str
    owner: str | None
    publishes: int
    pulls: int
    correlation_id: str | None


class SessionList(BaseModel):
    """The sessions asked for, oldest first."""

    sessions: list[SessionLine]


class Closed(BaseModel):
    """How many sessions were closed."""

    closed: int


def open_admin_socket(path: Path) -> socket.socket:
    """A listening socket at `path` that its owner alone may connect to. Raises OSError.

    A socket that a dead server left there is replaced; the data directory is for one server at a time.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen()
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def create_admin_app(directory: Directory, measure: Measure) -> FastAPI:
    """The ASGI application to serve on the socket of `open_admin_socket`.

    `measure` gives what the media of a session has done. A session is closed by deleting its record: its
    owner sees it go and closes the transport.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)

    @app.get("/sessions")
    async def list_sessions(request: Request) -> SessionList:
        """All sessions, or those of the app that the query names."""
        records = await directory.list_sessions(_asked_app(request))
        return SessionList(sessions=[_line(record) for record in records])

    @app.get("/sessions/{session}/statistics", response_model_by_alias=False)
    async def statistics(session: str) -> SessionStatisticsResponse:
        """What the media of one session has done."""
        record = await directory.get_session(SessionId(session))
        if record is None or record.transport_state == "closed":
            raise ApiError(404, "Session not found")
        return SessionStatisticsResponse.model_validate(
            SessionStatistics(record.id, record.transport_state, measure(record.id))
        )

    @app.delete("/sessions")
    async def close_sessions(request: Request) -> Closed:
        """Close all sessions of the app that the query names."""
        app_id = _asked_app(request)
        if app_id is None:
            raise ApiError(400, "Name the app whose sessions are to be closed")
        records = await directory.list_sessions(app_id)
        closed = [await directory.delete_session(record.id) for record in records]
        log.info("admin.sessions_closed", app=app_id, count=sum(closed))
        return Closed(closed=sum(closed))

    @app.delete("/sessions/{session}")
    async def close_session(session: str) -> Closed:
        """Close one session."""
        if not await directory.delete_session(SessionId(session)):
            raise ApiError(404, "Session not found")
        log.info("admin.session_closed", session=session)
        return Closed(closed=1)

    add_error_handlers(app)
    return app


def _asked_app(request: Request) -> AppId | None:
    app = request.query_params.get("app")
    return None if app is None else AppId(app)


def _line(record: SessionRecord) -> SessionLine:
    return SessionLine(
        id=record.id,
        app=record.app,
        created_at=record.created_at,
        state=record.transport_state,
        owner=record.owner,
        publishes=sum(publication.state == "open" for publication in record.publications),
        pulls=len(record.subscriptions),
        correlation_id=record.correlation_id,
    )
