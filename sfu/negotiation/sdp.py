"""An SDP's meaning: what one end says of itself, section by section (RFC 8829, 8866).

Directions here are those of the SDP's writer. Numbers are checked, unknown attributes ignored.
`read` raises SdpError for what no WebRTC endpoint may write; what is merely not served by us is the
concern of the callers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sfu.base.ids import Mid, PayloadType, Rid, Ssrc
from sfu.negotiation.record import Codec, Direction, Extension, Fingerprint, Kind
from sfu.wire.sdp import SdpError, Section, parse_sdp

MAX_CODECS = 100
MAX_SSRCS = 64
MAX_EXTENSIONS = 64
MAX_RIDS = 8  # as many as the packet path has layers
MAX_FINGERPRINTS = 16
MAX_FEEDBACK = 64  # a=rtcp-fb of one payload type, and those of all ("*"), which count for each
MAX_FMTP = 2048  # characters; parameter sets of H.265 are the longest

# A mid or rid that is longer fits no one-byte header extension (RFC 8285 4.2), so media could not name it.
_NAME = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,16}")
# RFC 8839 5.4 and what some write in addition: base64 with padding, or its URL form
_UFRAG = re.compile(r"[A-Za-z0-9+/=_-]{4,256}")
_PWD = re.compile(r"[A-Za-z0-9+/=_-]{22,256}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})+")
_RTPMAP = re.compile(r"(\d{1,3}) +([^/ ]{1,64})/(\d{1,7})(?:/(\d{1,3}))? *")
_EXTMAP = re.compile(r"(\d{1,5})(?:/(sendrecv|sendonly|recvonly|inactive))? +(\S{1,256}).*")
_SSRC = re.compile(r"(\d{1,10})(?: +([^:]*)(?::(.*))?)?")
_SIMULCAST = re.compile(r"(send|recv) +(?:rid=)?(\S+)")
_DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}  # SHA-1 is no longer trusted
_STATIC = {
    0: ("PCMU", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
}  # the static PTs that we serve (RFC 3551 6)
_DIRECTIONS: dict[str, Direction] = {
    "sendrecv": "sendrecv",
    "sendonly": "sendonly",
    "recvonly": "recvonly",
    "inactive": "inactive",
}
_KINDS: dict[str, Kind] = {"audio": "audio", "video": "video", "application": "application"}
_MIRROR: dict[Direction, Direction] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


def mirror(direction: Direction) -> Direction:
    """The same direction as the other end says it."""
    return _MIRROR[direction]


@dataclass(frozen=True, slots=True)
class Media:
    """One media section. `stopped` is port 0 without bundle-only: refused, or free for another."""

    mid: Mid
    kind: Kind
    protocol: str
    stopped: bool
    direction: Direction
    codecs: tuple[Codec, ...]
    extensions: tuple[Extension, ...]
    ssrcs: tuple[Ssrc, ...]
    rtx_ssrcs: tuple[tuple[Ssrc, Ssrc], ...]
    rids: tuple[Rid, ...]
    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]
    setup: str
    rtcp_mux: bool
    rtcp_rsize: bool
    max_message_size: int | None

    @property
    def sends(self) -> bool:
        """Whether the writer wants to send."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        """Whether the writer wants to receive."""
        return self.direction in ("sendrecv", "recvonly")


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description. `bundle` is the first BUNDLE group, None if there is none."""

    media: tuple[Media, ...]
    bundle: tuple[Mid, ...] | None
    mixed_extensions: bool


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What the session part says for all sections."""

    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]
    setup: str
    direction: Direction


def read(text: str, *, max_bytes: int, max_sections: int) -> Description:
    """Read a session description. Raises SdpError."""
    sdp = parse_sdp(text, max_bytes=max_bytes, max_sections=max_sections)
    attributes = sdp.session.attributes
    flat = dict(reversed(attributes))
    ufrag, pwd = _credentials(flat)
    defaults = _Defaults(
        ufrag,
        pwd,
        _fingerprints(value for name, value in attributes if name == "fingerprint"),
        flat.get("setup", ""),
        _direction(flat, "sendrecv"),
    )
    media = tuple(_read_media(section, index, defaults) for index, section in enumerate(sdp.media))
    mids = {section.mid for section in media}
    if len(mids) < len(media):
        raise SdpError("two sections have the same a=mid")
    bundle = _bundle(attributes)
    return Description(media, bundle, "extmap-allow-mixed" in flat)


def _bundle(attributes: Iterable[tuple[str, str]]) -> tuple[Mid, ...] | None:
    for name, value in attributes:
        if name == "group" and (words := value.split()) and words[0] == "BUNDLE":
            return tuple(dict.fromkeys(Mid(word) for word in words[1:]))
    return None


def _credentials(flat: dict[str, str]) -> tuple[str, str]:
    ufrag, pwd = flat.get("ice-ufrag", ""), flat.get("ice-pwd", "")
    if ufrag and _UFRAG.fullmatch(ufrag) is None:
        raise SdpError(f"a=ice-ufrag:{ufrag[:40]} is not of 4 to 256 ice-chars")
    if pwd and _PWD.fullmatch(pwd) is None:
        raise SdpError("a=ice-pwd is not of 22 to 256 ice-chars")
    return ufrag, pwd


def _fingerprints(values: Iterable[str]) -> tuple[Fingerprint, ...]:
    fingerprints: dict[Fingerprint, None] = {}
    for value in values:
        algorithm, _, digest = value.partition(" ")
        algorithm, digest = algorithm.lower(), digest.strip().upper()
        if _DIGEST.fullmatch(digest) is None:
            raise SdpError(f"a=fingerprint:{value[:40]} is not an algorithm and a digest")
        if algorithm not in _DIGEST_BYTES:
            continue
        if len(digest) != _DIGEST_BYTES[algorithm] * 3 - 1:
            raise SdpError(f"a=fingerprint of {algorithm} has the wrong length")
        fingerprints[Fingerprint(algorithm, digest)] = None
        if len(fingerprints) > MAX_FINGERPRINTS:
            raise SdpError(f"more than {MAX_FINGERPRINTS} a=fingerprint")
    return tuple(fingerprints)


def _read_media(section: Section, index: int, defaults: _Defaults) -> Media:
    words = section.media.split()
    if len(words) < 4 or words[0] not in _KINDS or not words[1].partition("/")[0].isdecimal():
        raise SdpError(f"m={section.media[:40]} is not audio, video or application with port and formats")
    kind, port, protocol = _KINDS[words[0]], words[1], words[2]
    values: dict[str, list[str]] = {}
    for name, value in section.attributes:
        values.setdefault(name, []).append(value)
    flat = {name: all_of_it[0] for name, all_of_it in values.items()}
    mid = flat.get("mid", "")
    if _NAME.fullmatch(mid) is None:
        raise SdpError(f"section {index} (m={words[0]}) has no valid a=mid, a token of 1 to 16 characters")
    ufrag, pwd = _credentials(flat)
    ssrcs, pairs = _ssrcs(values, mid)
    return Media(
        mid=Mid(mid),
        kind=kind,
        protocol=protocol,
        stopped=port == "0" and "bundle-only" not in flat,
        direction=_direction(flat, defaults.direction),
        codecs=() if kind == "application" else _codecs(words[3:], values, mid),
        extensions=_extensions(values.get("extmap", [])),
        ssrcs=ssrcs,
        rtx_ssrcs=pairs,
        rids=_rids(values),
        ufrag=ufrag or defaults.ufrag,
        pwd=pwd or defaults.pwd,
        fingerprints=_fingerprints(values.get("fingerprint", [])) or defaults.fingerprints,
        setup=flat.get("setup", defaults.setup),
        rtcp_mux="rtcp-mux" in flat,
        rtcp_rsize="rtcp-rsize" in flat,
        max_message_size=_size(flat.get("max-message-size")),
    )


def _direction(flat: Collection[str], default: Direction) -> Direction:
    for direction in _MIRROR:
        if direction in flat:
            return direction
    return default


def _size(value: str | None) -> int | None:
    return (
        int(value)
        if value is not None and value.isdecimal() and value.isascii() and len(value) < 16
        else None
    )


def _by_pt(values: Iterable[str]) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for value in values:
        pt, _, rest = value.partition(" ")
        lines.setdefault(pt, []).append(rest.strip())
    return lines


def _codecs(formats: list[str], values: dict[str, list[str]], mid: str) -> tuple[Codec, ...]:
    if len(formats) > MAX_CODECS:
        raise SdpError(f"{len(formats)} formats in section {mid!r}, more than {MAX_CODECS}")
    maps: dict[str, re.Match[str]] = {}
    for value in values.get("rtpmap", ()):
        match = _RTPMAP.fullmatch(value)
        if match is None:
            raise SdpError(f"a=rtpmap:{value[:40]} in section {mid!r} is not PT name/rate")
        maps.setdefault(match[1], match)
    fmtps = _by_pt(values.get("fmtp", ()))
    feedbacks = _by_pt(values.get("rtcp-fb", ()))
    if any(len(lines) > MAX_FEEDBACK for lines in feedbacks.values()):
        raise SdpError(f"more than {MAX_FEEDBACK} a=rtcp-fb of one payload type in section {mid!r}")
    codecs: list[Codec] = []
    for pt in dict.fromkeys(formats):
        if not (pt.isascii() and pt.isdecimal() and len(pt) <= 3 and int(pt) < 128):
            raise SdpError(f"format {pt[:40]!r} in section {mid!r} is not a payload type")
        number = PayloadType(int(pt))
        match = maps.get(pt)
        if match is not None:
            name, rate, channels = match[2], int(match[3]), int(match[4] or 1)
        elif number in _STATIC:
            name, rate, channels = *_STATIC[number], 1
        else:
            continue  # a static PT of a codec that nobody serves
        fmtp = ";".join(fmtps.get(pt, ()))
        if len(fmtp) > MAX_FMTP:
            raise SdpError(f"a=fmtp:{pt} in section {mid!r} is longer than {MAX_FMTP} characters")
        feedback = tuple(dict.fromkeys([*feedbacks.get(pt, ()), *feedbacks.get("*", ())]))
        apt = _apt(fmtp) if name.lower() == "rtx" else None
        codecs.append(Codec(number, name, rate, channels, fmtp, feedback, apt))
    return tuple(codecs)


def parameters(fmtp: str) -> dict[str, str]:
    """The parameters of an fmtp, names in lower case."""
    pairs = (part.partition("=") for part in fmtp.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}


def _apt(fmtp: str) -> PayloadType | None:
    value = parameters(fmtp).get("apt", "")
    if value.isascii() and value.isdecimal() and len(value) <= 3 and int(value) < 128:
        return PayloadType(int(value))
    return None


def _extensions(values: list[str]) -> tuple[Extension, ...]:
    """The extension maps; ids outside 1-14 and 16-255 (RFC 8285 4.2, 4.3) are left out."""
    if len(values) > MAX_EXTENSIONS:
        raise SdpError(f"{len(values)} a=extmap in one section, more than {MAX_EXTENSIONS}")
    extensions: dict[int, Extension] = {}
    for value in values:
        match = _EXTMAP.fullmatch(value)
        if match is None:
            raise SdpError(f"a=extmap:{value[:40]} is not an id and a URI")
        number = int(match[1])
        if 1 <= number <= 255 and number != 15:
            extensions.setdefault(number, Extension(number, match[3], _DIRECTIONS[match[2] or "sendrecv"]))
    return tuple(extensions.values())


def _ssrcs(values: dict[str, list[str]], mid: str) -> tuple[tuple[Ssrc, ...], tuple[tuple[Ssrc, Ssrc], ...]]:
    """Media SSRCs, and the pairs of media and RTX SSRC. Raises SdpError for Plan B."""
    known: dict[Ssrc, None] = {}
    tracks: set[str] = set()
    for value in values.get("ssrc", ()):
        match = _SSRC.fullmatch(value)
        if match is None or int(match[1]) > 0xFFFFFFFF:
            raise SdpError(f"a=ssrc:{value[:40]} in section {mid!r} does not begin with an SSRC")
        known[Ssrc(int(match[1]))] = None
        if match[2] == "msid" and match[3]:
            tracks.add(match[3].split()[-1] if match[3].strip() else "")
    tracks.update(words[1] for value in values.get("msid", ()) if len(words := value.split()) > 1)
    if len(tracks) > 1:
        raise SdpError(
            f"section {mid!r} carries {len(tracks)} tracks: Plan B is not supported, use Unified Plan"
        )
    if len(known) > MAX_SSRCS:
        raise SdpError(f"{len(known)} SSRCs in section {mid!r}, more than {MAX_SSRCS}")
    pairs: dict[Ssrc, Ssrc] = {}
    repairs: set[Ssrc] = set()
    for value in values.get("ssrc-group", ()):
        semantics, *members = value.split() or [""]
        ssrcs = [
            Ssrc(int(member))
            for member in members
            if member.isascii() and member.isdecimal() and len(member) < 11
        ]
        # Firefox leaves groups of SSRCs that it no longer lists: those are not meant
        if any(ssrc not in known for ssrc in ssrcs) or len(ssrcs) != 2 or ssrcs[0] == ssrcs[1]:
            continue
        if semantics == "FID":
            pairs.setdefault(ssrcs[0], ssrcs[1])
        if semantics in ("FID", "FEC-FR", "FEC"):
            repairs.add(ssrcs[1])
    return tuple(ssrc for ssrc in known if ssrc not in repairs), tuple(pairs.items())


def _rids(values: dict[str, list[str]]) -> tuple[Rid, ...]:
    """The layers that the writer sends, in the order of a=simulcast (not of a=rid, not of the SSRCs).

    Reads RFC 8853 and draft-03 (`send rid=a;b`). Of alternatives ("a,b") the first counts; a paused
    layer ("~a") may start at any time, so it is a layer.
    """
    offered = [
        words[0] for value in values.get("rid", ()) if len(words := value.split()) > 1 and words[1] == "send"
    ]
    if len(offered) > MAX_RIDS:
        raise SdpError(f"{len(offered)} a=rid in one section, more than {MAX_RIDS}")
    for direction, streams in (
        match.groups() for value in values.get("simulcast", ()) for match in _SIMULCAST.finditer(value)
    ):
        if direction == "send":
            order = [stream.split(",")[0].lstrip("~") for stream in streams.split(";")]
            offered = [rid for rid in dict.fromkeys(order) if rid in offered]
    if any(_NAME.fullmatch(rid) is None for rid in offered):
        raise SdpError("an a=rid is not a token of 1 to 16 characters")
    return tuple(Rid(rid) for rid in dict.fromkeys(offered))
