"""The session API for members: each for itself, from its own place, and nothing without a seat."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from meeting import members
from meeting.invites import Invites
from meeting.limits import MeetingLimits
from meeting.members import MemberSessions
from meeting.messages import Split
from meeting.rooms import Arrival, Claim, Connection, Room, arrive, ask, new_room, own_session
from meeting.upstream import ProxyLimits, Upstream
from tests.meeting.world import ICE, Page, World, world

A, B = "a" * 16, "b" * 16


def pull(session: Any, name: str = "sessionId") -> dict[str, Any]:
    return {"tracks": [{"location": "remote", name: session, "trackName": "camera-1"}]}


async def pair(made: World) -> tuple[Page, Page, str, str]:
    """Two members of a room with a session each."""
    room = await made.make()
    ann, ben = await made.join(room, "Ann", host=True), await made.join(room, "Ben")
    return ann, ben, await ann.new_session(), await ben.new_session()


async def test_a_member_has_sessions_of_its_own() -> None:
    async with world() as made:
        ann, _, own, _ = await pair(made)
        assert (await ann.call("GET", f"/sessions/{own}")).json()["tracks"] == []


async def test_the_answer_to_a_pull_in_the_own_place_is_the_api_s() -> None:
    async with world() as made:
        ann, _, own, other = await pair(made)
        answer = await ann.call("POST", f"/sessions/{own}/tracks/new", pull(other))
        assert answer.status_code != 403
        assert "not_found" in answer.text  # Ben publishes nothing


@pytest.mark.parametrize("token", ["none", "x", "x.y", "a" * 5000])
async def test_without_a_token_there_is_nothing(token: str) -> None:
    async with world() as made:
        ann, _, own, _ = await pair(made)
        for method, path in (
            ("POST", "/sessions/new"),
            ("GET", f"/sessions/{own}"),
            ("POST", "/generate-ice-servers"),
        ):
            assert (await ann.call(method, path, token=token)).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", "/tracks/new"),
        ("PUT", "/renegotiate"),
        ("PUT", "/tracks/close"),
        ("PUT", "/tracks/update"),
    ],
)
async def test_a_member_does_nothing_with_another_s_session(method: str, path: str) -> None:
    async with world() as made:
        ann, _, _, other = await pair(made)
        answer = await ann.call(method, f"/sessions/{other}{path}", {"tracks": []} if path else None)
        assert (answer.status_code, answer.json()["errorCode"]) == (403, "unauthorized")


@pytest.mark.parametrize("spelled", ["sessionId", "session_id", "SESSIONID", "SessionId"])
async def test_a_member_pulls_nothing_from_another_room_however_it_is_spelled(spelled: str) -> None:
    async with world() as made:
        ann, _, own, _ = await pair(made)
        _, _, foreign, _ = await pair(made)
        for operation in ("POST", "tracks/new"), ("PUT", "tracks/update"):
            answer = await ann.call(operation[0], f"/sessions/{own}/{operation[1]}", pull(foreign, spelled))
            assert answer.status_code == 403


@pytest.mark.parametrize("named", [7, ["x"], {"a": 1}, "", True])
async def test_a_session_that_is_none_is_not_pulled(named: Any) -> None:
    async with world() as made:
        ann, _, own, _ = await pair(made)
        assert (await ann.call("POST", f"/sessions/{own}/tracks/new", pull(named))).status_code == 403


async def test_a_member_pulls_nothing_from_another_breakout_room() -> None:
    async with world() as made:
        ann, ben, own, other = await pair(made)
        await ann.ask(type="split", names=["One"], assigned={ben.id: 0})
        assert (await ann.call("POST", f"/sessions/{own}/tracks/new", pull(other))).status_code == 403
        await ann.ask(type="recall")
        assert (await ann.call("POST", f"/sessions/{own}/tracks/new", pull(other))).status_code != 403


async def test_a_third_session_ends_the_first() -> None:
    async with world() as made:
        ann, _, first, _ = await pair(made)
        await ann.new_session()
        await ann.new_session()
        assert (await ann.call("GET", f"/sessions/{first}")).status_code == 403
        await gone(made, first)


async def test_who_leaves_keeps_no_session() -> None:
    async with world() as made:
        _, ben, _, other = await pair(made)
        await ben.say(type="leave")
        await ben.closed()
        await gone(made, other)
        assert (await ben.call("POST", "/sessions/new")).status_code == 401


async def test_a_member_gets_turn_credentials() -> None:
    async with world() as made:
        ann, *_ = await pair(made)
        for method in ("GET", "POST"):
            assert (await ann.call(method, "/generate-ice-servers")).json() == {"iceServers": ICE}


async def test_calls_of_a_member_are_bounded_in_rate() -> None:
    async with world(MeetingLimits(calls_per_second=1)) as made:
        ann, ben, own, _ = await pair(made)
        codes = [(await ann.call("GET", f"/sessions/{own}")).status_code for _ in range(6)]
        assert codes[-1] == 429
        assert (await ben.call("GET", "/generate-ice-servers")).status_code == 201


async def test_a_page_of_another_site_can_ask_for_nothing() -> None:
    async with world() as made:
        ann, *_ = await pair(made)
        headers = {"authorization": f"Bearer {ann.token}", "sec-fetch-site": "cross-site"}
        answer = await made.http.post(f"{made.urls[0]}/api/room/sessions/new", headers=headers)
        assert answer.status_code == 403


async def test_what_is_not_on_the_list_is_not_there() -> None:
    async with world() as made:
        ann, _, own, _ = await pair(made)
        for method, path in (
            ("DELETE", f"/sessions/{own}"),
            ("POST", f"/sessions/{own}/datachannels/new"),
            ("GET", "/sessions"),
            ("POST", f"/sessions/{own}/renegotiate"),
        ):
            assert (await ann.call(method, path)).status_code in (404, 405)


async def gone(made: World, session: str) -> None:
    async with asyncio.timeout(10):
        while session in await made.sessions():  # noqa: ASYNC110 -- another task's work
            await asyncio.sleep(0.01)


class Api:
    """A session API that holds pulls, and a room whose two members pull from each other."""

    def __init__(self) -> None:
        self.pulls = {"s-a": {"0": "s-b"}, "s-b": {"0": "s-a", "1": "s-b"}}
        self.fails = 0
        room = new_room("r" * 16, 1.0)
        limits = MeetingLimits().room
        for number, member in enumerate((A, B)):
            connection = Connection(node="n", number=number)
            arrival = Arrival(name=member, connection=connection, new_id=member, keyed=True)
            room, _ = arrive(room, arrival, 1.0, limits)
            room = own_session(room, member, f"s-{member[0]}", limits)
        self.state = room

    async def room(self, room: str) -> Room | None:
        return self.state if room == self.state.id else None

    async def own(self, room: str, member: str, session: str) -> None:
        raise AssertionError((room, member, session))

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.fails:
            self.fails -= 1
            return httpx.Response(503, json={})
        session = request.url.path.split("/sessions/")[1].partition("/")[0]
        held = self.pulls[session]
        if request.method == "GET":
            tracks = [
                {"location": "remote", "mid": mid, "sessionId": of, "trackName": "x", "status": "active"}
                for mid, of in held.items()
            ]
            return httpx.Response(200, json={"tracks": tracks})
        body = json.loads(request.content)
        assert body["force"] is True
        for track in body["tracks"]:
            del held[track["mid"]]
        return httpx.Response(200, json={"tracks": []})


async def parted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_PART_S", 0.0)
    monkeypatch.setattr(members, "_AGAIN_S", 0.0)
    client = httpx.AsyncClient(transport=httpx.MockTransport(api.answer), base_url="http://api")
    upstream = Upstream(client, "app", "secret", ProxyLimits())
    sessions = MemberSessions(upstream, Invites(b"k", token_life_s=60), lambda _: [], calls_per_second=9)
    sessions.rooms = api
    sessions.part("r" * 16, [A, B])
    await sessions.idle()
    await client.aclose()


async def test_pulls_across_places_end_whatever_the_pages_do(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.state = ask(api.state, A, Split(names=("One",), assigned={B: 0}), 2.0, MeetingLimits().room)
    await parted(api, monkeypatch)
    assert api.pulls == {"s-a": {}, "s-b": {"1": "s-b"}}


async def test_pulls_within_a_place_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    before = {session: dict(held) for session, held in api.pulls.items()}
    await parted(api, monkeypatch)
    assert api.pulls == before


async def test_an_api_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.state = ask(api.state, A, Split(names=("One",), assigned={B: 0}), 2.0, MeetingLimits().room)
    api.fails = 2
    await parted(api, monkeypatch)
    assert api.pulls["s-a"] == {}


def test_a_token_of_another_room_is_another_claim() -> None:
    invites = Invites(b"k", token_life_s=60)
    claim = Claim(room="r" * 16, member=A, host=False, issued_at=1.0)
    assert invites.claim(invites.token(claim), 2.0) == claim
    assert Invites(b"other", token_life_s=60).claim(invites.token(claim), 2.0) is None
    assert invites.claim(invites.token(replace(claim, issued_at=-60.0)), 2.0) is None
