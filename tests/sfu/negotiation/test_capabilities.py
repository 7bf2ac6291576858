"""What the SFU serves."""

from __future__ import annotations

import pytest

from sfu.base.ids import PayloadType
from sfu.negotiation import capabilities
from sfu.negotiation.capabilities import codec_key, decoding_keys, own_codecs, served
from sfu.negotiation.record import Codec


def codec(name: str, fmtp: str = "", *, rate: int = 90000, pt: int = 96, apt: int | None = None) -> Codec:
    repaired = None if apt is None else PayloadType(apt)
    return Codec(PayloadType(pt), name, rate, 1, fmtp, (), repaired)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (codec("VP8"), codec("vp8", "max-fs=12288")),
        (codec("VP9"), codec("VP9", "profile-id=0")),
        (codec("AV1"), codec("AV1", "level-idx=5;profile=0;tier=0")),
        (codec("H265"), codec("H265", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST")),
        (
            codec("H264", "profile-level-id=42e01f"),
            codec("H264", "packetization-mode=0;profile-level-id=42C034"),
        ),
        (codec("H264"), codec("H264", "profile-level-id=42000a")),
        (codec("H264", "profile-level-id=4d801f"), codec("H264", "profile-level-id=42e01f")),
        (codec("opus", "stereo=1", rate=48000), codec("opus", rate=48000)),
    ],
)
def test_codecs_that_are_the_same_have_one_key(one: Codec, other: Codec) -> None:
    assert codec_key(one) == codec_key(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (codec("VP9"), codec("VP9", "profile-id=2")),
        (codec("AV1"), codec("AV1", "profile=1")),
        (codec("H265"), codec("H265", "profile-id=2")),
        (codec("H264", "profile-level-id=42e01f"), codec("H264", "profile-level-id=42001f")),
        (codec("H264", "profile-level-id=64001f"), codec("H264", "profile-level-id=640c1f")),
        (
            codec("H264", "packetization-mode=1;profile-level-id=42e01f"),
            codec("H264", "profile-level-id=42e01f"),
        ),
        (codec("red", "111/111", rate=48000), codec("red", "109/109", rate=48000)),
        (codec("rtx", "apt=96", apt=96), codec("rtx", "apt=98", apt=98)),
    ],
)
def test_codecs_that_differ_have_two(one: Codec, other: Codec) -> None:
    assert codec_key(one) != codec_key(other)


@pytest.mark.parametrize(
    "unserved",
    [
        codec("ulpfec"),
        codec("flexfec-03"),
        codec("red"),
        codec("telephone-event", rate=8000),
        codec("CN", rate=8000),
        codec("opus", rate=8000),
    ],
)
def test_what_is_not_served_has_no_key(unserved: Codec) -> None:
    """ulpfec and flexfec protect numbers that the SFU rewrites."""
    assert codec_key(unserved) is None
    assert decoding_keys(unserved) == []


@pytest.mark.parametrize("fmtp", ["profile-level-id=zz", "profile-level-id=", "profile-level-id=zzzzzz"])
def test_a_profile_that_is_no_hex_is_still_a_codec(fmtp: str) -> None:
    assert codec_key(codec("H264", fmtp)) is not None


def test_rtx_and_red_are_served_with_what_they_carry() -> None:
    opus, red = codec("opus", rate=48000, pt=111), codec("red", "111/111", rate=48000, pt=63)
    assert served([red, opus]) == (red, opus)
    assert served([red]) == ()
    assert served([codec("red", "112/112", rate=48000, pt=63), opus]) == (opus,)
    assert served([codec("red", "", rate=48000, pt=63), opus]) == (opus,)
    vp8, rtx = codec("VP8"), codec("rtx", "apt=96", pt=97, apt=96)
    assert served([rtx, vp8]) == (rtx, vp8)
    assert served([rtx]) == ()
    assert served([vp8, codec("rtx", "", pt=97)]) == (vp8,)


def test_our_own_numbers_are_a_lawful_offer() -> None:
    """RFC 5761 4: 64-95 would clash with RTCP."""
    codecs = [*own_codecs("audio"), *own_codecs("video")]
    pts = [codec.pt for codec in codecs]
    assert len(set(pts)) == len(pts)
    assert all(pt in {0, 8, 9} or 35 <= pt <= 63 or 96 <= pt <= 127 for pt in pts)
    assert served(codecs) == tuple(codecs)
    assert all(codec_key(codec) for codec in codecs)
    assert own_codecs("application") == ()
    assert all(35 <= pt <= 63 or 96 <= pt <= 127 for pt in capabilities.FREE_NUMBERS)


def test_our_own_extension_ids_fit_the_one_byte_form() -> None:
    ids = list(capabilities.EXTENSION_IDS.values())
    assert sorted(ids) == list(capabilities.ONE_BYTE_IDS)
    assert set(capabilities.EXTENSION_IDS) == capabilities.RECEIVED | capabilities.SENT


def test_the_send_clock_is_negotiated_towards_us_alone() -> None:
    """Towards the client there is no estimate to serve, and a plain resend must be byte-identical."""
    clocks = {capabilities.TRANSPORT_WIDE_CC, capabilities.ABS_SEND_TIME}
    for kind in ("audio", "video"):
        assert clocks <= set(capabilities.offered_extensions(kind, received=True, sent=False))
        assert clocks.isdisjoint(capabilities.offered_extensions(kind, received=False, sent=True))


def test_layer_rates_and_rids_are_not_forwarded() -> None:
    """sfu.md 4, W38."""
    kept = {capabilities.LAYERS_ALLOCATION, capabilities.RID, capabilities.REPAIRED_RID, capabilities.MID}
    assert kept.isdisjoint(capabilities.FORWARDED)
    assert kept <= capabilities.RECEIVED
