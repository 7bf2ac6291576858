"""Pulling (api.md 1.3, 4.1, 4.2)."""

from __future__ import annotations

import pytest

from sfu.base.ids import Mid, PayloadType, SessionId, TrackName
from sfu.negotiation.errors import TRACK_EMPTY, TRACK_NOT_FOUND, NegotiationError
from sfu.negotiation.record import Simulcast
from tests.sfu.negotiation.fake_browser import FakeBrowser
from tests.sfu.negotiation.texts import audio, description, section, video
from tests.sfu.negotiation.world import World, described, failed, fixture, local, mids, remote

H264 = "level-asymmetry-allowed=1;packetization-mode={};profile-level-id={}"


def room(world: World, sdp: str | None = None) -> SessionId:
    """A session that publishes "mic" on 0 and "cam" on 1."""
    session = world.session()
    sdp = fixture("chromium-156-offer-audio-video-sendonly") if sdp is None else sdp
    assert failed(world.tracks(session, local("0", "mic"), local("1", "cam"), sdp=sdp).tracks) == [None, None]
    return session


def video_room(world: World, *codecs: str, fmtp: dict[int, str] | None = None) -> SessionId:
    """A session that publishes "cam" with these codecs, numbered from 100 on."""
    lines = [f"a=rtpmap:{pt} {name}/90000" for pt, name in enumerate(codecs, 100)]
    lines += [f"a=fmtp:{pt} {value}" for pt, value in (fmtp or {}).items()]
    formats = " ".join(str(pt) for pt, _ in enumerate(codecs, 100))
    session = world.session()
    sdp = description(section("video", "0", "sendonly", formats, *lines))
    assert failed(world.tracks(session, local("0", "cam"), sdp=sdp).tracks) == [None]
    return session


def test_pulls_of_a_fresh_session_get_mids_from_0_in_request_order() -> None:
    """api.md 4.2, 5.7, 5.8: echo-simulcast depends on it; items echo sessionId, trackName, mid."""
    world = World()
    source, session = room(world), world.session()
    response = world.tracks(session, remote(source, "cam"), remote(source, "mic"), remote(source, "cam"))
    assert response.renegotiate
    assert [(item.session, item.track, item.mid) for item in response.tracks] == [
        (source, "cam", "0"),
        (source, "mic", "1"),
        (source, "cam", "2"),
    ]
    offer = described(response.description)
    assert response.description is not None
    assert response.description.type == "offer"
    assert [(media.mid, media.kind, media.direction, media.setup) for media in offer.media] == [
        ("0", "video", "sendonly", "actpass"),
        ("1", "audio", "sendonly", "actpass"),
        ("2", "video", "sendonly", "actpass"),
    ]


def test_pull_mids_never_clash_with_the_client_s_own() -> None:
    """api.md 5.8."""
    world = World()
    source, session = room(world), world.session()
    sdp = description(audio("0"), audio("2"), audio("audio"), audio("12345678901234"))
    world.tracks(session, local("0", "a"), sdp=sdp)
    response = world.tracks(session, remote(source, "mic"), remote(source, "cam"))
    assert mids(response.tracks) == ["3", "4"]


def test_one_ssrc_stream_per_pulled_section() -> None:
    """api.md 4.8: a=ssrc cname and msid; FID for RTX as Firefox drops frames without (sfu.md 5.3)."""
    world = World()
    source, session = room(world), world.session()
    response = world.tracks(session, remote(source, "mic"), remote(source, "cam"))
    mic, cam = described(response.description).media
    assert (len(mic.ssrcs), mic.rtx_ssrcs) == (1, ())
    assert len(cam.ssrcs) == 1
    ((media_ssrc, rtx_ssrc),) = cam.rtx_ssrcs
    pulls = world.records[session].subscriptions
    assert [(pull.ssrc, pull.rtx_ssrc) for pull in pulls] == [(mic.ssrcs[0], None), (media_ssrc, rtx_ssrc)]


