"""Rooms as their members see them, over one node and over two."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from meeting.limits import MeetingLimits, RoomLimits, SocketLimits
from meeting.messages import Join
from tests.meeting.world import Page, World, world

FAST = MeetingLimits(room=RoomLimits(grace_s=0.2), socket=SocketLimits())
BOTH = pytest.mark.parametrize("nodes", [1, 2])


async def two(made: World, nodes: int) -> tuple[dict[str, str], Page, Page]:
    """A host and a guest, each at a node of its own where there are two."""
    room = await made.make()
    ann = await made.join(room, "Ann", host=True)
    ben = await made.join(room, "Ben", nodes - 1)
    await ann.hear_member(ben.id)
    return room, ann, ben


@BOTH
async def test_members_see_each_other_come_and_leave(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        _, ann, ben = await two(made, nodes)
        assert {member["name"] for member in ben.welcome["members"]} == {"Ann", "Ben"}
        await ben.say(type="leave")
        assert await ben.closed() == 1000
        assert (await ann.hear("gone"))["reason"] == "left"


@BOTH
async def test_what_members_say_of_themselves_reaches_the_others(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        _, ann, ben = await two(made, nodes)
        session = await ben.new_session()
        tracks = [{"name": "camera-1", "source": "camera", "simulcast": True}]
        for message in (
            {"type": "media", "microphone": True, "camera": True},
            {"type": "publish", "sessionId": session, "tracks": tracks},
            {"type": "rename", "name": "Benjamin"},
            {"type": "hand", "raised": True},
        ):
            assert (await ben.ask(**message))["type"] == "done"
        news = await ann.hear_member(ben.id, name="Benjamin")
        while news["hand"] is None:
            news = await ann.hear_member(ben.id)
        assert (news["microphone"], news["sessionId"], news["tracks"]) == (True, session, tracks)


@BOTH
async def test_chat_arrives_and_is_there_for_who_comes_late(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, ann, ben = await two(made, nodes)
        await ben.say(type="say", text="<b>hello</b>")
        (line,) = (await ann.hear("chat"))["entries"]
        assert (line["sender"], line["text"]) == (ben.id, "<b>hello</b>")
        late = await made.join(room, "Cleo", nodes - 1)
        assert [entry["text"] for entry in late.welcome["chat"]] == ["<b>hello</b>"]


@BOTH
async def test_a_reaction_is_seen_in_its_place_alone(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, ann, ben = await two(made, nodes)
        cleo = await made.join(room, "Cleo")
        await ann.hear_member(cleo.id)
        await ann.ask(type="split", names=["One"], assigned={cleo.id: 0})
        await cleo.hear_member(cleo.id, place="1")
        await ben.say(type="react", emoji="heart")
        assert (await ann.hear("reaction"))["member"] == ben.id
        await cleo.say(type="react", emoji="laugh")
        assert (await cleo.hear("reaction"))["member"] == cleo.id  # its own, not Ben's before


@BOTH
async def test_the_loudest_are_told_and_silence_too(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        _, ann, ben = await two(made, nodes)
        await ben.say(type="level", level=20)
        assert (await ann.hear("speakers"))["loudest"] == [{"member": ben.id, "level": 20}]
        await ben.say(type="level", level=127)
        assert (await ann.hear("speakers"))["loudest"] == []


@BOTH
async def test_a_removed_member_is_out_at_once_and_stays_out(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, ann, ben = await two(made, nodes)
        session = await ben.new_session()
        await ann.ask(type="remove", member=ben.id)
        assert await ben.closed() == 4014
        assert (await ben.call("GET", f"/sessions/{session}")).status_code == 401
        assert (await ben.call("POST", "/sessions/new")).status_code == 401
        for _ in range(100):
            if session not in await made.sessions():
                break
            await asyncio.sleep(0.02)
        assert session not in await made.sessions()
        again = await made.page(nodes - 1)
        await again.join(room, "Ben", token=ben.token)
        assert await again.closed() == 4014
        other = await made.page(nodes - 1)
        await other.join(room, "Ben again")
        assert (await other.hear("inLobby"))["type"] == "inLobby"


@BOTH
async def test_a_guest_can_do_nothing_of_a_host(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        _, ann, ben = await two(made, nodes)
        requests: list[dict[str, Any]] = [
            {"type": "entry", "entry": "locked"},
            {"type": "admit"},
            {"type": "deny", "member": ann.id},
            {"type": "remove", "member": ann.id},
            {"type": "mute", "source": "microphone", "member": ann.id},
            {"type": "role", "member": ben.id, "role": "host"},
            {"type": "split", "names": ["One"]},
            {"type": "move", "member": ann.id, "place": "main"},
            {"type": "recall"},
            {"type": "end"},
            {"type": "hand", "raised": False, "member": ann.id},
            {"type": "say", "text": "hear", "scope": "everyone"},
        ]
        for request in requests:
            assert (await ben.ask(**request))["code"] == "notAllowed", request


@BOTH
async def test_a_host_mutes_others(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        _, ann, ben = await two(made, nodes)
        await ann.ask(type="mute", source="microphone")
        assert (await ben.hear("muteAsked"))["source"] == "microphone"


@BOTH
async def test_a_locked_room_lets_nobody_in_and_its_lobby_those_whom_a_host_admits(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, ann, _ben = await two(made, nodes)
        await ann.ask(type="entry", entry="locked")
        cleo = await made.page(nodes - 1)
        await cleo.join(room, "Cleo")
        assert await cleo.closed() == 4012
        await ann.ask(type="entry", entry="lobby")
        pages = [await made.page(nodes - 1) for _ in range(2)]
        for page in pages:
            await page.join(room, "Dan")
            page.id = (await page.hear("inLobby"))["you"]
        waiting = await ann.hear("lobby")
        while len(waiting["waiting"]) < 2:
            waiting = await ann.hear("lobby")
        await ann.ask(type="admit", member=pages[0].id)
        await pages[0].welcomed()
        await ann.ask(type="deny", member=pages[1].id)
        assert await pages[1].closed() == 4013


@BOTH
async def test_who_waits_can_ask_for_nothing(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, ann, _ = await two(made, nodes)
        await ann.ask(type="entry", entry="lobby")
        eve = await made.page(nodes - 1)
        await eve.join(room, "Eve")
        await eve.hear("inLobby")
        await eve.say(type="level", level=1)
        await eve.say(type="react", emoji="party")
        assert (await eve.ask(type="say", text="let me in"))["code"] == "notAllowed"
        await ann.ask(type="say", text="nobody heard that")
        assert (await ann.ask(type="hand", raised=True))["type"] == "done"


@BOTH
async def test_a_meeting_ends_for_all_and_opens_for_its_maker_alone(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, ann, ben = await two(made, nodes)
        await ann.say(type="end")
        assert await ann.closed() == 4015
        assert await ben.closed() == 4015
        late = await made.page(nodes - 1)
        await late.join(room, "Cleo")
        assert await late.closed() == 4015
        await made.join(room, "Ann", host=True)


@BOTH
async def test_breakout_rooms_part_chat_and_bring_it_together(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        _, ann, ben = await two(made, nodes)
        await ann.ask(type="split", names=["One", "Two"], assigned={ben.id: 1})
        await ben.hear_member(ben.id, place="2")
        await ann.say(type="say", text="in main")
        await ann.say(type="say", text="to all", scope="everyone")
        lines = (await ben.hear("chat"))["entries"]
        assert [line["text"] for line in lines] == ["to all"]
        await ann.ask(type="recall")
        await ben.hear_member(ben.id, place="main")
        assert "in main" in [line["text"] for line in (await ben.hear("chat"))["entries"]]


@BOTH
async def test_a_lost_page_is_away_and_has_its_seat_again(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, ann, ben = await two(made, nodes)
        await ben.ask(type="hand", raised=True)
        ben.socket.transport.abort()
        await ann.hear_member(ben.id, away=True)
        back = await made.page(0)  # where it was, or at the other node
        await back.join(room, "Ben", key=None, token=ben.token)
        await back.welcomed()
        assert back.id == ben.id
        assert (await ann.hear_member(ben.id, away=False))["hand"] is not None


@BOTH
async def test_a_second_tab_takes_the_seat_over(nodes: int) -> None:
    async with world(nodes=nodes) as made:
        room, _ann, ben = await two(made, nodes)
        tab = await made.page(0)
        await tab.join(room, "Ben", token=ben.token)
        await tab.welcomed()
        assert await ben.closed() == 4006
        assert tab.id == ben.id
        assert (await tab.ask(type="say", text="me"))["type"] == "done"


@BOTH
async def test_a_seat_is_given_up_after_a_while_and_its_session_with_it(nodes: int) -> None:
    async with world(FAST, nodes=nodes) as made:
        _, ann, ben = await two(made, nodes)
        await ben.new_session()
        ben.socket.transport.abort()
        assert (await ann.hear("gone"))["reason"] == "expired"
        for _ in range(100):
            if not await made.sessions():
                break
            await asyncio.sleep(0.02)
        assert await made.sessions() == set()


async def test_a_room_that_all_have_left_is_open_no_more_and_not_forgotten() -> None:
    async with world(FAST) as made:
        room = await made.make()
        ann = await made.join(room, "Ann", host=True)
        await ann.ask(type="entry", entry="locked")
        await ann.say(type="leave")
        await ann.closed()
        ben = await made.page()
        await ben.join(room, "Ben")
        assert await ben.closed() == 4012


async def test_a_full_room_lets_nobody_in() -> None:
    async with world(MeetingLimits(room=replace(RoomLimits(), members=1))) as made:
        room = await made.make()
        await made.join(room, "Ann")
        ben = await made.page()
        await ben.join(room, "Ben")
        assert await ben.closed() == 4011


async def test_members_who_act_at_the_same_moment_lose_nothing() -> None:
    async with world(nodes=2) as made:
        room = await made.make()
        pages = [await made.join(room, f"Member {number}", number % 2) for number in range(6)]
        answers = await asyncio.gather(
            *(page.ask(type="say", text=f"{at} {line}") for at, page in enumerate(pages) for line in range(1))
        )
        assert {answer["type"] for answer in answers} == {"done"}
        late = await made.join(room, "Late")
        assert sorted(entry["text"] for entry in late.welcome["chat"]) == [f"{at} 0" for at in range(6)]


def test_a_join_shows_no_key_where_it_is_logged() -> None:
    join = Join(version=1, room="a" * 16, name="Ann", key="k3y", host_key="h0st", token="t0ken")
    assert not any(secret in repr(join) for secret in ("k3y", "h0st", "t0ken"))
