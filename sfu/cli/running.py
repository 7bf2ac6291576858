"""Talking to the running server over the socket in its data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import httpx
from pydantic import BaseModel

from sfu.api.admin import Closed, SessionLine, SessionList
from sfu.api.stats import SessionStatisticsResponse
from sfu.cli.errors import CommandError

if TYPE_CHECKING:
    from sfu.directory.files import DataDirectory

Answer = TypeVar("Answer", bound=BaseModel)


class ServerNotRunning(CommandError):
    """No server runs with this data directory."""


class RunningServer:
    """The server that runs with a data directory."""

    def __init__(self, data: DataDirectory) -> None:
        self._data = data

    def sessions(self, app: str | None) -> list[SessionLine]:
        """Its sessions, or those of one app, oldest first."""
        return self._call("GET", "/sessions", SessionList, app).sessions

    def statistics(self, session: str) -> SessionStatisticsResponse:
        """What the media of one session has done."""
        return self._call("GET", f"/sessions/{session}/statistics", SessionStatisticsResponse)

    def close_session(self, session: str) -> None:
        """Close one session."""
        self._call("DELETE", f"/sessions/{session}", Closed)

    def close_sessions_of(self, app: str) -> int:
        """Close all sessions of an app; returns how many there were."""
        return self._call("DELETE", "/sessions", Closed, app).closed

    def _call(self, method: str, path: str, answer: type[Answer], app: str | None = None) -> Answer:
        transport = httpx.HTTPTransport(uds=str(self._data.admin_socket))
        with httpx.Client(transport=transport, base_url="http://orchard") as client:
            try:
                response = client.request(method, path, params={} if app is None else {"app": app})
            except httpx.ConnectError:
                raise ServerNotRunning(
                    f"no server runs with {self._data.path}; start it, or name its directory with --data"
                ) from None
        if response.status_code != 200:
            raise CommandError(str(response.json().get("errorDescription", response.status_code)))
        return answer.model_validate_json(response.content)
