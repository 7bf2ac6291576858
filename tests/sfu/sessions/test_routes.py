from dataclasses import replace

from sfu.base.ids import AppId, Mid, PayloadType, Rid, SessionId, Ssrc, TrackName
from sfu.media.tracks import ExtensionIds, Kind
from sfu.negotiation.capabilities import AUDIO_LEVEL, MID, REPAIRED_RID, RID, TRANSPORT_WIDE_CC
from sfu.negotiation.record import (
    Codec,
    Extension,
    Fingerprint,
    MLine,
    Receiving,
    SessionRecord,
    Subscription,
)
from sfu.sessions.routes import egress_of, ingress_of, routes_of

VP8, RTX = PayloadType(96), PayloadType(97)


def mline() -> MLine:
    return MLine(
        mid=Mid("0"),
        kind="video",
        direction="recvonly",
        codecs=(
            Codec(VP8, "VP8", 90_000, feedback=("nack", "nack pli", "transport-cc")),
            Codec(RTX, "rtx", 90_000, fmtp="apt=96", apt=VP8),
        ),
        extensions=(
            Extension(4, MID),
            Extension(10, RID),
            Extension(11, REPAIRED_RID),
            Extension(3, TRANSPORT_WIDE_CC),
            Extension(1, AUDIO_LEVEL),
        ),
        receiving=Receiving((Ssrc(7),), ((Ssrc(7), Ssrc(8)),), (Rid("f"), Rid("h"))),
    )


def test_rtx_is_an_attribute_of_the_codec_that_it_repairs() -> None:
    ingress = ingress_of(mline())
    assert list(ingress.codecs) == [VP8]
    assert ingress.codecs[VP8].rtx == RTX
    assert ingress.rtx_ssrcs == {Ssrc(7): Ssrc(8)}


def test_the_packet_path_learns_the_extensions_that_bind_and_the_feedback_that_is_wanted() -> None:
    ingress = ingress_of(mline())
    assert ingress.extensions == ExtensionIds(mid=4, rid=10, repaired_rid=11, transport_cc=3, audio_level=1)
    assert ingress.rids == (Rid("f"), Rid("h"))
    feedback = ingress.feedback
    assert (feedback.transport_cc, feedback.pli, feedback.nack) == (True, True, True)
    assert (feedback.remb, feedback.fir) == (False, False)


def test_a_subscription_keeps_its_own_numbers() -> None:
    subscription = Subscription(
        publisher=SessionId("1" * 32),
        track=TrackName("cam"),
        mid=Mid("3"),
        kind="video",
        state="open",
        ssrc=Ssrc(99),
        rtx_ssrc=Ssrc(100),
        cname="c",
        sending_pt=VP8,
        clock_rate=90_000,
        pt_map={VP8: PayloadType(120)},
        extension_map={1: 5},
        mid_extension_id=9,
    )
    record = SessionRecord(
        id=SessionId("2" * 32),
        app=AppId("a"),
        created_at=0.0,
        fingerprint=Fingerprint("sha-256", "AB"),
        origin_id=1,
        mixed_extensions=True,
    )
    egress, routes = egress_of(subscription, record), routes_of(subscription)
    assert egress.extmap_allow_mixed
    assert not egress_of(subscription, replace(record, mixed_extensions=False)).extmap_allow_mixed
    assert (egress.mid, egress.kind, egress.ssrc, egress.rtx_ssrc) == (Mid("3"), Kind.VIDEO, 99, 100)
    assert egress.mid_extension_id == 9
    assert routes.payload_types == {VP8: PayloadType(120)}
    assert routes.extensions == {1: 5}
