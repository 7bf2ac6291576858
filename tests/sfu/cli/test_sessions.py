"""`orchard sessions` and `orchard app revoke` beside a running server."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog
import uvicorn

from sfu.api.admin import create_admin_app, open_admin_socket
from sfu.base.ids import AppId, SessionId
from sfu.directory.apps import new_app
from sfu.directory.files import DataDirectory
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.record import Fingerprint, SessionRecord
from tests.sfu.api.figures import MEDIA, PUBLISHER, SESSION

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.sfu.cli.command import Command

APP = AppId("a" * 32)


class _Quiet(uvicorn.Server):
    """A server that leaves signals alone."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@pytest.fixture
def running(orchard: Command) -> Iterator[MemoryDirectory]:
    """A server's admin socket in the data directory, over the directory that is yielded."""
    # Its log goes to the standard error of another process.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    data = DataDirectory(orchard.data)
    directory = MemoryDirectory()
    server = _Quiet(
        uvicorn.Config(create_admin_app(directory, {SESSION: MEDIA}.get), lifespan="off", log_config=None)
    )
    listener = open_admin_socket(data.admin_socket())
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield directory
    server.should_exit = True
    thread.join()
    structlog.reset_defaults()


def add(directory: MemoryDirectory, *ids: str, app: AppId = APP) -> None:
    for id_ in ids:
        record = SessionRecord(
            SessionId(id_), app, time.time() - 65, Fingerprint("sha-256", "AA"), origin_id=1
        )
        asyncio.run(directory.create_session(record))


def ids(directory: MemoryDirectory) -> list[str]:
    return [record.id for record in asyncio.run(directory.list_sessions())]


def test_what_a_client_called_its_session_does_not_steer_the_terminal(
    orchard: Command, running: MemoryDirectory
) -> None:
    record = SessionRecord(SessionId("3" * 32), APP, time.time(), Fingerprint("sha-256", "AA"), origin_id=1)
    label = "[/red]\x1b[2J\nnext\u202e"
    asyncio.run(running.create_session(replace(record, correlation_id=label)))
    text = orchard.on_data("sessions", "list").out
    assert "[/red]\\u001b[2J\\u000anext\\u202e" in text


def test_sessions_are_listed(orchard: Command, running: MemoryDirectory) -> None:
    add(running, "1" * 32, "2" * 32)
    text = orchard.on_data("sessions", "list").out
    assert "1" * 32 in text
    assert "new" in text
    assert "65 s" in text
    assert "1" * 32 not in orchard.on_data("sessions", "list", "--app", "b" * 32).out


def test_what_a_sessions_media_has_done_is_shown(orchard: Command, running: MemoryDirectory) -> None:
    add(running, SESSION, "1" * 32)
    lines = [line.split() for line in orchard.on_data("sessions", "show", SESSION).out.splitlines()]
    assert lines[0][:4] == ["new;", "round", "trip", "250"]
    [published] = [line for line in lines if line[:1] == ["camera"]]
    assert published[:7] == ["camera", "0", "video", "h", "17", "7", "9"]
    [pulled] = [line for line in lines if line[:1] == ["mic"]]
    assert pulled[:6] == ["mic", PUBLISHER, "1", "audio", "18", "14"]
    assert pulled[-1] == "yes"
    assert orchard.on_data("sessions", "show", "1" * 32).out == "new: its client has not come\n"
    assert orchard.on_data("sessions", "show", "2" * 32).err == "orchard: Session not found\n"


def test_sessions_are_closed(orchard: Command, running: MemoryDirectory) -> None:
    add(running, "1" * 32, "2" * 32, "3" * 32)
    add(running, "4" * 32, app=AppId("b" * 32))
    assert orchard.on_data("sessions", "close", "1" * 32, "2" * 32).out == "2 sessions closed\n"
    assert ids(running) == ["3" * 32, "4" * 32]
    assert orchard.on_data("sessions", "close", "--app", APP).out == "1 sessions closed\n"
    assert ids(running) == ["4" * 32]


def test_a_session_that_is_not_there_is_an_error(orchard: Command, running: MemoryDirectory) -> None:
    result = orchard.on_data("sessions", "close", "1" * 32)
    assert (result.status, result.err) == (2, "orchard: Session not found\n")
    assert ids(running) == []


def test_closing_nothing_is_an_error(orchard: Command, running: MemoryDirectory) -> None:
    assert orchard.on_data("sessions", "close").status == 2
    assert ids(running) == []


def test_revoking_an_app_closes_its_sessions(orchard: Command, running: MemoryDirectory) -> None:
    app = new_app("mine", 0.0).app
    DataDirectory(orchard.data).change_apps(lambda apps: apps.update({app.id: app}))
    add(running, "1" * 32, app=app.id)
    assert orchard.on_data("app", "revoke", app.id).out == f"revoked {app.id}; 1 sessions closed\n"
    assert ids(running) == []


def test_without_a_server_the_directory_is_named(orchard: Command) -> None:
    result = orchard.on_data("sessions", "list")
    assert result.status == 2
    assert result.err == (
        f"orchard: no server runs with {orchard.data}; start it, or name its directory with --data\n"
    )
