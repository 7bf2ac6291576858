"""The ways to a server: UDP, TCP and TLS over blocking sockets with deadlines, and a peer's socket."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
import ssl
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from sfu.wire.stun import StunError
from sfu.wire.turn import Framer
from tests.conformance.turn.verdict import Closed, Deviation, deviates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.turn.target import Target

MAX_MESSAGE = 70_000  # chosen: a ChannelData of 65,535 bytes with all around it
RECEIVE_BUFFER = 1 << 20


class Endpoint(NamedTuple):
    """A transport address; `ip` has 4 or 16 bytes."""

    ip: bytes
    port: int

    def __str__(self) -> str:
        ip = ipaddress.ip_address(self.ip)
        return f"[{ip}]:{self.port}" if ip.version == 6 else f"{ip}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """As sockets want it."""
        return str(ipaddress.ip_address(self.ip)), self.port

    @classmethod
    def of(cls, address: tuple[str, int]) -> Endpoint:
        """From what a socket tells; a scope of IPv6 is left out."""
        return cls(ipaddress.ip_address(address[0].partition("%")[0]).packed, address[1])


def family_of(host: str) -> int:
    """The socket family of a literal address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class Link(ABC):
    """A client's way to the server."""

    is_stream = False

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        address: tuple[str, int] = sock.getsockname()[:2]
        self.local = Endpoint.of(address)

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send a message, or on a stream any bytes."""

    @abstractmethod
    def receive(self, wait_s: float) -> bytes | None:
        """The next message, or None if none comes in that time."""

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class UdpLink(Link):
    """Datagrams from a port of its own to the server's; those from elsewhere are kept as `strays`."""

    def __init__(self, host: str, port: int, local: str = "") -> None:
        sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
        if not local:
            with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
                probe.connect((host, port))
                local = probe.getsockname()[0]
        _bind_to_a_fresh_port(sock, local)
        super().__init__(sock)
        self.server = Endpoint.of((host, port))
        self.strays: list[Endpoint] = []

    def send(self, data: bytes) -> None:
        """Send a datagram."""
        self.socket.sendto(data, self.server.address)

    def receive(self, wait_s: float) -> bytes | None:
        """The next datagram that comes from the server's port."""
        deadline = time.monotonic() + wait_s
        while (got := _datagram(self.socket, deadline - time.monotonic())) is not None:
            if got[1] == self.server:
                return got[0]
            self.strays.append(got[1])
        return None


class StreamLink(Link):
    """A connection over TCP, which may be one of TLS."""

    is_stream = True

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._framer = Framer(MAX_MESSAGE)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.settimeout(10)  # chosen: what the kernel holds is more than any test sends
        try:
            self.socket.sendall(data)
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed from error

    def receive(self, wait_s: float) -> bytes | None:
        """The next STUN message or ChannelData."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                message = self._framer.take()
            except StunError as error:
                deviates("STUN messages and ChannelData that is padded to 4 bytes", str(error))
            if message is not None:
                return message
            more = self.read(deadline - time.monotonic())
            if more is None:
                return None
            if not more:
                raise Closed
            self._framer.feed(more)

    def read(self, wait_s: float) -> bytes | None:
        """Bytes as they come; none at all once the server has closed, None if nothing comes in that time."""
        if wait_s <= 0:
            return None
        self.socket.settimeout(wait_s)
        try:
            return self.socket.recv(65_536)
        except TimeoutError:
            return None
        except (ConnectionError, ssl.SSLError):
            return b""

    def rest(self) -> bytes:
        """What was read beyond the last message (RFC 6062 5.4)."""
        return self._framer.rest()


def tcp_link(target: Target) -> StreamLink:
    """Connect over TCP."""
    return StreamLink(_connected(target, target.tcp_port, "TCP"))


def tls_context() -> ssl.SSLContext:
    """A client's side of TLS that takes any certificate: whose it is is not what is tested."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls_link(target: Target, context: ssl.SSLContext | None = None) -> StreamLink:
    """Connect over TLS. Raises ssl.SSLError where the two agree on nothing."""
    sock = _connected(target, target.tls_port, "TLS")
    try:
        return StreamLink((context or tls_context()).wrap_socket(sock))
    except ssl.SSLError:
        sock.close()
        raise
    except (TimeoutError, ConnectionError) as error:
        sock.close()
        raise Deviation("a handshake of TLS", str(error)) from error


def _connected(target: Target, port: int, name: str) -> socket.socket:
    try:
        sock = socket.create_connection((target.host, port), timeout=target.answer_s)
    except OSError as error:
        raise Deviation(f"a connection to the port of {name}", str(error)) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Peer:
    """Whom the server relays to: a UDP socket of this machine."""

    def __init__(self, host: str, answer_s: float) -> None:
        self.socket = socket.socket(family_of(host), socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.bind((host, 0))
        self.endpoint = Endpoint.of(self.socket.getsockname()[:2])
        self._answer_s = answer_s

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send a datagram."""
        self.socket.sendto(data, to.address)

    def receive(self, wait_s: float) -> tuple[bytes, Endpoint] | None:
        """The next datagram and where it is from, or None if none comes in that time."""
        return _datagram(self.socket, wait_s)

    def gets(self, data: bytes, source: Endpoint) -> None:
        """The next datagram has to be this one, from there."""
        got = self.receive(self._answer_s)
        expected = f"{_short(data)} from {source} at the peer"
        if got is None:
            deviates(expected, f"nothing within {self._answer_s:g} s")
        if got != (data, source):
            deviates(expected, f"{_short(got[0])} from {got[1]}")

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def _datagram(sock: socket.socket, wait_s: float) -> tuple[bytes, Endpoint] | None:
    deadline = time.monotonic() + wait_s
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        # what was refused before is told by the next call on some systems
        with contextlib.suppress(TimeoutError, ConnectionError):
            data, address = sock.recvfrom(65_536)
            return data, Endpoint.of(address[:2])
    return None


def _bind_to_a_fresh_port(sock: socket.socket, host: str) -> None:
    """Bind to a port from which this server was not spoken to before.

    A server may remember a 5-tuple for a minute, and the ports that the system draws come again sooner.
    """
    for port in _fresh_ports:
        with contextlib.suppress(OSError):
            sock.bind((host, port))
            return


def _advancing_ports() -> Iterator[int]:
    """Ports in turn, from where the clock says, so that a run does not begin where the last one did."""
    first = int(time.time()) * _PORTS_PER_S
    for number in itertools.count(first):
        yield _PORTS[number % len(_PORTS)]


_PORTS = range(20_000, 32_000)  # chosen: below those that the system draws and those that relays use
_PORTS_PER_S = 8  # chosen: a run uses fewer, so that they come again after 25 minutes
_fresh_ports = _advancing_ports()


def _short(data: bytes) -> str:
    shown = repr(data[:24])
    return f"{shown} of {len(data)} bytes" if len(data) > 24 else shown
