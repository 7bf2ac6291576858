"""The connections of clients over TCP and TLS: whose each is, and which are strangers'.

A stranger has no allocation and is none's data connection, so nobody has vouched for it: there are only so
many of them, in all and of an address (`turn.limits.Strangers`). The end of its allocation makes a client a
stranger again, and where there is no room for that its connection is unwelcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from turn.limits import Strangers
    from turn.tuples import FiveTuple

StreamId = NewType("StreamId", int)
"""What the relay knows a connection by."""


@dataclass(slots=True)
class _Stream:
    client: FiveTuple
    is_counted: bool = True  # among the strangers


class Streams:
    """All connections of one process."""

    def __init__(self, strangers: Strangers) -> None:
        self._strangers = strangers
        self._streams: dict[StreamId, _Stream] = {}
        self._by_client: dict[FiveTuple, StreamId] = {}
        self._unwelcome: list[StreamId] = []

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, stream: StreamId) -> bool:
        return stream in self._streams

    def admit(self, client: FiveTuple | None) -> bool:
        """Whether one more connection is taken, which is a stranger's; None: whose, is yet to be told."""
        return self._strangers.admit(None if client is None else client.ip)

    def refused(self, client: FiveTuple | None) -> None:
        """A connection that was admitted came to nothing or, by None, its client is told."""
        self._strangers.leave(None if client is None else client.ip)

    def opened(self, stream: StreamId, client: FiveTuple) -> None:
        """A connection that was admitted is there."""
        self._streams[stream] = _Stream(client)
        self._by_client[client] = stream

    def client_of(self, stream: StreamId) -> FiveTuple:
        """Whose it is. Raises KeyError for one that is closed."""
        return self._streams[stream].client

    def stream_of(self, client: FiveTuple) -> StreamId | None:
        """The connection of a client."""
        return self._by_client.get(client)

    def all(self) -> list[StreamId]:
        """Every connection."""
        return list(self._streams)

    def allocated(self, stream: StreamId) -> None:
        """The client got an allocation."""
        self._vouched_for(stream)

    def spliced(self, stream: StreamId) -> None:
        """The connection has become a data connection of an allocation."""
        self._vouched_for(stream)

    def _vouched_for(self, stream: StreamId) -> None:
        held = self._streams[stream]
        if held.is_counted:
            held.is_counted = False
            self._strangers.leave(held.client.ip)

    def released(self, stream: StreamId) -> None:
        """The client's allocation has ended."""
        held = self._streams[stream]
        held.is_counted = self._strangers.admit(held.client.ip)
        if not held.is_counted:
            self._unwelcome.append(stream)

    def take_unwelcome(self) -> list[StreamId]:
        """Those that are to be closed since there are too many strangers."""
        unwelcome, self._unwelcome = self._unwelcome, []
        return [stream for stream in unwelcome if stream in self._streams]

    def closed(self, stream: StreamId) -> FiveTuple:
        """A connection is over; whose it was."""
        held = self._streams.pop(stream)
        if self._by_client.get(held.client) == stream:
            del self._by_client[held.client]
        if held.is_counted:
            self._strangers.leave(held.client.ip)
        return held.client
