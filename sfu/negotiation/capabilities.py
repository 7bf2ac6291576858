"""What the SFU serves: codecs, feedback, header extensions, and the numbers of its own offers.

A codec is known by its key: two PTs with the same key stand for the same thing, whoever numbered
them. Codecs are forwarded, never transcoded, so serving one means to know what must agree.

Not served, and why:
- ulpfec, flexfec and video RED protect sequence numbers and SSRCs that the SFU rewrites; only an
  untouched stream could carry them. NACK and RTX repair video instead.
- telephone-event and CN: nobody subscribes to them, and without them a source stays one codec.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from sfu.base.ids import PayloadType
from sfu.negotiation.record import Codec, Kind
from sfu.negotiation.sdp import parameters

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
TRANSPORT_WIDE_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
COLOR_SPACE = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)
LAYERS_ALLOCATION = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
VIDEO_TIMING = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"
CONTENT_TYPE = "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"

# Our ids in our own offers, where the client has not given its own. They are Chromium's, so that most
# pairs of PeerConnections need no rewriting; all fit the one-byte form.
EXTENSION_IDS: dict[str, int] = {
    AUDIO_LEVEL: 1,
    ABS_SEND_TIME: 2,
    TRANSPORT_WIDE_CC: 3,
    MID: 4,
    PLAYOUT_DELAY: 5,
    CONTENT_TYPE: 6,
    VIDEO_TIMING: 7,
    COLOR_SPACE: 8,
    ABS_CAPTURE_TIME: 9,
    RID: 10,
    REPAIRED_RID: 11,
    DEPENDENCY_DESCRIPTOR: 12,
    VIDEO_ORIENTATION: 13,
    LAYERS_ALLOCATION: 14,
}
ONE_BYTE_IDS = range(1, 15)  # RFC 8285 4.2

# What may pass from a publisher to a subscriber as it is; nothing else does, as rids and mids of
# others and private extensions would leak (W38).
FORWARDED = frozenset(
    {
        AUDIO_LEVEL,
        VIDEO_ORIENTATION,
        COLOR_SPACE,
        ABS_CAPTURE_TIME,
        DEPENDENCY_DESCRIPTOR,
        PLAYOUT_DELAY,
        VIDEO_TIMING,
        CONTENT_TYPE,
    }
)
# transport-wide-cc and abs-send-time serve the sender's bandwidth estimate: towards the client there is
# none yet, and they change with each send, which a resend without RTX must not.
RECEIVED = FORWARDED | {MID, RID, REPAIRED_RID, TRANSPORT_WIDE_CC, ABS_SEND_TIME, LAYERS_ALLOCATION}
SENT = FORWARDED | {MID}

_AUDIO_EXTENSIONS = (AUDIO_LEVEL, MID, ABS_CAPTURE_TIME)
_VIDEO_EXTENSIONS = tuple(uri for uri in EXTENSION_IDS if uri != AUDIO_LEVEL)

_FEEDBACK_RECEIVED = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
_FEEDBACK_SENT = ("goog-remb", "ccm fir", "nack", "nack pli")

_H264_PROFILES = (
    # profile_idc, mask and value of profile-iop, name (RFC 6184 table 5)
    (0x42, 0x4F, 0x40, "constrained-baseline"),
    (0x4D, 0x8F, 0x80, "constrained-baseline"),
    (0x58, 0xCF, 0xC0, "constrained-baseline"),
    (0x42, 0x4F, 0x00, "baseline"),
    (0x58, 0xCF, 0x80, "baseline"),
    (0x4D, 0xAF, 0x00, "main"),
    (0x64, 0xFF, 0x00, "high"),
    (0x64, 0xFF, 0x0C, "constrained-high"),
    (0xF4, 0xFF, 0x00, "high-444"),
)
# Whose decoder takes which stream. Baseline as browsers write it has no FMO and no ASO, so it is
# constrained baseline by another name.
_H264_DECODERS: dict[str, tuple[str, ...]] = {
    "constrained-baseline": ("baseline", "main", "constrained-high", "high"),
    "baseline": ("constrained-baseline", "main", "constrained-high", "high"),
    "main": ("high",),
    "constrained-high": ("high",),
}


def codec_key(codec: Codec) -> str | None:
    """What two ends must agree on to mean the same by a PT; None for a codec that we do not serve."""
    return _key(codec.name, codec.clock_rate, codec.fmtp, codec.apt)


@functools.lru_cache(maxsize=1024)  # browsers repeat the same few dozen codecs in every section
def _key(name: str, clock_rate: int, fmtp: str, apt: PayloadType | None) -> str | None:
    name = name.lower()
    values = parameters(fmtp)
    match name, clock_rate:
        case ("opus", 48000) | ("pcmu" | "pcma" | "g722", 8000) | ("vp8", 90000):
            detail = ""
        case "red", 48000:
            detail = f";{fmtp}"  # the PTs inside are in the payload, which is not rewritten
        case "rtx", 90000:
            detail = f";apt={apt}"
        case "vp9", 90000:
            detail = f";profile-id={values.get('profile-id', '0')}"
        case "av1", 90000:
            detail = f";profile={values.get('profile', '0')}"
        case "h265", 90000:
            detail = f";profile-id={values.get('profile-id', '1')};tier-flag={values.get('tier-flag', '0')}"
        case "h264", 90000:
            mode, profile = _h264_format(fmtp)
            detail = f";packetization-mode={mode};profile={profile}"
        case _:
            return None
    return f"{name}/{clock_rate}{detail}"


def _h264_format(fmtp: str) -> tuple[str, str]:
    values = parameters(fmtp)
    mode = values.get("packetization-mode", "0")
    level_id = values.get("profile-level-id", "42000a")  # the default of RFC 6184 8.1
    try:
        idc, iop = int(level_id[:2], 16), int(level_id[2:4], 16)
    except ValueError:
        return mode, level_id.lower()
    for profile_idc, mask, value, name in _H264_PROFILES:
        if idc == profile_idc and iop & mask == value:
            return mode, name
    return mode, f"{idc:02x}{iop:02x}"


def decoding_keys(codec: Codec) -> list[str]:
    """The keys under which a receiver decodes this codec, best first: its own, then supersets."""
    key = codec_key(codec)
    if key is None:
        return []
    keys = [key]
    if codec.name.lower() == "h264":
        mode, profile = _h264_format(codec.fmtp)
        modes = ("0", "1") if mode == "0" else (mode,)
        profiles = (profile, *_H264_DECODERS.get(profile, ()))
        keys = [f"h264/90000;packetization-mode={m};profile={p}" for p in profiles for m in modes]
    return keys


def is_media(codec: Codec) -> bool:
    """Whether the PT carries media by itself, rather than repairing another."""
    return codec.apt is None and codec.name.lower() != "rtx"


def served(codecs: Iterable[Codec]) -> tuple[Codec, ...]:
    """The codecs that we serve, in their order; RTX and RED only with what they are made of."""
    codecs = tuple(codecs)
    media = {
        codec.pt: codec
        for codec in codecs
        if is_media(codec) and codec.name.lower() != "red" and codec_key(codec) is not None
    }
    return tuple(codec for codec in codecs if codec.pt in media or _belongs(codec, media))


def _belongs(codec: Codec, media: dict[PayloadType, Codec]) -> bool:
    if codec_key(codec) is None:
        return False
    if codec.name.lower() == "rtx":
        return codec.apt in media
    inner = {part for part in codec.fmtp.split("/") if part}
    return bool(inner) and inner <= {str(pt) for pt, other in media.items() if other.name.lower() == "opus"}


def feedback(codec: Codec, *, received: bool) -> tuple[str, ...]:
    """Those of the codec's rtcp-fb that we serve, in their order; `received`: where media comes in."""
    served_here = _FEEDBACK_RECEIVED if received else _FEEDBACK_SENT
    return tuple(value for value in codec.feedback if value in served_here)


