"""Many calls of one session or of many sessions at once, and clients that leave in the middle."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn

from sfu.api.app import ApiLimits, create_app
from sfu.base.ids import SessionId
from sfu.directory.apps import new_app
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.record import Fingerprint
from sfu.negotiation.requests import Context
from sfu.net.address import Address
from sfu.sessions.service import ServiceLimits, SessionService
from tests.conformance.api.peer import ScriptedPeer
from tests.sfu.api.asgi import client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import ASGIApp


class Node:
    """The API over a directory in memory, without media: what is published never flows."""

    def __init__(self, *, media_wait_s: float = 60.0) -> None:
        self.directory = MemoryDirectory()
        self._fresh = iter(range(1, 1 << 30))
        context = Context(
            b"x" * 32,
            [Address("192.0.2.1", 1)],
            Fingerprint("sha-256", ":".join(["AB"] * 32)),
            lambda: next(self._fresh),
        )
        limits = ServiceLimits(media_wait_s=media_wait_s, connect_wait_s=media_wait_s)
        self.service = SessionService(self.directory, lambda: context, limits=limits)
        self.app: ASGIApp = create_app(
            self.service,
            self.directory,
            not_ready=lambda: None,
            bounds=ApiLimits(calls_per_second=10_000),
        )

    async def add_app(self) -> httpx.AsyncClient:
        """A client of a new app, for paths below its sessions."""
        issued = new_app("app", 0.0)
        await self.directory.put_app(issued.app)
        api = client(self.app, {"authorization": f"Bearer {issued.secret}"})
        api.base_url = f"http://sfu.test/v1/apps/{issued.app.id}/sessions"
        return api

    def watches(self) -> int:
        """How many calls wait for a session."""
        return len(self.directory._watches)  # pyright: ignore[reportPrivateUsage]


async def new_session(api: httpx.AsyncClient) -> str:
    return (await api.post("/new")).json()["sessionId"]


async def publish(api: httpx.AsyncClient, names: list[str]) -> str:
    """A session that publishes what never flows."""
    session, peer = await new_session(api), ScriptedPeer()
    for _ in names:
        peer.add("audio")
    offer = await peer.offer()
    tracks = [{"location": "local", "mid": str(mid), "trackName": name} for mid, name in enumerate(names)]
    response = await api.post(f"/{session}/tracks/new", json={"sessionDescription": offer, "tracks": tracks})
    assert [item.get("errorCode") for item in response.json()["tracks"]] == [None] * len(names)
    return session


def pull_of(publisher: str, names: list[str]) -> dict[str, object]:
    return {"tracks": [{"location": "remote", "sessionId": publisher, "trackName": name} for name in names]}


async def settled(node: Node, watches: int) -> None:
    async with asyncio.timeout(10):
        while node.watches() != watches:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)


async def test_api_1_0_of_many_calls_at_once_one_changes_the_session_and_none_is_lost() -> None:
    node = Node()
    async with await node.add_app() as api:
        session = await new_session(api)
        body = {"tracks": [{"location": "local", "trackName": "t", "kind": "audio"}]}
        calls = [api.post(f"/{session}/tracks/new", json=body) for _ in range(50)]
        responses = await asyncio.gather(*calls)
        won = [response for response in responses if response.status_code == 200]
        assert len(won) == 1
        assert {response.status_code for response in responses} == {200, 406}
        record = await node.directory.get_session(SessionId(session))
        assert record is not None
        assert len(record.mlines) == len(record.publications) == 1
        answer = await ScriptedPeer().answer(won[0].json()["sessionDescription"])
        response = await api.put(f"/{session}/renegotiate", json={"sessionDescription": answer})
        assert (response.status_code, response.json()) == (200, {})


async def test_waiting_pulls_hold_nothing_once_they_are_answered() -> None:
    """64 tracks in each of 40 calls, all of which wait in vain."""
    node = Node(media_wait_s=0.2)
    names = [f"t{number}" for number in range(64)]
    async with await node.add_app() as api:
        publisher = await publish(api, names)
        sessions = [await new_session(api) for _ in range(40)]
        body = pull_of(publisher, names)
        responses = await asyncio.gather(*(api.post(f"/{one}/tracks/new", json=body) for one in sessions))
        for response in responses:
            assert response.status_code == 200
            assert [item["mid"] for item in response.json()["tracks"]] == [""] * 64
        assert node.watches() == 0
        # the sessions take other calls
        response = await api.get(f"/{sessions[0]}")
        assert response.json()["tracks"] == []


async def test_a_session_that_waits_refuses_others_and_is_free_once_its_caller_is_cancelled() -> None:
    node = Node()
    async with await node.add_app() as api:
        publisher, session = await publish(api, ["t"]), await new_session(api)
        waiting = asyncio.create_task(api.post(f"/{session}/tracks/new", json=pull_of(publisher, ["t"])))
        await settled(node, 1)
        body = {"tracks": [{"location": "local", "trackName": "mine", "kind": "audio"}]}
        assert (await api.post(f"/{session}/tracks/new", json=body)).status_code == 406
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await settled(node, 0)
        assert (await api.post(f"/{session}/tracks/new", json=body)).status_code == 200


async def test_a_deleted_session_ends_the_waits_of_those_who_pull_from_it() -> None:
    node = Node()
    async with await node.add_app() as api:
        publisher, session = await publish(api, ["t"]), await new_session(api)
        waiting = asyncio.create_task(api.post(f"/{session}/tracks/new", json=pull_of(publisher, ["t"])))
        await settled(node, 1)
        assert (await api.delete(f"/{publisher}")).status_code == 200
        (item,) = (await waiting).json()["tracks"]
        assert (item["mid"], item["errorCode"]) == ("", "not_found_track_error")


async def test_a_session_deleted_while_it_waits_is_gone_for_its_caller() -> None:
    node = Node()
    async with await node.add_app() as api:
        own = await publish(api, ["t"])
        waiting = asyncio.create_task(api.post(f"/{own}/tracks/new", json=pull_of(own, ["t"])))
        await settled(node, 1)
        assert (await api.delete(f"/{own}")).status_code == 200
        assert (await waiting).status_code == 410


async def test_a_track_of_another_app_is_as_not_there_as_one_that_never_was() -> None:
    """api.md 4.2: the same answer, at once, whether the other app's session and track exist or not."""
    node = Node()
    async with await node.add_app() as theirs, await node.add_app() as ours:
        publisher, session = await publish(theirs, ["t"]), await new_session(ours)
        bodies = [pull_of(publisher, ["t"]), pull_of(publisher, ["u"]), pull_of("0" * 32, ["t"])]
        async with asyncio.timeout(5):  # no wait: there would be one of a minute
            items = [
                (await ours.post(f"/{session}/tracks/new", json=body)).json()["tracks"][0] for body in bodies
            ]
        for item in items:
            del item["sessionId"], item["trackName"]
        assert items[0] == items[1] == items[2]
        assert items[0]["errorCode"] == "not_found_track_error"
        body = {"tracks": [{"location": "remote", "sessionId": publisher, "trackName": "t", "mid": "0"}]}
        response = await ours.put(f"/{session}/tracks/update", json=body)
        assert response.json()["tracks"][0]["errorCode"] == "update_track_error"