def test_tracks_of_one_publisher_share_cname_and_stream() -> None:
    """sfu.md 4 and 5.3: Chromium keeps them in sync; two distinct tokens in each msid."""
    world = World()
    one, other, session = room(world), room(world), world.session()
    response = world.tracks(session, remote(one, "mic"), remote(one, "cam"), remote(other, "mic"))
    assert response.description is not None
    lines = response.description.sdp.split("\r\n")
    msids = [line.removeprefix("a=msid:").split() for line in lines if line.startswith("a=msid:")]
    streams, tracks = [stream for stream, _ in msids], [track for _, track in msids]
    assert streams[0] == streams[1] != streams[2]
    assert len({*streams, *tracks}) == 5
    cnames = [pull.cname for pull in world.records[session].subscriptions]
    assert cnames[0] == cnames[1] != cnames[2]


def test_nothing_is_sent_before_the_answer() -> None:
    """sfu.md 5.3, Firefox: an SSRC before its SDP breaks video for good."""
    world = World()
    source, session = room(world), world.session()
    response = world.tracks(session, remote(source, "cam"))
    assert list(world.records[session].outgoing()) == []
    assert response.description is not None
    world.answer(session, FakeBrowser("chromium-156").answer(response.description.sdp))
    assert [pull.track for pull, _ in world.records[session].outgoing()] == ["cam"]


def test_failed_items_have_no_mid_and_no_section() -> None:
    """api.md 4.1: pull with some failed items; 1.13: no m-line is allocated."""
    world = World()
    source, session = room(world), world.session()
    response = world.tracks(
        session,
        remote(source, "nothing"),
        remote(source, "cam"),
        remote(source, "mic"),
        errors={"mic": TRACK_EMPTY},
    )
    assert failed(response.tracks) == ["not_found_track_error", None, "empty_track_error"]
    assert mids(response.tracks) == ["", "0", ""]
    assert [item.track for item in response.tracks] == ["nothing", "cam", "mic"]
    assert len(described(response.description).media) == 1


def test_a_pull_of_which_every_item_failed_needs_no_sdp() -> None:
    """api.md 4.1."""
    world = World()
    source, session = room(world), world.session()
    before = world.records[session]
    response = world.tracks(session, remote(source, "x"), remote(SessionId("f" * 32), "cam"))
    assert failed(response.tracks) == ["not_found_track_error"] * 2
    assert (response.renegotiate, response.description) == (False, None)
    assert world.records[session] == before


def test_the_numbers_of_the_subscriber_are_kept_apart_from_the_publisher_s() -> None:
    """Payload types and extension ids are mapped, RTX included."""
    world = World()
    source = room(world, fixture("safari-18-offer-audio-video-sendonly"))
    session = world.session()
    browser = FakeBrowser("chromium-156")
    browser.add("video")
    world.tracks(session, local("0", "own"), sdp=browser.offer())
    response = world.tracks(session, remote(source, "mic"))
    assert response.description is not None
    record = world.records[session]
    pull = record.subscriptions[0]
    mid_id = {extension.uri: extension.id for extension in record.mlines[1].extensions}
    assert pull.extension_map == {1: mid_id["urn:ietf:params:rtp-hdrext:ssrc-audio-level"]}
    assert pull.mid_extension_id == mid_id["urn:ietf:params:rtp-hdrext:sdes:mid"]
    assert pull.pt_map[pull.sending_pt] == 111


def test_the_subscriber_s_numbers_win_a_conflict() -> None:
    """Publisher: VP8 is 100. Subscriber: 100 is VP9, and VP8 is 96."""
    world = World()
    source = video_room(world, "VP8", "VP9")
    session = world.session()
    lines = ["a=rtpmap:100 VP9/90000", "a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"]
    sdp = description(section("video", "0", "sendonly", "100 96 97", *lines))
    world.tracks(session, local("0", "own"), sdp=sdp)
    response = world.tracks(session, remote(source, "cam"))
    _own, media = described(response.description).media
    assert [(codec.pt, codec.name) for codec in media.codecs if codec.name != "rtx"] == [
        (96, "VP8"),
        (100, "VP9"),
    ]
    pull = world.records[session].subscriptions[0]
    assert pull.pt_map == {100: 96, 101: 100}
    assert pull.rtx_pts[PayloadType(96)] == 97


