"""The meaning of an SDP (W14)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.negotiation.sdp import Description, Media, mirror, parameters, read
from sfu.wire.sdp import SdpError
from tests.sfu.negotiation.texts import audio, data, description, section, video
from tests.sfu.negotiation.world import FIXTURES, fixture


def parse(text: str) -> Description:
    return read(text, max_bytes=1 << 18, max_sections=1000)


def one(text: str) -> Media:
    (media,) = parse(description(text)).media
    return media


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.sdp")), ids=lambda path: path.stem)
def test_every_recorded_description_is_read(path: object) -> None:
    parsed = parse(fixture(str(path).rpartition("/")[2].removesuffix(".sdp")))
    assert parsed.media
    assert all(media.codecs for media in parsed.media if media.kind != "application")


values = st.one_of(
    st.text(alphabet="0123456789 :/;=,~-abcAZ\t", max_size=30),
    st.sampled_from(["0", "999999", "BUNDLE 0 0 1", "96 opus/48000/2", "send a;b", "sha-256 AA", "1 urn:x"]),
)
names = st.sampled_from(
    ("mid", "group", "rtpmap", "fmtp", "rtcp-fb", "extmap", "ssrc", "ssrc-group", "msid", "rid", "simulcast")
)
more_names = st.sampled_from(
    (
        "ice-ufrag",
        "ice-pwd",
        "fingerprint",
        "setup",
        "rtcp-mux",
        "bundle-only",
        "max-message-size",
        "inactive",
    )
)
media_lines = st.sampled_from(
    [
        "m=audio 9 UDP/TLS/RTP/SAVPF 0 96",
        "m=video 0 RTP/SAVPF 96",
        "m=application 9 UDP/DTLS/SCTP x",
        "m=text 9 x y",
    ]
)


def attribute(name: str, value: str) -> str:
    return f"a={name}:{value}"


body = st.lists(st.one_of(media_lines, st.builds(attribute, names | more_names, values)), max_size=25)


@settings(max_examples=500)
@given(body)
def test_w14_any_attributes_give_a_value_or_the_typed_error(lines: list[str]) -> None:
    try:
        parsed = parse("v=0\r\n" + "\r\n".join(lines))
    except SdpError:
        return
    for media in parsed.media:
        assert 1 <= len(media.mid) <= 64
        assert all(0 <= codec.pt < 128 for codec in media.codecs)
        assert all(extension.id in {*range(1, 15), *range(16, 256)} for extension in media.extensions)
        assert set(media.rtx_ssrcs).isdisjoint((ssrc, ssrc) for ssrc in media.ssrcs)


def test_w14_codecs_of_a_section_are_bounded() -> None:
    formats = " ".join(str(n) for n in range(100))
    assert one(section("audio", "0", "sendonly", formats)).codecs
    with pytest.raises(SdpError, match="101 formats in section '0', more than 100"):
        one(section("audio", "0", "sendonly", f"{formats} 100"))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([f"a=ssrc:{n} cname:x" for n in range(65)], "65 SSRCs"),
        ([f"a=extmap:{n} urn:{n}" for n in range(1, 66)], "65 a=extmap"),
        ([f"a=rid:{n} send" for n in range(17)], "17 a=rid"),
        (["a=fmtp:111 " + "x" * 2049], "a=fmtp:111 in section '0' is longer than 2048"),
        (["a=fingerprint:sha-256 " + ":".join([f"{n:02X}"] * 32) for n in range(17)], "more than 16"),
        (["a=ssrc:99999999999 cname:x"], "does not begin with an SSRC"),
        (["a=ssrc:4294967296 cname:x"], "does not begin with an SSRC"),
        (["a=rtpmap:96"], "is not PT name/rate"),
        (["a=extmap:x urn:y"], "is not an id and a URI"),
        (["a=fingerprint:sha-256 AB:CD"], "wrong length"),
        (["a=fingerprint:sha-256"], "not an algorithm and a digest"),
    ],
)
def test_w14_bad_lines_are_named(lines: list[str], reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        one(section("audio", "0", "sendonly", "111", "a=rtpmap:111 opus/48000/2", *lines))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("m=audio 9 RTP/AVP 0", "no valid a=mid"),
        ("m=audio 9 RTP/AVP 0\r\na=mid:a b", "no valid a=mid"),
        ("m=text 9 RTP/AVP 0\r\na=mid:0", "not audio, video or application"),
        ("m=audio nine RTP/AVP 0\r\na=mid:0", "not audio, video or application"),
        ("m=audio 9 RTP/AVP 128\r\na=mid:0", "not a payload type"),
        ("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:abc", "ice-ufrag"),
        ("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-pwd:short", "ice-pwd"),
    ],
)
def test_sections_that_no_client_may_write_are_refused(text: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        parse(description(text))


def test_a_mid_is_unique() -> None:
    with pytest.raises(SdpError, match="same a=mid"):
        parse(description(audio("0"), audio("0")))


def test_what_the_session_part_says_holds_for_all_sections() -> None:
    """Firefox writes fingerprint and direction there."""
    (media,) = parse(fixture("firefox-153-offer-simulcast")).media
    assert [str(fingerprint)[:14] for fingerprint in media.fingerprints] == ["sha-256 18:76:"]
    head = ("a=sendonly", "a=setup:active", "a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 22)
    bare = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0"
    (media,) = parse(description(bare, head=head)).media
    assert (media.direction, media.setup, media.ufrag, media.pwd) == ("sendonly", "active", "abcd", "p" * 22)


def test_a_section_overrides_the_session_part() -> None:
    (media,) = parse(description(audio("0", "recvonly"), head=("a=sendonly", "a=setup:active"))).media
    assert (media.direction, media.setup) == ("recvonly", "actpass")


def test_bundle_only_sections_are_alive_at_port_0() -> None:
    """Firefox offers every section but the first so (RFC 9143 6)."""
    living = [media.stopped for media in parse(fixture("firefox-153-reoffer-push-after-pull")).media]
    assert living == [False, False, False]
    stopped = [media.stopped for media in parse(fixture("firefox-153-reoffer-all-stopped")).media]
    assert stopped == [True, True, False]


def test_static_payload_types_need_no_rtpmap() -> None:
    codecs = one(section("audio", "0", "sendonly", "0 8 9 3")).codecs
    assert [(codec.pt, codec.name, codec.clock_rate) for codec in codecs] == [
        (0, "PCMU", 8000),
        (8, "PCMA", 8000),
        (9, "G722", 8000),
    ]


def test_feedback_for_every_payload_type_is_given_to_each() -> None:
    lines = ["a=rtpmap:96 VP8/90000", "a=rtpmap:98 VP9/90000", "a=rtcp-fb:* nack", "a=rtcp-fb:98 ccm fir"]
    codecs = one(section("video", "0", "sendonly", "96 98", *lines)).codecs
    assert [codec.feedback for codec in codecs] == [("nack",), ("ccm fir", "nack")]


def test_fmtp_is_kept_as_it_came() -> None:
    fmtp = "Profile-Level-Id=42E01F; packetization-mode=1;x-odd"
    codecs = one(
        section("video", "0", "sendonly", "96", "a=rtpmap:96 H264/90000", f"a=fmtp:96 {fmtp}")
    ).codecs
    assert codecs[0].fmtp == fmtp
    assert parameters(fmtp) == {"profile-level-id": "42E01F", "packetization-mode": "1", "x-odd": ""}


def test_simulcast_layers_are_in_the_order_of_the_simulcast_line() -> None:
    """sfu.md 5.3, Firefox: not that of a=rid nor of the SSRCs."""
    lines = ["a=rid:l send", "a=rid:h send", "a=rid:m send", "a=rid:x recv", "a=simulcast:send h;m;l recv x"]
    assert one(video("0", "sendonly", *lines)).rids == ("h", "m", "l")


@pytest.mark.parametrize(
    ("line", "rids"),
    [
        ("a=simulcast: send rid=a;b", ("a", "b")),
        ("a=simulcast:send rid=b;a", ("b", "a")),
        ("a=simulcast:send a,b;~b", ("a", "b")),
        ("a=simulcast:recv x send a", ("a",)),
        ("a=simulcast:send a;zzz", ("a",)),
        ("a=simulcast:recv x", ("a", "b")),
    ],
)
def test_old_and_rare_forms_of_simulcast_are_read(line: str, rids: tuple[str, ...]) -> None:
    """sfu.md 5.3, Firefox: draft-03 wrote `send rid=`."""
    assert one(video("0", "sendonly", "a=rid:a send", "a=rid:b send", line)).rids == rids


@pytest.mark.parametrize("browser", ["chromium-156", "firefox-153"])
def test_recorded_simulcast_is_read(browser: str) -> None:
    (media,) = parse(fixture(f"{browser}-offer-simulcast")).media
    assert media.rids == ("a", "b", "c")


def test_groups_of_ssrcs_that_are_not_listed_are_ignored() -> None:
    """sfu.md 5.3: Firefox leaves ssrc-group:FID behind on inactive."""
    lines = ["a=ssrc:10 cname:x", "a=ssrc-group:FID 10 11", "a=ssrc-group:FID 20 21", "a=ssrc-group:FID"]
    media = one(video("0", "sendonly", *lines))
    assert (media.ssrcs, media.rtx_ssrcs) == ((10,), ())


def test_rtx_ssrcs_are_told_from_media_ssrcs() -> None:
    (media,) = parse(fixture("firefox-153-offer-simulcast")).media
    assert media.ssrcs == (69803457, 354108352, 3449500017)
    assert media.rtx_ssrcs == (
        (69803457, 2010896315),
        (354108352, 3387978376),
        (3449500017, 2822197093),
    )


def test_plan_b_is_refused_with_a_clear_error() -> None:
    lines = [f"a=ssrc:{n} msid:stream track-{n}" for n in (1, 2)]
    with pytest.raises(SdpError, match="section 'video' carries 2 tracks: Plan B is not supported"):
        one(video("video", "sendonly", *lines))
    with pytest.raises(SdpError, match="Plan B"):
        one(video("video", "sendonly", "a=msid:s one", "a=msid:s two"))


def test_one_track_in_two_streams_is_no_plan_b() -> None:
    lines = ["a=msid:s1 track", "a=msid:s2 track", "a=ssrc:1 msid:s1 track", "a=ssrc:2 msid:s1 track"]
    assert one(video("0", "sendonly", *lines)).ssrcs == (1, 2)


def test_extension_direction_is_read() -> None:
    """sfu.md 5.3: Firefox writes a=extmap:2/recvonly."""
    extensions = {one.uri: one for one in one_of_firefox().extensions}
    playout = extensions["http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"]
    assert (playout.id, playout.direction) == (6, "recvonly")


def one_of_firefox() -> Media:
    return parse(fixture("firefox-153-offer-simulcast")).media[0]


def test_extension_ids_outside_the_wire_forms_are_left_out() -> None:
    lines = [f"a=extmap:{n} urn:{n}" for n in (0, 14, 15, 16, 255, 256, 4096)]
    assert [extension.id for extension in one(audio("0", "sendonly", *lines)).extensions] == [14, 16, 255]


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("a=max-message-size:262144", 262144),
        ("a=max-message-size:0", 0),
        ("a=max-message-size:x", None),
        ("a=x", None),
    ],
)
def test_max_message_size_is_read(line: str, size: int | None) -> None:
    text = data("0").replace("a=max-message-size:262144", line)
    assert one(text).max_message_size == size


@pytest.mark.parametrize(("browser", "size"), [("chromium-156", 262144), ("firefox-153", 1073741823)])
def test_recorded_max_message_size_is_read(browser: str, size: int) -> None:
    """sfu.md 5.3."""
    (media,) = parse(fixture(f"{browser}-offer-data-channel")).media
    assert media.max_message_size == size


def test_only_strong_fingerprints_count() -> None:
    lines = ("a=fingerprint:sha-1 " + ":".join(["01"] * 20), "a=fingerprint:SHA-256 " + ":".join(["ef"] * 32))
    media = one(audio("0", "sendonly", transport=lines))
    assert [str(fingerprint)[:13] for fingerprint in media.fingerprints] == ["sha-256 EF:EF"]


def test_directions_mirror() -> None:
    assert [mirror(way) for way in ("sendrecv", "sendonly", "recvonly", "inactive")] == [
        "sendrecv",
        "recvonly",
        "sendonly",
        "inactive",
    ]
