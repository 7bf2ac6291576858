"""A browser's PeerConnection without media: JSEP's state (RFC 8829) as far as an SFU sees it.

It writes offers and answers with the codecs, numbers and extensions that a recorded browser writes,
and asserts on each of ours what browsers check.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from sfu.base.ids import Mid, PayloadType
from sfu.negotiation.capabilities import codec_key
from sfu.negotiation.record import Codec, Direction, Extension, Fingerprint, Kind
from sfu.negotiation.sdp import Description, Media, mirror, read
from sfu.wire.sdp import Sdp, Section
from tests.sfu.negotiation.world import fixture

Flavour = Literal["chromium-156", "firefox-153", "safari-18"]
FLAVOURS: tuple[Flavour, ...] = ("chromium-156", "firefox-153", "safari-18")

_FIRST: dict[Flavour, Description] = {}


def _first(flavour: Flavour) -> Description:
    if flavour not in _FIRST:
        text = fixture(f"{flavour}-offer-audio-video-sendonly")
        _FIRST[flavour] = read(text, max_bytes=1 << 20, max_sections=10)
    return _FIRST[flavour]


def _key(codec: Codec) -> str:
    return codec_key(codec) or f"{codec.name.lower()}/{codec.clock_rate};{codec.fmtp}"


def _parse(sdp: str) -> Description:
    return read(sdp, max_bytes=1 << 22, max_sections=1000)


@dataclass(eq=False)
class Transceiver:
    """One m-line's life; `mid` None until it was in a local or remote description."""

    kind: Kind
    direction: Direction
    ssrc: int
    mid: Mid | None = None
    stopped: bool = False
    current: Direction | None = None
    codecs: tuple[Codec, ...] = ()
    extensions: tuple[Extension, ...] = ()
    remote_ssrcs: tuple[int, ...] = ()


