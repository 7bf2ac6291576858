"""The session record: all that is negotiated in one PeerConnection, as plain data.

An HTTP call loads a record, applies a pure function to it and stores what it returns; the owner
watches it and makes its media objects match. So the record holds each number that the packet path
needs (PTs, extension ids, SSRCs) and nobody reads an SDP to find one.

Directions are ours: `sendonly` means that the SFU sends. PTs and extension ids are the client's
numbers: one table of each per PeerConnection, for its whole life. Mappings are never changed in
place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from sfu.base.ids import AppId, Mid, NodeId, PayloadType, Rid, SessionId, Ssrc, TrackName

Kind = Literal["audio", "video", "application"]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Fallback = Literal["none", "asciibetical"]
TransportState = Literal["new", "connected", "disconnected", "closed"]
DtlsRole = Literal["client", "server"]


RECORD_FORMAT = 1
"""Counts what a version that does not know it would lose or misread: each new field of a record, for one."""


class RecordError(ValueError):
    """Bytes that are no session record."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A certificate's digest: `algorithm` in lower case ("sha-256"), `value` as "AB:CD:..." in upper case."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of an m-line.

    `name` is spelled as in the rtpmap, `fmtp` is kept as it came ("" for none), `feedback` holds the
    rtcp-fb values without the PT ("nack pli"). `apt` is set for rtx alone: the PT that it repairs.
    """

    pt: PayloadType
    name: str
    clock_rate: int
    channels: int = 1
    fmtp: str = ""
    feedback: tuple[str, ...] = ()
    apt: PayloadType | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """A negotiated RTP header extension (RFC 8285); `direction` says who of us uses it."""

    id: int
    uri: str
    direction: Direction = "sendrecv"


@dataclass(frozen=True, slots=True)
class Receiving:
    """What the client said of the streams that it sends on an m-line; hints, as MID and RID bind first.

    `rtx_ssrcs` pairs a media SSRC with its RTX SSRC (FID). `rids` are in the order of a=simulcast.
    """

    ssrcs: tuple[Ssrc, ...] = ()
    rtx_ssrcs: tuple[tuple[Ssrc, Ssrc], ...] = ()
    rids: tuple[Rid, ...] = ()


@dataclass(frozen=True, slots=True)
class Sending:
    """The stream that we announced on an m-line: it outlives the subscription whose media it carries."""

    ssrc: Ssrc
    rtx_ssrc: Ssrc | None
    cname: str
    stream_id: str
    track_id: str


@dataclass(frozen=True, slots=True)
class MLine:
    """One media section, at its place for the life of the PeerConnection.

    `codecs` and `extensions` are what both ends agreed on (while `offered`: what we offer).
    `rejected` is port 0: the place may be taken by a new section with a new mid. `bidirectional`
    m-lines take a publication and a pull, `ours` were first offered by us. `reduced_size` is RFC 5506, as
    the client said.
    """

    mid: Mid
    kind: Kind
    direction: Direction
    codecs: tuple[Codec, ...] = ()
    extensions: tuple[Extension, ...] = ()
    receiving: Receiving = Receiving()
    sending: Sending | None = None
    rejected: bool = False
    offered: bool = False
    bidirectional: bool = False
    ours: bool = False
    reduced_size: bool = True
    protocol: str = "UDP/TLS/RTP/SAVPF"

    @property
    def sends(self) -> bool:
        """Whether we may send here."""
        return not self.rejected and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        """Whether the client may send here."""
        return not self.rejected and self.direction in ("sendrecv", "recvonly")


@dataclass(frozen=True, slots=True)
class Publication:
    """A track that this session's client publishes on m-line `mid`.

    `state`: `offered` waits for the client's answer, `open` is in force, `ended` had no packet for
    30 s, `closed` was closed by a call or a stopped m-line; the last two are only still listed.
    `flowing` (media arrives) and `sending_pt` (the codec that arrives; None: not yet known) are
    written by the owner.
    """

    name: TrackName
    mid: Mid
    kind: Kind
    state: Literal["offered", "open", "ended", "closed"] = "open"
    flowing: bool = False
    sending_pt: PayloadType | None = None


@dataclass(frozen=True, slots=True)
class Simulcast:
    """Which layer a subscription wants; an empty `preferred_rid` leaves the choice to the server."""

    preferred_rid: str = ""
    priority_ordering: Fallback = "none"
    rid_not_available: Fallback = "none"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One pull: the publisher's track as it leaves on m-line `mid`. One per m-line.

    `state`: `offered` waits for the client's answer (send nothing yet), `open` sends, `refused` was
    rejected by the client or lacks the publisher's codec, `ended` lost its publisher, `closed` was
    closed by a call. Only `open` sends.

    `pt_map` maps the publisher's PTs to ours, `rtx_pts` our PT to our RTX PT, `extension_map` the
    publisher's extension ids to ours; what is not in a map is not forwarded. `mid_extension_id` is
    where our own mid goes (None: not negotiated). `sending_pt` is the codec that the publisher uses, in
    its numbers (always in `pt_map` while `open`), and `clock_rate` that codec's rate in Hz.
    `rids` are the layers that the publisher offers.
    """

    publisher: SessionId
    track: TrackName
    mid: Mid
    kind: Kind
    state: Literal["offered", "open", "refused", "ended", "closed"]
    ssrc: Ssrc
    rtx_ssrc: Ssrc | None
    cname: str
    sending_pt: PayloadType
    clock_rate: int
    pt_map: Mapping[PayloadType, PayloadType] = field(default_factory=dict[PayloadType, PayloadType])
    rtx_pts: Mapping[PayloadType, PayloadType] = field(default_factory=dict[PayloadType, PayloadType])
    extension_map: Mapping[int, int] = field(default_factory=dict[int, int])
    mid_extension_id: int | None = None
    rids: tuple[Rid, ...] = ()
    simulcast: Simulcast | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """What a PT or an extension id stands for in this PeerConnection.

    `agreed` bindings hold for life. The others were only seen in a client's SDP: we never give their
    number another meaning, but the client may.
    """

    key: str
    agreed: bool


