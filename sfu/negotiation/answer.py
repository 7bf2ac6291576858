"""What the client's answer does to a record with an offer of ours pending.

The answer decides: a section that it refuses, or whose codecs leave out the one that the publisher
sends, gives that pull an error, and the others go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sfu.base.ids import PayloadType
from sfu.negotiation import capabilities, mlines, transport
from sfu.negotiation.draft import Draft
from sfu.negotiation.errors import ItemError, invalid_sdp
from sfu.negotiation.offer import describe, direction_of
from sfu.negotiation.record import Codec, Extension, MLine, PendingOffer, Receiving
from sfu.negotiation.requests import SessionDescription, TrackItem
from sfu.negotiation.sdp import Media, mirror

_MAX_REFUSED = 64  # more kinds of codec than there are

_REFUSED = ItemError("invalid_params", "The answer refuses this track", "rejected_by_answer")


def take_answer(
    draft: Draft, pending: PendingOffer, description: SessionDescription
) -> tuple[TrackItem, ...]:
    """Apply the answer to our pending offer; what failed is returned. Raises NegotiationError."""
    answer = describe(description, "answer", draft.context)
    if len(answer.media) != len(draft.mlines):
        raise invalid_sdp(
            f"The answer has {len(answer.media)} media sections, the offer had {len(draft.mlines)}"
        )
    carried: list[Media] = []
    refused = set(draft.base.refused_codecs)
    failed: list[TrackItem] = []
    for mline, media in zip(draft.mlines, answer.media, strict=True):
        if (media.mid, media.kind) != (mline.mid, mline.kind):
            raise invalid_sdp(
                f"The answer has {media.kind} a=mid:{media.mid}, the offer {mline.kind} a=mid:{mline.mid}"
            )
        if mline.rejected:
            if not media.stopped:
                raise invalid_sdp(f"The answer revives section a=mid:{media.mid}, which the offer refused")
            continue
        settled = _refuse(mline) if media.stopped else _agree(draft, mline, media)
        if not settled.rejected:
            carried.append(media)
        if mline.offered:
            if settled.sends:  # else the client may have stopped it for any reason
                _learn(refused, mline.codecs, settled.codecs)
            error = _conclude(draft, mline, settled)
            if error is not None:
                failed.append(error)
        else:
            _follow(draft, mline, settled)
        draft.put(settled)
    # a publisher's odd codecs must not use up the numbers of its subscribers
    kept = {codec.pt for mline in draft.mlines for codec in mline.codecs}
    draft.payload_types.drop(pt for pt in pending.payload_types if pt not in kept)
    draft.base = dataclasses.replace(
        transport.take_answer(draft.base, answer, carried),
        pending=None,
        refused_codecs=tuple(sorted(refused)[:_MAX_REFUSED]),
    )
    return tuple(failed)


def _refuse(mline: MLine) -> MLine:
    return dataclasses.replace(
        mline, direction="inactive", rejected=True, offered=False, codecs=(), extensions=(), sending=None
    )


def _agree(draft: Draft, mline: MLine, media: Media) -> MLine:
    """The m-line as offered, narrowed to what the answer keeps."""
    if not media.rtcp_mux:
        raise invalid_sdp(f"a=rtcp-mux is missing in section {media.mid!r}: RTP and RTCP share one port")
    sends, receives = mline.sends and media.receives, mline.receives and media.sends
    codecs = _kept_codecs(mline.codecs, media.codecs)
    mlines.bind_codecs(codecs, codecs, draft.payload_types)
    return dataclasses.replace(
        mline,
        direction=direction_of(sends=sends, receives=receives),
        codecs=codecs,
        extensions=_kept_extensions(mline.extensions, media.extensions),
        receiving=Receiving(media.ssrcs, media.rtx_ssrcs, media.rids) if receives else Receiving(),
        offered=False,
        reduced_size=media.rtcp_rsize,
    )


def _kept_codecs(offered: Iterable[Codec], answered: Iterable[Codec]) -> tuple[Codec, ...]:
    """What the answer keeps, in its order and numbers, with what we offered of feedback.

    Browsers answer with our numbers; other numbers for the same codecs are allowed (RFC 3264 6.1).
    """
    ours = {codec.pt: codec for codec in offered}
    by_key = {capabilities.codec_key(codec): codec for codec in ours.values()}
    rtx_of = {codec.apt: codec for codec in ours.values() if codec.apt is not None}
    answered = tuple(answered)
    meant: dict[PayloadType, Codec] = {}
    for codec in answered:
        key = capabilities.codec_key(codec)
        if key is not None and (found := by_key.get(key)) is not None:
            meant[codec.pt] = found
    for codec in answered:
        media = None if codec.apt is None else meant.get(codec.apt)
        if media is not None and media.pt in rtx_of:
            meant[codec.pt] = rtx_of[media.pt]
    return capabilities.served(
        dataclasses.replace(
            codec, feedback=tuple(value for value in meant[codec.pt].feedback if value in codec.feedback)
        )
        for codec in answered
        if codec.pt in meant
    )


def _kept_extensions(offered: Iterable[Extension], answered: Iterable[Extension]) -> tuple[Extension, ...]:
    ours = {(extension.id, extension.uri) for extension in offered}
    return tuple(
        Extension(extension.id, extension.uri, mirror(extension.direction))
        for extension in answered
        if (extension.id, extension.uri) in ours
    )


def _learn(refused: set[str], offered: Iterable[Codec], kept: Iterable[Codec]) -> None:
    """Remember which codecs the client cannot take, so that the next pull fails at once."""
    keys = {key for codec in kept if (key := capabilities.codec_key(codec)) is not None}
    refused -= keys
    for codec in offered:
        key = capabilities.codec_key(codec)
        if key is not None and key not in keys and capabilities.is_media(codec) and "red" not in key:
            refused.add(key)


def _conclude(draft: Draft, offered: MLine, settled: MLine) -> TrackItem | None:
    """Open what waited for this answer, or say why it failed."""
    failed: TrackItem | None = None
    track = draft.publications.get(settled.mid)
    if track is not None and track.state == "offered":
        opened = settled.receives and any(map(capabilities.is_media, settled.codecs))
        draft.publish(dataclasses.replace(track, state="open" if opened else "closed"))
        if not opened:
            failed = TrackItem(mid=settled.mid, track=track.name, error=_REFUSED)
    pull = draft.subscriptions.get(settled.mid)
    if pull is not None and pull.state == "offered":
        target = pull.pt_map[pull.sending_pt]
        pull = mlines.reroute(pull, offered.codecs, settled)
        error = None
        if pull.state == "refused":
            wanted = next(codec for codec in offered.codecs if codec.pt == target)
            error = _REFUSED if settled.rejected else mlines.lacks(wanted)
        elif not settled.sends:
            pull, error = dataclasses.replace(pull, state="refused"), _REFUSED
        else:
            pull = dataclasses.replace(pull, state="open")
        draft.subscribe(pull)
        if error is not None:
            failed = TrackItem(mid=settled.mid, session=pull.publisher, track=pull.track, error=error)
    return failed


def _follow(draft: Draft, before: MLine, settled: MLine) -> None:
    """Let what is published and pulled on an older m-line follow a change that the answer makes."""
    if settled.rejected:
        draft.close(settled.mid)
    elif (pull := draft.live_subscription(settled.mid)) is not None:
        draft.subscribe(mlines.reroute(pull, before.codecs, settled))