def test_only_listed_extensions_are_forwarded() -> None:
    """W38: rids and mids of others, private extensions."""
    world = World()
    lines = [
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:3 urn:3gpp:video-orientation",
        "a=extmap:4 urn:private",
        "a=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
    ]
    source = world.session()
    answer = world.tracks(source, local("0", "cam"), sdp=description(video("0", "sendonly", *lines)))
    accepted = {extension.id for extension in described(answer.description).media[0].extensions}
    assert accepted == {1, 2, 3, 5, 6, 7}
    session = world.session()
    response = world.tracks(session, remote(source, "cam"))
    uris = {extension.uri for extension in described(response.description).media[0].extensions}
    assert uris == {"urn:3gpp:video-orientation", "urn:ietf:params:rtp-hdrext:sdes:mid"}
    pull = world.records[session].subscriptions[0]
    assert list(pull.extension_map) == [3]


def test_our_offer_has_exactly_the_codecs_of_the_publisher() -> None:
    world = World()
    source = video_room(world, "VP9", "VP8")
    response = world.tracks(world.session(), remote(source, "cam"))
    (media,) = described(response.description).media
    assert [codec.name for codec in media.codecs] == ["VP9", "rtx", "VP8", "rtx"]


def test_fmtp_is_kept_faithfully() -> None:
    world = World()
    fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e034;x-google-start-bitrate=9"
    source = video_room(world, "H264", fmtp={100: fmtp})
    response = world.tracks(world.session(), remote(source, "cam"))
    assert described(response.description).media[0].codecs[0].fmtp == fmtp


def test_a_codec_that_the_answer_leaves_out_is_an_error_of_that_track() -> None:
    """No black picture; the batch's others go on."""
    world = World()
    source, session = room(world, fixture("safari-18-offer-audio-video-sendonly")), world.session()
    browser = FakeBrowser("firefox-153")  # has no H.264
    response = world.tracks(session, remote(source, "cam"), remote(source, "mic"))
    assert response.description is not None
    answered = world.answer(session, browser.answer(response.description.sdp))
    assert [(item.mid, item.track) for item in answered.tracks] == [("0", "cam")]
    (error,) = [item.error for item in answered.tracks]
    assert error is not None
    assert (error.code, error.subcode) == ("invalid_params", "codec_not_supported")
    assert "H264" in error.text
    assert [pull.track for pull, _ in world.records[session].outgoing()] == ["mic"]


def test_a_codec_that_an_answer_left_out_fails_the_next_pull_at_once() -> None:
    """The client's answers to our offers are proof; its own offers may be narrowed by preference."""
    world = World()
    source, session = room(world, fixture("safari-18-offer-audio-video-sendonly")), world.session()
    browser = FakeBrowser("firefox-153")
    response = world.tracks(session, remote(source, "cam"))
    assert response.description is not None
    world.answer(session, browser.answer(response.description.sdp))
    again = world.tracks(session, remote(source, "cam"), remote(source, "mic"))
    assert failed(again.tracks) == ["invalid_params", None]
    assert len(world.records[session].mlines) == 2


def test_a_refused_section_is_an_error_of_that_track_and_its_place_is_used_again() -> None:
    world = World()
    source, session = room(world), world.session()
    browser = FakeBrowser("chromium-156")
    response = world.tracks(session, remote(source, "mic"), remote(source, "cam"))
    assert response.description is not None
    refused = browser.answer(response.description.sdp, reject=frozenset({Mid("1")}))
    assert failed(world.answer(session, refused).tracks) == ["invalid_params"]
    again = world.tracks(session, remote(source, "mic"), remote(source, "cam"))
    assert len(described(again.description).media) == 3
    assert mids(again.tracks) == ["2", "3"]


def test_h264_of_a_lesser_profile_goes_to_a_decoder_of_a_greater() -> None:
    world = World()
    source = video_room(world, "H264", fmtp={100: H264.format(0, "42001f")})
    session = world.session()
    lines = ["a=rtpmap:96 H264/90000", f"a=fmtp:96 {H264.format(1, '64001f')}"]
    sdp = description(section("video", "0", "recvonly", "96", *lines))
    response = world.tracks(session, remote(source, "cam"), sdp=sdp)
    assert failed(response.tracks) == [None]
    assert world.records[session].subscriptions[0].pt_map == {100: 96}


