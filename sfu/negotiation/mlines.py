"""What one m-line agrees on: its codecs, its header extensions, and the way of a pulled track onto it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sfu.base.ids import Mid, PayloadType
from sfu.negotiation import capabilities
from sfu.negotiation.errors import ItemError
from sfu.negotiation.numbers import Numbers
from sfu.negotiation.record import Codec, Extension, MLine, Simulcast, Subscription
from sfu.negotiation.requests import PublishedTrack
from sfu.negotiation.sdp import mirror


@dataclass(frozen=True, slots=True)
class Route:
    """How a publisher's packets become a subscriber's: see Subscription for the fields."""

    pt_map: Mapping[PayloadType, PayloadType]
    rtx_pts: Mapping[PayloadType, PayloadType]
    extension_map: Mapping[int, int]
    mid_extension_id: int | None
    clock_rate: int


def leader(mlines: Iterable[MLine]) -> Mid | None:
    """The mid that leads the BUNDLE group: browsers tie their transport to it."""
    return next((mline.mid for mline in mlines if not mline.rejected), None)


def acceptable_codecs(codecs: Sequence[Codec], numbers: Numbers[PayloadType]) -> tuple[Codec, ...]:
    """Those of a client's codecs that we serve, in the client's order and numbers.

    A PT that already has another meaning in this PeerConnection is dropped (Firefox numbers each new
    section by its own table), unless nothing would be left: then it is taken as it is, since PTs are
    looked up per track and only a browser's own checks could object.
    """
    served = capabilities.served(codecs)
    kept = capabilities.served(
        codec for codec in served if numbers.means(codec.pt, capabilities.codec_key(codec) or "")
    )
    return kept if any(map(capabilities.is_media, kept)) else served


def bind_codecs(codecs: Iterable[Codec], agreed: Iterable[Codec], numbers: Numbers[PayloadType]) -> None:
    """Enter an m-line's numbers into the table: `agreed` for life, the rest of `codecs` as seen."""
    agreed_pts = {codec.pt for codec in agreed}
    for codec in codecs:
        key = capabilities.codec_key(codec) or f"{codec.name.lower()}/{codec.clock_rate};{codec.fmtp}"
        if codec.pt in agreed_pts and numbers.means(codec.pt, key):
            numbers.agree(codec.pt, key)
        else:
            numbers.see(codec.pt, key)


def acceptable_extensions(
    extensions: Iterable[Extension], numbers: Numbers[int], *, received: bool, sent: bool
) -> tuple[Extension, ...]:
    """Those of a client's header extensions that we serve, with the direction mirrored.

    What we write ourselves must fit the one-byte form. An id or URI that is taken is left out.
    """
    accepted: dict[str, Extension] = {}
    for extension in extensions:
        uri, direction = extension.uri, mirror(extension.direction)
        wanted = (received and uri in capabilities.RECEIVED) or (
            sent and uri in capabilities.SENT and extension.id in capabilities.ONE_BYTE_IDS
        )
        if wanted and uri not in accepted and numbers.means(extension.id, uri):
            accepted[uri] = Extension(extension.id, uri, direction)
    return tuple(accepted.values())


def bind_extensions(
    extensions: Iterable[Extension], agreed: Iterable[Extension], numbers: Numbers[int]
) -> None:
    """Enter an m-line's extension ids into the table: `agreed` for life, the rest as seen."""
    agreed_ids = {extension.id for extension in agreed}
    for extension in extensions:
        if extension.id in agreed_ids and numbers.means(extension.id, extension.uri):
            numbers.agree(extension.id, extension.uri)
        else:
            numbers.see(extension.id, extension.uri)


def with_feedback(codecs: Iterable[Codec], *, received: bool) -> tuple[Codec, ...]:
    """The codecs with only the feedback that we serve."""
    return tuple(
        dataclasses.replace(codec, feedback=capabilities.feedback(codec, received=received))
        for codec in codecs
    )


def route(
    track: PublishedTrack, codecs: Sequence[Codec], extensions: Iterable[Extension]
) -> Route | ItemError:
    """The way of `track` onto an m-line that agreed on `codecs` and `extensions`.

    An item error if the m-line lacks the codec that the publisher sends: a subscriber is told, rather
    than shown nothing. Codecs that the publisher does not send now may be missing.
    """
    pt_map = map_codecs(track.codecs, codecs)
    sending = next(codec for codec in track.codecs if codec.pt == track.sending_pt)
    if track.sending_pt not in pt_map:
        return lacks(sending)
    return Route(
        pt_map,
        rtx_pts(codecs, pt_map),
        extension_map(track.extensions, extensions),
        _mid_extension(extensions),
        sending.clock_rate,
    )


