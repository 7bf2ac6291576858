"""The server on UDP: what arrives at its sockets, and the relay that moves the data between them.

listener --> relay (compiled) --> Send indications and ChannelData: on to peers, and back
                  |
                  +--> other STUN messages --> server --> answer --> listener
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Final

from sfu.base.log import get_logger
from sfu.net.address import Address, local_host, remote_address
from sfu.wire import stun
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Icmp, Method, TurnAttribute, encode_icmp
from turn.allocation import AllocationId
from turn.relay import TableFull
from turn.relays import Usage
from turn.tuples import FiveTuple, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sfu.net.address import Path
    from turn.allocation import Peer
    from turn.ports import RelaySocket
    from turn.relay import Relay
    from turn.server import Server

    Way = tuple[int, Path]
    """How a client is answered: the listener that it came on, and its path there."""

_FAMILIES: Final = {4: socket.AF_INET, 16: socket.AF_INET6}

log = get_logger("turn")


class UdpRelay:
    """The compiled relay, as the server speaks to it (`turn.relays`)."""

    def __init__(self, relay: Relay, *, packets_per_s: int, bytes_per_s: int) -> None:
        self._relay = relay
        self._rates = packets_per_s, bytes_per_s
        self._ways: dict[AllocationId, Way] = {}
        self._arriving: dict[FiveTuple, Way] = {}

    def way_of(self, allocation: AllocationId) -> Way | None:
        """How the client of an allocation is reached."""
        return self._ways.get(allocation)

    @contextlib.contextmanager
    def arrived(self, client: FiveTuple, way: Way) -> Generator[None]:
        """While the server has a message of `client`, who may get an allocation for it."""
        self._arriving[client] = way
        try:
            yield
        finally:
            del self._arriving[client]

    def add(self, client: FiveTuple) -> AllocationId | None:
        """Take in an allocation of a client of whom the server has a message."""
        way = self._arriving[client]
        try:
            allocation = AllocationId(self._relay.add(*way, *self._rates))
        except TableFull:
            return None
        self._ways[allocation] = way
        return allocation

    def attach(self, allocation: AllocationId, sock: RelaySocket) -> None:
        """Take a socket over."""
        self._relay.attach(allocation, sock.fileno())
        sock.detach()

    def detach(self, allocation: AllocationId, size: int) -> None:
        """Close the socket of a family."""
        self._relay.detach(allocation, _FAMILIES[size])

    def remove(self, allocation: AllocationId) -> Usage:
        """Forget an allocation."""
        counts = self._relay.counts(allocation)
        self._relay.remove(allocation)
        del self._ways[allocation]
        return Usage(
            to_peers_packets=counts["packets_in"],
            to_peers_bytes=counts["bytes_in"],
            to_client_packets=counts["packets_out"],
            to_client_bytes=counts["bytes_out"],
        )

    def permit(self, allocation: AllocationId, ip: bytes, until: float, *, own_ports: bool) -> None:
        """Permit a peer."""
        self._relay.permit(allocation, ip, _us(until), own_ports)

    def bind(self, allocation: AllocationId, number: int, peer: Peer, until: float) -> None:
        """Bind a channel."""
        self._relay.bind(allocation, number, peer.ip, peer.port, _us(until))


class UdpService:
    """The server on its UDP sockets, on the running loop.

    `listeners` are the relay's numbers of them with their ports. `heard` is called after all that arrived was
    answered: events wait, and the next moment may be another.
    """

    def __init__(
        self,
        server: Server,
        relay: Relay,
        udp: UdpRelay,
        listeners: dict[int, int],
        *,
        heard: Callable[[], None],
    ) -> None:
        self._server = server
        self._relay = relay
        self._udp = udp
        self._ports = listeners
        self._heard = heard

    def start(self) -> None:
        """Read the sockets from now on."""
        asyncio.get_running_loop().add_reader(self._relay.fileno(), self._on_readable)

    def stop(self) -> None:
        """Read them no more."""
        asyncio.get_running_loop().remove_reader(self._relay.fileno())

    def _on_readable(self) -> None:
        now, wall_now = time.monotonic(), time.time()
        for listener, path, data in self._relay.on_readable(_us(now)):
            client = FiveTuple(
                Transport.UDP, remote_address(path), Address(local_host(path), self._ports[listener])
            )
            try:
                with self._udp.arrived(client, (listener, path)):
                    answer = self._server.receive(data, client, now, wall_now)
            except Exception:  # one client's trouble must not cost the others their answers
                log.exception("turn.message_fault")
                continue
            if answer is not None:
                self._relay.send(listener, path, answer)
        self._tell_icmp()
        self._heard()

    def _tell_icmp(self) -> None:
        """Tell clients what their peers' networks say of their datagrams (RFC 8656 11.5)."""
        for handle, ip, port, kind, code, data in self._relay.take_icmp():
            way = self._udp.way_of(AllocationId(handle))
            if way is None:
                continue  # it has ended since
            transaction_id = os.urandom(stun.TRANSACTION_ID_LENGTH)
            attributes = [
                (TurnAttribute.XOR_PEER_ADDRESS, stun.encode_xor_address(ip, port, transaction_id)),
                (TurnAttribute.ICMP, encode_icmp(Icmp(kind, code, data))),
            ]
            listener, path = way
            self._relay.send(
                listener,
                path,
                stun.build(
                    Method.DATA, MessageClass.INDICATION, transaction_id, attributes, fingerprint=False
                ),
            )


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
