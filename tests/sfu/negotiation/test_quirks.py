"""What trips SFUs: the browser quirks of sfu.md 5.3 that an SDP shows, each named."""

from __future__ import annotations

import pytest

from sfu.negotiation.requests import SessionDescription
from sfu.negotiation.sdp import Media
from tests.sfu.negotiation.fake_browser import FakeBrowser
from tests.sfu.negotiation.test_life import Call, publisher
from tests.sfu.negotiation.texts import audio, description, section, video
from tests.sfu.negotiation.world import FIXTURES, World, described, failed, fixture, local, remote

RECORDED = ("chromium-156", "firefox-153")
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"


def answered(name: str) -> tuple[list[Media], list[Media]]:
    """The sections of a recorded offer, and of our answer with everything published."""
    world = World()
    text = fixture(name)
    response = world.tracks(world.session(), sdp=text, auto_discover=True)
    return list(described(SessionDescription("offer", text)).media), list(
        described(response.description).media
    )


def test_chromium_inactive_sections_keep_their_ssrc_lines_and_come_back_with_a_fresh_ssrc() -> None:
    """Chromium: video never restarts if the a=ssrc lines of an inactive section vanish and return."""
    world = World()
    call, room = Call(world, "chromium-156"), publisher(world, "chromium-156")
    (mid,) = call.pull((room, "cam"))
    before = world.records[call.session].mlines[0].sending
    world.close(call.session, mid)
    response = world.tracks(call.session, remote(room, "mic"))
    assert response.description is not None
    idle = described(response.description).media[0]
    assert before is not None
    assert (idle.direction, idle.ssrcs) == ("inactive", (before.ssrc,))
    world.answer(call.session, call.browser.answer(response.description.sdp))
    assert call.pull((room, "cam")) == [mid]
    after = world.records[call.session].mlines[0].sending
    assert after is not None
    assert {after.ssrc, after.rtx_ssrc}.isdisjoint({before.ssrc, before.rtx_ssrc})
    assert after.track_id != before.track_id


def test_chromium_streams_without_ssrc_lines_are_taken() -> None:
    """Chromium: an answer to a recvonly transceiver may have no a=ssrc: MID and RID bind."""
    world = World()
    session = world.session()
    assert failed(world.tracks(session, local("0", "cam"), sdp=description(video("0"))).tracks) == [None]
    assert world.records[session].mlines[0].receiving.ssrcs == ()


@pytest.mark.parametrize("browser", RECORDED)
@pytest.mark.parametrize(
    "case", ["offer-simulcast", "offer-audio-video-sendonly", "offer-audio-video-recvonly"]
)
def test_chromium_mid_is_always_negotiated(browser: str, case: str) -> None:
    """Chromium: removing MID from any section drops all but one simulcast layer."""
    _, answers = answered(f"{browser}-{case}")
    assert all(any(extension.uri == MID for extension in media.extensions) for media in answers)


def test_chromium_148_extension_ids_never_change_their_meaning() -> None:
    """Chromium 148+: "RTP extension ID reassignment not supported", over the whole life of the PC."""
    world = World()
    session = world.session()
    first = description(audio("0", "sendonly", f"a=extmap:3 {MID}", "a=extmap:1 urn:3gpp:video-orientation"))
    world.tracks(session, local("0", "mic"), sdp=first)
    second = description(
        audio("0", "sendonly", f"a=extmap:3 {MID}"),
        video("1", "sendonly", "a=extmap:3 urn:3gpp:video-orientation", f"a=extmap:5 {MID}"),
    )
    response = world.tracks(session, local("1", "cam"), sdp=second)
    ids = [
        {extension.id: extension.uri for extension in media.extensions}
        for media in described(response.description).media
    ]
    assert ids == [{3: MID}, {5: MID}]


def test_our_ids_avoid_what_a_client_merely_mentioned() -> None:
    world = World()
    room, session = publisher(world, "chromium-156"), world.session()
    world.tracks(session, local("0", "mic"), sdp=description(audio("0", "sendonly", "a=extmap:4 urn:x")))
    offer = described(world.tracks(session, remote(room, "mic")).description)
    assert all(extension.id != 4 for media in offer.media for extension in media.extensions)


@pytest.mark.parametrize("browser", RECORDED)
def test_chromium_a_bundle_group_in_an_answer_names_only_living_mids_of_the_offer(browser: str) -> None:
    """Chromium: rejected sections are left out."""
    world = World()
    _, sdp = world.create(fixture(f"{browser}-reoffer-data-channel-added"))
    answer = described(sdp)
    assert answer.bundle == tuple(media.mid for media in answer.media if not media.stopped)
    assert any(media.stopped for media in answer.media)