@pytest.mark.parametrize(
    ("mode", "profile", "other_mode", "other_profile"),
    [(1, "42e01f", 0, "42e01f"), (1, "64001f", 1, "42e01f"), (1, "f4001f", 1, "64001f")],
)
def test_h264_that_a_decoder_does_not_take_is_an_item_error(
    mode: int, profile: str, other_mode: int, other_profile: str
) -> None:
    world = World()
    source = video_room(world, "H264", fmtp={100: H264.format(mode, profile)})
    lines = ["a=rtpmap:96 H264/90000", f"a=fmtp:96 {H264.format(other_mode, other_profile)}"]
    sdp = description(section("video", "0", "recvonly", "96", *lines))
    response = world.tracks(world.session(), remote(source, "cam"), sdp=sdp)
    assert failed(response.tracks) == ["invalid_params"]
    assert described(response.description).media[0].direction == "inactive"


def test_red_goes_only_where_opus_has_the_same_number() -> None:
    """The PTs inside of RED are in the payload, which is not rewritten."""
    world = World()
    source = room(world)
    same, other = world.session(), world.session()
    for session, pt in ((same, 111), (other, 109)):
        lines = [f"a=rtpmap:{pt} opus/48000/2", "a=rtpmap:63 red/48000/2", f"a=fmtp:63 {pt}/{pt}"]
        sdp = description(section("audio", "0", "recvonly", f"{pt} 63", *lines))
        response = world.tracks(session, remote(source, "mic"), sdp=sdp)
        assert failed(response.tracks) == [None]
    assert world.records[same].subscriptions[0].pt_map == {111: 111, 63: 63}
    assert world.records[other].subscriptions[0].pt_map == {111: 109}


def test_a_client_offer_is_filled_by_kind_and_order() -> None:
    """api.md 4.1, 5.14: WHEP with client offer."""
    world = World()
    source, session = room(world), world.session()
    sdp = description(video("v1", "recvonly"), audio("a1", "recvonly"), video("v2", "recvonly"))
    response = world.tracks(
        session, remote(source, "mic"), remote(source, "cam"), remote(source, "cam"), sdp=sdp
    )
    assert mids(response.tracks) == ["a1", "v1", "v2"]
    assert not response.renegotiate
    answer = described(response.description)
    assert [media.direction for media in answer.media] == ["sendonly"] * 3
    assert all(media.ssrcs for media in answer.media)
    assert [pull.mid for pull, _ in world.records[session].outgoing()] == ["a1", "v1", "v2"]


def test_a_client_offer_may_name_the_mids() -> None:
    world = World()
    source, session = room(world), world.session()
    sdp = description(video("v1", "recvonly"), video("v2", "recvonly"))
    response = world.tracks(session, remote(source, "cam"), remote(source, "cam", mid="v1"), sdp=sdp)
    assert mids(response.tracks) == ["v2", "v1"]


def test_a_client_offer_without_room_fails_that_item() -> None:
    world = World()
    source, session = room(world), world.session()
    sdp = description(audio("0", "recvonly"), audio("1"))
    response = world.tracks(session, remote(source, "mic"), remote(source, "mic"), sdp=sdp)
    assert failed(response.tracks) == [None, "invalid_params"]


def test_a_client_offer_is_answered_even_if_every_item_failed() -> None:
    world = World()
    session = world.session()
    sdp = description(audio("0", "recvonly"))
    response = world.tracks(session, remote(SessionId("f" * 32), "mic"), sdp=sdp)
    assert failed(response.tracks) == ["not_found_track_error"]
    assert [media.direction for media in described(response.description).media] == ["inactive"]


def test_a_client_offer_lacking_the_codec_is_told_at_once() -> None:
    world = World()
    source = video_room(world, "AV1")
    response = world.tracks(world.session(), remote(source, "cam"), sdp=description(video("0", "recvonly")))
    (error,) = [item.error for item in response.tracks]
    assert error is not None
    assert error.subcode == "codec_not_supported"
    assert "AV1" in error.text


