"""The WebSocket of a room: one page's connection, from `join` to the close.

    connecting --origin, limits--> accepted --join--> in the hall --> closed with a code of `meeting.messages`

What a page sends is hostile until it is read: its size is bounded by the HTTP server, its form by the schema,
its rate here. What it does not read is bounded too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from prometheus_client import Counter
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect, WebSocketState

from meeting.addresses import address_key
from meeting.hall import Away
from meeting.messages import (
    SUBPROTOCOL,
    VERSION,
    CloseCode,
    Done,
    Join,
    Level,
    MessageError,
    Ping,
    Pong,
    React,
    Refused,
    Rules,
    read,
    write,
)
from meeting.rooms import Refusal, TurnedAway
from sfu.base.log import get_logger
from sfu.base.rates import Rates

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from meeting.hall import Hall
    from meeting.invites import Invites
    from meeting.limits import SocketLimits
    from meeting.messages import ClientMessage
    from meeting.rooms import Connection

_BURST_S: Final = 5.0  # the rate is an average of so long
_ADDRESSES: Final = 10_000  # chosen: addresses whose tries are counted at once
_SILENT_PINGS: Final = 3
_SEND_S: Final = 10.0  # chosen: who takes nothing for so long reads too slowly
_END_S: Final = 2.0  # for what was told and the close frame

log = get_logger("meeting")

_joined = Counter("orchard_meeting_joins_total", "Room sockets by what became of their join", ["outcome"])
_closed = Counter("orchard_meeting_closes_total", "Room sockets closed by the server", ["code"])


def rules_of(limits: SocketLimits) -> Rules:
    """What pages are told of the bounds."""
    return Rules(
        level_every_s=limits.level_every_s,
        ping_every_s=limits.ping_s,
        messages_per_second=limits.messages_per_second,
    )


class RoomSockets:
    """All room sockets of this node, and the making of rooms."""

    def __init__(self, hall: Hall, invites: Invites, limits: SocketLimits) -> None:
        self._hall = hall
        self._invites = invites
        self._limits = limits
        self._open: dict[str, int] = {}  # by address
        self._joins = Rates(limits.joins_per_minute / 60, limits.joins_per_minute, capacity=_ADDRESSES)
        self._makes = Rates(limits.rooms_per_minute / 60, limits.rooms_per_minute, capacity=_ADDRESSES)

    def routes(self) -> list[Route | WebSocketRoute]:
        """The routes below `/api`."""
        return [
            Route("/rooms", self._make, methods=["POST"]),
            WebSocketRoute("/room/socket", self._serve),
        ]

    async def _make(self, request: Request) -> Response:
        key = address_key(request.client.host if request.client else None)
        if not self._makes.allow(key, asyncio.get_running_loop().time()):
            return JSONResponse(
                {
                    "errorCode": "rate_limited",
                    "errorDescription": "Too many rooms were made. Try again later.",
                },
                status_code=429,
                headers={"retry-after": "60"},
            )
        return JSONResponse(self._invites.make().model_dump(by_alias=True), status_code=201)

    async def _serve(self, websocket: WebSocket) -> None:
        key = address_key(websocket.client.host if websocket.client else None)
        refusal = self._refused(websocket, key)
        if refusal is not None:
            await websocket.send_denial_response(refusal)
            return
        self._open[key] = self._open.get(key, 0) + 1
        try:
            await websocket.accept(subprotocol=SUBPROTOCOL)
            await RoomSocket(websocket, self._hall, self._limits).serve()
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def _refused(self, websocket: WebSocket, key: str) -> Response | None:
        if not _same_origin(websocket):
            return PlainTextResponse("Only this site's own page may join.\n", status_code=403)
        if SUBPROTOCOL not in websocket.scope["subprotocols"]:
            return PlainTextResponse(f"The subprotocol is {SUBPROTOCOL}.\n", status_code=400)
        if sum(self._open.values()) >= self._limits.sockets:
            return PlainTextResponse("Too many connections.\n", status_code=503)
        if self._open.get(key, 0) >= self._limits.sockets_per_address or not self._joins.allow(
            key, asyncio.get_running_loop().time()
        ):
            return PlainTextResponse("Too many connections from this address.\n", status_code=429)
        return None


def _same_origin(websocket: WebSocket) -> bool:
    """Whether the page is of this site. A client that is no browser sends no origin."""
    origin = websocket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == websocket.headers.get("host")


class RoomSocket:
    """One connection; a `Guest` of the hall."""

    def __init__(self, websocket: WebSocket, hall: Hall, limits: SocketLimits) -> None:
        self._websocket = websocket
        self._hall = hall
        self._limits = limits
        self._room = ""
        self._connection: Connection | None = None
        self._unsent: asyncio.Queue[str | CloseCode] = asyncio.Queue()
        self.ended: CloseCode | None = None
        """Why the server closes it, if it does."""
        self._rate = Rates(limits.messages_per_second, limits.messages_per_second * _BURST_S, capacity=1)
        self._heard_at = 0.0

    # the hall's side

    def tell(self, text: str) -> None:
        """Send a message, in its turn."""
        if self.ended is not None:
            return
        if self._unsent.qsize() >= self._limits.unsent:
            self.end(CloseCode.SLOW)
            return
        self._unsent.put_nowait(text)

    def end(self, code: CloseCode) -> None:
        """Close, behind what was told."""
        if self.ended is None:
            self.ended = code
            self._unsent.put_nowait(code)

    # the page's side

    async def serve(self) -> None:
        """From the first message to the close."""
        self._heard_at = asyncio.get_running_loop().time()
        sending = asyncio.create_task(self._send_all())
        reading = asyncio.create_task(self._read_all())
        beating = asyncio.create_task(self._beat())
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and self.ended is not None:
                await asyncio.wait((sending,), timeout=_END_S)
        finally:
            for task in (sending, reading, beating):
                task.cancel()
            results = await asyncio.gather(sending, reading, beating, return_exceptions=True)
            await self._gone()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
                raise result

    async def _gone(self) -> None:
        if self.ended is not None:
            _closed.labels(str(int(self.ended))).inc()
            log.info("meeting.socket_closed", code=int(self.ended), reason=self.ended.name.lower())
        if self._connection is not None:
            with contextlib.suppress(Away):  # logged there, and found by the hall when the time passes
                await self._hall.leave(self._room, self._connection)

    async def _send_all(self) -> None:
        while True:
            item = await self._unsent.get()
            try:
                async with asyncio.timeout(_SEND_S):
                    if isinstance(item, CloseCode):
                        await self._close(item)
                        return
                    await self._websocket.send_text(item)
            except TimeoutError:
                self.ended = self.ended or CloseCode.SLOW
                await self._close(CloseCode.SLOW)
                return

    async def _close(self, code: CloseCode) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError):  # the page was faster
                await self._websocket.close(int(code), _REASONS[code])

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._limits.ping_s)
            if loop.time() - self._heard_at >= _SILENT_PINGS * self._limits.ping_s:
                self.end(CloseCode.SILENT)
                return
            self.tell(write(Ping(at=time.time())))

    async def _read_all(self) -> None:
        if not await self._join():
            return
        while self.ended is None:
            message = await self._read()
            if message is None:
                return
            await self._answer(message)

    async def _join(self) -> bool:
        """Whether the page came in, or into the lobby."""
        try:
            async with asyncio.timeout(self._limits.join_s):
                message = await self._read()
        except TimeoutError:
            return self._turn_away(CloseCode.NOT_JOINED)
        if message is None:
            return False
        if not isinstance(message, Join):
            return self._turn_away(CloseCode.MALFORMED)
        if message.version != VERSION:
            return self._turn_away(CloseCode.VERSION)
        self._room = message.room
        try:
            self._connection = await self._hall.enter(message, self)
        except TurnedAway as away:
            return self._turn_away(away.code)
        except Away:
            return self._turn_away(CloseCode.OVERLOAD)
        _joined.labels("ok").inc()
        return True

    def _turn_away(self, code: CloseCode) -> bool:
        _joined.labels(code.name.lower()).inc()
        self.end(code)
        return False

    async def _read(self) -> ClientMessage | None:
        """The next message; None once this is closed."""
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            return None
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        if not self._rate.allow("", loop.time()):
            self.end(CloseCode.FLOODING)
            return None
        text = event.get("text")
        try:
            if text is None:
                raise MessageError("a binary frame")
            return read(text)
        except MessageError as error:
            log.debug("meeting.malformed", reason=str(error))
            self.end(CloseCode.MALFORMED)
            return None

    async def _answer(self, message: ClientMessage) -> None:
        if isinstance(message, Pong):
            return
        if isinstance(message, Join):
            self.end(CloseCode.MALFORMED)
            return
        assert self._connection is not None  # noqa: S101 -- `_join` was first
        request = None if isinstance(message, Level) else message.id
        try:
            if isinstance(message, Level):
                await self._hall.level(self._room, self._connection, message.level)
            elif isinstance(message, React):
                await self._hall.react(self._room, self._connection, message.emoji)
            else:
                await self._hall.ask(self._room, self._connection, message)
        except Refusal as refusal:
            self.tell(write(Refused(id=request, code=refusal.code, text=refusal.text)))
        except Away:
            self.tell(write(Refused(id=request, code="unavailable", text="The room can't be changed now.")))
        else:
            if request is not None:
                self.tell(write(Done(id=request)))


_REASONS: Final[dict[CloseCode, str]] = {
    CloseCode.LEFT: "you left",
    CloseCode.TOO_LARGE: "a message was too large",
    CloseCode.RESTART: "the server restarts",
    CloseCode.OVERLOAD: "the server can't take part in the room now",
    CloseCode.MALFORMED: "what came was no message",
    CloseCode.VERSION: "this page is of another version",
    CloseCode.FLOODING: "too many messages",
    CloseCode.SLOW: "this page reads too slowly",
    CloseCode.SILENT: "nothing came for too long",
    CloseCode.NOT_JOINED: "no join in time",
    CloseCode.REPLACED: "the seat was taken over by another tab",
    CloseCode.WRONG_KEY: "there is no such room, or this is not its key",
    CloseCode.FULL: "the room or its lobby is full",
    CloseCode.LOCKED: "the room is locked",
    CloseCode.DENIED: "a host said no",
    CloseCode.REMOVED: "you were removed",
    CloseCode.ENDED: "the meeting has ended",
    CloseCode.EXPIRED: "nobody let you in for too long",
    CloseCode.TOO_MANY: "too many connections or joins from this address",
}