def test_chromium_msid_has_two_distinct_tokens() -> None:
    """Chromium: before 117 it wants two, newer ones renegotiate without end if both are the same."""
    world = World()
    response = world.tracks(world.session(), remote(publisher(world, "firefox-153"), "cam"))
    assert response.description is not None
    (msid,) = [line for line in response.description.sdp.split("\r\n") if line.startswith("a=msid:")]
    stream, track = msid.removeprefix("a=msid:").split(" ")
    assert stream != track
    assert f"msid:{stream} {track}" in response.description.sdp.replace("a=msid:", "")


def test_chromium_cname_and_stream_are_equal_for_tracks_to_be_synced() -> None:
    """Chromium: audio and video are synced if CNAME and stream id are equal; others must not be."""
    world = World()
    one, other, session = publisher(world, "chromium-156"), publisher(world, "chromium-156"), world.session()
    world.tracks(session, remote(one, "mic"), remote(one, "cam"), remote(other, "cam"))
    sendings = [mline.sending for mline in world.records[session].mlines]
    keys = [(sending.cname, sending.stream_id) for sending in sendings if sending is not None]
    assert keys[0] == keys[1] != keys[2]


def test_chromium_a_payload_type_has_one_codec_in_all_sections() -> None:
    """Chromium: one space per BUNDLE, the same for the apt of rtx: a clash in a later section is dropped."""
    world = World()
    session = world.session()
    clash = section(
        "video",
        "1",
        "sendonly",
        "96 98 99",
        *("a=rtpmap:96 VP9/90000", "a=rtpmap:98 VP8/90000", "a=rtpmap:99 rtx/90000", "a=fmtp:99 apt=98"),
    )
    response = world.tracks(session, local("0", "a"), local("1", "b"), sdp=description(video("0"), clash))
    first, second = described(response.description).media
    assert [(codec.pt, codec.name) for codec in first.codecs] == [(96, "VP8"), (97, "rtx")]
    assert [(codec.pt, codec.name) for codec in second.codecs] == [(98, "VP8"), (99, "rtx")]


def test_a_clash_that_leaves_nothing_is_taken_as_it_is() -> None:
    world = World()
    session = world.session()
    clash = section("video", "1", "sendonly", "96", "a=rtpmap:96 VP9/90000")
    response = world.tracks(session, local("1", "b"), sdp=description(video("0"), clash))
    assert failed(response.tracks) == [None]
    assert [codec.name for codec in described(response.description).media[1].codecs] == ["VP9"]


@pytest.mark.parametrize("flavour", RECORDED)
def test_firefox_its_own_numbers_never_clash_with_ours(flavour: str) -> None:
    """Firefox: it numbers each new section by its own table, whatever earlier ones say (str0m #730)."""
    world = World()
    call, room = Call(world, "firefox-153"), publisher(world, flavour)
    call.pull((room, "mic"), (room, "cam"))
    call.push("video")
    names = {codec.name for codec in world.records[call.session].mlines[-1].codecs}
    assert names == {"VP8", "VP9", "AV1", "rtx"}


@pytest.mark.parametrize("browser", RECORDED)
def test_firefox_all_feedback_that_we_serve_is_echoed(browser: str) -> None:
    """Firefox: it sends no NACK unless the answer says rtcp-fb nack."""
    offers, answers = answered(f"{browser}-offer-audio-video-sendonly")
    served = {"nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"}
    for offered, answer in zip(offers, answers, strict=True):
        before = {codec.pt: codec for codec in offered.codecs}
        for codec in answer.codecs:
            assert set(codec.feedback) == served.intersection(before[codec.pt].feedback)
    assert any(set(codec.feedback) == served for codec in answers[1].codecs)


def test_firefox_the_rtx_ssrc_is_listed_in_our_offers() -> None:
    """Firefox: without ssrc-group:FID it drops frames."""
    world = World()
    response = world.tracks(world.session(), remote(publisher(world, "firefox-153"), "cam"))
    (media,) = described(response.description).media
    assert len(media.rtx_ssrcs) == 1
    assert any(codec.name == "rtx" for codec in media.codecs)


@pytest.mark.parametrize("browser", RECORDED)
def test_firefox_groups_left_behind_on_inactive_are_ignored(browser: str) -> None:
    """Firefox: on inactive it removes a=ssrc and msid but leaves ssrc-group:FID."""
    world = World()
    session = world.session()
    world.tracks(session, sdp=fixture(f"{browser}-reoffer-inactive"), auto_discover=True)
    for mline in world.records[session].mlines:
        if mline.direction == "inactive":
            assert mline.receiving.rtx_ssrcs == ()