def test_new_sections_of_an_offer_are_filled_before_idle_ones() -> None:
    world = World()
    source, session = room(world), world.session()
    world.tracks(session, remote(source, "mic"), sdp=description(audio("0", "recvonly")))
    world.close(session, "0")
    sdp = description(audio("0", "recvonly"), audio("1", "recvonly"))
    response = world.tracks(session, remote(source, "mic"), sdp=sdp)
    assert mids(response.tracks) == ["1"]


@pytest.mark.parametrize("where", ["0", "#mic"])
def test_a_pull_onto_a_bidirectional_transceiver_needs_no_sdp(where: str) -> None:
    """api.md 4.1, 5.15."""
    world = World()
    source, session = room(world), world.session()
    sdp = description(audio("0", "sendrecv"))
    world.tracks(session, local("0", "mic", bidirectional=True), sdp=sdp)
    response = world.tracks(session, remote(source, "mic", mid=where))
    assert (mids(response.tracks), failed(response.tracks)) == (["0"], [None])
    assert (response.renegotiate, response.description) == (False, None)
    assert [pull.mid for pull, _ in world.records[session].outgoing()] == ["0"]


def test_a_second_pull_onto_a_bidirectional_transceiver_replaces_the_first() -> None:
    """api.md 4.2, 5.15: Orange pulls each new controller without closing the last."""
    world = World()
    one, other, session = room(world), room(world), world.session()
    world.tracks(session, local("0", "m", bidirectional=True), sdp=description(audio("0", "sendrecv")))
    world.tracks(session, remote(one, "mic", mid="#m"))
    before = world.records[session].subscriptions[0]
    world.tracks(session, remote(other, "mic", mid="#m"))
    (after,) = world.records[session].subscriptions
    assert after.publisher == other
    assert after.ssrc == before.ssrc


def test_a_pull_onto_a_transceiver_of_the_other_kind_fails() -> None:
    world = World()
    source, session = room(world), world.session()
    world.tracks(session, local("0", "m", bidirectional=True), sdp=description(audio("0", "sendrecv")))
    assert failed(world.tracks(session, remote(source, "cam", mid="#m")).tracks) == ["invalid_params"]


def test_a_name_that_no_transceiver_has_fails() -> None:
    world = World()
    source, session = room(world), world.session()
    world.tracks(session, local("0", "m"), sdp=description(audio("0")))
    for name in ("#m", "#other"):
        response = world.tracks(session, remote(source, "mic", mid=name))
        assert failed(response.tracks) == ["invalid_params"]
        assert response.description is None


def test_the_publisher_s_mid_in_a_pull_is_ignored() -> None:
    """Clients pass on the whole entry that the publisher got."""
    world = World()
    source, session = room(world), world.session()
    world.tracks(session, local("0", "m"), sdp=description(audio("0")))
    response = world.tracks(session, remote(source, "mic", mid="0"), remote(source, "cam", mid="17"))
    assert mids(response.tracks) == ["1", "2"]
    assert response.renegotiate


def test_a_bidirectional_pull_by_our_offer_takes_a_publication_later() -> None:
    world = World()
    source, session = room(world), world.session()
    response = world.tracks(session, remote(source, "mic", bidirectional=True))
    assert described(response.description).media[0].direction == "sendrecv"
    world.answer(session, description(audio("0", "sendrecv")).replace("actpass", "active"))
    response = world.tracks(session, local("0", "mine"))
    assert failed(response.tracks) == [None]
    assert response.description is None
    assert [track.name for track, _ in world.records[session].incoming()] == ["mine"]


def test_a_repeated_pull_is_another_subscription() -> None:
    """api.md 1.0: no idempotency."""
    world = World()
    source, session = room(world), world.session()
    response = world.tracks(session, remote(source, "mic"), remote(source, "mic"))
    assert mids(response.tracks) == ["0", "1"]
    ssrcs = {pull.ssrc for pull in world.records[session].subscriptions}
    assert len(ssrcs) == 2


def test_a_session_may_pull_its_own_track() -> None:
    """The echo examples."""
    world = World()
    source = room(world)
    response = world.tracks(source, remote(source, "cam"))
    assert mids(response.tracks) == ["2"]