@pytest.mark.parametrize("path", ["", "/tracks/new", "/renegotiate", "/tracks/close", "/tracks/update"])
async def test_a_session_of_another_app_is_answered_as_one_that_never_was(path: str) -> None:
    """api.md 4.2"""
    node = Node()
    async with await node.add_app() as theirs, await node.add_app() as ours:
        session = await new_session(theirs)
        offer = {"type": "offer", "sdp": ""}
        track = {"location": "local", "mid": "0", "trackName": "t"}
        body = {"tracks": [track], "force": True, "sessionDescription": offer}
        method = "GET" if not path else "POST" if path == "/tracks/new" else "PUT"
        answers = [
            await ours.request(method, f"/{one}{path}", json=body) for one in (session, "f" * 32, "x", "%00")
        ]
        assert {answer.status_code for answer in answers} == {410}
        assert len({answer.text for answer in answers}) == 1
        if not path:
            assert (await ours.delete(f"/{session}")).status_code == 410
            assert (await theirs.get(f"/{session}")).status_code == 200


@asynccontextmanager
async def _listening(node: Node) -> AsyncGenerator[int]:
    server = uvicorn.Server(uvicorn.Config(node.app, lifespan="off", log_config=None, port=0))
    config = server.config
    config.load()

    def connection() -> asyncio.Protocol:
        state = server.server_state
        return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    listener = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


async def test_a_client_that_hangs_up_while_it_waits_blocks_its_session_no_longer_than_the_wait() -> None:
    node = Node(media_wait_s=0.3)
    async with await node.add_app() as api, _listening(node) as port:
        publisher, session = await publish(api, ["t"]), await new_session(api)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps(pull_of(publisher, ["t"])).encode()
        head = (
            f"POST {api.base_url.path}{session}/tracks/new HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {api.headers['authorization']}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await settled(node, 1)
        writer.close()
        await settled(node, 0)
        other = {"tracks": [{"location": "local", "trackName": "mine", "kind": "audio"}]}
        async with asyncio.timeout(5):
            while (await api.post(f"/{session}/tracks/new", json=other)).status_code == 406:
                pass
        record = await node.directory.get_session(SessionId(session))
        assert record is not None
        assert [track.name for track in record.publications] == ["mine"]
