"""The compiled relay, as the server speaks to it (`turn.relays`), and how clients are answered."""

from __future__ import annotations

import contextlib
import socket
from secrets import token_bytes
from typing import TYPE_CHECKING, Final

from sfu.base.log import get_logger
from turn.allocation import AllocationId
from turn.relay import Relay, StaleHandle, TableFull
from turn.relays import Usage
from turn.streams import StreamId

if TYPE_CHECKING:
    from collections.abc import Generator

    from sfu.net.address import Path
    from turn.allocation import Peer
    from turn.limits import Bounds
    from turn.ports import RelaySocket
    from turn.streams import Streams
    from turn.tuples import FiveTuple

    Way = tuple[int, Path] | StreamId
    """How a client is answered: the listener that it came on and its path there, or its stream."""

log = get_logger("turn")

PEERS_MOST: Final = 1 << 20
"""Permissions, and channels, of all allocations; the memory of each is taken when it is used. Chosen."""

_FAMILIES: Final = {4: socket.AF_INET, 16: socket.AF_INET6}


def make_relay(bounds: Bounds, *, listeners: int, peer_connections: int = 0) -> Relay:
    """A relay with room for what the bounds let clients have, on so many UDP ports of theirs, and for so many
    data connections."""
    permissions_each = bounds.permissions + bounds.channels  # what is over stays while a channel stands on it
    return Relay(
        seed=token_bytes(16),
        listeners_max=listeners,
        allocations_max=bounds.allocations,
        permissions_max=min(bounds.allocations * permissions_each, PEERS_MOST),
        channels_max=min(bounds.allocations * bounds.channels, PEERS_MOST),
        permissions_each=permissions_each,
        channels_each=bounds.channels,
        streams_max=bounds.allocations + bounds.strangers + 2 * peer_connections,  # each has two ends
        stranger_bytes=bounds.stranger_bytes,
        control_bytes=bounds.control_bytes,
        write_queue=bounds.write_queue_bytes,
    )


class DataPath:
    """The compiled relay for a server, whose clients it knows by their ways. `streams` is told which of them
    have allocations."""

    def __init__(self, relay: Relay, streams: Streams, *, packets_per_s: int, bytes_per_s: int) -> None:
        self._relay = relay
        self._streams = streams
        self._rates = packets_per_s, bytes_per_s
        self._ways: dict[AllocationId, Way] = {}
        self._arriving: dict[FiveTuple, Way] = {}

    @contextlib.contextmanager
    def arrived(self, client: FiveTuple, way: Way) -> Generator[None]:
        """While the server has a message of `client`, who may get an allocation for it."""
        self._arriving[client] = way
        try:
            yield
        finally:
            del self._arriving[client]

    def send(self, way: Way, data: bytes) -> None:
        """Send a client a message; it may be lost on UDP, and with its connection."""
        if isinstance(way, int):
            self._relay.send_stream(way, data)
        else:
            self._relay.send(*way, data)

    def tell(self, allocation: AllocationId, data: bytes) -> None:
        """Send the client of an allocation a message, if it has not ended."""
        way = self._ways.get(allocation)
        if way is not None:
            self.send(way, data)

    def add(self, client: FiveTuple) -> AllocationId | None:
        """Take in an allocation of a client of whom the server has a message."""
        way = self._arriving[client]
        try:
            if isinstance(way, int):
                allocation = AllocationId(self._relay.add_streamed(way, *self._rates))
                self._streams.allocated(way)
            else:
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

    def splice(self, client: FiveTuple, allocation: AllocationId, sock: socket.socket) -> StreamId | None:
        """Make the connection of a client, of whom the server has a message, the allocation's data connection
        to the peer that the socket leads to, which is taken over. None where that can't be."""
        stream = self._arriving[client]
        if not isinstance(stream, int):
            return None
        try:
            self._relay.splice(stream, allocation, sock.fileno())
        except StaleHandle:  # its client broke it off just now
            return None
        except (TableFull, OSError) as error:
            log.warning("turn.connection_not_joined", error=str(error))
            return None
        sock.detach()
        self._streams.spliced(stream)
        return stream

    def unsplice(self, stream: StreamId) -> Usage:
        """End a data connection, if it has not; what it has carried."""
        to_peers, to_client = self._relay.splice_bytes(stream)
        self._relay.end_splice(stream)
        return Usage(to_peers_bytes=to_peers, to_client_bytes=to_client)

    def remove(self, allocation: AllocationId) -> Usage:
        """Forget an allocation."""
        usage = self.usage(allocation)
        self._relay.remove(allocation)
        way = self._ways.pop(allocation)
        if isinstance(way, int):
            self._streams.released(way)
        return usage

    def usage(self, allocation: AllocationId) -> Usage:
        """What an allocation has relayed so far."""
        counts = self._relay.counts(allocation)
        return Usage(
            to_peers_packets=counts["packets_in"],
            to_peers_bytes=counts["bytes_in"],
            to_client_packets=counts["packets_out"],
            to_client_bytes=counts["bytes_out"],
        )

    def has_room(self, allocation: AllocationId, permissions: int, channels: int) -> bool:
        """Whether its tables have room for so many more."""
        return self._relay.has_room(allocation, permissions, channels)

    def permit(self, allocation: AllocationId, ip: bytes, until: float, *, own_ports: bool) -> None:
        """Permit a peer."""
        self._relay.permit(allocation, ip, micros(until), own_ports)

    def bind(self, allocation: AllocationId, number: int, peer: Peer, until: float) -> None:
        """Bind a channel."""
        self._relay.bind(allocation, number, peer.ip, peer.port, micros(until))


def micros(seconds: float) -> int:
    """A moment or a time as the relay counts it: µs."""
    return round(seconds * 1e6)