def subscription(
    track: PublishedTrack,
    mline: MLine,
    way: Route,
    *,
    simulcast: Simulcast | None,
    state: Literal["offered", "open"],
) -> Subscription:
    """The subscription of `track` on an m-line that announced a stream."""
    sending = mline.sending
    if sending is None:
        raise ValueError(f"m-line {mline.mid} announced no stream")
    return Subscription(
        publisher=track.session,
        track=track.name,
        mid=mline.mid,
        kind=track.kind,
        state=state,
        ssrc=sending.ssrc,
        rtx_ssrc=sending.rtx_ssrc if way.rtx_pts else None,
        cname=sending.cname,
        sending_pt=track.sending_pt,
        clock_rate=way.clock_rate,
        pt_map=way.pt_map,
        rtx_pts=way.rtx_pts,
        extension_map=way.extension_map,
        mid_extension_id=way.mid_extension_id,
        rids=track.rids,
        simulcast=simulcast,
    )


def lacks(codec: Codec) -> ItemError:
    """The item error for a subscriber that cannot decode what is sent."""
    detail = f" ({codec.fmtp})" if codec.fmtp else ""
    return ItemError(
        "invalid_params",
        f"This session cannot receive the track: it lacks the codec {codec.name}{detail}",
        "codec_not_supported",
    )


def map_codecs(sources: Iterable[Codec], targets: Iterable[Codec]) -> dict[PayloadType, PayloadType]:
    """From the PTs of a publisher to those of a subscriber, for media (RTX is made anew on each side)."""
    by_key: dict[str, PayloadType] = {}
    for codec in targets:
        if capabilities.is_media(codec) and (key := capabilities.codec_key(codec)) is not None:
            by_key.setdefault(key, codec.pt)
    pt_map: dict[PayloadType, PayloadType] = {}
    for codec in sources:
        if capabilities.is_media(codec):
            found = next((key for key in capabilities.decoding_keys(codec) if key in by_key), None)
            if found is not None:
                pt_map[codec.pt] = by_key[found]
    return pt_map


def rtx_pts(
    codecs: Iterable[Codec], pt_map: Mapping[PayloadType, PayloadType]
) -> dict[PayloadType, PayloadType]:
    """The subscriber's RTX PT of each PT that it is sent."""
    sent = set(pt_map.values())
    return {codec.apt: codec.pt for codec in codecs if codec.apt is not None and codec.apt in sent}


def extension_map(sources: Iterable[Extension], targets: Iterable[Extension]) -> dict[int, int]:
    """From the publisher's extension ids to the subscriber's, for what is forwarded as it is (W38)."""
    ids = {
        extension.uri: extension.id
        for extension in targets
        if extension.direction in ("sendrecv", "sendonly") and extension.id in capabilities.ONE_BYTE_IDS
    }
    return {
        extension.id: ids[extension.uri]
        for extension in sources
        if extension.uri in capabilities.FORWARDED
        and extension.uri in ids
        and extension.direction in ("sendrecv", "recvonly")
    }


def _mid_extension(extensions: Iterable[Extension]) -> int | None:
    return next(
        (
            extension.id
            for extension in extensions
            if extension.uri == capabilities.MID
            and extension.direction in ("sendrecv", "sendonly")
            and extension.id in capabilities.ONE_BYTE_IDS
        ),
        None,
    )


def reroute(pull: Subscription, offered: Iterable[Codec], mline: MLine) -> Subscription:
    """The subscription after its m-line came to agree on less than `offered`, or on other numbers.

    Becomes `refused` if the publisher's codec went.
    """
    by_pt = {codec.pt: codec for codec in offered}
    sources = {source: by_pt[target] for source, target in pull.pt_map.items() if target in by_pt}
    onto = map_codecs(sources.values(), mline.codecs)
    pt_map = {source: onto[codec.pt] for source, codec in sources.items() if codec.pt in onto}
    ids = {extension.id for extension in mline.extensions}
    mid_extension_id = (
        pull.mid_extension_id if pull.mid_extension_id in ids else _mid_extension(mline.extensions)
    )
    repairs = rtx_pts(mline.codecs, pt_map)
    return dataclasses.replace(
        pull,
        state=pull.state if pull.sending_pt in pt_map else "refused",
        pt_map=pt_map,
        rtx_pts=repairs,
        rtx_ssrc=mline.sending.rtx_ssrc if mline.sending is not None and repairs else None,
        extension_map={source: target for source, target in pull.extension_map.items() if target in ids},
        mid_extension_id=mid_extension_id,
    )
