"""TCP allocations of the whole server on loopback (RFC 6062)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sfu.net.address import Address
from sfu.wire import turn as wire
from sfu.wire.turn import Method, TurnAttribute
from tests.turn.rest import SECRET
from tests.turn.tcp_client import TcpClient, TcpPeer, code_of, ends, until
from tests.turn.test_node import KEY, config
from turn.credentials import Keys
from turn.node import TurnNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turn.credentials import Minted

BOTH = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
RESET = b"\1\0\0\0\0\0\0\0"  # struct linger


def started(**settings: str | list[str]) -> TurnNode:
    values: dict[str, str | list[str]] = {
        "tls": ["127.0.0.1:0"],
        "certificate": "self-made",
        "tcp_relay": "true",
        **settings,
    }
    node = TurnNode(config(**values), keys=Keys({KEY: (SECRET.encode(),)}))
    node.start()
    return node


@pytest.fixture
async def node() -> AsyncIterator[TurnNode]:
    node = started()
    yield node
    node.stop()


def minted(node: TurnNode) -> Minted:
    return node.credentials.mint(KEY, 600, "", time.time())


async def allocated(node: TurnNode, *, tls: bool = False) -> TcpClient:
    client = await TcpClient.open(node, minted(node), tls=tls)
    return await client.allocate()


async def permitted(node: TurnNode, *, tls: bool = False) -> TcpClient:
    """A client whose peers at 127.0.0.1 may connect."""
    client = await allocated(node, tls=tls)
    answer = await client.ask(Method.CREATE_PERMISSION, Address("127.0.0.1", 9))
    assert code_of(answer) == 200
    return client


async def opened(at: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(at.host, at.port)


async def turned_away(at: Address) -> bool:
    """Whether a peer that connects is closed, at once or with what it is told."""
    try:
        reader, writer = await opened(at)
    except ConnectionResetError:
        return True
    closed = await ends(reader)
    writer.close()
    return closed


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


# data


@BOTH
async def test_a_client_connects_to_a_peer_and_bytes_pass_both_ways(node: TurnNode, tls: bool) -> None:
    async with TcpPeer(echoes=True) as peer:
        client = await allocated(node, tls=tls)
        data = await client.bind(await client.connect(peer.address))
        for size in (1, 1000, 300_000):
            said = os.urandom(size)
            data.writer.write(said)
            assert await data.read(size) == said
        client.close()
        assert await data.ends()
        data.close()


@BOTH
async def test_a_peer_connects_and_what_it_said_before_is_kept(node: TurnNode, tls: bool) -> None:
    client = await permitted(node, tls=tls)
    reader, writer = await opened(client.relayed[0])
    writer.write(b"early ")
    connection = await client.attempt()
    writer.write(b"still early ")
    await writer.drain()
    data = await client.bind(connection)
    writer.write(b"late")
    assert await data.read(22) == b"early still early late"
    data.writer.write(b"heard")
    assert await reader.readexactly(5) == b"heard"
    data.close()
    assert await ends(reader)
    writer.close()
    client.close()


async def test_the_peer_sees_the_relayed_address(node: TurnNode) -> None:
    async with TcpPeer() as peer, TcpPeer() as other:
        client = await permitted(node)
        for each in (peer, other):
            await client.connect(each.address)
            _, writer = await each.next()
            assert Address(*writer.get_extra_info("peername")) == client.relayed[0]
            writer.close()
        _, arrived = await opened(client.relayed[0])
        await client.attempt()
        arrived.close()
        client.close()


async def test_two_clients_meet_at_their_relayed_addresses(node: TurnNode) -> None:
    one, other = await permitted(node), await permitted(node)
    there = await one.bind(await one.connect(other.relayed[0]))
    back = await other.bind(await other.attempt())
    there.writer.write(b"hello")
    assert await back.read(5) == b"hello"
    back.writer.write(b"and back")
    assert await there.read(8) == b"and back"
    for each in (there, back, one, other):
        each.close()


async def test_ipv6_and_ipv4_of_one_allocation(node: TurnNode) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    node.stop()
    both = started(relay=["127.0.0.1", "::1"], allow=["127.0.0.1", "::1"])
    client = await TcpClient.open(both, minted(both))
    family = (TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, wire.encode_address_family(2))
    await client.allocate(family)
    for host in ("127.0.0.1", "::1"):
        async with TcpPeer(echoes=True, host=host) as peer:
            data = await client.bind(await client.connect(peer.address))
            data.writer.write(b"hello")
            assert await data.read(5) == b"hello"
            data.close()
    client.close()
    both.stop()


# what does not come about


async def test_a_peer_that_does_not_listen_is_told(node: TurnNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = Address(*closed.getsockname())
    client = await allocated(node)
    assert code_of(await client.ask(Method.CONNECT, nobody)) == 447
    async with TcpPeer(echoes=True) as peer:
        await client.connect(peer.address)
    client.close()


async def test_other_requests_are_answered_while_a_peer_is_connected_to(node: TurnNode) -> None:
    """A listener whose queue is full does not answer."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            sock = waiting.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        client = await allocated(node)
        client.say(Method.CONNECT, Address(*full.getsockname()))
        assert code_of(await client.ask(Method.REFRESH)) == 200
        assert code_of(await client.ask(Method.CONNECT, Address(*full.getsockname()))) == 446
        client.say(Method.REFRESH, (TurnAttribute.LIFETIME, wire.encode_lifetime(0)))
        assert code_of(await client.answer(Method.CONNECT)) == 447
        assert code_of(await client.answer(Method.REFRESH)) == 200
        client.close()


