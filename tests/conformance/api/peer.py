"""The client's half of a PeerConnection, as the conformance tests need it.

`Peer` is what tests use. `ScriptedPeer` writes SDP as a browser does and moves no packet: with it goes
a server in this process that is told what would have happened. A peer that does connect is in
`real_peer.py`, for servers elsewhere.
"""

from __future__ import annotations

import itertools
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.conformance.api.description import Description, Section

Json = dict[str, str]

_OPPOSITE = {"sendonly": "recvonly", "recvonly": "sendonly", "sendrecv": "sendrecv", "inactive": "inactive"}
_FINGERPRINT = ":".join(["A1"] * 32)

_CODECS = {
    "audio": [
        "rtpmap:111 opus/48000/2",
        "rtcp-fb:111 transport-cc",
        "fmtp:111 minptime=10;useinbandfec=1",
        "rtpmap:0 PCMU/8000",
    ],
    "video": [
        "rtpmap:96 VP8/90000",
        "rtcp-fb:96 goog-remb",
        "rtcp-fb:96 transport-cc",
        "rtcp-fb:96 ccm fir",
        "rtcp-fb:96 nack",
        "rtcp-fb:96 nack pli",
        "rtpmap:97 rtx/90000",
        "fmtp:97 apt=96",
        "rtpmap:102 H264/90000",
        "rtcp-fb:102 nack",
        "rtcp-fb:102 nack pli",
        "fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "rtpmap:103 rtx/90000",
        "fmtp:103 apt=102",
    ],
    "application": ["sctp-port:5000", "max-message-size:262144"],
}
_EXTENSIONS = [
    "extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
]


@dataclass
class Transceiver:
    """One of the peer's transceivers; it has its mid from the first offer on."""

    kind: str
    direction: str
    silent: bool = False
    rids: tuple[str, ...] = ()
    mid: str = ""
    stopped: bool = False


class Peer(ABC):
    """A client with one PeerConnection."""

    @abstractmethod
    def add(
        self,
        kind: str,
        direction: str = "sendonly",
        *,
        silent: bool = False,
        rids: tuple[str, ...] = (),
    ) -> Transceiver:
        """A new transceiver; a `silent` one never sends a packet."""

    @abstractmethod
    async def stop(self, mid: str) -> None:
        """`transceiver.stop()`: the next offer refuses its section."""

    @abstractmethod
    async def offer(self) -> Json:
        """A new offer, as local description."""

    @abstractmethod
    async def accept(self, answer: Json) -> None:
        """Take the answer to the last offer."""

    @abstractmethod
    async def answer(self, offer: Json) -> Json:
        """Take an offer and answer it."""

    @abstractmethod
    async def connected(self, session: str) -> None:
        """Until the server holds the session connected and has media of all that is not silent."""

    @abstractmethod
    async def close(self) -> None:
        """End the PeerConnection."""