def offered_feedback(codec: Codec, kind: Kind, *, received: bool) -> tuple[str, ...]:
    """The rtcp-fb that our own offer asks for. Audio is not resent: the next packet comes sooner."""
    if not is_media(codec):
        return ()
    if kind == "video":
        return _FEEDBACK_RECEIVED if received else _FEEDBACK_SENT
    return ("transport-cc",) if received and codec.name.lower() == "opus" else ()


def offered_extensions(kind: Kind, *, received: bool, sent: bool) -> tuple[str, ...]:
    """The header extensions that our own offer asks for."""
    uris = (*_AUDIO_EXTENSIONS, TRANSPORT_WIDE_CC, ABS_SEND_TIME) if kind == "audio" else _VIDEO_EXTENSIONS
    return tuple(
        dict.fromkeys(uri for uri in uris if (received and uri in RECEIVED) or (sent and uri in SENT))
    )


# The numbers of our own offers. Firefox numbers its codecs in each new section by its own table, even
# if an earlier section gave those numbers another meaning, so ours are Firefox's; Chromium moves its own
# out of the way. Opus and RED are Chromium's, as RED names its PTs in the payload, and clash with none.
_H264 = "level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}1f"
_OWN_NUMBERS: dict[str, Sequence[tuple[int, str, int, int, str, int | None]]] = {
    # PT, name, clock rate, channels, fmtp, PT of its RTX
    "audio": (
        (111, "opus", 48000, 2, "minptime=10;useinbandfec=1", None),
        (63, "red", 48000, 2, "111/111", None),
        (9, "G722", 8000, 1, "", None),
        (0, "PCMU", 8000, 1, "", None),
        (8, "PCMA", 8000, 1, "", None),
    ),
    "video": (
        (120, "VP8", 90000, 1, "", 124),
        (126, "H264", 90000, 1, _H264.format(mode=1, profile="42e0"), 127),
        (97, "H264", 90000, 1, _H264.format(mode=0, profile="42e0"), 98),
        (105, "H264", 90000, 1, _H264.format(mode=1, profile="4200"), 106),
        (103, "H264", 90000, 1, _H264.format(mode=0, profile="4200"), 104),
        (112, "H264", 90000, 1, _H264.format(mode=1, profile="4d00"), 113),
        (114, "H264", 90000, 1, _H264.format(mode=1, profile="6400"), 115),
        (99, "AV1", 90000, 1, "", 100),
        (121, "VP9", 90000, 1, "profile-id=0", 125),
        (116, "VP9", 90000, 1, "profile-id=2", 117),
        (107, "H265", 90000, 1, "", 108),
    ),
}
# Where another codec finds a number (RFC 3551 6, RFC 5761 4): dynamic ones that Firefox leaves free first.
FREE_NUMBERS = tuple(
    PayloadType(pt)
    for pt in (96, 102, 110, 118, *range(35, 63), 101, 109, 119, 122, 123, *range(96, 128), 63)
)


def own_codecs(kind: Kind) -> tuple[Codec, ...]:
    """All that we serve of a kind, numbered as in our own offers and without feedback."""
    codecs: list[Codec] = []
    for pt, name, rate, channels, fmtp, rtx in _OWN_NUMBERS.get(kind, ()):
        codecs.append(Codec(PayloadType(pt), name, rate, channels, fmtp))
        if rtx is not None:
            codecs.append(
                Codec(PayloadType(rtx), "rtx", rate, 1, f"apt={pt}", (), PayloadType(pt)),
            )
    return tuple(codecs)
