"""What the packet path is told about a track that comes in and a subscription that goes out.

Plain values in the words of the SDP; payload types and extension ids are those of the PeerConnection
named: a publisher's for `IngressTrack`, a subscriber's for the right-hand sides of `Egress`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from sfu.base.ids import Mid, PayloadType, Rid, Ssrc

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """Kind of media; the value is the SDP's word."""

    AUDIO = "audio"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class IngressCodec:
    """One payload type of a publisher's m-section, RTX left out."""

    name: str
    """Encoding name as in `a=rtpmap`, any case: "opus", "VP8", "red"."""
    clock_rate: int
    rtx: PayloadType | None = None
    """The RTX payload type whose `apt` this is."""


@dataclass(frozen=True, slots=True)
class ExtensionIds:
    """Header extension ids (1-255) as negotiated with the publisher; None where not negotiated.

    One PeerConnection has one table for its whole life, so all its tracks carry the same ids.
    """

    mid: int | None = None
    rid: int | None = None
    repaired_rid: int | None = None
    transport_cc: int | None = None
    audio_level: int | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the publisher's `a=rtcp-fb` lines allow us to send."""

    transport_cc: bool = False
    remb: bool = False
    """REMB is sent only where transport-cc is not negotiated."""
    pli: bool = False
    fir: bool = False
    """FIR is sent only where PLI is not negotiated."""
    nack: bool = False


@dataclass(frozen=True, slots=True)
class IngressTrack:
    """One m-section that a client sends on."""

    mid: Mid
    kind: Kind
    codecs: Mapping[PayloadType, IngressCodec]
    ssrcs: tuple[Ssrc, ...] = ()
    """Media SSRCs that the SDP names. A hint: MID and RID go before it."""
    rtx_ssrcs: Mapping[Ssrc, Ssrc] = field(default_factory=dict[Ssrc, Ssrc])
    """RTX SSRC by media SSRC (`ssrc-group:FID`)."""
    rids: tuple[Rid, ...] = ()
    """RIDs of `a=simulcast:send` in its order; empty without simulcast. At most 8."""
    extensions: ExtensionIds = ExtensionIds()
    feedback: Feedback = Feedback()


@dataclass(frozen=True, slots=True)
class Routes:
    """How packets of one track are renumbered for one subscriber: both maps are allow lists."""

    payload_types: Mapping[PayloadType, PayloadType]
    """Publisher's payload type to the subscriber's; packets of others are not forwarded."""
    extensions: Mapping[int, int] = field(default_factory=dict[int, int])
    """Publisher's extension id to the subscriber's; others are stripped.

    mid, rid, repaired-rid and transport-cc of the publisher never pass, mapped or not.
    """
    rtx_types: Mapping[PayloadType, PayloadType] = field(default_factory=dict[PayloadType, PayloadType])
    """Subscriber's payload type to that of its RTX; what has none is resent as it was."""


@dataclass(frozen=True, slots=True)
class Egress:
    """One subscription as its subscriber's SDP describes it."""

    mid: Mid
    kind: Kind
    ssrc: Ssrc
    clock_rate: int
    cname: str
    """Equal for tracks that must be played in sync."""
    rtx_ssrc: Ssrc | None = None
    mid_extension_id: int | None = None
    """Id (1-255) under which the subscriber's mid is written, or None to leave it out."""
    extmap_allow_mixed: bool = False
    """Whether header extensions may take the two-byte form (RFC 8285 6); else what needs it is left out."""
