"""Offers and answers of the light client: as little SDP as a WebRTC endpoint may write (RFC 8829, 8843).

One BUNDLE group on one transport with rtcp-mux; Opus and VP8. A publisher offers to repair its video by RTX
(RFC 4588); a subscriber takes what repairs are offered. The client keeps its m-lines as a list of `Section`;
`render` writes it, `read` takes the other side's text apart. What the client does not know it leaves out of
its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sfu.net.address import Address

Kind = Literal["audio", "video"]
Direction = Literal["sendonly", "recvonly", "sendrecv", "inactive"]

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
MID_EXTENSION = 1
CLOCK_RATES: dict[Kind, int] = {"audio": 48000, "video": 90000}
CODECS: dict[Kind, str] = {"audio": "opus", "video": "vp8"}
DIRECTIONS: tuple[Direction, ...] = ("sendonly", "recvonly", "sendrecv", "inactive")


class DescriptionError(Exception):
    """The other side's SDP lacks what a connection needs; the text says what."""


@dataclass(frozen=True, slots=True)
class Section:
    """One m-line, ours or theirs. `ssrc` is of the side that wrote it; 0: it sends nothing.

    `pt` is of the codec that we know for this kind (0-127, or -1 if it isn't there), `rtx_pt` of its RTX,
    which comes with `rtx_ssrc`. `nack`: what is missing may be asked for (RFC 4585 4.2).
    """

    mid: str
    kind: str
    direction: Direction
    pt: int
    rtx_pt: int = -1
    mid_extension: int = 0
    ssrc: int = 0
    track: str = ""
    rejected: bool = False
    rtx_ssrc: int = 0
    nack: bool = False

    @property
    def sends(self) -> bool:
        """Whether the side that wrote it sends here; a section that was closed may still name its SSRC."""
        return bool(self.ssrc) and not self.rejected and self.direction in ("sendonly", "sendrecv")


