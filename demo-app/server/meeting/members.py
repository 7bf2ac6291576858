"""The session API for members of a room: each for sessions of its own, pulling from its own place alone.

Who asks shows the token of its seat. Without a seat there is nothing: a token alone, of a member that left or
was removed, is answered 401, and what sessions such a member had are destroyed.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.responses import JSONResponse
from starlette.routing import Route

from meeting.hall import Away
from meeting.rooms import Refusal, may_pull
from meeting.upstream import (
    OPERATIONS,
    SESSION_ID,
    Refused,
    Upstream,
    check_same_origin,
    checked_body,
    copied,
    named_sessions,
    session_id_of,
)
from sfu.base.log import get_logger
from sfu.base.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from starlette.requests import Request
    from starlette.responses import Response

    from meeting.invites import Invites
    from meeting.rooms import Room, Seat

    IceServers = Callable[[str], list[dict[str, Any]]]

_PART_S: Final = 3.0  # chosen: a page closes what it pulled from its old place well within that
_TRIES: Final = 5
_CALLERS: Final = 10_000  # chosen: members whose calls are counted at once
_AGAIN_S: Final = 1.0

log = get_logger("meeting")


class Rooms(Protocol):
    """What is asked of the hall."""

    async def room(self, room: str) -> Room | None:
        """See `Hall.room`."""
        ...

    async def own(self, room: str, member: str, session: str) -> None:
        """See `Hall.own`."""
        ...


class MemberSessions:
    """The sessions of members: routes for their pages, and their end. `stop` it."""

    def __init__(
        self,
        upstream: Upstream,
        invites: Invites,
        ice_servers: IceServers,
        *,
        calls_per_second: int,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._invites = invites
        self._ice_servers = ice_servers
        self._rate = Rates(calls_per_second, 5 * calls_per_second, capacity=_CALLERS)
        self._clock = wall_clock
        self._tasks: set[asyncio.Task[None]] = set()
        self.rooms: Rooms
        """Set before the first request: the hall needs this object too."""

    def routes(self) -> list[Route]:
        """The routes below `/api/room`."""
        operations = [
            Route(f"/sessions/{{session_id}}/{path}", self._answering(self._operate), methods=[method])
            for method, path in OPERATIONS
        ]
        return [
            Route("/sessions/new", self._answering(self._new), methods=["POST"]),
            *operations,
            Route("/sessions/{session_id}", self._answering(self._inspect), methods=["GET"]),
            Route("/generate-ice-servers", self._answering(self._ice), methods=["GET", "POST"]),
        ]

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Until nothing is under way that was put off."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # what the hall asks for

    def close(self, sessions: Collection[str]) -> None:
        """End sessions that belong to nobody any more."""
        for session in sessions:
            self._later(self._destroy(session))

    def part(self, room: str, members: Collection[str]) -> None:
        """End what members pull from another place, once their pages had the time to do so."""
        self._later(self._part(room, list(members)))

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _destroy(self, session: str) -> None:
        for _ in range(_TRIES):
            try:
                answer = await self._upstream.pass_on("DELETE", f"/{session}", b"")
            except Refused as refused:
                log.warning("meeting.session_not_closed", session=session, status=refused.status)
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    return  # closed, or gone already
                log.warning("meeting.session_not_closed", session=session, status=answer.status_code)
            await asyncio.sleep(_AGAIN_S)
        log.error("meeting.session_left_open", session=session)

    async def _part(self, room_id: str, members: list[str]) -> None:
        await asyncio.sleep(_PART_S)
        for member in members:
            for _ in range(_TRIES):
                try:
                    if await self._end_pulls_across(room_id, member):
                        break
                except (Refused, Away) as error:
                    log.warning("meeting.pulls_not_ended", member=member, reason=str(error))
                await asyncio.sleep(_AGAIN_S)

    async def _end_pulls_across(self, room_id: str, member: str) -> bool:
        """Whether nothing is left that a member pulls from another place."""
        room = await self.rooms.room(room_id)
        seat = None if room is None else room.seats.get(member)
        if room is None or seat is None:
            return True  # whose sessions were closed with it
        done = True
        for session in seat.sessions:
            answer = await self._upstream.pass_on("GET", f"/{session}", b"")
            if answer.status_code != 200:
                done = done and answer.status_code < 500
                continue
            across = [
                {"mid": track["mid"]}
                for track in answer.json().get("tracks", ())
                if track.get("location") == "remote"
                and track.get("sessionId") is not None
                and track.get("status") != "inactive"
                and not may_pull(room, member, track["sessionId"])
            ]
            if across:
                body = _written({"tracks": across, "force": True})
                closed = await self._upstream.pass_on("PUT", f"/{session}/tracks/close", body)
                log.info("meeting.pulls_ended", session=session, tracks=len(across))
                done = done and closed.status_code == 200
        return done

    # what pages ask for

    def _answering(
        self, answer: Callable[[Request, Room, Seat], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                check_same_origin(request)
                room, seat = await self._seat(request)
                return await answer(request, room, seat)
            except Refused as refused:
                return refused.response()
            except Refusal as refusal:
                return Refused(401, "unauthorized", refusal.text).response()
            except Away:
                text = "The rooms can't be reached now. Try again soon."
                return Refused(503, "temporarily_unavailable_error", text).response()

        return respond

    async def _seat(self, request: Request) -> tuple[Room, Seat]:
        """Who asks. Raises Refused, Away."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        claim = self._invites.claim(token.strip(), self._clock()) if kind.lower() == "bearer" else None
        if claim is None:
            raise Refused(401, "unauthorized", "This takes the token of a seat in a room.")
        if not self._rate.allow(claim.member, asyncio.get_running_loop().time()):
            raise Refused(429, "rate_limited", "Too many calls. Try again in a moment.")
        room = await self.rooms.room(claim.room)
        seat = None if room is None else room.seats.get(claim.member)
        if room is None or seat is None:
            raise Refused(401, "unauthorized", "You have no seat in this room.")
        return room, seat

    async def _new(self, _request: Request, room: Room, seat: Seat) -> Response:
        answer = await self._upstream.pass_on("POST", "/new", b"")
        session = session_id_of(answer)
        if session is not None:
            try:
                await self.rooms.own(room.id, seat.id, session)
            except BaseException:
                self.close([session])  # the seat is gone, or the page, or the store
                raise
        return copied(answer)

    async def _operate(self, request: Request, room: Room, seat: Seat) -> Response:
        session = _own(request, seat)
        parsed, body = checked_body(await self._upstream.body(request))
        for named in named_sessions(parsed):
            if not (isinstance(named, str) and may_pull(room, seat.id, named)):
                raise Refused(403, "unauthorized", "Only tracks of members in the same place can be pulled.")
        answer = await self._upstream.pass_on(
            request.method, request.url.path.partition("/sessions")[2], body
        )
        if named_sessions(parsed):
            await self._check_still(room.id, seat.id, session, parsed)
        return copied(answer)

    async def _check_still(self, room_id: str, member: str, session: str, parsed: dict[str, Any]) -> None:
        """A pull waits for media: who was moved or whose publisher was, meanwhile, keeps nothing of it."""
        room = await self.rooms.room(room_id)
        if room is None or member not in room.seats:
            self.close([session])
            raise Refused(401, "unauthorized", "You have no seat in this room.")
        if not all(may_pull(room, member, named) for named in named_sessions(parsed)):
            self.part(room_id, [member])

    async def _inspect(self, request: Request, _room: Room, seat: Seat) -> Response:
        return copied(await self._upstream.pass_on("GET", f"/{_own(request, seat)}", b""))

    async def _ice(self, _request: Request, _room: Room, seat: Seat) -> Response:
        return JSONResponse({"iceServers": self._ice_servers(seat.id)}, status_code=201)


def _own(request: Request, seat: Seat) -> str:
    """The session of the path. Raises Refused if it is not one of the member's own."""
    session: str = request.path_params["session_id"]
    if SESSION_ID.fullmatch(session) is None:
        raise Refused(404, "not_found", "This is not a session id.")
    if session not in seat.sessions:
        raise Refused(403, "unauthorized", "This session is not one of yours.")
    return session


def _written(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
