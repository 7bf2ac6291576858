"""One allocation: what a client holds here, and until when (RFC 8656 5, 9, 12).

    allocated --Refresh--> allocated                    lifetime over, LIFETIME 0, connection closed,
        |  CreatePermission, ChannelBind                 credential revoked or over --> gone
        +--> permissions by address (300 s), channels by number and by peer (600 s)

It keeps only what answers depend on. The relay has its own copy, against which it checks every packet; both
go by the same moments. What is over is forgotten when room is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, NewType

from turn.tuples import RelayTransport

if TYPE_CHECKING:
    from turn.credentials import Credential
    from turn.ports import Taken
    from turn.tuples import FiveTuple

AllocationId = NewType("AllocationId", int)
"""What the relay knows an allocation by."""

PERMISSION_S: Final = 300.0  # RFC 8656 9
CHANNEL_S: Final = 600.0  # RFC 8656 12


class Peer(NamedTuple):
    """A peer's transport address; `ip` is 4 or 16 bytes."""

    ip: bytes
    port: int


@dataclass(slots=True)
class Relayed:
    """One relayed transport address: what is bound, and until when."""

    taken: Taken
    expires_at: float


@dataclass(slots=True)
class _Channel:
    peer: Peer
    until: float


@dataclass(slots=True)
class Allocation:
    """What is held for one 5-tuple.

    `answer` is what an Allocate request of the same transaction id, which is one that comes again, gets again
    (RFC 8656 7.2). `peers_refused` counts requests that named new peers too fast. `relayed` has one entry per
    address family, by the length of its addresses; all are of one `transport`.
    """

    id: AllocationId
    client: FiveTuple
    credential: Credential
    transaction_id: bytes
    since: float
    transport: RelayTransport = RelayTransport.UDP
    answer: bytes = b""
    peers_refused: int = 0
    relayed: dict[int, Relayed] = field(default_factory=dict[int, Relayed])
    _permissions: dict[bytes, float] = field(default_factory=dict[bytes, float])
    _channels: dict[int, _Channel] = field(default_factory=dict[int, _Channel])
    _numbers: dict[Peer, int] = field(default_factory=dict[Peer, int])

    @property
    def expires_at(self) -> float:
        """When the first of its relayed addresses ends."""
        return min(relayed.expires_at for relayed in self.relayed.values())

    # permissions

    def room_for_permissions(self, ips: set[bytes], limit: int, now: float) -> bool:
        """Whether permissions for all `ips` fit; those that are over make room."""
        if len(self._permissions.keys() | ips) > limit:
            self._permissions = {ip: until for ip, until in self._permissions.items() if until > now}
        return len(self._permissions.keys() | ips) <= limit

    def is_permitted(self, ip: bytes, now: float) -> bool:
        """Whether a permission for `ip` is alive."""
        return self._permissions.get(ip, now) > now

    def permit(self, ip: bytes, now: float) -> float:
        """Make or refresh a permission; the moment of its end."""
        until = self._permissions[ip] = now + PERMISSION_S
        return until

    # channels

    def channel_conflicts(self, number: int, peer: Peer, now: float) -> bool:
        """Whether the number is another peer's, or the peer has another number."""
        bound = self._channels.get(number)
        if bound is not None and bound.until > now and bound.peer != peer:
            return True
        other = self._numbers.get(peer, number)
        return other != number and self._channels[other].until > now

    def is_bound(self, number: int, now: float) -> bool:
        """Whether a binding of `number` is alive."""
        return number in self._channels and self._channels[number].until > now

    def room_for_channel(self, number: int, limit: int, now: float) -> bool:
        """Whether a binding of `number` fits; those that are over make room."""
        if number in self._channels or len(self._channels) < limit:
            return True
        for over in [over for over, channel in self._channels.items() if channel.until <= now]:
            self._unbind(over)
        return len(self._channels) < limit

    def bind(self, number: int, peer: Peer, now: float) -> float:
        """Make or refresh a binding, which does not conflict; the moment of its end."""
        other = self._numbers.get(peer)
        for over in {number, other} - {None}:
            self._unbind(over)
        until = now + CHANNEL_S
        self._channels[number] = _Channel(peer, until)
        self._numbers[peer] = number
        return until

    def forget_family(self, size: int) -> None:
        """A relayed address has ended: what led through it goes, and nothing of the other family."""
        del self.relayed[size]
        self._permissions = {ip: until for ip, until in self._permissions.items() if len(ip) != size}
        for number in [number for number, channel in self._channels.items() if len(channel.peer.ip) == size]:
            self._unbind(number)

    def _unbind(self, number: int | None) -> None:
        channel = None if number is None else self._channels.pop(number, None)
        if channel is not None:
            self._numbers.pop(channel.peer, None)
