"""Sections of our own offers.

A place in the SDP is used again where JSEP allows it, so that the SDP stops growing: a refused
section by a new one with a new mid (RFC 8829 5.2.2), a section of ours on which nothing is pulled any
more by turning it inactive in one offer and alive in a later one. Either way the stream gets a fresh
SSRC, without which Chromium would not restart it.
"""

from __future__ import annotations

import dataclasses

from sfu.negotiation import capabilities, mlines
from sfu.negotiation.draft import Draft
from sfu.negotiation.errors import ItemError
from sfu.negotiation.record import Codec, Extension, Kind, MLine, PendingOffer, SessionRecord
from sfu.negotiation.render import render
from sfu.negotiation.requests import PublishedTrack, SessionDescription, TrackRequest
from sfu.negotiation.transport import dissociated, restarted


class Proposal:
    """An offer of ours in the making: what to pull and publish by it."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        # chosen before this offer empties others: a section must have been inactive for one negotiation
        self._vacant = [mline for mline in draft.mlines if self._is_vacant(mline)]
        leader = mlines.leader(draft.mlines)
        self._alone = leader is None  # then browsers have no transport left
        # Chromium refuses a new section before the one that leads the BUNDLE group, or makes a new transport
        # for all of them
        self._lead = 0 if leader is None else draft.places[leader]
        self._agreed = draft.payload_types.agreed()
        self._changed: list[MLine] = []

    def _is_vacant(self, mline: MLine) -> bool:
        if mline.kind == "application":
            return False  # its client will offer it again
        return mline.rejected or (mline.direction == "inactive" and self._is_idle(mline))

    def _is_idle(self, mline: MLine) -> bool:
        """Whether nothing uses a section that is ours to use again.

        On those of the client's that took a publication its transceiver would not receive.
        """
        draft = self._draft
        return (
            not mline.bidirectional
            and (mline.ours or (mline.sending is not None and mline.mid not in draft.publications))
            and draft.live_publication(mline.mid) is None
            and draft.live_subscription(mline.mid) is None
        )

    def pull(self, track: PublishedTrack, request: TrackRequest) -> MLine | ItemError:
        """Offer a section that carries `track`."""
        draft = self._draft
        sending = next(codec for codec in track.codecs if codec.pt == track.sending_pt)
        offered = {capabilities.codec_key(codec) for codec in track.codecs}
        usable = offered.intersection(capabilities.decoding_keys(sending))
        if usable.issubset(draft.base.refused_codecs):
            return mlines.lacks(sending)
        codecs = self._codecs(track.codecs, track.kind, received=request.bidirectional)
        uris = [extension.uri for extension in track.extensions if extension.uri in capabilities.FORWARDED]
        if request.bidirectional:
            uris += capabilities.offered_extensions(track.kind, received=True, sent=True)
        extensions = self._extensions([*uris, capabilities.MID])
        way = mlines.route(track, codecs, extensions)
        if isinstance(way, ItemError):
            return way
        mline = self._place(
            MLine(
                mid=draft.fresh_mid(),
                kind=track.kind,
                direction="sendrecv" if request.bidirectional else "sendonly",
                codecs=codecs,
                extensions=extensions,
                sending=draft.announce(track.session, rtx=bool(way.rtx_pts)),
                offered=True,
                ours=True,
                bidirectional=request.bidirectional,
            )
        )
        draft.subscribe(mlines.subscription(track, mline, way, simulcast=request.simulcast, state="offered"))
        return mline

    def publish(self, kind: Kind, *, bidirectional: bool) -> MLine:
        """Offer a section on which the client sends."""
        codecs = self._codecs(capabilities.own_codecs(kind), kind, received=True)
        uris = capabilities.offered_extensions(kind, received=True, sent=bidirectional)
        draft = self._draft
        rtx = any(codec.apt is not None for codec in codecs)
        return self._place(
            MLine(
                mid=draft.fresh_mid(),
                kind=kind,
                direction="sendrecv" if bidirectional else "recvonly",
                codecs=codecs,
                extensions=self._extensions(uris),
                sending=draft.announce(None, rtx=rtx) if bidirectional else None,
                offered=True,
                ours=True,
                bidirectional=bidirectional,
            )
        )

    def finish(self) -> tuple[SessionRecord, SessionDescription]:
        """The record with the offer pending, and the offer."""
        draft = self._draft
        changed = {mline.mid for mline in self._changed}
        for mline in draft.mlines:
            if mline.mid not in changed and not mline.rejected and self._is_idle(mline):
                draft.put(dataclasses.replace(mline, direction="inactive"))
        pending = PendingOffer(
            tuple(mline.mid for mline in self._changed),
            tuple(sorted(draft.payload_types.agreed() - self._agreed)),
        )
        record = draft.record()
        if self._alone and record.client is not None:
            record = dissociated(restarted(record))
        return render(dataclasses.replace(record, pending=pending), "offer", draft.context)

    def _place(self, mline: MLine) -> MLine:
        draft = self._draft
        vacant = [
            old
            for old in self._vacant
            if old.kind == mline.kind
            and (old.rejected or _fits(old, mline))
            and draft.places[old.mid] >= self._lead
        ]
        # a refused place first: what comes there is new to the client in every way
        chosen = min(vacant, key=lambda old: not old.rejected, default=None)
        if chosen is None:
            draft.place(mline, len(draft.mlines))
        else:
            self._vacant.remove(chosen)
            if not chosen.rejected:
                mline = dataclasses.replace(mline, mid=chosen.mid)
            draft.place(mline, draft.places[chosen.mid])
        self._changed.append(mline)
        return mline

    def _codecs(self, codecs: tuple[Codec, ...], kind: Kind, *, received: bool) -> tuple[Codec, ...]:
        """The same codecs in this client's numbers, each video codec with RTX."""
        table = self._draft.payload_types
        own = {capabilities.codec_key(codec): codec.pt for codec in capabilities.own_codecs(kind)}
        own_rtx = {codec.apt: codec.pt for codec in capabilities.own_codecs(kind) if codec.apt is not None}
        has_red = any(codec.name.lower() == "red" for codec in codecs)
        numbered: list[Codec] = []
        renumbered: dict[str, str] = {}
        for codec in codecs:
            if not capabilities.is_media(codec):
                continue
            inner = codec.fmtp.split("/") if codec.name.lower() == "red" else ()
            if any(renumbered.get(pt) != pt for pt in inner):
                continue  # the PTs in its payload are forwarded as they are
            key = capabilities.codec_key(codec)
            if key is None:
                continue
            wishes = [own[key]] if key in own else []
            wishes.insert(0 if has_red else 1, codec.pt)
            pt = table.choose(key, wishes)
            if pt is None:
                continue  # all 60 numbers are taken
            renumbered[str(codec.pt)] = str(pt)
            feedback = capabilities.offered_feedback(codec, kind, received=received)
            numbered.append(dataclasses.replace(codec, pt=pt, feedback=feedback))
            if kind == "video":
                rtx = table.choose(f"rtx/90000;apt={pt}", [own_rtx[pt]] if pt in own_rtx else [])
                if rtx is not None:
                    numbered.append(Codec(rtx, "rtx", codec.clock_rate, 1, f"apt={pt}", (), pt))
        return tuple(numbered)

    def _extensions(self, uris: list[str] | tuple[str, ...]) -> tuple[Extension, ...]:
        table = self._draft.extension_ids
        extensions: list[Extension] = []
        for uri in dict.fromkeys(uris):
            number = table.choose(uri, [capabilities.EXTENSION_IDS[uri]])
            if number is not None:
                extensions.append(Extension(number, uri))
        return tuple(extensions)


def _fits(old: MLine, new: MLine) -> bool:
    """Whether an inactive section's transceiver, made for one direction, serves a new use."""
    return not new.bidirectional and (old.sending is None) == (new.sending is None)