def test_simulcast_wishes_are_kept_and_echoed() -> None:
    """api.md 1.3, 4.4, 5.13: an empty preferredRid is no preference."""
    world = World()
    source, session = room(world), world.session()
    wish = Simulcast(preferred_rid="", priority_ordering="asciibetical")
    response = world.tracks(session, remote(source, "cam", simulcast=wish), remote(source, "mic"))
    assert [item.simulcast for item in response.tracks] == [wish, None]
    assert [pull.simulcast for pull in world.records[session].subscriptions] == [wish, None]


def test_pull_after_push_and_push_after_pull_work_on_one_connection() -> None:
    """api.md 4.2: partytracks uses one PeerConnection for everything."""
    world = World()
    source, session = room(world), world.session()
    browser = FakeBrowser("firefox-153")
    for step in range(3):
        transceiver = browser.add("video")
        sdp = browser.offer()
        response = world.tracks(session, local(transceiver.mid, f"t{step}"), sdp=sdp)
        assert response.description is not None
        browser.accept(response.description.sdp)
        response = world.tracks(session, remote(source, "mic"))
        assert response.description is not None
        world.answer(session, browser.answer(response.description.sdp))
    assert [mline.direction for mline in world.records[session].mlines] == ["recvonly", "sendonly"] * 3


def test_payload_types_and_apt_stay_consistent_over_the_whole_session() -> None:
    """api.md 4.8 RTX and 5.12: elsewhere a push after a pull left the apt at the old number."""
    world = World()
    source = video_room(world, "VP8")
    session = world.session()
    browser = FakeBrowser("chromium-156")
    response = world.tracks(session, remote(source, "cam"))
    assert response.description is not None
    world.answer(session, browser.answer(response.description.sdp))
    transceiver = browser.add("video")
    sdp = browser.offer()
    response = world.tracks(session, local(transceiver.mid, "own"), sdp=sdp)
    assert response.description is not None
    browser.accept(response.description.sdp)
    for media in described(response.description).media:
        pts = {codec.pt: codec for codec in media.codecs}
        assert all(codec.apt in pts for codec in media.codecs if codec.name == "rtx")
    vp8 = {
        codec.pt for mline in world.records[session].mlines for codec in mline.codecs if codec.name == "VP8"
    }
    assert len(vp8) == 1


def test_a_pending_offer_refuses_the_next_mutation() -> None:
    """api.md 1.0 serialisation and subcodes: 406 until the answer is accepted."""
    world = World()
    source, session = room(world), world.session()
    world.tracks(session, remote(source, "mic"))
    before = world.records[session]
    for call in (
        lambda: world.tracks(session, remote(source, "cam")),
        lambda: world.tracks(session, local("0", "m"), sdp=description(audio("0"))),
        lambda: world.close(session, "0"),
        lambda: world.update(session, remote(source, "mic", mid="0")),
        lambda: world.restart(session, description(audio("0"))),
    ):
        with pytest.raises(NegotiationError) as caught:
            call()
        error = caught.value
        assert (error.status, error.code) == (406, "invalid_session_description")
        assert error.subcode == "invalid_modification_have_local_offer"
    assert world.records[session] is before


def test_an_unpublished_name_of_a_known_session_is_not_found() -> None:
    world = World()
    source = room(world)
    world.close(source, "0")
    response = world.tracks(world.session(), remote(source, "mic"))
    assert response.tracks[0].error == TRACK_NOT_FOUND
    assert world.records[source].publication(TrackName("mic")) is not None


def test_a_publisher_s_odd_codecs_do_not_use_up_the_numbers_of_its_subscribers() -> None:
    world = World()
    session, good = world.session(), room(world)
    browser = FakeBrowser("chromium-156")
    for step in range(4):
        odd = video_room(
            world,
            "VP8",
            *("H264" for _ in range(27)),
            fmtp={pt: H264.format(1, f"{step:01x}{pt - 101:02x}f1f") for pt in range(101, 128)},
        )
        response = world.tracks(session, remote(odd, "cam"))
        assert response.description is not None
        world.answer(session, browser.answer(response.description.sdp))
    response = world.tracks(session, remote(good, "mic"), remote(good, "cam"))
    assert failed(response.tracks) == [None, None]
    codecs = {codec.name for media in described(response.description).media for codec in media.codecs}
    assert codecs >= {"opus", "VP8", "VP9", "AV1", "H264"}
