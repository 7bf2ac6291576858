"""The WebSocket of a room: who gets one, what it takes, and why it is closed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any, cast

import pytest
from starlette.websockets import WebSocketState
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from meeting.limits import MeetingLimits, SocketLimits
from meeting.messages import CloseCode
from meeting.socket import RoomSocket
from tests.meeting.world import refused_connection, world

FAST = SocketLimits()


def limits(**bounds: Any) -> MeetingLimits:
    return MeetingLimits(socket=replace(FAST, **bounds))


async def test_a_page_joins_with_the_key_of_its_invite() -> None:
    async with world() as made:
        ann = await made.join(await made.make(), "Ann")
        (member,) = ann.welcome["members"]
        assert (member["name"], member["role"]) == ("Ann", "host")
        assert ann.welcome["rules"]["messagesPerSecond"] == FAST.messages_per_second


@pytest.mark.parametrize("keys", [{"key": "wrong"}, {"key": None}, {"key": None, "token": "made.up"}])
async def test_without_the_key_nobody_comes_in(keys: dict[str, Any]) -> None:
    async with world() as made:
        page = await made.page()
        await page.join(await made.make(), "Eve", **keys)
        assert await page.closed() == 4010
        assert len(made.documents) == 1  # the node's own: nothing is kept of who can't come in


async def test_the_host_key_alone_opens_no_room() -> None:
    async with world() as made:
        room = await made.make()
        page = await made.page()
        await page.join(room | {"key": "wrong"}, "Eve", host=True)
        assert await page.closed() == 4010


async def test_a_page_of_another_site_gets_no_socket() -> None:
    async with world() as made:
        assert await refused_connection(made, origin="https://evil.example") == 403
        assert await refused_connection(made, origin="null") == 403
        own = await made.page(origin=made.urls[0])
        await own.join(await made.make(), "Ann")
        await own.welcomed()


async def test_another_protocol_gets_no_socket() -> None:
    async with world() as made:
        assert await refused_connection(made, subprotocols=[Subprotocol("chat")]) == 400


async def test_an_address_has_so_many_sockets_at_once_and_gets_them_back() -> None:
    async with world(limits(sockets_per_address=2)) as made:
        room = await made.make()
        first = await made.join(room, "Ann")
        await made.join(room, "Ben")
        assert await refused_connection(made) == 429
        await first.say(type="leave")
        assert await first.closed() == 1000
        await first.socket.wait_closed()
        await made.join(room, "Cleo")


async def test_an_address_joins_so_often_in_a_minute() -> None:
    async with world(limits(joins_per_minute=2)) as made:
        for _ in range(2):
            await (await made.page()).socket.close()
        assert await refused_connection(made) == 429


async def test_all_addresses_together_have_so_many_sockets() -> None:
    async with world(limits(sockets=1)) as made:
        await made.page()
        assert await refused_connection(made) == 503


async def test_an_address_makes_so_many_rooms_in_a_minute() -> None:
    async with world(limits(rooms_per_minute=2)) as made:
        await made.make()
        await made.make()
        assert (await made.http.post(f"{made.urls[0]}/api/rooms")).status_code == 429


async def test_who_does_not_join_in_time_is_closed() -> None:
    async with world(limits(join_s=0.1)) as made:
        assert await (await made.page()).closed() == 4005


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"type": "nonsense"}',
        '{"type": "say", "text": "\\u0000"}',
        '{"type": "say", "text": "hi", "more": 1}',
        '{"type": "level", "level": 1e9}',
        '{"type": "level", "level": "5"}',
        '{"type": "remove", "member": "../../x"}',
        '{"type": "join"}',
        '{"type":"say","text":"' + "a" * 2001 + '"}',
        "[" * 5000,
        '{"type": "say", "text": "\\ud800"}',
        b"\x00\x01",
    ],
)
async def test_what_is_no_message_closes_the_socket(text: str | bytes) -> None:
    async with world() as made:
        room = await made.make()
        eve = await made.join(room, "Eve")
        ann = await made.join(room, "Ann")
        await eve.socket.send(text)
        assert await eve.closed() == 4000
        await ann.hear_member(eve.id, away=True)
        assert (await ann.ask(type="say", text="still here"))["type"] == "done"


async def test_another_message_before_join_closes_the_socket() -> None:
    async with world() as made:
        page = await made.page()
        await page.say(type="say", text="hello")
        assert await page.closed() == 4000


async def test_a_second_join_closes_the_socket() -> None:
    async with world() as made:
        room = await made.make()
        page = await made.join(room, "Ann")
        await page.join(room, "Ann")
        assert await page.closed() == 4000


async def test_a_page_of_another_version_is_told_so() -> None:
    async with world() as made:
        page = await made.page()
        await page.join(await made.make(), "Ann", version=999)
        assert await page.closed() == 4001


async def test_a_message_that_is_too_large_closes_the_socket_unread() -> None:
    async with world(limits(message_bytes=4096)) as made:
        page = await made.join(await made.make(), "Eve")
        await page.socket.send("x" * 4097)
        assert await page.closed() == 1009


async def test_fragments_count_together() -> None:
    async with world(limits(message_bytes=4096)) as made:
        page = await made.join(await made.make(), "Eve")
        await page.socket.send(["x" * 3000, "x" * 3000])
        assert await page.closed() == 1009


async def test_endless_empty_fragments_end_the_connection() -> None:
    async with world() as made:
        page = await made.join(await made.make(), "Eve")
        with contextlib.suppress(ConnectionClosed):
            await page.socket.send([""] * 100_000)
        assert await page.closed() == 1006


async def test_a_flood_closes_the_socket_and_no_other() -> None:
    async with world(limits(messages_per_second=10)) as made:
        room = await made.make()
        eve, ann = await made.join(room, "Eve"), await made.join(room, "Ann")
        for _ in range(60):
            await eve.say(type="hand", raised=True)
        assert await eve.closed() == 4002
        assert (await ann.ask(type="say", text="quiet again"))["type"] == "done"


async def test_a_silent_page_is_closed_and_one_that_answers_is_not() -> None:
    async with world(limits(ping_s=0.1)) as made:
        room = await made.make()
        ann, eve = await made.join(room, "Ann"), await made.join(room, "Eve")
        await ann.hear_member(eve.id, away=True)  # `hear` answers pings
        assert await eve.closed() == 4004
        for _ in range(4):
            await ann.hear("ping")


class Reader:
    """A socket of a page that takes nothing."""

    def __init__(self) -> None:
        self.application_state = WebSocketState.CONNECTED
        self.closed: list[int] = []
        self.stuck = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send_text(self, _text: str) -> None:
        self.stuck.set()
        await asyncio.Event().wait()

    async def close(self, code: int, _reason: str) -> None:
        self.closed.append(code)


async def test_a_page_that_reads_nothing_has_so_many_messages_waiting() -> None:
    reader = Reader()
    socket = RoomSocket(cast("Any", reader), cast("Any", None), replace(FAST, unsent=10))
    serving = asyncio.create_task(socket.serve())
    socket.tell("first")
    await reader.stuck.wait()
    for _ in range(11):
        assert socket.ended is None
        socket.tell("more")
    assert socket.ended is CloseCode.SLOW
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_server_that_ends_says_that_it_restarts() -> None:
    async with world() as made:
        page = await made.join(await made.make(), "Ann")
        await made.stop_http()
        assert await page.closed() == 1012
