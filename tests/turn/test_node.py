"""The whole server on loopback, with clients that know nothing of it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aioice import turn as aioice_turn

from sfu.base.settings import Config, Listen, load
from sfu.net.address import Address, packed_host
from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass, PasswordAlgorithm
from sfu.wire.turn import Method, TurnAttribute, decode_icmp, encode_requested_transport
from tests.turn.rest import SECRET
from turn.credentials import Keys, Minted
from turn.node import TurnError, TurnNode
from turn.told import Media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "one"


def config(**settings: str | list[str]) -> Config:
    """Settings of `turn`, over those that suit a test on loopback."""
    values: dict[str, str | list[str]] = {
        "turn.udp": ["127.0.0.1:0"],
        "turn.tcp": ["127.0.0.1:0"],
        "turn.relay": ["127.0.0.1"],
        "turn.allow": ["127.0.0.1"],
        "turn.secrets": [SECRET],
        **{f"turn.{name}": value for name, value in settings.items()},
    }
    return load(values, {}, None)


@pytest.fixture
async def node() -> AsyncIterator[TurnNode]:
    node = TurnNode(config(), keys=Keys({KEY: (SECRET.encode(),)}))
    node.start()
    yield node
    node.stop()


def listens(node: TurnNode) -> tuple[str, int]:
    return "127.0.0.1", node.listens[0].port


class Heard(asyncio.DatagramProtocol):
    """A peer that says back what it hears, or a client that waits for what it hears."""

    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.put_nowait(data)
        self.of = addr
        if self.echoes:
            self.transport.sendto(data, addr)


async def echo(port: int = 0) -> tuple[asyncio.DatagramTransport, tuple[str, int]]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Heard(echoes=True), local_addr=("127.0.0.1", port)
    )
    return transport, transport.get_extra_info("sockname")


async def test_aioice_reaches_a_peer_and_hears_it(node: TurnNode) -> None:
    minted = node.credentials.mint(KEY, 600, "", time.time())
    peer, address = await echo()
    client, heard = await aioice_turn.create_turn_endpoint(
        Heard, server_addr=listens(node), username=minted.username, password=minted.password
    )
    for number in range(20):
        client.sendto(b"%d" % number, address)
        assert await asyncio.wait_for(heard.heard.get(), 5) == b"%d" % number
    assert len(node.server) == 1
    client.close()
    async with asyncio.timeout(5):
        while len(node.server):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    peer.close()


async def test_clients_are_heard_on_as_many_ports_as_the_settings_name() -> None:
    node = TurnNode(config(udp=["127.0.0.1:0"] * 40))
    node.start()
    try:
        for port in {listen.port for listen in node.listens}:
            _, heard = await asyncio.get_running_loop().create_datagram_endpoint(
                Heard, remote_addr=("127.0.0.1", port)
            )
            heard.transport.sendto(stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12)))
            answer = stun.parse(await asyncio.wait_for(heard.heard.get(), 5))
            assert answer.message_class is MessageClass.SUCCESS
            heard.transport.close()
        assert len(node.listens) == 40
    finally:
        node.stop()


class RawClient:
    """A client that signs what it is told to, on a blocking socket in a thread."""

    def __init__(self, node: TurnNode, minted: Minted) -> None:
        self.minted = minted
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(5)
        self.sock.connect(listens(node))
        self.named: list[tuple[int, bytes]] = []

    async def ask(self, method: int, *attributes: tuple[int, bytes], transaction: bytes) -> stun.Message:
        self.sock.send(
            stun.build(
                method,
                MessageClass.REQUEST,
                transaction,
                [*attributes, *self.named],
                key=self.key if self.named else None,
            )
        )
        answer = await self.read()
        if not self.named:
            realm, nonce = answer.get(Attribute.REALM), answer.get(Attribute.NONCE)
            assert realm
            assert nonce
            username = self.minted.username.encode()
            self.named = [
                (Attribute.USERNAME, username),
                (Attribute.REALM, realm),
                (Attribute.NONCE, nonce),
            ]
            return await self.ask(method, *attributes, transaction=transaction)
        return answer

    async def read(self) -> stun.Message:
        return stun.parse(await asyncio.to_thread(self.sock.recv, 2048))

    @property
    def key(self) -> bytes:
        return stun.long_term_key(
            self.minted.username, "orchard", self.minted.password, PasswordAlgorithm.MD5
        )

    async def allocate(self) -> stun.Message:
        transport = (TurnAttribute.REQUESTED_TRANSPORT, encode_requested_transport(17))
        return await self.ask(Method.ALLOCATE, transport, transaction=os.urandom(12))

    async def permit(self, host: str, port: int) -> stun.Message:
        transaction = os.urandom(12)
        value = stun.encode_xor_address(packed_host(host), port, transaction)
        return await self.ask(
            Method.CREATE_PERMISSION, (TurnAttribute.XOR_PEER_ADDRESS, value), transaction=transaction
        )


async def test_a_client_with_one_socket_has_an_allocation_at_each_port() -> None:
    node = TurnNode(config(udp=["127.0.0.1:0", "127.0.0.1:0"]), keys=Keys({KEY: (SECRET.encode(),)}))
    node.start()
    client = RawClient(node, node.credentials.mint(KEY, 600, "", time.time()))
    asked = (TurnAttribute.REQUESTED_TRANSPORT, encode_requested_transport(17))
    for number, listen in enumerate(node.listens):
        client.sock.connect(("127.0.0.1", listen.port))
        client.named.clear()
        answer = await client.ask(Method.ALLOCATE, asked, transaction=b"%012d" % number)
        assert answer.message_class is MessageClass.SUCCESS
    assert len(node.server) == 2
    node.stop()
    client.sock.close()


async def test_P6_a_client_is_told_that_nobody_is_at_a_peers_port(node: TurnNode) -> None:
    client = RawClient(node, node.credentials.mint(KEY, 600, "", time.time()))
    await client.allocate()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    await client.permit("127.0.0.1", port)
    transaction = os.urandom(12)
    peer = stun.encode_xor_address(packed_host("127.0.0.1"), port, transaction)
    client.sock.send(
        stun.build(
            Method.SEND,
            MessageClass.INDICATION,
            transaction,
            [(TurnAttribute.XOR_PEER_ADDRESS, peer), (TurnAttribute.DATA, b"anyone?")],
        )
    )
    told = await client.read()
    assert (told.method, told.message_class) == (Method.DATA, MessageClass.INDICATION)
    icmp = decode_icmp(told.get(TurnAttribute.ICMP) or b"")
    assert (icmp.type, icmp.code) == (3, 3)  # port unreachable (RFC 792)
    client.sock.close()


async def test_revocation_ends_a_credential_and_what_was_made_with_it(node: TurnNode) -> None:
    client = RawClient(node, node.credentials.mint(KEY, 600, "", time.time()))
    await client.allocate()
    assert len(node.server) == 1
    assert node.revoke(client.minted.username)
    assert len(node.server) == 0
    answer = await client.ask(Method.REFRESH, transaction=os.urandom(12))
    assert stun.decode_error_code(answer.get(Attribute.ERROR_CODE) or b"")[0] == 401
    assert not node.revoke("nobody of ours")
    client.sock.close()


# behind a NAT, whose address is 127.0.0.9: nothing of the server listens there


TOLD = "127.0.0.9"


async def relayed(node: TurnNode) -> tuple[aioice_turn.TurnTransport, Heard, tuple[str, int]]:
    """A client with an allocation, what it hears, and the address that it is told."""
    minted = node.credentials.mint(KEY, 600, "", time.time())
    client, heard = await aioice_turn.create_turn_endpoint(
        Heard, server_addr=listens(node), username=minted.username, password=minted.password
    )
    return client, heard, client.get_extra_info("sockname")


def behind_nat(own: tuple[Media, ...] = (), **settings: str | list[str]) -> TurnNode:
    values: dict[str, str | list[str]] = {"relay": [f"127.0.0.1={TOLD}"], "allow": [], **settings}
    node = TurnNode(config(**values), media=own, keys=Keys({KEY: (SECRET.encode(),)}))
    node.start()
    return node


async def test_two_clients_meet_behind_a_nat_that_sends_nothing_back() -> None:
    node = behind_nat()
    first, first_heard, first_at = await relayed(node)
    second, second_heard, second_at = await relayed(node)
    assert {first_at[0], second_at[0]} == {TOLD}
    first.sendto(b"opens the way", second_at)
    second.sendto(b"hello", first_at)
    assert await asyncio.wait_for(first_heard.heard.get(), 5) == b"hello"
    first.sendto(b"hello back", second_at)
    while (said := await asyncio.wait_for(second_heard.heard.get(), 5)) != b"hello back":
        assert said == b"opens the way"
    assert {first_heard.of, second_heard.of} == {second_at, first_at}
    first.close()
    second.close()
    node.stop()


@pytest.mark.parametrize("given", [False, True], ids=["its own", "of the settings"])
async def test_media_behind_a_nat_that_sends_nothing_back_is_reached(given: bool) -> None:
    peer, (_, port) = await echo()
    if given:
        node = behind_nat(media=[f"127.0.0.1={TOLD}:{port}"])
        told = (TOLD, port)
    else:
        told = (TOLD, port - 1)
        node = behind_nat((Media(Address(*told), Listen("127.0.0.1", port)),))
    client, heard, _ = await relayed(node)
    client.sendto(b"hello", told)
    assert await asyncio.wait_for(heard.heard.get(), 5) == b"hello"
    assert heard.of == told
    client.close()
    peer.close()
    node.stop()


def _breaks(*_: object) -> None:
    raise RuntimeError("a fault of ours")


async def test_a_message_that_breaks_the_server_costs_nobody_else_an_answer(
    node: TurnNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = RawClient(node, node.credentials.mint(KEY, 600, "", time.time()))
    with monkeypatch.context() as broken, caplog.at_level(logging.CRITICAL):
        broken.setattr(node.server, "receive", _breaks)
        client.sock.send(stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12)))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while node.relay_counters()["control_in"] == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert (await client.allocate()).message_class is MessageClass.SUCCESS
    client.sock.close()


async def test_a_port_that_is_taken_is_passed_over_or_said(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, caplog.at_level(logging.CRITICAL):
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        both = [f"127.0.0.1:{port}", "127.0.0.1:0"]
        node = TurnNode(config(udp=both))
        node.start()
        assert len(node.listens) == 1
        node.stop()
        with pytest.raises(TurnError, match=f"{port}: address in use"):
            TurnNode(config(udp=both, strict_ports="true")).start()
        with pytest.raises(TurnError, match="not one of these ports"):
            TurnNode(config(udp=both[:1])).start()


async def test_a_server_that_has_stopped_holds_nothing() -> None:
    def descriptors() -> int:
        gc.collect()  # a relay's own descriptor goes with it
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(3):
        node = TurnNode(config(), keys=Keys({KEY: (SECRET.encode(),)}))
        node.start()
        client = RawClient(node, node.credentials.mint(KEY, 600, "", time.time()))
        await client.allocate()
        client.sock.close()
        node.stop()
        del client, node
    assert descriptors() == before