class FakeBrowser:
    """One PeerConnection."""

    def __init__(self, flavour: Flavour, *, fingerprint: str = "CD") -> None:
        self.flavour: Flavour = flavour
        self.transceivers: list[Transceiver] = []
        self.events: list[Mid] = []  # mids of `track` events
        self._slots: list[Transceiver] = []
        self._free: set[int] = set()  # places that the last negotiation left rejected
        self._ssrcs = itertools.count(0x1000_0000, 2)
        self._mids = itertools.count()
        self._payload_types: dict[PayloadType, str] = {}
        self._extension_ids: dict[int, str] = {}
        self._fingerprint = Fingerprint("sha-256", ":".join([fingerprint] * 32))
        self._generation = 0
        self._role = ""
        self._server: tuple[str, str] | None = None
        self._pending: list[Media] = []

    # what an application does

    def add(self, kind: Kind, direction: Direction = "sendonly") -> Transceiver:
        """addTransceiver."""
        transceiver = Transceiver(kind, direction, next(self._ssrcs))
        self.transceivers.append(transceiver)
        return transceiver

    def stop(self, mid: Mid) -> None:
        """transceiver.stop()."""
        self.by_mid(mid).stopped = True

    def by_mid(self, mid: Mid) -> Transceiver:
        """The living transceiver of that mid."""
        return next(one for one in self.transceivers if one.mid == mid)

    def restart_ice(self) -> None:
        """restartIce."""
        self._generation += 1

    # offers of ours, answered by the SFU

    def offer(self) -> str:
        """createOffer and setLocalDescription."""
        for transceiver in self.transceivers:
            if transceiver.mid is None and not transceiver.stopped:
                self._seat(transceiver)
        sections = [self._offered(transceiver) for transceiver in self._slots]
        mids = [one.mid for one in self._slots if not one.stopped]
        text = self._sdp(sections, [mid for mid in mids if mid is not None])
        self._pending = list(_parse(text).media)
        return text

    def _seat(self, transceiver: Transceiver) -> None:
        known = {one.mid for one in self._slots}
        transceiver.mid = next(mid for n in self._mids if (mid := Mid(str(n))) not in known)
        for place in sorted(self._free):
            self._free.discard(place)
            self._slots[place] = transceiver
            return
        self._slots.append(transceiver)

    def _offered(self, transceiver: Transceiver) -> Section:
        if transceiver.stopped:
            return Section(
                f"{transceiver.kind} 0 UDP/TLS/RTP/SAVPF 0",
                (("mid", transceiver.mid or ""), ("inactive", "")),
            )
        own = next(media for media in _first(self.flavour).media if media.kind == transceiver.kind)
        codecs = self._numbered(own.codecs)
        extensions = self._identified(own.extensions)
        if self.flavour.startswith("firefox") and transceiver.codecs:
            codecs = transceiver.codecs  # what was agreed, no more
        return self._section(transceiver, "actpass", codecs, extensions, transceiver.direction)

    def _numbered(self, codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
        """Chromium moves its codecs out of the way of numbers that are taken; Firefox does not."""
        if self.flavour.startswith("firefox"):
            return codecs
        moved: dict[PayloadType, PayloadType] = {}
        used = set(self._payload_types)
        numbered: list[Codec] = []
        for codec in codecs:
            apt = moved.get(codec.apt) if codec.apt is not None else None
            fmtp = f"apt={apt}" if apt is not None else codec.fmtp
            wanted = Codec(codec.pt, codec.name, codec.clock_rate, codec.channels, fmtp, codec.feedback, apt)
            known = [pt for pt, key in self._payload_types.items() if key == _key(wanted)]
            if known:
                pt = known[0]
            elif codec.pt not in used:
                pt = codec.pt
            else:
                pt = next(PayloadType(n) for n in (*range(96, 128), *range(35, 64)) if n not in used)
            used.add(pt)
            moved[codec.pt] = pt
            numbered.append(
                Codec(pt, codec.name, codec.clock_rate, codec.channels, fmtp, codec.feedback, apt)
            )
        return tuple(numbered)

    def _identified(self, extensions: tuple[Extension, ...]) -> tuple[Extension, ...]:
        taken = set(self._extension_ids)
        known = {uri: number for number, uri in self._extension_ids.items()}
        identified: list[Extension] = []
        for extension in extensions:
            number = known.get(extension.uri)
            if number is None:
                number = extension.id
                if number in taken:
                    number = next((n for n in range(1, 15) if n not in taken), 0)
            if number:
                taken.add(number)
                identified.append(Extension(number, extension.uri, extension.direction))
        return tuple(identified)

    def accept(self, sdp: str) -> None:
        """setRemoteDescription with the answer."""
        answer = _parse(sdp)
        assert len(answer.media) == len(self._pending)
        offered_group = [media.mid for media in self._pending if not media.stopped]
        assert answer.bundle is None or set(answer.bundle) <= set(offered_group)
        self._check_transport(answer, {"active", "passive"})
        for place, (offered, answered) in enumerate(zip(self._pending, answer.media, strict=True)):
            transceiver = self._slots[place]
            assert (answered.mid, answered.kind) == (offered.mid, offered.kind)
            assert answered.stopped or answered.mid in (answer.bundle or offered_group[:1])
            if offered.stopped or answered.stopped:
                assert answered.stopped
                self._end(place, transceiver)
                continue
            self._check_narrowed(offered, answered)
            self._settle(transceiver, answered, answered.codecs, mirror(answered.direction))
        self._pending = []

    def _check_narrowed(self, offered: Media, answered: Media) -> None:
        """An answer keeps order, numbers and parameters, and adds nothing."""
        keys = {codec.pt: (_key(codec), codec.fmtp) for codec in offered.codecs}
        pts = [codec.pt for codec in offered.codecs]
        assert all(keys[codec.pt] == (_key(codec), codec.fmtp) for codec in answered.codecs)
        places = [pts.index(codec.pt) for codec in answered.codecs]
        assert places == sorted(places)
        feedback = {codec.pt: set(codec.feedback) for codec in offered.codecs}
        assert all(set(codec.feedback) <= feedback[codec.pt] for codec in answered.codecs)
        ids = {extension.id: extension.uri for extension in offered.extensions}
        assert all(ids[extension.id] == extension.uri for extension in answered.extensions)
        assert not answered.sends or offered.receives
        assert not answered.receives or offered.sends

    # offers of the SFU, answered by us

    def answer(self, sdp: str, *, reject: frozenset[Mid] = frozenset()) -> str:
        """setRemoteDescription, createAnswer and setLocalDescription; `reject` stops these sections."""
        offer = _parse(sdp)
        assert len(offer.media) >= len(self._slots)
        self._check_transport(offer, {"actpass"})
        sections: list[Section] = []
        for place, media in enumerate(offer.media):
            if place < len(self._slots) and self._slots[place].mid == media.mid:
                transceiver = self._slots[place]
                assert transceiver.kind == media.kind
                assert not (transceiver.stopped and place in self._free and not media.stopped)
            else:
                assert not media.stopped
                transceiver = self._created(place, media)
            sections.append(self._answered(place, transceiver, media, reject))
        mids = [
            media.mid
            for place, media in enumerate(offer.media)
            if not media.stopped and place not in self._free
        ]
        return self._sdp(sections, mids)

    def _created(self, place: int, media: Media) -> Transceiver:
        """A section that is new to us takes a place at the end or a free one, with a new mid."""
        assert media.mid not in {one.mid for one in self._slots}
        transceiver = Transceiver(media.kind, "recvonly", next(self._ssrcs), media.mid)
        if place == len(self._slots):
            self._slots.append(transceiver)
        else:
            assert place in self._free, f"place {place} was not rejected"
            self._free.discard(place)
            self._slots[place] = transceiver
        self.transceivers.append(transceiver)
        return transceiver

    def _answered(
        self, place: int, transceiver: Transceiver, media: Media, reject: frozenset[Mid]
    ) -> Section:
        own = next(one for one in _first(self.flavour).media if one.kind == media.kind)
        keys = {_key(codec) for codec in own.codecs}
        codecs = [codec for codec in media.codecs if codec.apt is None and _key(codec) in keys]
        pts = {codec.pt for codec in codecs}
        codecs = [codec for codec in media.codecs if codec.pt in pts or codec.apt in pts]
        if media.stopped or transceiver.stopped or media.mid in reject or not codecs:
            self._end(place, transceiver)
            return Section(f"{media.kind} 0 UDP/TLS/RTP/SAVPF 0", (("mid", media.mid), ("inactive", "")))
        uris = {extension.uri for extension in own.extensions}
        extensions = tuple(extension for extension in media.extensions if extension.uri in uris)
        ours = transceiver.direction
        sends = media.receives and ours in ("sendrecv", "sendonly")
        receives = media.sends and ours in ("sendrecv", "recvonly")
        direction: Direction = "sendrecv"
        if not (sends and receives):
            direction = "sendonly" if sends else "recvonly" if receives else "inactive"
        before = transceiver.current
        if receives and before not in ("sendrecv", "recvonly"):
            self.events.append(media.mid)
            assert media.ssrcs
            assert set(media.ssrcs).isdisjoint(transceiver.remote_ssrcs), "a stream restarts with its SSRC"
        self._settle(transceiver, media, tuple(codecs), direction)
        return self._section(transceiver, self._role or "active", tuple(codecs), extensions, direction)

    # both

    def _settle(
        self, transceiver: Transceiver, theirs: Media, codecs: tuple[Codec, ...], direction: Direction
    ) -> None:
        for codec in codecs:
            assert self._payload_types.setdefault(codec.pt, _key(codec)) == _key(codec), (
                f"PT {codec.pt} was {self._payload_types[codec.pt]}, is {_key(codec)}"
            )
        for extension in theirs.extensions:
            meant = self._extension_ids.setdefault(extension.id, extension.uri)
            assert meant == extension.uri, "RTP extension ID reassignment not supported"
        transceiver.codecs = codecs
        transceiver.extensions = theirs.extensions
        transceiver.current = direction
        if theirs.sends:
            transceiver.remote_ssrcs += theirs.ssrcs

    def _end(self, place: int, transceiver: Transceiver) -> None:
        transceiver.stopped = True
        transceiver.current = None
        self._free.add(place)
        if len(self._free) == len(self._slots):  # the transport goes with its last section
            self._generation += 0 if self.flavour.startswith("firefox") else 1
            self._server, self._role = None, ""
        if transceiver in self.transceivers:
            self.transceivers.remove(transceiver)

    def _check_transport(self, description: Description, setups: set[str]) -> None:
        living = [media for media in description.media if not media.stopped]
        if not living:
            return
        assert {media.setup for media in living} <= setups
        assert all(media.rtcp_mux and media.fingerprints and media.pwd for media in living)
        (server,) = {(media.ufrag, media.pwd) for media in living}
        if self._server is not None and server != self._server:
            assert self._generation, "ICE restarted unasked"
        self._server = server
        setup = living[0].setup
        role = {"active": "passive", "passive": "active", "actpass": self._role or "active"}[setup]
        assert self._role in ("", role), "the DTLS role changed"
        self._role = role
        group = set(description.bundle or ())
        assert description.bundle is None or group == {media.mid for media in living}
        meanings: dict[PayloadType, str] = {}
        for codec in (codec for media in living for codec in media.codecs):
            assert meanings.setdefault(codec.pt, _key(codec)) == _key(codec)

    def _section(
        self,
        transceiver: Transceiver,
        setup: str,
        codecs: tuple[Codec, ...],
        extensions: tuple[Extension, ...],
        direction: Direction,
    ) -> Section:
        attributes: list[tuple[str, str]] = [
            ("mid", transceiver.mid or ""),
            ("ice-ufrag", f"user{self._generation}"),
            ("ice-pwd", f"password-of-the-client-{self._generation}"),
            ("fingerprint", str(self._fingerprint)),
            ("setup", setup),
            ("rtcp-mux", ""),
            ("rtcp-rsize", ""),
            (direction, ""),
        ]
        for codec in codecs:
            channels = f"/{codec.channels}" if codec.channels > 1 else ""
            attributes.append(("rtpmap", f"{codec.pt} {codec.name}/{codec.clock_rate}{channels}"))
            if codec.fmtp:
                attributes.append(("fmtp", f"{codec.pt} {codec.fmtp}"))
            attributes += [("rtcp-fb", f"{codec.pt} {value}") for value in codec.feedback]
        attributes += [
            ("extmap", f"{one.id}{'' if one.direction == 'sendrecv' else '/' + one.direction} {one.uri}")
            for one in extensions
        ]
        if direction in ("sendrecv", "sendonly"):
            attributes.append(("msid", f"- track-{transceiver.ssrc}"))
            attributes.append(("ssrc", f"{transceiver.ssrc} cname:client"))
        formats = " ".join(str(codec.pt) for codec in codecs)
        return Section(f"{transceiver.kind} 9 UDP/TLS/RTP/SAVPF {formats}", tuple(attributes))

    def _sdp(self, sections: list[Section], mids: list[Mid]) -> str:
        session = Section(
            "",
            (("group", f"BUNDLE {' '.join(mids)}"), ("extmap-allow-mixed", "")),
            (("v", "0"), ("o", "- 1 1 IN IP4 127.0.0.1"), ("s", "-"), ("t", "0 0")),
        )
        return Sdp(session, tuple(sections)).render()
