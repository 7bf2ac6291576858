"""What the media layer tells those above it: events, and the datagrams that are not media."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from sfu.base.ids import PayloadType
    from sfu.net.address import Path

PeerId = NewType("PeerId", int)
"""Handle of a peer: index and generation. Never used again after `remove_peer`."""
TrackId = NewType("TrackId", int)
EgressId = NewType("EgressId", int)


class DatagramKind(Enum):
    """Kinds of datagrams that are handed up (RFC 7983)."""

    STUN = "stun"
    DTLS = "dtls"


@dataclass(frozen=True, slots=True)
class ControlDatagram:
    """A datagram for the transport layer.

    STUN comes from anywhere and is checked for shape only. DTLS comes only from paths named by
    `allow_path` or `expect_dtls`.
    """

    path: Path
    data: bytes
    kind: DatagramKind
    peer: PeerId | None
    """The peer whose allowed path it came on; None for other paths."""


@dataclass(frozen=True, slots=True)
class TrackStarted:
    """The first authenticated packet of media since a track was added, or since it stalled."""

    track: TrackId
    payload_type: PayloadType
    """The publisher's number of the codec that it uses."""


@dataclass(frozen=True, slots=True)
class TrackStalled:
    """No authenticated packet of a track for the stall time (30 s by default). Once per stall."""

    track: TrackId
    silent_s: float


@dataclass(frozen=True, slots=True)
class KeyframeOverdue:
    """A publisher was asked for a keyframe several times and sent none that we can recognise."""

    track: TrackId
    waited_s: float


MediaEvent = TrackStarted | TrackStalled | KeyframeOverdue
