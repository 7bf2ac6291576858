"""A relay on loopback with its clients and peers: real sockets, time by hand."""

from __future__ import annotations

import ipaddress
import os
import select
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from sfu.net.address import Address, Path, make_path
from sfu.net.udp import open_udp
from sfu.wire import stun
from sfu.wire.turn import Method, TurnAttribute, build_channel_data
from turn.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterable

START_US = 1_000_000
LIFE_US = 300_000_000


def packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed


def udp(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(5)
    return sock


channel_data = build_channel_data


def send_indication(
    peer: Address, data: bytes | None, *, more: Iterable[tuple[int, bytes]] = (), fingerprint: bool = False
) -> bytes:
    transaction_id = os.urandom(12)
    attributes = [
        (
            TurnAttribute.XOR_PEER_ADDRESS,
            stun.encode_xor_address(packed(peer.host), peer.port, transaction_id),
        ),
        *more,
    ]
    if data is not None:
        attributes.append((TurnAttribute.DATA, data))
    return stun.build(
        Method.SEND, stun.MessageClass.INDICATION, transaction_id, attributes, fingerprint=fingerprint
    )


def read_data_indication(datagram: bytes) -> tuple[Address, bytes]:
    """Peer and data of a Data indication, as any client would read it."""
    message = stun.parse(datagram)
    assert (message.method, message.message_class) == (Method.DATA, stun.MessageClass.INDICATION)
    assert [kind for kind, _ in message.attributes] == [TurnAttribute.XOR_PEER_ADDRESS, TurnAttribute.DATA]
    ip, port = stun.decode_xor_address(message.attributes[0][1], message.transaction_id)
    return Address(str(ipaddress.ip_address(ip)), port), message.attributes[1][1]


class Peer:
    """A peer's socket."""

    def __init__(self, host: str) -> None:
        self.sock = udp(host)
        self.address = Address(*self.sock.getsockname()[:2])
        self.ip = packed(host)
        self.port = self.address.port

    def close(self) -> None:
        self.sock.close()


class Client:
    """A client's socket and its allocation."""

    def __init__(self, lab: Lab, path: Path, sock: socket.socket, handle: int) -> None:
        self.lab, self.path, self.sock, self.handle = lab, path, sock, handle

    def relayed_at(self, host: str) -> Address:
        """A relayed address of the family of `host`."""
        sock = udp(host)
        address = Address(*sock.getsockname()[:2])
        self.lab.relay.attach(self.handle, sock.detach())
        return address

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.sock.sendto(datagram, self.lab.listens)

    def permit(self, peer: Peer, *, until_us: int | None = None, own_ports: bool = False) -> None:
        self.lab.relay.permit(
            self.handle, peer.ip, self.lab.now + LIFE_US if until_us is None else until_us, own_ports
        )

    def bind(self, channel: int, peer: Peer, *, until_us: int | None = None) -> None:
        end = self.lab.now + 2 * LIFE_US if until_us is None else until_us
        self.lab.relay.bind(self.handle, channel, peer.ip, peer.port, end)


class Lab:
    """One listener on `host`, and whatever a test opens; all is closed at its end."""

    def __init__(self, host: str = "127.0.0.1", **bounds: int) -> None:
        self.now = START_US
        self.stack = ExitStack()
        self.listener_socket = self.stack.enter_context(open_udp(host, 0, setting="--listen"))
        self.port = int(self.listener_socket.getsockname()[1])
        self.host = "127.0.0.1" if host == "" else host
        self.listens = (self.host, self.port)
        # no call ends early, however busy the machine is, unless a test says so
        self.relay = Relay(seed=bytes(range(8)), **{"slice_us": 60_000_000, **bounds})
        self.listener = self.relay.add_listener(self.listener_socket.fileno(), self.listener_socket.family)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def client(self, *, packets_per_s: int = 0, bytes_per_s: int = 0, allocated: bool = True) -> Client:
        sock = self.stack.enter_context(udp(self.host))
        path = make_path(Address(*sock.getsockname()[:2]), self.host)
        handle = self.relay.add(self.listener, path, packets_per_s, bytes_per_s) if allocated else 0
        return Client(self, path, sock, handle)

    def peer(self, host: str = "127.0.0.1") -> Peer:
        peer = Peer(host)
        self.stack.callback(peer.close)
        return peer

    def pair(self, host: str = "127.0.0.1") -> tuple[Client, Peer, Address]:
        """A client with a relayed address and a permission for a peer."""
        client, peer = self.client(), self.peer(host)
        relayed = client.relayed_at(host)
        client.permit(peer)
        return client, peer, relayed

    def run(self) -> list[tuple[int, Path, bytes]]:
        """What an event loop does when the relay's descriptor is readable."""
        return self.relay.take_messages() if self.is_readable() and self.relay.on_readable(self.now) else []

    def is_readable(self, wait_s: float = 0) -> bool:
        return bool(select.select([self.relay], [], [], wait_s)[0])

    def dropped(self) -> dict[str, int]:
        """Reasons for which datagrams were dropped, and how many each."""
        counters = self.relay.counters().items()
        return {
            name.removeprefix("drop_"): count for name, count in counters if name[:5] == "drop_" and count
        }