def test_firefox_extension_directions_are_mirrored() -> None:
    """Firefox: a=extmap:2/recvonly."""
    offers, answers = answered("firefox-153-offer-simulcast")
    before = {extension.id: extension for extension in offers[0].extensions}
    ways = {extension.id: extension.direction for extension in answers[0].extensions}
    assert ways == {
        3: "sendrecv",
        4: "sendrecv",
        6: "sendonly",
        7: "sendrecv",
        8: "recvonly",
        9: "recvonly",
        10: "recvonly",
    }
    assert before[6].direction == "recvonly"
    assert before[9].direction == "sendonly"


@pytest.mark.parametrize("browser", RECORDED)
def test_firefox_simulcast_layers_are_answered_in_their_order(browser: str) -> None:
    """Firefox: the order of a=simulcast counts, not that of the SSRCs."""
    world = World()
    session, sdp = world.create(fixture(f"{browser}-offer-simulcast"))
    assert sdp is not None
    assert "a=simulcast:recv a;b;c\r\n" in sdp.sdp
    assert world.records[session].mlines[0].receiving.rids == ("a", "b", "c")


def test_both_a_place_is_used_again_only_when_rejected_and_with_a_new_mid() -> None:
    """Both: m-line recycling (RFC 8829 5.2.2)."""
    world = World()
    call, room = Call(world, "firefox-153"), publisher(world, "firefox-153")
    keep = call.push("audio")
    (gone,) = call.pull((room, "cam"))
    call.close(gone)
    (mid,) = call.pull((room, "cam"))
    assert [mline.mid for mline in world.records[call.session].mlines] == [keep, mid]
    assert mid != gone


OFFERS = (
    "offer-audio-video-sendonly",
    "offer-audio-video-sendrecv",
    "offer-audio-video-recvonly",
    "offer-only-h264",
    "offer-only-vp8-red-ulpfec",
    "offer-svc",
    "reoffer-push-after-pull",
)


def has(browser: str, case: str) -> bool:
    """Debian's Firefox has no H.264."""
    return (FIXTURES / f"{browser}-{case}.sdp").exists()


@pytest.mark.parametrize(
    ("browser", "case"), [(browser, case) for browser in RECORDED for case in OFFERS if has(browser, case)]
)
def test_both_an_answer_keeps_order_ids_and_payload_types(browser: str, case: str) -> None:
    """Both: rtx only if its apt is kept. Golden: what each browser version offers."""
    offers, answers = answered(f"{browser}-{case}")
    for offered, answer in zip(offers, answers, strict=True):
        assert (answer.mid, answer.kind) == (offered.mid, offered.kind)
        pts = [codec.pt for codec in offered.codecs]
        places = [pts.index(codec.pt) for codec in answer.codecs]
        assert places == sorted(places)
        assert {codec.apt for codec in answer.codecs if codec.name == "rtx"} <= {
            codec.pt for codec in answer.codecs
        }
        ids = {(extension.id, extension.uri) for extension in offered.extensions}
        assert {(extension.id, extension.uri) for extension in answer.extensions} <= ids
        names = {codec.name.lower() for codec in answer.codecs}
        assert names.isdisjoint({"ulpfec", "flexfec-03", "telephone-event", "cn"})


@pytest.mark.parametrize(("browser", "size"), [("chromium-156", 262144), ("firefox-153", 1073741823)])
def test_both_the_size_of_messages_is_kept(browser: str, size: int) -> None:
    """Both: Chromium says 262144, Firefox 1073741823."""
    world = World()
    session, _ = world.create(fixture(f"{browser}-offer-data-channel"))
    assert world.records[session].max_message_size == size


def test_safari_red_and_h265_are_taken() -> None:
    """Safari: RED from 16."""
    world = World()
    session = publisher(world, "safari-18")
    mic, cam = world.records[session].mlines
    assert [codec.name for codec in mic.codecs] == ["opus", "red", "G722", "PCMU", "PCMA"]
    assert {codec.name for codec in cam.codecs} == {"H264", "H265", "VP8", "VP9", "AV1", "rtx"}


def test_a_browser_that_numbers_anew_is_followed() -> None:
    """Chromium moves its codecs out of the way of ours in later offers."""
    world = World()
    browser = FakeBrowser("chromium-156")
    session, room = world.session(), publisher(world, "firefox-153")
    response = world.tracks(session, remote(room, "cam"))
    assert response.description is not None
    world.answer(session, browser.answer(response.description.sdp))
    transceiver = browser.add("video")
    response = world.tracks(session, local(transceiver.mid, "x"), sdp=browser.offer())
    assert response.description is not None
    browser.accept(response.description.sdp)
    names = [codec.name for codec in described(response.description).media[1].codecs if codec.name != "rtx"]
    assert set(names) == {"VP8", "VP9", "AV1", "H264"}