async def test_a_peer_without_a_permission_is_turned_away(node: TurnNode) -> None:
    client = await allocated(node)
    assert await turned_away(client.relayed[0])
    assert code_of(await client.ask(Method.REFRESH)) == 200
    assert client.indications == []
    client.close()


async def test_what_the_client_does_not_take_is_closed_in_time() -> None:
    node = started(bind_timeout="0.2")
    async with TcpPeer() as peer:
        client = await permitted(node)
        await client.connect(peer.address)
        reader, writer = await peer.next()
        assert await ends(reader)
        arrived, arriving = await opened(client.relayed[0])
        late = await client.attempt()
        assert await ends(arrived)
        data = await TcpClient.open(node, client.minted)
        value = (TurnAttribute.CONNECTION_ID, wire.encode_connection_id(late))
        assert code_of(await data.ask(Method.CONNECTION_BIND, value)) == 400
        for each in (writer, arriving, data.writer, client.writer):
            each.close()
    node.stop()


async def test_a_stolen_id_is_of_no_use_and_the_owner_still_has_it(node: TurnNode) -> None:
    async with TcpPeer(echoes=True) as peer:
        client = await allocated(node)
        connection = await client.connect(peer.address)
        value = (TurnAttribute.CONNECTION_ID, wire.encode_connection_id(connection))
        thief = await TcpClient.open(node, minted(node))
        for _ in range(3):
            assert code_of(await thief.ask(Method.CONNECTION_BIND, value)) == 400
        assert code_of(await thief.ask(Method.ALLOCATE, TCP_ASKED)) == 200
        data = await client.bind(connection)
        assert code_of(await thief.ask(Method.CONNECTION_BIND, value)) == 400
        data.writer.write(b"mine")
        assert await data.read(4) == b"mine"
        for each in (thief, data, client):
            each.close()


TCP_ASKED = (TurnAttribute.REQUESTED_TRANSPORT, wire.encode_requested_transport(wire.PROTOCOL_TCP))


# who does not read, or does not stop


async def test_a_peer_that_never_reads_costs_nobody_else_anything(node: TurnNode) -> None:
    async with TcpPeer() as deaf, TcpPeer(echoes=True) as peer:
        client = await allocated(node)
        blocked = await client.bind(await client.connect(deaf.address))
        _, kept = await deaf.next()
        kept.transport.pause_reading()  # type: ignore[attr-defined]
        blocked.writer.write(bytes(64 << 20))
        data = await client.bind(await client.connect(peer.address))
        for _ in range(20):
            data.writer.write(b"ping")
            assert await data.read(4) == b"ping"
        assert node.relay_counters()["spliced_in"] < 32 << 20
        blocked.writer.transport.abort()
        client.close()
        kept.close()
        data.close()


async def test_a_flood_of_peers_is_bounded_and_the_client_still_connects() -> None:
    node = started(peer_connections_pending="3")
    async with TcpPeer(echoes=True) as peer:
        client = await permitted(node)
        held = [await opened(client.relayed[0]) for _ in range(3)]
        assert all(await asyncio.gather(*(turned_away(client.relayed[0]) for _ in range(57))))
        data = await client.bind(await client.connect(peer.address))
        data.writer.write(b"through")
        assert await data.read(7) == b"through"
        assert len(client.indications) == 3
        for _, writer in held:
            writer.close()
        data.close()
        client.close()
    node.stop()


