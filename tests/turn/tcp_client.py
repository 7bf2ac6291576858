"""A client of TCP allocations over asyncio's streams (RFC 6062), and peers of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

from sfu.net.address import Address, packed_host, unpacked_host
from sfu.wire import stun
from sfu.wire import turn as wire
from sfu.wire.stun import Attribute, Message, MessageClass, PasswordAlgorithm
from sfu.wire.turn import Framer, Method, TurnAttribute
from tests.turn.stream_lab import trusting

if TYPE_CHECKING:
    from collections.abc import Callable

    from turn.credentials import Minted
    from turn.node import TurnNode

WAIT_S = 10.0
TCP = (TurnAttribute.REQUESTED_TRANSPORT, wire.encode_requested_transport(wire.PROTOCOL_TCP))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class TcpClient:
    """One connection to the server, on which requests are signed; after `bind` it carries data."""

    def __init__(
        self,
        node: TurnNode,
        minted: Minted,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tls: bool,
    ) -> None:
        self.node, self.minted, self.tls = node, minted, tls
        self.reader, self.writer = reader, writer
        self.relayed: list[Address] = []
        self.indications: list[Message] = []
        self._framer = Framer(1 << 17)
        self._named: list[tuple[int, bytes]] = []

    @classmethod
    async def open(cls, node: TurnNode, minted: Minted, *, tls: bool = False) -> TcpClient:
        """Connect."""
        listen = (node.tls_listens if tls else node.tcp_listens)[0]
        context = trusting() if tls else None
        return cls(
            node, minted, *await asyncio.open_connection("127.0.0.1", listen.port, ssl=context), tls=tls
        )

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    async def message(self) -> Message:
        """The next message."""
        async with asyncio.timeout(WAIT_S):
            while (data := self._framer.take()) is None:
                read = await self.reader.read(65536)
                if not read:
                    raise ConnectionResetError
                self._framer.feed(read)
        return stun.parse(data)

    async def ask(self, method: int, *attributes: tuple[int, bytes] | Address) -> Message:
        """A signed request and its answer; addresses are XOR-PEER-ADDRESS."""
        self.say(method, *attributes)
        answer = await self.answer(method)
        if code_of(answer) in (401, 438) and answer.get(Attribute.NONCE):
            self._named = [
                (Attribute.USERNAME, self.minted.username.encode()),
                (Attribute.REALM, answer.get(Attribute.REALM) or b""),
                (Attribute.NONCE, answer.get(Attribute.NONCE) or b""),
            ]
            self.say(method, *attributes)
            answer = await self.answer(method)
        return answer

    def say(self, method: int, *attributes: tuple[int, bytes] | Address) -> None:
        """Send a request."""
        transaction = os.urandom(12)
        encoded = [
            (
                TurnAttribute.XOR_PEER_ADDRESS,
                stun.encode_xor_address(packed_host(each.host), each.port, transaction),
            )
            if isinstance(each, Address)
            else each
            for each in attributes
        ]
        key = stun.long_term_key(self.minted.username, "orchard", self.minted.password, PasswordAlgorithm.MD5)
        self.writer.write(
            stun.build(
                method,
                MessageClass.REQUEST,
                transaction,
                [*encoded, *self._named],
                key=key if self._named else None,
            )
        )

    async def answer(self, method: int) -> Message:
        """The next answer; indications before it are kept."""
        while (message := await self.message()).message_class is MessageClass.INDICATION:
            self.indications.append(message)
        assert message.method == method
        return message

    async def allocate(self, *more: tuple[int, bytes]) -> TcpClient:
        """Get a relayed address of TCP."""
        answer = await self.ask(Method.ALLOCATE, TCP, *more)
        assert code_of(answer) == 200, code_of(answer)
        for value in answer.get_all(TurnAttribute.XOR_RELAYED_ADDRESS):
            ip, port = stun.decode_xor_address(value, answer.transaction_id)
            self.relayed.append(Address(unpacked_host(ip), port))
        return self

    async def connect(self, peer: Address) -> int:
        """Connect to a peer; the connection's id."""
        answer = await self.ask(Method.CONNECT, peer)
        assert code_of(answer) == 200, code_of(answer)
        return id_of(answer)

    async def attempt(self) -> int:
        """The id of the next connection that a peer opened."""
        if not self.indications:
            self.indications.append(await self.message())
        message = self.indications.pop(0)
        assert message.method == Method.CONNECTION_ATTEMPT
        return id_of(message)

    async def bind(self, connection: int) -> TcpClient:
        """A new connection, joined to a peer's."""
        data = await TcpClient.open(self.node, self.minted, tls=self.tls)
        value = (TurnAttribute.CONNECTION_ID, wire.encode_connection_id(connection))
        answer = await data.ask(Method.CONNECTION_BIND, value)
        assert code_of(answer) == 200, code_of(answer)
        return data

    # data

    async def read(self, size: int) -> bytes:
        """So much data."""
        got = self._framer.rest()
        async with asyncio.timeout(WAIT_S):
            return got + await self.reader.readexactly(size - len(got))

    async def ends(self) -> bool:
        """Whether the server closes the connection."""
        return await ends(self.reader)


class TcpPeer:
    """A peer that listens, and says back what it hears if it `echoes`."""

    def __init__(self, *, echoes: bool = False, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.address = Address(*self.socket.getsockname()[:2])
        self.accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._echoes = echoes
        self._server: asyncio.Server

    async def __aenter__(self) -> TcpPeer:
        self._server = await asyncio.start_server(self._connected, sock=self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        while not self.accepted.empty():
            self.accepted.get_nowait()[1].close()

    async def next(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The next connection."""
        async with asyncio.timeout(WAIT_S):
            return await self.accepted.get()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._echoes:
            self.accepted.put_nowait((reader, writer))
            return
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


async def ends(reader: asyncio.StreamReader) -> bool:
    """Whether the other side closes the connection."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(WAIT_S):
            while await reader.read(65536):
                pass
    return True


def code_of(answer: Message) -> int:
    """The code of an answer; 200 for a success."""
    if answer.message_class is MessageClass.SUCCESS:
        return 200
    return stun.decode_error_code(answer.get(Attribute.ERROR_CODE) or b"")[0]


def id_of(message: Message) -> int:
    """CONNECTION-ID."""
    return wire.decode_connection_id(message.get(TurnAttribute.CONNECTION_ID) or b"")
