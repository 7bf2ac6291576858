"""The record as SDP: an offer of ours, or the answer to the client's.

Every SDP is whole (ICE credentials, fingerprint, all candidates), as clients take no candidate later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from sfu.base.ids import ice_pwd, ice_ufrag
from sfu.negotiation.record import MLine, SessionRecord
from sfu.negotiation.requests import Context, SessionDescription
from sfu.net.address import Address
from sfu.wire.sdp import Sdp, Section

_HOST_PREFERENCE = 126 << 24  # RFC 8445 5.1.2.1
_RTP_COMPONENT = 1


def render(
    record: SessionRecord, kind: Literal["offer", "answer"], context: Context, *, bundle: bool = True
) -> tuple[SessionRecord, SessionDescription]:
    """The session description of the record, and the record with the origin's version counted up.

    `bundle` is False in the answer to an offer without a BUNDLE group.
    """
    record = dataclasses.replace(record, origin_version=record.origin_version + 1)
    setup = "actpass" if kind == "offer" else "active" if record.dtls_role == "client" else "passive"
    ufrag = ice_ufrag(record.id, record.generation)
    common = (
        ("setup", setup),
        ("ice-ufrag", ufrag),
        ("ice-pwd", ice_pwd(context.cluster_secret, ufrag)),
    )
    media: list[Section] = []
    candidates = _candidates(context.candidates)
    for mline in record.mlines:
        if mline.rejected:
            media.append(_rejected(mline))
        else:
            media.append(_section(mline, (*common, *candidates)))
            candidates = ()  # one transport: its first section speaks for all (RFC 9143 7.1.2)
    sdp = Sdp(_session(record, kind, bundle=bundle), tuple(media))
    return record, SessionDescription(kind, sdp.render())


def _session(record: SessionRecord, kind: Literal["offer", "answer"], *, bundle: bool) -> Section:
    attributes: list[tuple[str, str]] = [
        ("msid-semantic", "WMS *"),
        ("fingerprint", str(record.fingerprint)),
        ("ice-lite", ""),
    ]
    if kind == "offer" or record.mixed_extensions:
        attributes.append(("extmap-allow-mixed", ""))
    mids = [mline.mid for mline in record.mlines if not mline.rejected]
    if mids and bundle:
        attributes.append(("group", f"BUNDLE {' '.join(mids)}"))
    # a second's resolution is enough of a version as long as it never goes back: count up from creation
    version = int(record.created_at) + record.origin_version
    return Section(
        "",
        tuple(attributes),
        (
            ("v", "0"),
            ("o", f"- {record.origin_id} {version} IN IP4 0.0.0.0"),
            ("s", "-"),
            ("t", "0 0"),
        ),
    )


def _candidates(addresses: Iterable[Address]) -> tuple[tuple[str, str], ...]:
    lines: list[tuple[str, str]] = []
    for number, (host, port) in enumerate(addresses):
        priority = _HOST_PREFERENCE + ((65535 - number) << 8) + 256 - _RTP_COMPONENT
        lines.append(("candidate", f"{number + 1} {_RTP_COMPONENT} udp {priority} {host} {port} typ host"))
    return (*lines, ("end-of-candidates", ""))


_CONNECTION = (("c", "IN IP4 0.0.0.0"),)


def _rejected(mline: MLine) -> Section:
    form = "webrtc-datachannel" if mline.kind == "application" else "0"
    attributes = (("mid", mline.mid), ("inactive", ""))
    return Section(f"{mline.kind} 0 {mline.protocol} {form}", attributes, _CONNECTION)


def _section(mline: MLine, common: tuple[tuple[str, str], ...]) -> Section:
    attributes: list[tuple[str, str]] = [
        ("mid", mline.mid),
        *common,
        ("rtcp-mux", ""),
    ]
    if mline.reduced_size:
        attributes.append(("rtcp-rsize", ""))
    for codec in mline.codecs:
        channels = f"/{codec.channels}" if codec.channels != 1 else ""
        attributes.append(("rtpmap", f"{codec.pt} {codec.name}/{codec.clock_rate}{channels}"))
        if codec.fmtp:
            attributes.append(("fmtp", f"{codec.pt} {codec.fmtp}"))
        attributes += [("rtcp-fb", f"{codec.pt} {value}") for value in codec.feedback]
    for extension in mline.extensions:
        way = "" if extension.direction == "sendrecv" else f"/{extension.direction}"
        attributes.append(("extmap", f"{extension.id}{way} {extension.uri}"))
    if mline.receives and mline.receiving.rids:
        attributes += [("rid", f"{rid} recv") for rid in mline.receiving.rids]
        attributes.append(("simulcast", f"recv {';'.join(mline.receiving.rids)}"))
    attributes += _streams(mline)
    attributes.append((mline.direction, ""))
    formats = " ".join(str(codec.pt) for codec in mline.codecs)
    return Section(f"{mline.kind} 9 {mline.protocol} {formats}", tuple(attributes), _CONNECTION)


def _streams(mline: MLine) -> list[tuple[str, str]]:
    """The stream that we send; also while inactive, as Chromium never restarts one whose lines vanished."""
    sending = mline.sending
    if sending is None:
        return []
    msid = f"{sending.stream_id} {sending.track_id}"
    ssrcs = [sending.ssrc]
    lines = [("msid", msid)]
    if sending.rtx_ssrc is not None and any(codec.apt is not None for codec in mline.codecs):
        ssrcs.append(sending.rtx_ssrc)
        lines.append(("ssrc-group", f"FID {sending.ssrc} {sending.rtx_ssrc}"))
    for ssrc in ssrcs:
        lines += [("ssrc", f"{ssrc} cname:{sending.cname}"), ("ssrc", f"{ssrc} msid:{msid}")]
    return lines
