"""The demo page's way to the API: a stranger who loads the page gets his own sessions and no others."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from meeting.app import create_app as create_demo
from meeting.upstream import ProxyLimits
from sfu.api.app import beside_pages, create_app
from sfu.directory.apps import new_app
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.record import Fingerprint
from sfu.negotiation.requests import Context
from sfu.net.address import Address
from sfu.sessions.service import SessionService
from tests.sfu.api.asgi import client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


def _context() -> Context:
    return Context(
        b"x" * 32, [Address("127.0.0.1", 1)], Fingerprint("sha-256", ":".join(["AB"] * 32)), lambda: 7
    )


@asynccontextmanager
async def _pages(
    limits: ProxyLimits | None = None,
) -> AsyncGenerator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Two browsers at the demo page of one node."""
    directory = MemoryDirectory()
    issued = new_app("demo", 0.0)
    await directory.put_app(issued.app)
    api = create_app(SessionService(directory, _context), directory, not_ready=lambda: None)
    async with client(api) as inside:
        demo = create_demo(inside, issued.app.id, issued.secret, limits=limits or ProxyLimits())
        site = beside_pages(api, demo)
        async with client(site) as one, client(site) as other:
            yield one, other


async def _session(page: httpx.AsyncClient) -> str:
    response = await page.post("/api/sessions/new")
    assert response.status_code == 201
    return response.json()["sessionId"]


@pytest.mark.parametrize("name", ["sessionId", "session_id", "SessionId", "SESSIONID", "sessionid"])
async def test_a_page_pulls_no_other_page_s_track_however_it_spells_the_session(name: str) -> None:
    async with _pages() as (one, other):
        mine, theirs = await _session(one), await _session(other)
        body = {"tracks": [{"location": "remote", name: theirs, "trackName": "camera"}]}
        response = await one.post(f"/api/sessions/{mine}/tracks/new", json=body)
        assert response.status_code == 403
        assert theirs not in response.text


@pytest.mark.parametrize("path", ["tracks/new", "renegotiate", "tracks/close", "tracks/update", ""])
async def test_a_known_session_id_is_no_use_to_another_page(path: str) -> None:
    async with _pages() as (one, other):
        await _session(one)
        theirs = await _session(other)
        method = "GET" if not path else "POST" if path == "tracks/new" else "PUT"
        target = f"/api/sessions/{theirs}" + (f"/{path}" if path else "")
        # its own cookie, sent along by hand, opens nothing either
        cookie = {"cookie": f"meeting_session={next(iter(one.cookies.jar)).value}"}
        for headers in ({}, cookie, {"cookie": "meeting_session=" + "0" * 64}):
            response = await one.request(method, target, json={}, headers=headers)
            assert (response.status_code, response.json()["errorCode"]) == (403, "unauthorized")


async def test_the_demo_app_is_not_reached_without_its_secret() -> None:
    async with _pages() as (one, _):
        session = await _session(one)
        for path in ("/v1/apps/demo/sessions/new", f"/v1/apps/demo/sessions/{session}"):
            assert (await one.get(path)).status_code in (401, 404, 405)


async def test_pages_cannot_fill_the_node_with_sessions() -> None:
    async with _pages(ProxyLimits(sessions_per_minute=3)) as (one, other):
        statuses = [(await page.post("/api/sessions/new")).status_code for page in (one, other, one, other)]
        assert statuses == [201, 201, 201, 429]


@pytest.mark.parametrize("body", [b"[" * 995 + b"]" * 995, b'{"a":' * 990 + b"1" + b"}" * 990, b"1" * 9999])
async def test_what_python_can_t_write_again_is_answered(body: bytes) -> None:
    async with _pages() as (one, _):
        session = await _session(one)
        response = await one.post(f"/api/sessions/{session}/tracks/new", content=body)
        assert response.status_code in (400, 406)
        assert response.json()["errorCode"]


async def test_a_body_that_drips_is_given_up() -> None:
    async with _pages(ProxyLimits(body_s=0.05)) as (one, _):
        session = await _session(one)

        async def drip() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        response = await one.post(f"/api/sessions/{session}/tracks/new", content=drip())
        assert response.status_code == 408


async def test_another_site_s_page_makes_no_sessions() -> None:
    async with _pages() as (one, _):
        for site in ("cross-site", "same-site"):
            response = await one.post("/api/sessions/new", headers={"sec-fetch-site": site})
            assert response.status_code == 403
        response = await one.post("/api/sessions/new", headers={"origin": "https://elsewhere.test"})
        assert "access-control-allow-origin" not in response.headers


async def test_the_api_takes_its_own_names_alone() -> None:
    """A second spelling of a field is a field that proxies before the API do not check."""
    directory = MemoryDirectory()
    issued = new_app("app", 0.0)
    await directory.put_app(issued.app)
    api = create_app(SessionService(directory, _context), directory, not_ready=lambda: None)
    async with client(api, {"authorization": f"Bearer {issued.secret}"}) as app:
        root = f"/v1/apps/{issued.app.id}/sessions"
        session = (await app.post(f"{root}/new")).json()["sessionId"]
        for item in (
            {"location": "remote", "session_id": "s", "trackName": "t"},
            {"location": "local", "mid": "0", "track_name": "t"},
        ):
            body: Any = {"tracks": [item]}
            response = await app.post(f"{root}/{session}/tracks/new", content=json.dumps(body))
            assert (response.status_code, response.json()["errorCode"]) == (400, "decoding_error")