class ScriptedPeer(Peer):
    """Writes what Chromium would write.

    `arrive` is told when its packets would have arrived. Without it the peer is one that never connects,
    to whatever server.
    """

    def __init__(self, arrive: Callable[[str, set[str]], Awaitable[None]] | None = None) -> None:
        self._arrive = arrive
        self._transceivers: list[Transceiver] = []  # by place in the SDP
        self._waiting: list[Transceiver] = []  # not offered yet
        self._lines: dict[str, list[str]] = {}  # by mid: codecs and extensions as last negotiated
        self._refused: set[str] = set()  # mids whose place may be taken
        self._mids = map(str, itertools.count())
        self._ufrag = secrets.token_hex(4)
        self._pwd = secrets.token_hex(12)
        self._ssrcs = itertools.count(secrets.randbelow(1 << 31) + 1)

    def add(
        self,
        kind: str,
        direction: str = "sendonly",
        *,
        silent: bool = False,
        rids: tuple[str, ...] = (),
    ) -> Transceiver:
        """A new transceiver, in the next offer."""
        transceiver = Transceiver(kind, direction, silent, rids)
        self._waiting.append(transceiver)
        return transceiver

    async def stop(self, mid: str) -> None:
        """The next offer refuses the section."""
        self._of(mid).stopped = True

    def set_direction(self, mid: str, direction: str) -> None:
        """`transceiver.direction = ...`."""
        self._of(mid).direction = direction

    def restart_ice(self) -> None:
        """New ICE credentials from the next offer on."""
        self._ufrag, self._pwd = secrets.token_hex(4), secrets.token_hex(12)

    async def offer(self) -> Json:
        """An offer of all transceivers; new ones take refused places first (RFC 8829 5.2.2)."""
        for transceiver in self._waiting:
            taken = {one.mid for one in self._transceivers}
            transceiver.mid = next(mid for mid in self._mids if mid not in taken)
            self._lines[transceiver.mid] = _CODECS[transceiver.kind] + (
                [] if transceiver.kind == "application" else _EXTENSIONS
            )
            place = next(
                (
                    index
                    for index, one in enumerate(self._transceivers)
                    if one.mid in self._refused and one.kind == transceiver.kind
                ),
                None,
            )
            if place is None:
                self._transceivers.append(transceiver)
            else:
                self._transceivers[place] = transceiver
        self._waiting = []
        sections = [self._section(one, "actpass") for one in self._transceivers]
        return {"type": "offer", "sdp": self._sdp(sections)}

    async def accept(self, answer: Json) -> None:
        """Check that the answer fits the offer, and remember which places are free."""
        description = Description(answer)
        assert description.mids == [one.mid for one in self._transceivers]
        for section in description.sections:
            if section.port == 0:
                self._of(section.mid).stopped = True
                self._refused.add(section.mid)

    async def answer(self, offer: Json) -> Json:
        """Answer every section with what it offers, in the other direction."""
        description = Description(offer)
        assert description.type == "offer"
        assert len(description.sections) >= len(self._transceivers)
        for place, section in enumerate(description.sections):
            direction = _OPPOSITE.get(section.direction, "inactive")
            if place == len(self._transceivers):
                self._transceivers.append(Transceiver(section.kind, direction, mid=section.mid))
            elif self._transceivers[place].mid != section.mid:
                assert self._transceivers[place].mid in self._refused
                self._transceivers[place] = Transceiver(section.kind, direction, mid=section.mid)
            transceiver = self._transceivers[place]
            transceiver.direction = direction
            if section.port == 0:
                transceiver.stopped = True
                self._refused.add(section.mid)
            self._lines[section.mid] = [
                line for line in section.lines if line.startswith(("rtpmap:", "rtcp-fb:", "fmtp:", "extmap:"))
            ]
        sections = [self._section(one, "active") for one in self._transceivers]
        return {"type": "answer", "sdp": self._sdp(sections)}

    async def connected(self, session: str) -> None:
        """Tell that packets of all sending transceivers arrived."""
        sending = {
            one.mid
            for one in self._transceivers
            if one.direction.startswith("send") and not one.silent and not one.stopped
        }
        assert self._arrive is not None, "this peer never connects"
        await self._arrive(session, sending)

    async def close(self) -> None:
        """Nothing is open."""

    def _of(self, mid: str) -> Transceiver:
        return next(one for one in self._transceivers if one.mid == mid)

    def _section(self, transceiver: Transceiver, setup: str) -> list[str]:
        lines = self._lines[transceiver.mid]
        payload_types = [line[7:].split(" ")[0] for line in lines if line.startswith("rtpmap:")]
        protocol = "UDP/TLS/RTP/SAVPF"
        if transceiver.kind == "application":
            payload_types, protocol = ["webrtc-datachannel"], "UDP/DTLS/SCTP"
        port = 0 if transceiver.stopped else 9
        section = Section(transceiver.kind, port, payload_types)
        section.lines = [
            f"ice-ufrag:{self._ufrag}",
            f"ice-pwd:{self._pwd}",
            "ice-options:trickle",
            f"fingerprint:sha-256 {_FINGERPRINT}",
            f"setup:{setup}",
            f"mid:{transceiver.mid}",
        ]
        if transceiver.kind != "application":
            section.lines += ["inactive" if transceiver.stopped else transceiver.direction]
            section.lines += ["rtcp-mux", "rtcp-rsize"]
        section.lines += lines
        if transceiver.direction.startswith("send") and not transceiver.stopped:
            section.lines.append(f"msid:stream track-{transceiver.mid}")
            if transceiver.rids:
                section.lines += [f"rid:{rid} send" for rid in transceiver.rids]
                section.lines.append("simulcast:send " + ";".join(transceiver.rids))
            else:
                section.lines.append(f"ssrc:{next(self._ssrcs)} cname:client")
        head = f"m={transceiver.kind} {port} {protocol} {' '.join(payload_types)}"
        return [head, "c=IN IP4 0.0.0.0", *(f"a={line}" for line in section.lines)]

    def _sdp(self, sections: list[list[str]]) -> str:
        bundle = " ".join(one.mid for one in self._transceivers if not one.stopped)
        head = [
            "v=0",
            "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {bundle}",
        ]
        lines = [*head, "a=extmap-allow-mixed", "a=msid-semantic: WMS stream"]
        for section in sections:
            lines += section
        return "".join(f"{line}\r\n" for line in lines)
