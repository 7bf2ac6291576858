"""What the owner writes into a record: pure, and allowed while an offer is pending.

Each returns the record itself if nothing changes, so that the caller need not store it.
"""

from __future__ import annotations

from collections.abc import Collection

from sfu.base.ids import NodeId, PayloadType, SessionId, TrackName
from sfu.negotiation.record import SessionRecord, TransportState
from sfu.negotiation.requests import Published


def set_owner(record: SessionRecord, owner: NodeId | None) -> SessionRecord:
    """The node that holds the session's keys from now on."""
    raise NotImplementedError


def set_transport_state(record: SessionRecord, state: TransportState) -> SessionRecord:
    """`closed` also ends every publication and subscription."""
    raise NotImplementedError


def set_track_flowing(
    record: SessionRecord, name: TrackName, *, flowing: bool, sending_pt: PayloadType | None = None
) -> SessionRecord:
    """Media of an open publication arrives, or stalls; `sending_pt` is the codec that arrives."""
    raise NotImplementedError


def end_track(record: SessionRecord, name: TrackName) -> SessionRecord:
    """No packet for 30 s: the publication is over for everyone."""
    raise NotImplementedError


def end_subscriptions(record: SessionRecord, gone: Collection[tuple[SessionId, TrackName]]) -> SessionRecord:
    """End the pulls of publications that are over."""
    raise NotImplementedError


def refresh_sources(record: SessionRecord, published: Published) -> SessionRecord:
    """Recompute the maps of the pulls of `published`, whose m-lines may have been renegotiated."""
    raise NotImplementedError
