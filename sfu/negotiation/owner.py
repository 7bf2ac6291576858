"""What the owner writes into a record: pure, and allowed while an offer is pending.

Each returns the record itself if nothing changes, so that the caller need not store it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from sfu.base.ids import NodeId, PayloadType, SessionId, TrackName
from sfu.negotiation import mlines
from sfu.negotiation.errors import ItemError
from sfu.negotiation.record import Publication, SessionRecord, Subscription, TransportState
from sfu.negotiation.requests import Published, PublishedTrack


def set_owner(record: SessionRecord, owner: NodeId | None) -> SessionRecord:
    """The node that holds the session's keys from now on."""
    return record if record.owner == owner else dataclasses.replace(record, owner=owner)


def set_transport_state(record: SessionRecord, state: TransportState) -> SessionRecord:
    """`closed` also ends every publication and subscription, and is for good."""
    if record.transport_state in (state, "closed"):
        return record
    record = dataclasses.replace(record, transport_state=state)
    if state != "closed":
        return record
    return dataclasses.replace(
        record,
        publications=tuple(_ended_track(track) for track in record.publications),
        subscriptions=tuple(_ended_pull(pull) for pull in record.subscriptions),
    )


def set_track_flowing(
    record: SessionRecord, name: TrackName, *, flowing: bool, sending_pt: PayloadType | None = None
) -> SessionRecord:
    """Media of an open publication arrives, or stalls; `sending_pt` is the codec that arrives."""
    track = record.publication(name)
    if track is None or track.state != "open":
        return record
    codec = track.sending_pt if sending_pt is None else sending_pt
    changed = dataclasses.replace(track, flowing=flowing, sending_pt=codec)
    return _with_publications(record, (changed if old is track else old for old in record.publications))


def end_track(record: SessionRecord, name: TrackName) -> SessionRecord:
    """No packet for 30 s: the publication is over for everyone."""
    return _with_publications(
        record, (_ended_track(track) if track.name == name else track for track in record.publications)
    )


def end_subscriptions(record: SessionRecord, gone: Collection[tuple[SessionId, TrackName]]) -> SessionRecord:
    """End the pulls of publications that are over."""
    return _with_subscriptions(
        record,
        (
            _ended_pull(pull) if (pull.publisher, pull.track) in gone else pull
            for pull in record.subscriptions
        ),
    )


def refresh_sources(record: SessionRecord, published: Published) -> SessionRecord:
    """Recompute the maps of the pulls of `published`, whose m-lines may have been renegotiated.

    A pull whose m-line lacks the codec that the publisher now sends becomes `refused`, and `open`
    again when the publisher returns to one that it has.
    """
    return _with_subscriptions(record, (_refreshed(record, pull, published) for pull in record.subscriptions))


def _refreshed(record: SessionRecord, pull: Subscription, published: Published) -> Subscription:
    source = published.get((pull.publisher, pull.track))
    mline = record.mline(pull.mid)
    if source is None or isinstance(source, ItemError) or mline is None or mline.offered:
        return pull
    if pull.state not in ("open", "refused") or not mline.sends:
        return pull
    return _along(pull, source, mlines.route(source, mline.codecs, mline.extensions))


def _along(pull: Subscription, source: PublishedTrack, way: mlines.Route | ItemError) -> Subscription:
    if isinstance(way, ItemError):
        return dataclasses.replace(pull, state="refused")
    return dataclasses.replace(
        pull,
        state="open",
        sending_pt=source.sending_pt,
        clock_rate=way.clock_rate,
        pt_map=way.pt_map,
        rtx_pts=way.rtx_pts,
        extension_map=way.extension_map,
        rids=source.rids,
    )


def _ended_track(track: Publication) -> Publication:
    if track.state not in ("open", "offered"):
        return track
    return dataclasses.replace(track, state="ended", flowing=False)


def _ended_pull(pull: Subscription) -> Subscription:
    return dataclasses.replace(pull, state="ended") if pull.state in ("open", "offered") else pull


def _with_publications(record: SessionRecord, tracks: Iterable[Publication]) -> SessionRecord:
    publications = tuple(tracks)
    if publications == record.publications:
        return record
    return dataclasses.replace(record, publications=publications)


def _with_subscriptions(record: SessionRecord, pulls: Iterable[Subscription]) -> SessionRecord:
    subscriptions = tuple(pulls)
    if subscriptions == record.subscriptions:
        return record
    return dataclasses.replace(record, subscriptions=subscriptions)
