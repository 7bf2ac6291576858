"""A record while an operation changes it."""

from __future__ import annotations

import dataclasses

from sfu.base.ids import Mid, PayloadType, SessionId, Ssrc
from sfu.negotiation import capabilities
from sfu.negotiation.errors import NegotiationError, invalid_params, offer_pending
from sfu.negotiation.numbers import Numbers
from sfu.negotiation.record import MLine, Publication, Sending, SessionRecord, Subscription
from sfu.negotiation.requests import Context

_LARGEST_MID = 10**6  # a client that counts further only risks a clash with itself


def check_open(record: SessionRecord) -> None:
    """Raises NegotiationError if the session is over."""
    if record.transport_state == "closed":
        text = "Session appears to be disconnected. Please check if the PeerConnection is connected."
        raise NegotiationError(410, "session_error", text)


def check_changeable(record: SessionRecord) -> None:
    """Raises NegotiationError if the session is over, or an offer of ours waits for its answer."""
    check_open(record)
    if record.pending is not None:
        raise offer_pending()


class Draft:
    """The parts of a record that operations change, made for look-ups; `record()` freezes them.

    There is one publication and one subscription per m-line at most: a new one takes the place of
    what was closed.
    """

    def __init__(self, record: SessionRecord, context: Context) -> None:
        self.base = record
        self.context = context
        self.mlines: list[MLine] = list(record.mlines)
        self.places: dict[Mid, int] = {mline.mid: place for place, mline in enumerate(record.mlines)}
        self.publications: dict[Mid, Publication] = {track.mid: track for track in record.publications}
        self.subscriptions: dict[Mid, Subscription] = {pull.mid: pull for pull in record.subscriptions}
        self.payload_types: Numbers[PayloadType] = Numbers(record.payload_types, capabilities.FREE_NUMBERS)
        self.extension_ids: Numbers[int] = Numbers(record.extension_ids, capabilities.ONE_BYTE_IDS)
        self._next_mid = record.next_mid
        self._ssrcs: set[int] = set()

    @classmethod
    def of(cls, record: SessionRecord, context: Context) -> Draft:
        """A draft for a mutation. Raises NegotiationError if the record takes none now."""
        check_changeable(record)
        return cls(record, context)

    def record(self) -> SessionRecord:
        """The changed record."""
        return dataclasses.replace(
            self.base,
            mlines=tuple(self.mlines),
            publications=tuple(self.publications.values()),
            subscriptions=tuple(self.subscriptions.values()),
            payload_types=self.payload_types.bindings(),
            extension_ids=self.extension_ids.bindings(),
            next_mid=self._next_mid,
        )

    def mline(self, mid: str) -> MLine | None:
        """The m-line of that mid."""
        place = self.places.get(Mid(mid))
        return None if place is None else self.mlines[place]

    def put(self, mline: MLine) -> None:
        """Change the m-line of that mid."""
        self.mlines[self.places[mline.mid]] = mline

    def place(self, mline: MLine, place: int) -> None:
        """Put an m-line at the end, or where a rejected one of another mid was, which is forgotten."""
        if place == len(self.mlines):
            if place >= self.context.limits.mlines_per_session:
                raise invalid_params(f"A session takes at most {place} media sections")
            self.mlines.append(mline)
        else:
            old = self.mlines[place].mid
            self.places.pop(old, None)
            if old != mline.mid:
                self.publications.pop(old, None)
                self.subscriptions.pop(old, None)
            self.mlines[place] = mline
        self.places[mline.mid] = place
        number = mline.mid
        if number.isascii() and number.isdecimal() and len(number) < 8 and int(number) < _LARGEST_MID:
            self._next_mid = max(self._next_mid, int(number) + 1)

    def fresh_mid(self) -> Mid:
        """A mid that this PeerConnection never had, to be placed next."""
        number = self._next_mid
        while Mid(str(number)) in self.places:
            number += 1
        return Mid(str(number))

    def fresh_ssrc(self) -> Ssrc:
        """An SSRC that nobody uses in this PeerConnection."""
        if not self._ssrcs:
            self._ssrcs = {0}
            for mline in self.mlines:
                self._ssrcs.update(mline.receiving.ssrcs, (ssrc for _, ssrc in mline.receiving.rtx_ssrcs))
                if mline.sending is not None:
                    self._ssrcs.update((mline.sending.ssrc, mline.sending.rtx_ssrc or 0))
        while (number := self.context.fresh()) in self._ssrcs:
            pass
        self._ssrcs.add(number)
        return Ssrc(number)

    def live_publication(self, mid: Mid) -> Publication | None:
        """What the m-line publishes, unless that is over."""
        track = self.publications.get(mid)
        return track if track is not None and track.state in ("open", "offered") else None

    def live_subscription(self, mid: Mid) -> Subscription | None:
        """What is pulled on the m-line, unless that is over."""
        pull = self.subscriptions.get(mid)
        return pull if pull is not None and pull.state in ("open", "offered") else None

    def publish(self, track: Publication) -> None:
        """Enter a publication; an old one of that name or mid is forgotten."""
        for mid in [mid for mid, old in self.publications.items() if old.name == track.name]:
            if mid != track.mid:
                del self.publications[mid]
        self.publications[track.mid] = track

    def subscribe(self, pull: Subscription) -> None:
        """Enter a subscription in the place of what was pulled there."""
        self.subscriptions[pull.mid] = pull

    def close(self, mid: Mid) -> bool:
        """Close what is published and pulled on the m-line; False if all was closed already."""
        found = False
        if (track := self.publications.get(mid)) is not None and track.state != "closed":
            self.publications[mid] = dataclasses.replace(track, state="closed", flowing=False)
            found = True
        if (pull := self.subscriptions.get(mid)) is not None and pull.state != "closed":
            self.subscriptions[mid] = dataclasses.replace(pull, state="closed")
            found = True
        return found

    def announce(self, publisher: SessionId | None, *, rtx: bool) -> Sending:
        """Fresh numbers for a stream of ours.

        Tracks of one publisher share CNAME and stream id, so that browsers keep them in sync; stream
        and track id differ, as Chromium renegotiates without end if they do not.
        """
        ssrc = self.fresh_ssrc()
        rtx_ssrc = self.fresh_ssrc() if rtx else None
        name = publisher or f"{self.base.id}-{ssrc:08x}"
        return Sending(ssrc, rtx_ssrc, cname=name, stream_id=name, track_id=self.fresh_id())

    def fresh_id(self) -> str:
        """128 random bits in hex."""
        return "".join(f"{self.context.fresh():08x}" for _ in range(4))
