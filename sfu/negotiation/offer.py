"""What a client's offer does to a record.

Two steps, with the operation's own work between them: `take_offer` puts the offer's sections in their
places, as far as the SDP alone decides; then tracks are published and pulled onto them; `settle`
fixes what the answer will say of each. Every section is answered, whether or not a call names it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sfu.base.ids import Mid
from sfu.negotiation import capabilities, mlines, transport
from sfu.negotiation.draft import Draft
from sfu.negotiation.errors import invalid_sdp
from sfu.negotiation.record import Codec, Direction, MLine, Receiving
from sfu.negotiation.requests import Context, SessionDescription
from sfu.negotiation.sdp import Description, Media, read
from sfu.wire.sdp import SdpError

_RTP_PROTOCOLS = frozenset(
    f"{carrier}RTP/SAVP{profile}" for carrier in ("UDP/TLS/", "TCP/DTLS/", "") for profile in ("F", "")
)


@dataclass(frozen=True, slots=True)
class TakenOffer:
    """A client's offer whose sections are in the draft. `carried` are those that are not refused."""

    carried: tuple[Media, ...]
    fresh: frozenset[Mid]  # m-lines that the session did not have
    before: dict[Mid, tuple[Codec, ...]]  # what the other m-lines had agreed on
    bundle: bool


def describe(description: SessionDescription, wanted: str, context: Context) -> Description:
    """Read an SDP of a request. Raises NegotiationError."""
    if description.type != wanted:
        raise invalid_sdp(f"Expecting an {wanted}, not an {description.type}")
    limits = context.limits
    try:
        return read(
            description.sdp, max_bytes=limits.sdp_bytes, max_sections=max(1, limits.mlines_per_session)
        )
    except SdpError as error:
        raise invalid_sdp(f"Unable to parse SDP: {error}") from error


def take_offer(draft: Draft, description: SessionDescription) -> TakenOffer:
    """Put the sections of a client's offer into the draft. Raises NegotiationError."""
    offer = describe(description, "offer", draft.context)
    if len(offer.media) < len(draft.mlines):
        raise invalid_sdp(
            f"The offer has {len(offer.media)} media sections, the session has {len(draft.mlines)} already"
        )
    bundled = transport.bundled(offer)
    leader = mlines.leader(draft.mlines)
    fresh: set[Mid] = set()
    before: dict[Mid, tuple[Codec, ...]] = {}
    carried: list[Media] = []
    for place, media in enumerate(offer.media):
        old = _predecessor(draft, media, place)
        if old is None:
            fresh.add(media.mid)
        else:
            before[media.mid] = old.codecs
        mline = _mline(draft, media, old, carried=media.mid in bundled)
        draft.place(mline, place)
        if mline.rejected:
            draft.close(mline.mid)
        else:
            carried.append(media)
    draft.base = dataclasses.replace(
        transport.take_offer(draft.base, offer, carried, leaders=(leader, mlines.leader(draft.mlines))),
        mixed_extensions=offer.mixed_extensions,
        refused_codecs=_still_refused(draft.base.refused_codecs, carried),
        max_message_size=next(
            (media.max_message_size for media in offer.media if media.max_message_size is not None),
            draft.base.max_message_size,
        ),
    )
    return TakenOffer(tuple(carried), frozenset(fresh), before, offer.bundle is not None)


def _still_refused(refused: tuple[str, ...], carried: list[Media]) -> tuple[str, ...]:
    """What the client refused once and does not now say that it can receive."""
    if not refused:
        return refused
    received = {
        capabilities.codec_key(codec) for media in carried if media.receives for codec in media.codecs
    }
    return tuple(key for key in refused if key not in received)


