"""Operations on tracks: publish, pull, close, update."""

from __future__ import annotations

from sfu.base.ids import TrackName
from sfu.negotiation.errors import ItemError
from sfu.negotiation.record import SessionRecord
from sfu.negotiation.requests import (
    CloseTracks,
    Context,
    NewTracks,
    Outcome,
    Published,
    PublishedTrack,
    TracksResponse,
    UpdateTracks,
)


def find_published(record: SessionRecord, name: TrackName) -> PublishedTrack | ItemError:
    """The track `name` of a publisher's record as others may pull it, or the item error for them.

    `flowing` False means that the caller may wait for its media (api.md 1.13); after that it passes
    TRACK_EMPTY in its place.
    """
    raise NotImplementedError


def new_tracks(
    record: SessionRecord, request: NewTracks, context: Context, published: Published
) -> Outcome[TracksResponse]:
    """Publish or pull, by the client's offer or by ours. `published` holds what `publishers_of` named."""
    raise NotImplementedError


def close_tracks(record: SessionRecord, request: CloseTracks, context: Context) -> Outcome[TracksResponse]:
    """Close what is published and pulled on some mids."""
    raise NotImplementedError


def update_tracks(
    record: SessionRecord, request: UpdateTracks, published: Published
) -> Outcome[TracksResponse]:
    """Change the source or the wanted layer of what is received on some mids; no SDP."""
    raise NotImplementedError
