"""Clients behind a proxy that says whose connections it passes on."""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import structlog
from aioice import turn as aioice_turn
from prometheus_client import REGISTRY

from sfu.wire import stun
from sfu.wire.stun import Attribute
from tests.turn.rest import SECRET
from tests.turn.stream_lab import trusting
from tests.turn.test_node import KEY, Heard, config, echo
from tests.turn.test_tcp import BINDING, ends, until
from turn.credentials import Keys
from turn.node import TurnError, TurnNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sfu.base.settings import Listen

CLIENT = "198.51.100.7"
SERVER = "203.0.113.1"


def header(client: str = CLIENT, port: int = 50000) -> bytes:
    """What a proxy says of a client's connection to the server's port 443."""
    ends = ip_address(client).packed + ip_address(SERVER if ":" not in client else "2001:db8::1").packed
    block = ends + struct.pack("!HH", port, 443)
    kind = 0x11 if len(block) == 12 else 0x21
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, kind, len(block)) + block


CHECK = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
"""What a proxy says of a connection of its own."""


def started(**settings: str | list[str]) -> TurnNode:
    values: dict[str, str | list[str]] = {
        "tls": ["127.0.0.1:0"],
        "tcp_proxied": ["127.0.0.1:0"],
        "tls_proxied": ["127.0.0.1:0"],
        "proxies": ["127.0.0.1"],
        "certificate": "self-made",
    }
    node = TurnNode(config(**{**values, **settings}), keys=Keys({KEY: (SECRET.encode(),)}))
    node.start()
    return node


@pytest.fixture
async def node() -> AsyncIterator[TurnNode]:
    node = started()
    yield node
    node.stop()


