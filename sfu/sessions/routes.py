"""From the record's words to the packet path's: m-lines to ingress tracks, subscriptions to egress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.base.ids import Rid
from sfu.media.layers import LayerWish
from sfu.media.tracks import Egress, ExtensionIds, Feedback, IngressCodec, IngressTrack, Kind, Routes
from sfu.negotiation.capabilities import AUDIO_LEVEL, MID, REPAIRED_RID, RID, TRANSPORT_WIDE_CC

if TYPE_CHECKING:
    from sfu.negotiation.record import MLine, SessionRecord, Subscription


def ingress_of(mline: MLine) -> IngressTrack:
    """What a client sends on one of its m-lines."""
    rtx = {codec.apt: codec.pt for codec in mline.codecs if codec.apt is not None}
    ids = {extension.uri: extension.id for extension in mline.extensions}
    feedback = {value for codec in mline.codecs for value in codec.feedback}
    return IngressTrack(
        mid=mline.mid,
        kind=Kind(mline.kind),
        codecs={
            codec.pt: IngressCodec(codec.name, codec.clock_rate, rtx.get(codec.pt))
            for codec in mline.codecs
            if codec.apt is None
        },
        ssrcs=mline.receiving.ssrcs,
        rtx_ssrcs=dict(mline.receiving.rtx_ssrcs),
        rids=mline.receiving.rids,
        extensions=ExtensionIds(
            mid=ids.get(MID),
            rid=ids.get(RID),
            repaired_rid=ids.get(REPAIRED_RID),
            transport_cc=ids.get(TRANSPORT_WIDE_CC),
            audio_level=ids.get(AUDIO_LEVEL),
        ),
        feedback=Feedback(
            transport_cc="transport-cc" in feedback,
            remb="goog-remb" in feedback,
            pli="nack pli" in feedback,
            fir="ccm fir" in feedback,
            nack="nack" in feedback,
        ),
    )


def egress_of(subscription: Subscription, record: SessionRecord) -> Egress:
    """A subscription of the session as its client's SDP describes it."""
    return Egress(
        mid=subscription.mid,
        kind=Kind(subscription.kind),
        ssrc=subscription.ssrc,
        clock_rate=subscription.clock_rate,
        cname=subscription.cname,
        rtx_ssrc=subscription.rtx_ssrc,
        mid_extension_id=subscription.mid_extension_id,
        extmap_allow_mixed=record.mixed_extensions,
    )


def routes_of(subscription: Subscription) -> Routes:
    """How the publisher's numbers become the subscriber's."""
    return Routes(
        payload_types=subscription.pt_map,
        rtx_types=subscription.rtx_pts,
        extensions=subscription.extension_map,
    )


def wish_of(subscription: Subscription) -> LayerWish:
    """Which layer the subscription wants. What it gives up first when bandwidth is short waits for the
    estimate of that."""
    simulcast = subscription.simulcast
    if simulcast is None or not simulcast.preferred_rid:
        return LayerWish()
    return LayerWish(Rid(simulcast.preferred_rid), fallback=simulcast.rid_not_available == "asciibetical")
