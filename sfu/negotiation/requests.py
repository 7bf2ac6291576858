"""What the pure functions take and give back.

Each has the shape `(record, request, context) -> Outcome(record, response)` and raises
NegotiationError if the request as a whole is refused. The API layer makes requests of JSON and JSON
of responses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from sfu.base.ids import AppId, PayloadType, Rid, SessionId, TrackName
from sfu.base.settings import ByteSize, Setting
from sfu.negotiation.errors import ItemError
from sfu.negotiation.record import Codec, Extension, Fingerprint, Kind, SessionRecord, Simulcast
from sfu.net.address import Address

TRACKS_PER_CALL = Setting(
    "negotiation.tracks_per_call",
    int,
    64,
    minimum=1,
    maximum=1000,
    help="Tracks that one call may publish, pull, close or update; more are answered 406",
)
MLINES_PER_SESSION = Setting(
    "negotiation.mlines_per_session",
    int,
    1000,
    minimum=1,
    maximum=1000,
    help="Media sections of one PeerConnection, those that wait to be used again included",
)
SDP_BYTES = Setting(
    "negotiation.sdp_bytes",
    ByteSize,
    ByteSize(768 * 1024),
    unit="B",
    minimum=16 * 1024,
    maximum=4 * 1024 * 1024,
    help="Largest session description of a client; 480 sections of Chromium have that, half of them video",
)

Location = Literal["local", "remote"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one session; past them a request is refused."""

    tracks_per_call: int = TRACKS_PER_CALL.default
    mlines_per_session: int = MLINES_PER_SESSION.default
    sdp_bytes: int = SDP_BYTES.default


@dataclass(frozen=True, slots=True)
class Context:
    """What rendering an SDP needs and the record does not hold.

    `candidates` are the addresses that clients can reach, best first. `fingerprint` is of the
    certificate for new sessions. `fresh` gives a random number of 32 bits at each call.
    """

    cluster_secret: bytes
    candidates: Sequence[Address]
    fingerprint: Fingerprint
    fresh: Callable[[], int]
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """An offer or an answer."""

    type: Literal["offer", "answer"]
    sdp: str


@dataclass(frozen=True, slots=True)
class NewSession:
    """`POST sessions/new`; `created_at` is wall-clock seconds."""

    id: SessionId
    app: AppId
    created_at: float
    correlation_id: str | None = None
    thirdparty: bool = False
    description: SessionDescription | None = None


@dataclass(frozen=True, slots=True)
class TrackRequest:
    """One entry of `tracks`. `mid` may be "#name": the transceiver that publishes that name here."""

    location: Location | None = None
    mid: str | None = None
    session: SessionId | None = None
    track: TrackName | None = None
    bidirectional: bool = False
    kind: Literal["audio", "video"] | None = None
    simulcast: Simulcast | None = None


@dataclass(frozen=True, slots=True)
class NewTracks:
    """`POST tracks/new`: publish or pull."""

    tracks: tuple[TrackRequest, ...] = ()
    description: SessionDescription | None = None
    auto_discover: bool = False


@dataclass(frozen=True, slots=True)
class Renegotiate:
    """`PUT renegotiate`: the answer to our offer, or an offer that restarts ICE."""

    description: SessionDescription


@dataclass(frozen=True, slots=True)
class CloseTracks:
    """`PUT tracks/close`; an entry of `mids` may be "#name"."""

    mids: tuple[str, ...]
    force: bool
    description: SessionDescription | None = None


@dataclass(frozen=True, slots=True)
class UpdateTracks:
    """`PUT tracks/update`: another source, or another layer, for what is received on a mid."""

    tracks: tuple[TrackRequest, ...]


@dataclass(frozen=True, slots=True)
class PublishedTrack:
    """A publisher's track as a subscriber's negotiation needs it.

    `codecs` and `extensions` are what the publisher's m-line agreed on, in its numbers; `sending_pt`
    is the codec that arrives, or the first if not yet known. `flowing` says whether media arrives.
    """

    session: SessionId
    name: TrackName
    kind: Kind
    codecs: tuple[Codec, ...]
    extensions: tuple[Extension, ...]
    rids: tuple[Rid, ...]
    sending_pt: PayloadType
    flowing: bool = True


Published = Mapping[tuple[SessionId, TrackName], PublishedTrack | ItemError]


@dataclass(frozen=True, slots=True)
class TrackItem:
    """One entry of a response's `tracks`, in request order; None fields are left out.

    A failed pull has `mid` "". `status` is for the view of a session alone.
    """

    mid: str | None = None
    location: Location | None = None
    session: SessionId | None = None
    track: TrackName | None = None
    kind: Kind | None = None
    bidirectional: bool | None = None
    simulcast: Simulcast | None = None
    status: Literal["active", "inactive"] | None = None
    error: ItemError | None = None


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """Response to NewSession."""

    id: SessionId
    description: SessionDescription | None = None


@dataclass(frozen=True, slots=True)
class TracksResponse:
    """Response to NewTracks, CloseTracks and UpdateTracks.

    `renegotiate` is requiresImmediateRenegotiation: our offer waits for an answer.
    """

    tracks: tuple[TrackItem, ...]
    renegotiate: bool = False
    description: SessionDescription | None = None


@dataclass(frozen=True, slots=True)
class Renegotiated:
    """Response to Renegotiate: `{}` unless an ICE restart was answered or the client refused a track.

    `tracks` holds only those that failed: rejected by the client, or without the publisher's codec.
    """

    description: SessionDescription | None = None
    tracks: tuple[TrackItem, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionView:
    """Response to GET session."""

    tracks: tuple[TrackItem, ...]


Response = TypeVar("Response", covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Response]):
    """The record as it is to be stored, and the answer. An unchanged record need not be stored."""

    record: SessionRecord
    response: Response


def publishers_of(tracks: Sequence[TrackRequest]) -> set[tuple[SessionId, TrackName]]:
    """The tracks that the caller has to look up before a pull or an update."""
    return {
        (track.session, track.track)
        for track in tracks
        if track.location != "local" and track.session is not None and track.track is not None
    }