@dataclass(frozen=True, slots=True)
class Description:
    """What the other side said. `fingerprint` is its SHA-256 as 64 lower-case hex digits."""

    ufrag: str
    pwd: str
    fingerprint: str
    setup: str
    candidates: tuple[Address, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Transport:
    """Our own half of the transport. Without candidates: the server learns the client by its checks."""

    ufrag: str
    pwd: str
    fingerprint: str


def new_section(mid: str, kind: Kind, ssrc: int, track: str, rtx_ssrc: int = 0) -> Section:
    """A section that sends a new track, with the payload types that Chromium would take. Video without
    `rtx_ssrc` repairs nothing and says so."""
    if kind == "audio":
        return Section(mid, kind, "sendonly", 111, -1, MID_EXTENSION, ssrc, track)
    rtx_pt = 97 if rtx_ssrc else -1
    return Section(
        mid, kind, "sendonly", 96, rtx_pt, MID_EXTENSION, ssrc, track, rtx_ssrc=rtx_ssrc, nack=bool(rtx_ssrc)
    )


def answer_section(offered: Section) -> Section:
    """Our half of a section that the server offered: receive what we know, refuse the rest."""
    rejected = offered.rejected or offered.pt < 0
    direction: Direction = "recvonly" if offered.direction in ("sendonly", "sendrecv") else "inactive"
    return Section(
        offered.mid,
        offered.kind,
        direction,
        offered.pt,
        offered.rtx_pt,
        offered.mid_extension,
        rejected=rejected,
        nack=offered.nack,
    )


def render(
    kind: Literal["offer", "answer"], transport: Transport, sections: list[Section], version: int
) -> str:
    """The whole SDP; `version` counts this endpoint's descriptions from 0."""
    setup = "actpass" if kind == "offer" else "active"
    bundled = " ".join(s.mid for s in sections if not s.rejected)
    lines = [
        "v=0",
        f"o=- {int(transport.fingerprint[:8], 16)} {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {bundled}".rstrip(),
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS *",
    ]
    for section in sections:
        lines += _section_lines(section, transport, setup)
    return "\r\n".join(lines) + "\r\n"


def _section_lines(section: Section, transport: Transport, setup: str) -> list[str]:
    if section.rejected:
        protocol, formats = ("UDP/DTLS/SCTP", "webrtc-datachannel")
        if section.kind != "application":
            protocol, formats = ("UDP/TLS/RTP/SAVPF", str(max(section.pt, 0)))
        return [
            f"m={section.kind} 0 {protocol} {formats}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{section.mid}",
            "a=inactive",
        ]
    formats = str(section.pt) if section.rtx_pt < 0 else f"{section.pt} {section.rtx_pt}"
    pairs = transport.fingerprint.upper()
    lines = [
        f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {formats}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{transport.ufrag}",
        f"a=ice-pwd:{transport.pwd}",
        f"a=fingerprint:sha-256 {':'.join(pairs[i : i + 2] for i in range(0, 64, 2))}",
        f"a=setup:{setup}",
        f"a=mid:{section.mid}",
        f"a={section.direction}",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    if section.mid_extension:
        lines.append(f"a=extmap:{section.mid_extension} {MID_URI}")
    if section.kind == "audio":
        lines += [f"a=rtpmap:{section.pt} opus/48000/2", f"a=fmtp:{section.pt} minptime=10;useinbandfec=1"]
    else:
        lines += [
            f"a=rtpmap:{section.pt} VP8/90000",
            f"a=rtcp-fb:{section.pt} ccm fir",
            f"a=rtcp-fb:{section.pt} nack pli",
        ]
        if section.rtx_pt >= 0:
            lines += [f"a=rtpmap:{section.rtx_pt} rtx/90000", f"a=fmtp:{section.rtx_pt} apt={section.pt}"]
    if section.nack:
        lines.append(f"a=rtcp-fb:{section.pt} nack")
    if section.ssrc:
        lines.append(f"a=msid:loadtest {section.track}")
        if section.rtx_ssrc:
            lines.append(f"a=ssrc-group:FID {section.ssrc} {section.rtx_ssrc}")
        for ssrc in filter(None, (section.ssrc, section.rtx_ssrc)):
            lines += [f"a=ssrc:{ssrc} cname:loadtest", f"a=ssrc:{ssrc} msid:loadtest {section.track}"]
    return lines


def read(text: str) -> Description:
    """Take the other side's SDP apart. Raises DescriptionError where a connection can't be made of it."""
    try:
        return _read(text)
    except ValueError as error:
        raise DescriptionError(f"a number in the SDP is none: {error}") from error


def _read(text: str) -> Description:
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            blocks.append([])
        blocks[-1].append(line.rstrip())
    session, media = blocks[0], blocks[1:]
    everywhere = [line for block in blocks for line in block]
    fingerprint = _value(everywhere, "a=fingerprint:sha-256 ") or _value(everywhere, "a=fingerprint:SHA-256 ")
    found = {
        "a=ice-ufrag": _value(everywhere, "a=ice-ufrag:"),
        "a=ice-pwd": _value(everywhere, "a=ice-pwd:"),
        "a=fingerprint:sha-256": fingerprint,
    }
    for name, value in found.items():
        if value is None:
            raise DescriptionError(f"no {name} in the SDP")
    candidates = dict.fromkeys(address for line in everywhere if (address := _candidate(line)) is not None)
    session_direction = _direction(session, "sendrecv")
    return Description(
        ufrag=found["a=ice-ufrag"] or "",
        pwd=found["a=ice-pwd"] or "",
        fingerprint=(fingerprint or "").replace(":", "").strip().lower(),
        setup=_value(everywhere, "a=setup:") or "actpass",
        candidates=tuple(candidates),
        sections=tuple(_read_section(block, session_direction) for block in media),
    )


def _read_section(lines: list[str], direction: Direction) -> Section:
    words = lines[0][2:].split()
    if len(words) < 4:
        raise DescriptionError(f"m-line {lines[0]!r}")
    kind = words[0]
    wanted = {"audio": "opus/", "video": "vp8/"}.get(kind)
    names = dict(_split(line[9:]) for line in lines if line.startswith("a=rtpmap:"))
    formats = dict(_split(line[7:]) for line in lines if line.startswith("a=fmtp:"))
    pts = [pt for pt in words[3:] if wanted is not None and names.get(pt, "").lower().startswith(wanted)]
    pt = pts[0] if pts else None
    rtx = [
        other
        for other, name in names.items()
        if name.lower().startswith("rtx/") and formats.get(other) == f"apt={pt}"
    ]
    extension = next(
        (_split(line[9:])[0] for line in lines if line.startswith("a=extmap:") and MID_URI in line.split()),
        "0",
    )
    groups = [line.split()[1:] for line in lines if line.startswith("a=ssrc-group:FID ")]
    pairs = [group for group in groups if len(group) == 2]
    ssrc = next((line[7:].split()[0] for line in lines if line.startswith("a=ssrc:")), "0")
    if pairs:
        ssrc = pairs[0][0]
    return Section(
        mid=_value(lines, "a=mid:") or "",
        kind=kind,
        direction=_direction(lines, direction),
        pt=-1 if pt is None else int(pt),
        rtx_pt=int(rtx[0]) if pt is not None and rtx else -1,
        mid_extension=int(extension.split("/")[0]),
        ssrc=int(ssrc),
        rejected=words[1] == "0" and "a=bundle-only" not in lines,
        rtx_ssrc=int(pairs[0][1]) if pairs and rtx else 0,
        nack=pt is not None and (f"a=rtcp-fb:{pt} nack" in lines or "a=rtcp-fb:* nack" in lines),
    )


def _value(lines: list[str], prefix: str) -> str | None:
    return next((line[len(prefix) :] for line in lines if line.startswith(prefix)), None)


def _split(text: str) -> tuple[str, str]:
    head, _, tail = text.partition(" ")
    return head, tail


def _direction(lines: list[str], default: Direction) -> Direction:
    for direction in DIRECTIONS:
        if f"a={direction}" in lines:
            return direction
    return default


def _candidate(line: str) -> Address | None:
    """The address of a UDP host candidate of component 1 with a literal address; None for all else."""
    words = line.split()
    if not line.startswith("a=candidate:") or len(words) < 8:
        return None
    if words[1] != "1" or words[2].lower() != "udp" or words[4].endswith(".local"):
        return None
    return Address(words[4], int(words[5]))