@BOTH
async def test_a_rate_is_kept_and_nothing_is_lost(tls: bool) -> None:
    """As datagrams have it, but by reading less: half a second's worth goes at once."""
    node = started(bits_per_second="1600000")  # 200,000 bytes
    async with TcpPeer(echoes=True) as peer:
        client = await allocated(node, tls=tls)
        data = await client.bind(await client.connect(peer.address))
        said = os.urandom(250_000)
        before = time.monotonic()
        data.writer.write(said)
        assert await data.read(len(said)) == said
        assert time.monotonic() - before > 0.6
        data.close()
        client.close()
    node.stop()


# the end


async def test_revocation_ends_all_connections(node: TurnNode) -> None:
    async with TcpPeer() as peer:
        client = await permitted(node)
        data = await client.bind(await client.connect(peer.address))
        bound, _ = await peer.next()
        pending, writer = await opened(client.relayed[0])
        await client.attempt()
        assert node.revoke(client.minted.username)
        assert await data.ends()
        assert await ends(bound)
        assert await ends(pending)
        with pytest.raises(ConnectionRefusedError):
            await opened(client.relayed[0])
        writer.close()
        data.close()
        client.close()


@BOTH
async def test_the_end_of_the_control_connection_ends_all_connections(node: TurnNode, tls: bool) -> None:
    async with TcpPeer() as peer:
        client = await allocated(node, tls=tls)
        data = await client.bind(await client.connect(peer.address))
        reader, _ = await peer.next()
        client.close()
        assert await ends(reader)
        assert await data.ends()
        await until(lambda: len(node.server) == 0)
        data.close()


@BOTH
async def test_one_side_may_finish_before_the_other(node: TurnNode, tls: bool) -> None:
    """The question ends, and then comes the answer."""
    async with TcpPeer() as peer:
        client = await allocated(node, tls=tls)
        data = await client.bind(await client.connect(peer.address))
        reader, writer = await peer.next()
        writer.write(b"question")
        writer.write_eof()
        assert await data.read(8) == b"question"
        if not tls:  # asyncio closes TLS whole
            assert await data.reader.read() == b""
            data.writer.write(b"answer")
            assert await reader.readexactly(6) == b"answer"
        data.close()
        assert await ends(reader)
        client.close()


async def test_a_connection_of_which_half_is_left_is_closed_in_time() -> None:
    node = started(half_closed_timeout="0.2")
    async with TcpPeer() as peer:
        client = await allocated(node)
        data = await client.bind(await client.connect(peer.address))
        reader, writer = await peer.next()
        writer.write_eof()
        assert await ends(reader)
        assert await data.ends()
        assert node.relay_counters()["end_half_closed"] == 1
        data.close()
        client.close()
    node.stop()


async def test_a_peer_can_be_connected_to_again(node: TurnNode) -> None:
    async with TcpPeer() as peer:
        client = await allocated(node)
        for number in (1, 2, 3):
            data = await client.bind(await client.connect(peer.address))
            _, writer = await peer.next()
            writer.close()  # who closes first has to wait
            assert await data.ends()
            data.close()
            await until(lambda number=number: node.relay_counters()["end_finished"] == number)
        client.close()


async def test_a_server_that_has_stopped_holds_nothing() -> None:
    before = descriptors()
    for _ in range(2):
        node = started()
        async with TcpPeer() as peer, TcpPeer() as other:
            client = await permitted(node)
            data = await client.bind(await client.connect(peer.address))
            await client.connect(other.address)
            _, arriving = await opened(client.relayed[0])
            await client.attempt()
            node.stop()
            assert await data.ends()
            for each in (data.writer, client.writer, arriving):
                each.close()
        del node, client, data, arriving
    await until(lambda: descriptors() <= before)


async def test_fifty_connections_come_and_go_and_leave_nothing(node: TurnNode) -> None:
    client = await permitted(node)
    counters = node.relay_counters
    for number in range(50):
        reader, writer = await opened(client.relayed[0])
        data = await client.bind(await client.attempt())
        if number % 2:
            sock: socket.socket = writer.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
            assert await data.ends()
            data.close()
        else:
            data.close()
            assert await ends(reader)
            writer.close()
        await until(lambda over=number + 1: counters()["end_finished"] + counters()["end_broken"] == over)
    assert counters()["splices"] == 50
    client.close()
