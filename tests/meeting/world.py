"""The meeting app as it runs: rooms, proxy and session API behind the real HTTP listener, and its members."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import websockets
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from meeting.app import create_app as create_pages
from meeting.limits import MeetingLimits
from meeting.messages import SUBPROTOCOL, VERSION
from meeting.service import Meeting
from sfu.api.app import beside_pages, create_app
from sfu.api.listener import HTTP_LISTEN, HttpListeners
from sfu.base.settings import Config, Listen
from sfu.directory.apps import new_app
from sfu.directory.documents import MemoryDocuments
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.record import Fingerprint
from sfu.negotiation.requests import Context
from sfu.net.address import Address
from sfu.sessions.service import SessionService
from tests.sfu.api.asgi import client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from websockets.asyncio.client import ClientConnection

DEADLINE_S = 10
ICE = [{"urls": ["turn:192.0.2.1:3478"], "username": "u", "credential": "c"}]


def _store() -> MemoryDocuments:
    return MemoryDocuments(limit=100, limit_bytes=1 << 20)


def _context() -> Context:
    return Context(
        b"x" * 32, [Address("127.0.0.1", 1)], Fingerprint("sha-256", ":".join(["AB"] * 32)), lambda: 7
    )


@dataclass
class World:
    """One or more nodes with one store of rooms; members of all of them."""

    documents: MemoryDocuments = field(default_factory=_store)
    directory: MemoryDirectory = field(default_factory=MemoryDirectory)
    urls: list[str] = field(default_factory=list[str])
    pages: list[Page] = field(default_factory=list["Page"])
    http: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)
    listeners: list[HttpListeners] = field(default_factory=list[HttpListeners])

    async def stop_http(self) -> None:
        """End all listeners, as a server that ends does first."""
        for listeners in self.listeners:
            await listeners.stop()

    async def make(self, node: int = 0) -> dict[str, str]:
        """A new room with its keys."""
        answer = await self.http.post(f"{self.urls[node]}/api/rooms")
        assert answer.status_code == 201
        return answer.json()

    async def page(self, node: int = 0, **options: Any) -> Page:
        """A page that has connected and not joined."""
        url = self.urls[node]
        address = f"ws{url.removeprefix('http')}/api/room/socket"
        options = {"subprotocols": [Subprotocol(SUBPROTOCOL)], "compression": None} | options
        page = Page(await connect(address, **options), url, self.http)
        self.pages.append(page)
        return page

    async def join(self, room: dict[str, str], name: str, node: int = 0, *, host: bool = False) -> Page:
        """A page of somebody who was let in."""
        page = await self.page(node)
        await page.join(room, name, host=host)
        await page.welcomed()
        return page

    async def sessions(self) -> set[str]:
        """All sessions of the API that there are."""
        return {str(record.id) for record in await self.directory.list_sessions()}


class Page:
    """One page: its socket, and its calls with the token of its seat."""

    def __init__(self, socket: ClientConnection, url: str, http: httpx.AsyncClient) -> None:
        self.socket = socket
        self.url = url
        self.http = http
        self.id = ""
        self.token = ""
        self.welcome: dict[str, Any] = {}

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def join(self, room: dict[str, str], name: str, *, host: bool = False, **more: Any) -> None:
        keys = {"key": room["key"]} | ({"hostKey": room["hostKey"]} if host else {})
        said = {"type": "join", "version": VERSION, "room": room["room"], "name": name}
        await self.say(**(said | keys | more))

    async def hear(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of a kind with these fields; what comes before is passed over."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = json.loads(await self.socket.recv())
                if message["type"] == "ping":
                    await self.say(type="pong")
                if message["type"] == kind and fields.items() <= message.items():
                    return message

    async def hear_member(self, member: str, **fields: Any) -> dict[str, Any]:
        """The next news of a member with these fields."""
        while True:
            news = (await self.hear("member"))["member"]
            if news["id"] == member and fields.items() <= news.items():
                return news

    async def welcomed(self) -> None:
        self.welcome = await self.hear("welcome")
        self.id, self.token = self.welcome["you"], self.welcome["token"]

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Ask for something; `done` or `refused`."""
        await self.say(id=7, **message)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                answer = json.loads(await self.socket.recv())
                if answer.get("id") == 7 and answer["type"] in ("done", "refused"):
                    return answer

    async def closed(self) -> int:
        """The code that the server closes the socket with; what comes before is passed over."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as closed:
            return 1006 if closed.rcvd is None else closed.rcvd.code

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> httpx.Response:
        """A call to the session API for members."""
        headers = {"authorization": f"Bearer {self.token if token is None else token}"}
        return await self.http.request(method, f"{self.url}/api/room{path}", json=body, headers=headers)

    async def new_session(self) -> str:
        answer = await self.call("POST", "/sessions/new")
        assert answer.status_code == 201, answer.text
        return answer.json()["sessionId"]


@asynccontextmanager
async def world(limits: MeetingLimits | None = None, *, nodes: int = 1) -> AsyncGenerator[World]:
    """The app with these bounds, running."""
    made = World()
    limits = limits or MeetingLimits()
    async with AsyncExitStack() as stack:
        issued = new_app("meeting", 0.0)
        await made.directory.put_app(issued.app)
        api = create_app(SessionService(made.directory, _context), made.directory, not_ready=lambda: None)
        inside = await stack.enter_async_context(client(api))
        for _ in range(nodes):
            meeting = Meeting(
                inside,
                issued.app.id,
                issued.secret,
                key=b"k" * 32,
                documents=made.documents,
                ice_servers=lambda _member: ICE,
                limits=limits,
            )
            await meeting.start()
            stack.push_async_callback(meeting.stop)
            listeners = HttpListeners(Config({HTTP_LISTEN: Listen("127.0.0.1", 0)}))
            site = beside_pages(api, create_pages(inside, issued.app.id, issued.secret, meeting=meeting))
            message_bytes = limits.socket.message_bytes
            made.urls.append(await listeners.serve_site(site, None, [], message_bytes=message_bytes))
            made.listeners.append(listeners)
        stack.push_async_callback(made.http.aclose)
        stack.push_async_callback(made.stop_http)
        yield made
        for page in made.pages:
            await page.socket.close()


async def refused_connection(made: World, **options: Any) -> int:
    """The HTTP status that a socket is refused with."""
    try:
        await made.page(**options)
    except websockets.InvalidStatus as refused:
        return refused.response.status_code
    raise AssertionError("it was accepted")
