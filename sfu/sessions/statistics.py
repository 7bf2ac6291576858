"""What a session's media has done, as values: the packet path's counters under the names of the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.base.ids import Mid, SessionId, Ssrc, TrackName
    from sfu.media.stats import EgressStats, PeerStats, TrackStats
    from sfu.media.tracks import Kind
    from sfu.negotiation.record import TransportState

    Measure = Callable[[SessionId], "MediaStatistics | None"]


@dataclass(frozen=True, slots=True)
class PublishedStatistics:
    """A track as it arrives from the session's client."""

    mid: Mid
    track: TrackName
    kind: Kind
    media: TrackStats


@dataclass(frozen=True, slots=True)
class PulledStatistics:
    """A subscription as it leaves for the session's client."""

    mid: Mid
    publisher: SessionId
    track: TrackName
    kind: Kind
    ssrc: Ssrc
    media: EgressStats


@dataclass(frozen=True, slots=True)
class MediaStatistics:
    """What the packet path of the session's owner holds of it."""

    transport: PeerStats
    published: tuple[PublishedStatistics, ...]
    pulled: tuple[PulledStatistics, ...]


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """A session's statistics; `media` is None while no node holds its transport."""

    session: SessionId
    state: TransportState
    media: MediaStatistics | None