@dataclass(frozen=True, slots=True)
class ClientTransport:
    """ICE and DTLS parameters from the client's SDP."""

    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]


@dataclass(frozen=True, slots=True)
class PendingOffer:
    """An offer of ours that waits for its answer; until then other mutations are refused.

    `mids` are the m-lines that it adds or changes, `payload_types` the numbers that nobody agreed on
    before.
    """

    mids: tuple[Mid, ...]
    payload_types: tuple[PayloadType, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """All that the cluster knows of one session.

    `version` is for compare-and-set and belongs to the directory. `created_at` is wall-clock seconds.
    `generation` counts ICE restarts, `association` those after which the client starts DTLS afresh: its
    fingerprint changed, or the m-line that led the BUNDLE group went and its transport with it.
    `fingerprint` is of the certificate that our SDP named, which stays in use as long as the session.
    `dtls_role` is ours, None until the first answer fixes it. `transport_state` and `owner` are written by
    the owner.
    `refused_codecs` are keys of codecs that the client dropped from an offer of ours.
    `max_message_size` is the client's (RFC 8841; None: not said).
    """

    id: SessionId
    app: AppId
    created_at: float
    fingerprint: Fingerprint
    origin_id: int
    version: int = 0
    origin_version: int = 0
    correlation_id: str | None = None
    generation: int = 0
    association: int = 0
    dtls_role: DtlsRole | None = None
    client: ClientTransport | None = None
    mlines: tuple[MLine, ...] = ()
    publications: tuple[Publication, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    payload_types: Mapping[PayloadType, Binding] = field(default_factory=dict[PayloadType, Binding])
    extension_ids: Mapping[int, Binding] = field(default_factory=dict[int, Binding])
    refused_codecs: tuple[str, ...] = ()
    next_mid: int = 0
    mixed_extensions: bool = True
    max_message_size: int | None = None
    pending: PendingOffer | None = None
    transport_state: TransportState = "new"
    owner: NodeId | None = None

    def mline(self, mid: Mid) -> MLine | None:
        """The m-line of that mid."""
        return next((mline for mline in self.mlines if mline.mid == mid), None)

    def incoming(self) -> Iterator[tuple[Publication, MLine]]:
        """The publications in force and their m-lines: what the owner may receive."""
        by_mid = {mline.mid: mline for mline in self.mlines}
        for track in self.publications:
            mline = by_mid.get(track.mid)
            if track.state == "open" and mline is not None and mline.receives:
                yield track, mline

    def outgoing(self) -> Iterator[tuple[Subscription, MLine]]:
        """The subscriptions that the owner may send now, and their m-lines."""
        by_mid = {mline.mid: mline for mline in self.mlines}
        for pull in self.subscriptions:
            mline = by_mid.get(pull.mid)
            if pull.state == "open" and mline is not None and mline.sends and not mline.offered:
                yield pull, mline

    def publication(self, name: TrackName) -> Publication | None:
        """The newest publication of that name, whatever its state."""
        return next((track for track in reversed(self.publications) if track.name == name), None)

    def subscription(self, mid: Mid) -> Subscription | None:
        """What is pulled on that m-line, whatever its state."""
        return next((pull for pull in self.subscriptions if pull.mid == mid), None)


_ADAPTER = TypeAdapter(SessionRecord)


def to_json(record: SessionRecord) -> bytes:
    """The record as JSON."""
    return _ADAPTER.dump_json(record)


def from_json(data: bytes) -> SessionRecord:
    """The record that `to_json` wrote. Raises RecordError."""
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise RecordError(
            f"not a session record: {error.error_count()} errors, {error.errors()[0]['loc']}"
        ) from error
