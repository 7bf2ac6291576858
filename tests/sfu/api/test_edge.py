from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.responses import JSONResponse

from sfu.api.edge import Edge
from tests.sfu.api.asgi import client

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({})(scope, receive, send)


@pytest.mark.parametrize("origin", ["https://example.org", "null", "file://"])
async def test_api_5_2_any_origin_may_read_the_answer(origin: str) -> None:
    async with client(Edge(answer, requests_under_way=1)) as api:
        response = await api.get("/x", headers={"origin": origin})
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers


async def test_no_origin_gets_vary_alone() -> None:
    async with client(Edge(answer, requests_under_way=1)) as api:
        response = await api.get("/x")
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", ["/v1/apps/a/sessions/new", "/nowhere", "/"])
async def test_api_5_2_every_path_answers_a_preflight_without_a_secret(path: str) -> None:
    headers = {
        "origin": "null",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization,content-type",
    }
    async with client(Edge(answer, requests_under_way=1)) as api:
        response = await api.options(path, headers=headers)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "null"
    methods = response.headers["access-control-allow-methods"].split(", ")
    assert {"GET", "POST", "PUT", "DELETE"} == set(methods)
    allowed = response.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type"} == set(allowed)


async def test_past_the_bound_of_requests_under_way_one_is_told_to_come_back() -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await go_on.wait()
        await answer(scope, receive, send)

    async with client(Edge(slow, requests_under_way=1)) as api:
        first = asyncio.create_task(api.get("/1"))
        await inside.wait()
        second = await api.get("/2", headers={"origin": "null"})
        assert second.status_code == 503
        assert second.json()["errorCode"] == "temporarily_unavailable_error"
        assert second.headers["retry-after"] == "1"
        assert second.headers["access-control-allow-origin"] == "null"
        # who watches the node is served none the less
        watching = [asyncio.create_task(api.get(path)) for path in ("/healthz", "/readyz", "/metrics")]
        go_on.set()
        assert [(await one).status_code for one in watching] == [200, 200, 200]
        assert (await first).status_code == 200
        assert (await api.get("/3")).status_code == 200


async def test_requests_that_fail_give_their_place_back() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(scope, receive, send)
        raise ValueError("a fault of ours")

    async with client(Edge(fail, requests_under_way=1)) as api:
        statuses = [(await api.get("/x")).status_code for _ in range(3)]
    assert statuses == [200, 200, 200]
