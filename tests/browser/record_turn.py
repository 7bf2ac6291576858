"""Record what Debian's browsers say to a TURN server into tests/fixtures/turn/.

`python -m tests.browser.record_turn` replaces the files of the browsers that are installed. Two peers of one
page exchange a message through relayed addresses that lead to each other alone, so everything but the wire
format and the authentication is as simple as can be.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sfu.net.address import Address
from sfu.wire import stun, turn
from sfu.wire.stun import Attribute, Message, MessageClass
from sfu.wire.turn import Framer, Method, TurnAttribute
from tests.browser.driver import Browser, BrowserName, Driver
from tests.browser.site import pages_site
from turn.auth import Authenticator, Refused
from turn.credentials import Credentials, Keys
from turn.nonce import Nonces

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).parent.parent / "fixtures" / "turn"
BROWSERS: tuple[BrowserName, ...] = ("chromium", "firefox")
TRANSPORTS = ("udp", "tcp")
REALM = "orchard"
KEYS = Keys({"0123456789abcdef0123456789abcdef": (bytes(16),)})
RELAY = bytes((192, 0, 2, 1))

Peer = tuple[bytes, int]


@dataclass(slots=True)
class Client:
    """A client of the recorder, its relayed address and its channels."""

    address: Address
    send: Callable[[bytes], None]
    relayed: Peer
    channels: dict[int, Peer] = field(default_factory=dict[int, Peer])


class Recorder:
    """Says yes to whoever has the password, passes data between clients, and keeps every message it hears."""

    def __init__(self) -> None:
        self.credentials = Credentials(REALM, KEYS)
        self.authenticator = Authenticator(Nonces(bytes(16)), self.credentials)
        self.heard: list[bytes] = []
        self.clients: dict[Address, Client] = {}

    def receive(self, data: bytes, address: Address, send: Callable[[bytes], None]) -> None:
        """A message of a client, to be answered by `send`."""
        self.heard.append(data)
        client = self.clients.get(address)
        if client is None:
            client = Client(address, send, (RELAY, 50000 + len(self.clients)))
            self.clients[address] = client
        if turn.is_channel_data(data[0]):
            channel, payload = turn.parse_channel_data(data)
            self.pass_on(client, client.channels[channel], payload)
            return
        message = stun.parse(data)
        if message.message_class is MessageClass.INDICATION:
            self.pass_on(client, peer_of(message), message.get(TurnAttribute.DATA) or b"")
        else:
            send(self.answer(client, message))

    def answer(self, client: Client, message: Message) -> bytes:
        """The answer to a request."""
        checked = self.authenticator.check(message, client.address, time.time())
        if isinstance(checked, Refused):
            attributes = [
                (Attribute.ERROR_CODE, stun.encode_error_code(checked.code, "")),
                *checked.attributes,
            ]
            return stun.build(
                message.method, MessageClass.ERROR, message.transaction_id, attributes, fingerprint=False
            )
        granted: list[tuple[int, bytes]] = []
        if message.method == Method.ALLOCATE:
            mapped = bytes(map(int, client.address.host.split("."))), client.address.port
            granted = [
                (TurnAttribute.XOR_RELAYED_ADDRESS, encode(client.relayed, message)),
                (Attribute.XOR_MAPPED_ADDRESS, encode(mapped, message)),
                (TurnAttribute.LIFETIME, turn.encode_lifetime(600)),
            ]
        elif message.method == Method.REFRESH:
            granted = [
                (TurnAttribute.LIFETIME, message.get(TurnAttribute.LIFETIME) or turn.encode_lifetime(600))
            ]
        elif message.method == Method.CHANNEL_BIND:
            number = turn.decode_channel_number(message.get(TurnAttribute.CHANNEL_NUMBER) or b"")
            client.channels[number] = peer_of(message)
        return checked.sign(message.method, MessageClass.SUCCESS, message.transaction_id, granted)

    def pass_on(self, client: Client, peer: Peer, payload: bytes) -> None:
        """Data of a client for the relayed address of another."""
        for other in self.clients.values():
            if other.relayed != peer:
                continue
            numbers = [number for number, bound in other.channels.items() if bound == client.relayed]
            if numbers:
                other.send(turn.build_channel_data(numbers[0], payload, padded=True))
                return
            transaction_id = bytes(12)
            xor = stun.encode_xor_address(*client.relayed, transaction_id)
            attributes = [(TurnAttribute.XOR_PEER_ADDRESS, xor), (TurnAttribute.DATA, payload)]
            indication = MessageClass.INDICATION
            other.send(stun.build(Method.DATA, indication, transaction_id, attributes, fingerprint=False))


def peer_of(message: Message) -> Peer:
    """The first XOR-PEER-ADDRESS."""
    value = message.get(TurnAttribute.XOR_PEER_ADDRESS)
    return stun.decode_xor_address(value or b"", message.transaction_id)


def encode(peer: Peer, message: Message) -> bytes:
    """A transport address as an answer carries it."""
    return stun.encode_xor_address(*peer, message.transaction_id)


class Datagrams(asyncio.DatagramProtocol):
    """The recorder over UDP."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        """Keep what answers leave by."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A message."""
        self._recorder.receive(data, Address(*addr), lambda answer: self._transport.sendto(answer, addr))