def _predecessor(draft: Draft, media: Media, place: int) -> MLine | None:
    """The m-line that a section continues; None if it is new, or takes the place of a rejected one."""
    if place == len(draft.mlines):
        if media.mid in draft.places:
            raise invalid_sdp(f"a=mid:{media.mid} moved to another place")
        return None
    old = draft.mlines[place]
    if old.mid != media.mid:
        if not old.rejected:
            raise invalid_sdp(f"Section {place} is a=mid:{old.mid} in this session, not {media.mid}")
        if media.mid in draft.places:
            raise invalid_sdp(f"a=mid:{media.mid} moved to another place")
        return None
    if old.kind != media.kind:
        raise invalid_sdp(f"a=mid:{media.mid} is {old.kind} in this session, not {media.kind}")
    return old


def _mline(draft: Draft, media: Media, old: MLine | None, *, carried: bool) -> MLine:
    """The m-line with all that the section lets both ends do; `settle` narrows it."""
    refused = MLine(media.mid, media.kind, "inactive", rejected=True, protocol=media.protocol)
    if not carried or media.kind == "application" or media.protocol not in _RTP_PROTOCOLS:
        return refused
    codecs = mlines.acceptable_codecs(media.codecs, draft.payload_types)
    if not any(map(capabilities.is_media, codecs)):
        return refused
    if not media.rtcp_mux:
        raise invalid_sdp(f"a=rtcp-mux is missing in section {media.mid!r}: RTP and RTCP share one port")
    return MLine(
        mid=media.mid,
        kind=media.kind,
        direction="inactive",
        codecs=codecs,
        extensions=mlines.acceptable_extensions(
            media.extensions, draft.extension_ids, received=True, sent=True
        ),
        receiving=Receiving(media.ssrcs, media.rtx_ssrcs, media.rids) if media.sends else Receiving(),
        sending=None if old is None else old.sending,
        bidirectional=old is not None and old.bidirectional,
        ours=old is not None and old.ours,
        reduced_size=media.rtcp_rsize,
        protocol=media.protocol,
    )


def settle(draft: Draft, offer: TakenOffer) -> None:
    """Fix direction, codecs and extensions of each m-line by what is published and pulled there."""
    for media in offer.carried:
        mline = draft.mlines[draft.places[media.mid]]
        closed = (track := draft.publications.get(media.mid)) is not None and track.state == "closed"
        pull = draft.live_subscription(media.mid)
        idle = pull is None and draft.live_publication(media.mid) is None
        # A section that no call named is received too: a later call may publish it without an SDP
        receives = media.sends and not closed
        sends = media.receives and (pull is not None or (mline.bidirectional and not (closed and idle)))
        codecs = mlines.acceptable_codecs(mline.codecs, draft.payload_types)
        if pull is not None and not mline.bidirectional and not receives:
            codecs = _only(codecs, set(pull.pt_map.values())) or codecs
        extensions = mlines.acceptable_extensions(
            media.extensions, draft.extension_ids, received=receives, sent=sends
        )
        if not receives and not sends:
            extensions = mline.extensions
        mlines.bind_codecs(media.codecs, codecs, draft.payload_types)
        mlines.bind_extensions(media.extensions, extensions, draft.extension_ids)
        sending = mline.sending
        if sends and sending is None:
            sending = draft.announce(None, rtx=any(codec.apt is not None for codec in codecs))
        settled = dataclasses.replace(
            mline,
            direction=direction_of(sends=sends, receives=receives),
            codecs=mlines.with_feedback(codecs, received=receives),
            extensions=extensions,
            sending=sending,
        )
        draft.put(settled)
        if pull is not None:
            offered = (*offer.before.get(media.mid, ()), *mline.codecs)
            draft.subscribe(mlines.reroute(pull, offered, settled))


def _only(codecs: tuple[Codec, ...], pts: set[int]) -> tuple[Codec, ...]:
    return tuple(codec for codec in codecs if codec.pt in pts or codec.apt in pts)


def direction_of(*, sends: bool, receives: bool) -> Direction:
    """The direction of one who sends, receives, both or neither."""
    if sends:
        return "sendrecv" if receives else "sendonly"
    return "recvonly" if receives else "inactive"