class Proxy:
    """Passes connections on, each with a header that names another port of the client."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._port = 50000
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return "127.0.0.1", self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind = await asyncio.open_connection(*self._target)
        self._port += 1
        behind.write(header(port=self._port))
        for source, sink in ((reader, behind), (behind_reader, writer)):
            task = asyncio.create_task(pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def at(listens: list[Listen]) -> tuple[str, int]:
    return "127.0.0.1", listens[0].port


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("orchard_turn_proxy_refused_total", {"reason": reason}) or 0.0


def strangers_refused() -> float:
    return REGISTRY.get_sample_value("orchard_turn_refused_total", {"limit": "strangers"}) or 0.0


async def mapped(where: tuple[str, int], first: bytes) -> tuple[bytes, int]:
    """What a client is told to be its address, whose proxy says `first`."""
    reader, writer = await asyncio.open_connection(*where)
    writer.write(first + BINDING)
    async with asyncio.timeout(5):
        answer = await reader.readexactly(20)
        answer += await reader.readexactly(int.from_bytes(answer[2:4], "big"))
    writer.close()
    message = stun.parse(answer)
    value = message.get(Attribute.XOR_MAPPED_ADDRESS)
    assert value is not None
    return stun.decode_xor_address(value, message.transaction_id)


async def is_answered(reader: asyncio.StreamReader) -> bool:
    """Whether there is an answer; else the connection is closed."""
    try:
        async with asyncio.timeout(5):
            return bool(await reader.read(64))
    except ConnectionError:
        return False


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_aioice_reaches_a_peer_through_a_proxy_and_is_known_by_its_own_address(
    node: TurnNode, tls: bool
) -> None:
    proxy = Proxy(at(node.tls_proxied_listens if tls else node.tcp_proxied_listens))
    minted = node.credentials.mint(KEY, 600, "", time.time())
    peer, address = await echo()
    with structlog.testing.capture_logs() as logged:
        client, heard = await aioice_turn.create_turn_endpoint(
            Heard,
            server_addr=await proxy.start(),
            username=minted.username,
            password=minted.password,
            transport="tcp",
            ssl=trusting() if tls else False,
        )
        for number in range(20):
            client.sendto(b"%d" % number, address)
            assert await asyncio.wait_for(heard.heard.get(), 5) == b"%d" % number
        client.close()
        await until(lambda: len(node.server) == 0)
    assert {entry["client"] for entry in logged if "client" in entry} == {f"{CLIENT}:50001"}
    await proxy.stop()
    peer.close()


async def test_the_address_that_a_proxy_names_is_the_clients(node: TurnNode) -> None:
    where = at(node.tcp_proxied_listens)
    assert await mapped(where, header()) == (ip_address(CLIENT).packed, 50000)
    assert await mapped(where, header("2001:db8::7", 7)) == (ip_address("2001:db8::7").packed, 7)
    assert await mapped(where, header(f"::ffff:{CLIENT}")) == (ip_address(CLIENT).packed, 50000)


async def test_a_proxys_own_connection_is_a_client_of_its_own(node: TurnNode) -> None:
    assert (await mapped(at(node.tcp_proxied_listens), CHECK))[0] == ip_address("127.0.0.1").packed


async def test_a_header_may_come_in_pieces_and_what_follows_it_with_the_last(node: TurnNode) -> None:
    reader, writer = await asyncio.open_connection(*at(node.tcp_proxied_listens))
    writer.transport.set_write_buffer_limits(0)
    said = header()
    for place in range(len(said) - 1):
        writer.write(said[place : place + 1])
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(said[-1:] + BINDING)
    assert stun.parse(await asyncio.wait_for(reader.readexactly(32), 5)).transaction_id == BINDING[8:20]
    writer.close()


async def test_a_tls_handshake_may_follow_in_the_packet_of_the_header(node: TurnNode) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting().wrap_bio(incoming, outgoing)
    reader, writer = await asyncio.open_connection(*at(node.tls_proxied_listens))
    first = header()
    async with asyncio.timeout(5):
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(first + outgoing.read())
                first = b""
                incoming.write(await reader.read(65536))
    assert tls.version() == "TLSv1.3"
    writer.close()


async def test_limits_of_an_address_are_those_of_the_client_behind_the_proxy() -> None:
    node = started(strangers_per_address="2")
    where = at(node.tcp_proxied_listens)
    held = [await asyncio.open_connection(*where) for _ in range(3)]
    for number, (_, writer) in enumerate(held):
        writer.write(header(port=50000 + number) + BINDING)
    assert sorted([await is_answered(reader) for reader, _ in held]) == [False, True, True]
    assert (await mapped(where, header("198.51.100.8")))[0] == ip_address("198.51.100.8").packed
    for _, writer in held:
        writer.close()
    node.stop()


async def test_nobody_but_a_known_proxy_is_heard_at_its_port() -> None:
    node = started(proxies=["192.0.2.0/24"])
    before = refused("untrusted")
    reader, writer = await asyncio.open_connection(*at(node.tcp_proxied_listens))
    assert await ends(reader)
    assert refused("untrusted") == before + 1
    writer.close()
    node.stop()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (BINDING, "no_header"),
        (b"\x16\x03\x01\x02\x00", "no_header"),
        (b"PROXY TCP4 198.51.100.7 203.0.113.1 50000 443\r\n", "no_header"),
        (header()[:12] + b"\x31", "malformed"),
        (header()[:13] + b"\x31\x00\xd8" + bytes(216), "malformed"),
        (header()[:14] + b"\xff\xff", "too_long"),
        (header()[:14] + b"\x00\x14" + header()[16:] + b"\x03\x00\x05guess", "malformed"),
        (header()[:14] + b"\x00\x13" + header()[16:] + b"\x03\x00\x04bad!", "checksum"),
    ],
)
async def test_what_is_no_header_where_one_is_due_is_closed_and_counted(
    node: TurnNode, said: bytes, reason: str
) -> None:
    before = refused(reason)
    reader, writer = await asyncio.open_connection(*at(node.tcp_proxied_listens))
    writer.write(said)
    assert await ends(reader)
    assert refused(reason) == before + 1
    assert node.relay_counters()["streams_opened"] == 0
    writer.close()


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_header_where_none_is_due_is_garbage(node: TurnNode, tls: bool) -> None:
    reader, writer = await asyncio.open_connection(*at(node.tls_listens if tls else node.tcp_listens))
    writer.write(header() + BINDING)
    assert await ends(reader)
    counters = node.relay_counters()
    assert counters["end_handshake" if tls else "end_garbage"] == 1
    writer.close()


@pytest.mark.parametrize("said", [b"", header()[:20]], ids=["silent", "half"])
async def test_a_proxy_that_does_not_say_whose_a_connection_is_loses_it(said: bytes) -> None:
    node = started(proxy_timeout="0.3", message_timeout="600", handshake_timeout="600")
    before = refused("time")
    reader, writer = await asyncio.open_connection(*at(node.tls_proxied_listens))
    writer.write(said)
    assert await ends(reader)
    assert refused("time") == before + 1
    writer.close()
    node.stop()


async def test_connections_without_a_client_count_as_strangers_until_they_go() -> None:
    node = started(strangers="2")
    where = at(node.tcp_proxied_listens)
    held = [await asyncio.open_connection(*where) for _ in range(2)]
    refused_before, closed_before = strangers_refused(), refused("closed")
    reader, writer = await asyncio.open_connection(*where)
    assert await ends(reader)
    assert strangers_refused() == refused_before + 1
    for _, other in held:
        other.close()
    await until(lambda: refused("closed") == closed_before + 2)
    assert await mapped(where, header()) == (ip_address(CLIENT).packed, 50000)
    writer.close()
    node.stop()


async def test_a_server_that_stops_closes_what_waits() -> None:
    node = started()
    reader, writer = await asyncio.open_connection(*at(node.tcp_proxied_listens))
    writer.write(header()[:5])
    reader_of_another, another = await asyncio.open_connection(*at(node.tcp_listens))
    another.write(BINDING)  # answered behind the first one's acceptance
    await asyncio.wait_for(reader_of_another.readexactly(32), 5)
    node.stop()
    assert await ends(reader)
    writer.close()
    another.close()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"tcp_proxied": ["127.0.0.1:0"]}, "turn-proxies"),
        ({"proxies": ["127.0.0.1"]}, "turn-tcp-proxied"),
        ({"tls_proxied": ["127.0.0.1:0"], "proxies": ["127.0.0.1"]}, "turn-certificate"),
    ],
)
async def test_settings_of_proxies_that_do_not_fit_are_told(
    settings: dict[str, str | list[str]], wanted: str
) -> None:
    with pytest.raises(TurnError, match=wanted):
        TurnNode(config(**settings)).start()