class Stream(asyncio.Protocol):
    """The recorder over TCP."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._framer = Framer(65540)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers leave by."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._address = Address(*transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        """A piece of the stream."""
        self._framer.feed(data)
        while (message := self._framer.take()) is not None:
            self._recorder.receive(message, self._address, self._transport.write)


async def record(browser: Browser, site: str, transport: str, host: str = "127.0.0.1") -> list[bytes]:
    """What one browser says on one transport, one message of each kind and length in the order of arrival."""
    loop = asyncio.get_running_loop()
    recorder = Recorder()
    if transport == "udp":
        endpoint, _ = await loop.create_datagram_endpoint(lambda: Datagrams(recorder), (host, 0))
        port: int = endpoint.get_extra_info("sockname")[1]
    else:
        endpoint = await loop.create_server(lambda: Stream(recorder), host, 0)
        port = endpoint.sockets[0].getsockname()[1]
    minted = recorder.credentials.mint(next(iter(KEYS.by_id)), 3600, "", time.time())
    ice_server = {
        "urls": f"turn:{host}:{port}?transport={transport}",
        "username": minted.username,
        "credential": minted.password,
    }
    page = await browser.open(f"{site}/pages/blank.html")
    try:
        echo = await page.evaluate(
            "async (server) => (await import('/pages/record_turn.js')).callThroughRelay(server)", ice_server
        )
        assert echo == "hello"
    finally:
        await page.close()
        endpoint.close()
    first: dict[tuple[bytes, int], bytes] = {}
    for data in recorder.heard:
        first.setdefault((data[:2], len(data)), data)
    return list(first.values())


def write(browser: Browser, transport: str, messages: list[bytes]) -> None:
    """Put the messages of one browser version into the fixtures, in place of older ones."""
    FIXTURES.mkdir(parents=True, exist_ok=True)
    (FIXTURES / f"{browser.major}-{transport}.txt").write_text(
        "".join(f"{data.hex()}\n" for data in messages)
    )
    index = FIXTURES / "sources.json"
    sources: dict[str, str] = json.loads(index.read_text()) if index.exists() else {}
    sources[browser.major] = f"Debian's {browser.name}, {browser.version}, headless"
    index.write_text(json.dumps(sources, indent=2, sort_keys=True) + "\n")


async def main() -> None:
    """Record both browsers on both transports."""
    driver = await Driver.start()
    try:
        async with pages_site() as site:
            for name in BROWSERS:
                browser = await driver.launch(name)
                for transport in TRANSPORTS:
                    write(browser, transport, await record(browser, site.url, transport))
                await browser.close()
    finally:
        await driver.close()


if __name__ == "__main__":
    asyncio.run(main())
