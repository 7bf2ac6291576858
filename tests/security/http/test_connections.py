"""What strangers may do to a listener without a secret: nothing that lasts."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from sfu.api.connections import ConnectionLimits, bounded_connections

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

LIMITS = ConnectionLimits(connections=3, head_bytes=4096, head_timeout_s=0.3, keep_alive_s=0.4)
ROOM = ConnectionLimits()
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def _app(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    body = str(size).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def _serving(limits: ConnectionLimits) -> AsyncGenerator[int]:
    """The port of a listener on loopback."""
    config = uvicorn.Config(_app, lifespan="off", log_config=None, http=bounded_connections(limits))
    config.load()
    state = uvicorn.Server(config).server_state

    def connection() -> asyncio.Protocol:
        return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class _Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.sent = 0

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)

    async def go_on(self, data: bytes) -> None:
        """Send it until the other end has enough."""
        while not self._writer.is_closing():
            self.send(data)
            self.sent += len(data)
            await asyncio.sleep(0)

    async def answer(self) -> bytes:
        """What comes until the other end closes, b"" if it just closes."""
        try:
            async with asyncio.timeout(5):
                return await self._reader.read()
        except ConnectionError:
            return b""

    async def one_answer(self) -> bytes:
        """A status line with headers and a body of one byte."""
        async with asyncio.timeout(5):
            return await self._reader.readuntil(b"\r\n\r\n") + await self._reader.read(1)

    async def head(self) -> bytes:
        """A status line with headers."""
        async with asyncio.timeout(5):
            return await self._reader.readuntil(b"\r\n\r\n")

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def _client(port: int) -> AsyncGenerator[_Client]:
    client = _Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /", b"aaaaaa"),
        (b"GET / HTTP/1.1\r\nx: ", b"aaaaaa"),
        (b"GET / HTTP/1.1\r\n", b"x: y\r\n"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"x: y\r\n"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"xxxxxx"),
    ],
    ids=["target", "one header", "many headers", "trailers", "chunk extension"],
)
async def test_a_head_without_end_is_refused(start: bytes, more: bytes) -> None:
    async with _serving(LIMITS) as port, _client(port) as client:
        client.send(start)
        sending = asyncio.create_task(client.go_on(more * 100))
        answer = await client.answer()
        assert not answer or b" 431 " in answer  # what was not read yet costs the client the answer
        sending.cancel()
        assert client.sent < 10_000_000


async def test_a_body_is_no_head() -> None:
    async with _serving(LIMITS) as port, _client(port) as client:
        client.send(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n")
        client.send(b"a" * 300_000)
        assert (await client.answer()).endswith(b"300000")


async def test_a_connection_that_asks_nothing_is_closed() -> None:
    async with _serving(LIMITS) as port, _client(port) as client:
        assert await client.answer() == b""


async def test_a_connection_that_drips_a_head_is_closed() -> None:
    async with _serving(LIMITS) as port, _client(port) as client:

        async def drip() -> None:
            while True:
                client.send(b"x")
                await asyncio.sleep(0.05)

        client.send(b"GET /")
        dripping = asyncio.create_task(drip())
        assert b"200" not in await client.answer()
        dripping.cancel()


async def test_a_connection_may_rest_between_requests_only_so_long() -> None:
    async with _serving(LIMITS) as port, _client(port) as client:
        client.send(GET)
        assert (await client.one_answer()).endswith(b"0")
        client.send(GET)
        assert (await client.one_answer()).endswith(b"0")
        assert await client.answer() == b""


async def test_for_a_connection_past_the_bound_the_longest_idle_one_goes() -> None:
    async with (
        _serving(ConnectionLimits(connections=2)) as port,
        _client(port) as first,
        _client(port) as second,
    ):
        for client in (first, second):
            client.send(GET)
            await client.one_answer()
        first.send(GET)  # now the second has asked nothing for longer
        await first.one_answer()
        async with _client(port) as third:
            third.send(GET)
            assert (await third.one_answer()).endswith(b"0")
            assert await second.answer() == b""
            first.send(GET)
            assert (await first.one_answer()).endswith(b"0")


async def test_connections_with_requests_under_way_are_not_given_up_for_new_ones() -> None:
    async with _serving(ConnectionLimits(connections=1)) as port, _client(port) as busy:
        busy.send(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        assert b" 100 " in await busy.head()  # the request is under way
        async with _client(port) as other:
            assert await other.answer() == b""
        busy.send(b"x")
        assert (await busy.one_answer()).endswith(b"1")


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_two_readers_could_take_differently_is_refused_as_json(request_: bytes) -> None:
    async with _serving(ROOM) as port, _client(port) as client:
        client.send(request_)
        answer = await client.answer()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert b"content-type: application/json" in answer
