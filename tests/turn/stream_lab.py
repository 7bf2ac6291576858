"""A relay whose clients come by TCP and TLS: real sockets, time by hand."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from sfu.net.address import Address
from sfu.net.tcp import open_tcp
from sfu.wire.turn import Framer
from tests.turn.relay_lab import LIFE_US, START_US, Peer, udp
from turn.certificate import PemPair, make_pair
from turn.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 10.0
"""How long a test waits for what the kernel does at once, on a machine that has much else to do."""


class StreamClient:
    """A client's end of a connection, and its allocation."""

    def __init__(self, lab: StreamLab, sock: socket.socket, stream: int) -> None:
        self.lab, self.sock, self.stream = lab, sock, stream
        self.handle = 0
        self.framer = Framer(1 << 17)

    def allocate(self, *, packets_per_s: int = 0, bytes_per_s: int = 0) -> None:
        self.handle = self.lab.relay.add_streamed(self.stream, packets_per_s, bytes_per_s)

    def relayed_at(self, host: str) -> Address:
        sock = udp(host)
        address = Address(*sock.getsockname()[:2])
        self.lab.relay.attach(self.handle, sock.detach())
        return address

    def permit(self, peer: Peer) -> None:
        self.lab.relay.permit(self.handle, peer.ip, self.lab.now + LIFE_US, False)

    def bind(self, channel: int, peer: Peer) -> None:
        self.lab.relay.bind(self.handle, channel, peer.ip, peer.port, self.lab.now + LIFE_US)

    def send(self, data: bytes) -> None:
        """Send all of it; the relay has read it afterwards."""
        relay = self.lab.relay
        view = memoryview(data)
        until = relay.counters()["stream_bytes_in"] + len(data)
        while view:
            with suppress(BlockingIOError, ssl.SSLWantWriteError):
                view = view[self.sock.send(view) :]
            self.lab.run()
        self.lab.until(lambda: relay.counters()["stream_bytes_in"] == until)

    def messages(self, count: int) -> list[bytes]:
        """The next messages from the relay, which works meanwhile."""
        taken: list[bytes] = []

        def enough() -> bool:
            self.read()
            while len(taken) < count and (message := self.framer.take()) is not None:
                taken.append(message)
            return len(taken) == count

        self.lab.until(enough)
        return taken

    def read(self) -> bool:
        """Read what waits; False at the stream's end."""
        try:
            while data := self.sock.recv(65536):
                self.framer.feed(data)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (ConnectionError, ssl.SSLError):
            return False
        return False

    def is_closed(self) -> bool:
        """Whether the relay has closed the connection, or does within a while."""
        self.lab.until(lambda: not self.read())
        return True


class StreamLab:
    """A relay, a listening socket, and whatever a test opens; all is closed at its end."""

    def __init__(self, *, certificate: PemPair | None = None, **bounds: int) -> None:
        self.now = START_US
        self.stack = ExitStack()
        self.listening = self.stack.enter_context(open_tcp("127.0.0.1", 0, setting="--listen"))
        self.relay = Relay(seed=bytes(range(8)), **{"slice_us": 60_000_000, "streams_max": 16, **bounds})
        if certificate is not None:
            self.relay.set_certificates([certificate])
        self.asked: list[tuple[int, bytes]] = []
        self.ended: list[tuple[int, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def connect(self, *, tls: bool = False, receive_buffer: int = 0) -> StreamClient:
        """A connection; with `tls`, one that has not begun its handshake."""
        sock = self.stack.enter_context(socket.socket())
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(self.listening.getsockname())
        select.select([self.listening], [], [], WAIT_S)
        accepted, _ = self.listening.accept()
        stream = self.relay.add_stream(accepted.detach(), tls, self.now)
        sock.setblocking(False)
        return StreamClient(self, sock, stream)

    def secure(self, context: ssl.SSLContext | None = None, *, receive_buffer: int = 0) -> StreamClient:
        """A connection whose handshake is over."""
        client = self.connect(tls=True, receive_buffer=receive_buffer)
        context = context or trusting()
        sock = context.wrap_socket(client.sock, do_handshake_on_connect=False, server_hostname="localhost")
        client.sock = self.stack.enter_context(sock)

        def shaken() -> bool:
            try:
                sock.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            return True

        self.until(shaken)
        return client

    def peer(self) -> Peer:
        peer = Peer("127.0.0.1")
        self.stack.callback(peer.close)
        return peer

    def pair(self, client: StreamClient) -> tuple[Peer, Address]:
        """Give a client an allocation with a relayed address, and a permission for a peer."""
        client.allocate()
        relayed = client.relayed_at("127.0.0.1")
        peer = self.peer()
        client.permit(peer)
        return peer, relayed

    def run(self) -> None:
        """What an event loop does when the relay's descriptor is readable."""
        if select.select([self.relay], [], [], 0)[0]:
            self.relay.on_readable(self.now)
            self.asked += self.relay.take_stream_messages()
        self.ended += self.relay.take_ended()

    def until(self, condition: Callable[[], bool]) -> None:
        """Run until something is so."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that"
            self.run()

    def end_of(self, client: StreamClient) -> str:
        """Why a client's stream is over, once it is."""
        self.until(lambda: any(stream == client.stream for stream, _ in self.ended))
        return dict(self.ended)[client.stream]

    def drops(self) -> dict[str, int]:
        counters = self.relay.counters().items()
        return {name[5:]: count for name, count in counters if name[:5] == "drop_" and count}


def trusting() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


CERTIFICATE = make_pair(["127.0.0.1"], time.time())
