"""Talking to the running server over the sockets in its data directory: one, or one for each worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import httpx
from pydantic import BaseModel

from sfu.api.admin import Closed, SessionLine, SessionList
from sfu.api.stats import SessionStatisticsResponse
from sfu.cli.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

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
        lists = self._call_all("GET", "/sessions", SessionList, app)
        return sorted((line for one in lists for line in one.sessions), key=lambda line: line.created_at)

    def statistics(self, session: str) -> SessionStatisticsResponse:
        """What the media of one session has done."""
        return self._call_all("GET", f"/sessions/{session}/statistics", SessionStatisticsResponse)[0]

    def close_session(self, session: str) -> None:
        """Close one session."""
        self._call_all("DELETE", f"/sessions/{session}", Closed)

    def close_sessions_of(self, app: str) -> int:
        """Close all sessions of an app; returns how many there were."""
        return sum(one.closed for one in self._call_all("DELETE", "/sessions", Closed, app))

    def _call_all(self, method: str, path: str, answer: type[Answer], app: str | None = None) -> list[Answer]:
        """What the workers answer that do not refuse, at least one. Raises CommandError if all refuse."""
        answers: list[Answer] = []
        refusal: CommandError = ServerNotRunning(
            f"no server runs with {self._data.path}; start it, or name its directory with --data"
        )
        for path_of_socket in self._data.admin_sockets():
            try:
                answers.append(_call(path_of_socket, method, path, answer, app))
            except httpx.ConnectError:
                continue  # left behind by one that is gone
            except CommandError as error:
                refusal = error
        if not answers:
            raise refusal
        return answers


def _call(socket: Path, method: str, path: str, answer: type[Answer], app: str | None) -> Answer:
    transport = httpx.HTTPTransport(uds=str(socket))
    with httpx.Client(transport=transport, base_url="http://orchard") as client:
        response = client.request(method, path, params={} if app is None else {"app": app})
    if response.status_code != 200:
        raise CommandError(str(response.json().get("errorDescription", response.status_code)))
    return answer.model_validate_json(response.content)
