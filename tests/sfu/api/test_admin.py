"""The owner of the data directory lists and closes sessions; nobody else reaches the socket."""

from __future__ import annotations

import contextlib
import socket
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from sfu.api.admin import create_admin_app, open_admin_socket
from sfu.base.ids import AppId, SessionId
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.record import Fingerprint, SessionRecord
from tests.sfu.api.figures import MEDIA, SESSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MINE, OTHER = AppId("a" * 32), AppId("b" * 32)


def record(number: int, app: AppId) -> SessionRecord:
    return SessionRecord(
        SessionId(f"{number:032x}"),
        app,
        created_at=1000.0 + number,
        fingerprint=Fingerprint("sha-256", "AA"),
        origin_id=1,
        correlation_id="mine" if app == MINE else None,
    )


@pytest.fixture
async def directory() -> MemoryDirectory:
    directory = MemoryDirectory()
    for number, app in enumerate((MINE, OTHER, MINE)):
        await directory.create_session(record(number, app))
    return directory


@pytest.fixture
async def admin(directory: MemoryDirectory) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_admin_app(directory, {SESSION: MEDIA}.get))
    async with httpx.AsyncClient(transport=transport, base_url="http://orchard") as client:
        yield client


async def test_all_sessions_are_listed_oldest_first(admin: httpx.AsyncClient) -> None:
    sessions = (await admin.get("/sessions")).json()["sessions"]
    assert [session["created_at"] for session in sessions] == [1000.0, 1001.0, 1002.0]
    assert sessions[0] == {
        "id": "0" * 32,
        "app": MINE,
        "created_at": 1000.0,
        "state": "new",
        "owner": None,
        "publishes": 0,
        "pulls": 0,
        "correlation_id": "mine",
    }


async def test_the_sessions_of_one_app_are_listed(admin: httpx.AsyncClient) -> None:
    sessions = (await admin.get("/sessions", params={"app": OTHER})).json()["sessions"]
    assert [session["app"] for session in sessions] == [OTHER]


async def test_the_statistics_of_a_session_are_shown(
    admin: httpx.AsyncClient, directory: MemoryDirectory
) -> None:
    await directory.create_session(replace(record(9, MINE), id=SESSION))
    shown = (await admin.get(f"/sessions/{SESSION}/statistics")).json()
    assert shown["transport"]["packets_received"] == MEDIA.transport.packets_in
    quiet = (await admin.get(f"/sessions/{'0' * 32}/statistics")).json()
    assert (quiet["transport"], quiet["published"]) == (None, [])
    assert (await admin.get("/sessions/nobody/statistics")).status_code == 404


async def test_one_session_is_closed(admin: httpx.AsyncClient, directory: MemoryDirectory) -> None:
    assert (await admin.delete("/sessions/" + "0" * 32)).json() == {"closed": 1}
    assert await directory.count_sessions() == 2
    again = await admin.delete("/sessions/" + "0" * 32)
    assert again.status_code == 404
    assert again.json()["errorDescription"] == "Session not found"


async def test_the_sessions_of_one_app_are_closed(
    admin: httpx.AsyncClient, directory: MemoryDirectory
) -> None:
    assert (await admin.delete("/sessions", params={"app": MINE})).json() == {"closed": 2}
    assert [left.app for left in await directory.list_sessions()] == [OTHER]


async def test_no_call_closes_the_sessions_of_all_apps(
    admin: httpx.AsyncClient, directory: MemoryDirectory
) -> None:
    assert (await admin.delete("/sessions")).status_code == 400
    assert await directory.count_sessions() == 3


def test_the_socket_is_its_owners_alone_and_replaces_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    for _ in range(2):  # the first leaves its file behind
        with contextlib.closing(open_admin_socket(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
