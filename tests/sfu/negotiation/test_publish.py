"""Publishing (api.md 1.3, 4.1, 4.2)."""

from __future__ import annotations

import pytest

from sfu.base.ids import PayloadType, TrackName
from sfu.negotiation.errors import TRACK_NOT_FOUND, NegotiationError
from sfu.negotiation.owner import set_track_flowing
from sfu.negotiation.requests import Limits, PublishedTrack, TrackRequest
from sfu.negotiation.tracks import find_published
from tests.sfu.negotiation.texts import audio, description, section, video
from tests.sfu.negotiation.world import World, described, failed, fixture, local, mids, remote

BOTH = description(audio("0"), video("1"))


def test_a_client_offer_is_answered_with_its_tracks() -> None:
    """api.md 4.1: push with client offer; 1.3: request order, mid and trackName in each item."""
    world = World()
    session = world.session()
    response = world.tracks(session, local("1", "cam"), local("0", "mic"), sdp=BOTH)
    assert [(item.mid, item.track, item.error) for item in response.tracks] == [
        ("1", "cam", None),
        ("0", "mic", None),
    ]
    assert not response.renegotiate
    answer = described(response.description)
    assert [media.direction for media in answer.media] == ["recvonly", "recvonly"]
    assert all(not media.ssrcs for media in answer.media)  # api.md 4.8: a publish answer has none
    assert {track.name: track.state for track in world.records[session].publications} == {
        "mic": "open",
        "cam": "open",
    }


def test_sections_that_no_call_names_are_answered_but_not_published() -> None:
    """api.md 5.11."""
    world = World()
    session = world.session()
    response = world.tracks(session, local("0", "mic"), sdp=BOTH)
    answer = described(response.description)
    assert [(media.direction, media.stopped) for media in answer.media] == [("recvonly", False)] * 2
    assert [track.name for track in world.records[session].publications] == ["mic"]


def test_a_section_of_an_earlier_offer_is_published_without_another_sdp() -> None:
    """api.md 1.2: the offer of sessions/new is answered, tracks are declared by tracks/new."""
    world = World()
    session, answer = world.create(BOTH)
    assert answer is not None
    assert world.records[session].publications == ()
    response = world.tracks(session, local("0", "mic"), local("1", "cam"))
    assert failed(response.tracks) == [None, None]
    assert response.description is None
    assert not response.renegotiate


def test_auto_discover_publishes_every_sending_section_under_a_random_name() -> None:
    """api.md 1.3 and 5.14: location, mid, trackName and kind; `tracks` may be absent."""
    world = World()
    session = world.session()
    sdp = description(audio("0"), video("1"), video("2", "recvonly"))
    response = world.tracks(session, sdp=sdp, auto_discover=True)
    assert [(item.location, item.mid, item.kind) for item in response.tracks] == [
        ("local", "0", "audio"),
        ("local", "1", "video"),
    ]
    names = {item.track for item in response.tracks}
    assert len(names) == 2
    assert not any("/" in (name or "/") for name in names)


def test_auto_discover_leaves_named_and_published_sections_alone() -> None:
    world = World()
    session = world.session()
    first = world.tracks(session, local("0", "mic"), sdp=BOTH, auto_discover=True)
    assert [item.mid for item in first.tracks] == ["0", "1"]
    assert first.tracks[0].track == "mic"
    again = world.tracks(session, sdp=description(audio("0"), video("1"), video("2")), auto_discover=True)
    assert [item.mid for item in again.tracks] == ["2"]


def test_auto_discover_does_not_bring_back_what_was_closed() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    world.close(session, "0")
    response = world.tracks(session, sdp=BOTH, auto_discover=True)
    assert [item.mid for item in response.tracks] == ["1"]


def test_an_entry_without_mid_takes_the_next_sending_section() -> None:
    world = World()
    session = world.session()
    response = world.tracks(session, local(None, "cam", kind="video"), local(None, "mic"), sdp=BOTH)
    assert mids(response.tracks) == ["1", "0"]


def test_a_mid_that_the_offer_does_not_send_on_fails_alone() -> None:
    """api.md 1.0, 200 with errors; failed items have mid ""."""
    world = World()
    session = world.session()
    sdp = description(audio("0"), video("1", "recvonly"))
    response = world.tracks(session, local("9", "a"), local("0", "mic"), local("1", "cam"), sdp=sdp)
    assert failed(response.tracks) == ["invalid_params", None, "invalid_params"]
    assert mids(response.tracks) == ["", "0", ""]
    assert response.description is not None


def test_a_name_is_published_once() -> None:
    world = World()
    session = world.session()
    sdp = description(audio("0"), audio("1"))
    response = world.tracks(session, local("0", "mic"), local("1", "mic"), sdp=sdp)
    assert failed(response.tracks) == [None, "repeated_local_track_error"]
    response = world.tracks(session, local("0", "other"))
    assert failed(response.tracks) == ["repeated_local_track_error"]


def test_the_same_publication_again_is_a_success() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    before = world.records[session].publications
    assert failed(world.tracks(session, local("0", "mic"), sdp=BOTH).tracks) == [None]
    assert world.records[session].publications == before


def test_another_name_on_a_force_closed_mid_is_delivered() -> None:
    """api.md 1.5: elsewhere such a publication never delivers; ours does."""
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    world.close(session, "0")
    response = world.tracks(session, local("0", "mic-2"), sdp=BOTH)
    assert failed(response.tracks) == [None]
    assert described(response.description).media[0].direction == "recvonly"
    assert isinstance(find_published(world.records[session], TrackName("mic-2")), PublishedTrack)
    assert find_published(world.records[session], TrackName("mic")) == TRACK_NOT_FOUND


def test_a_push_without_offer_is_offered_by_us() -> None:
    """api.md 4.1: push without offer, `kind` required, one-way."""
    world = World()
    session = world.session()
    response = world.tracks(session, local(None, "cam", kind="video"), local(None, "mic", kind="audio"))
    assert response.renegotiate
    offer = described(response.description)
    assert [(media.kind, media.direction, media.mid) for media in offer.media] == [
        ("video", "recvonly", "0"),
        ("audio", "recvonly", "1"),
    ]
    assert mids(response.tracks) == ["0", "1"]
    assert find_published(world.records[session], TrackName("cam")) == TRACK_NOT_FOUND
    answered = world.answer(session, description(video("0"), audio("1")).replace("actpass", "active"))
    assert answered.tracks == ()
    assert [track.state for track in world.records[session].publications] == ["open", "open"]
    codecs = {codec.name for codec in world.records[session].mlines[0].codecs}
    assert codecs == {"VP8", "rtx"}


def test_a_push_by_our_offer_that_the_client_does_not_send_is_reported() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local(None, "cam", kind="video"), local(None, "mic", kind="audio"))
    sdp = description(video("0", "inactive"), audio("1")).replace("actpass", "active")
    answered = world.answer(session, sdp)
    assert [(item.mid, item.track) for item in answered.tracks] == [("0", "cam")]
    assert failed(answered.tracks) == ["invalid_params"]
    assert [track.name for track in world.records[session].publications if track.state == "open"] == ["mic"]


def test_our_push_offer_asks_for_all_that_we_serve() -> None:
    world = World()
    response = world.tracks(
        world.session(), local(None, "cam", kind="video"), local(None, "mic", kind="audio")
    )
    video_media, audio_media = described(response.description).media
    assert {codec.name for codec in video_media.codecs} == {"VP8", "VP9", "H264", "H265", "AV1", "rtx"}
    assert [codec.name for codec in audio_media.codecs] == ["opus", "red", "G722", "PCMU", "PCMA"]
    assert all(codec.feedback for codec in video_media.codecs if codec.name != "rtx")
    ids = {extension.id for media in (video_media, audio_media) for extension in media.extensions}
    assert ids <= set(range(1, 15))


def test_kind_is_required_where_we_offer() -> None:
    """api.md 1.1 `kind`."""
    world = World()
    with pytest.raises(NegotiationError, match="kind is required") as caught:
        world.tracks(world.session(), local(None, "mic"))
    assert (caught.value.status, caught.value.code) == (406, "invalid_params")


@pytest.mark.parametrize("by_us", [True, False])
def test_a_bidirectional_push_sends_both_ways(by_us: bool) -> None:
    """api.md 1.1: the schema says by our offer, an example does it by the client's: both."""
    world = World()
    session = world.session()
    if by_us:
        response = world.tracks(session, local(None, "mic", kind="audio", bidirectional=True))
        assert response.renegotiate
    else:
        sdp = description(audio("0", "sendrecv"))
        response = world.tracks(session, local("0", "mic", bidirectional=True), sdp=sdp)
        assert not response.renegotiate
    (media,) = described(response.description).media
    assert media.direction == "sendrecv"
    assert len(media.ssrcs) == 1
    if by_us:
        world.answer(session, description(audio("0", "sendrecv")).replace("actpass", "active"))
    (mline,) = world.records[session].mlines
    assert mline.sends
    assert mline.receives


def test_a_sendrecv_section_is_answered_one_way_unless_asked() -> None:
    """pc.addTrack makes sendrecv transceivers."""
    world = World()
    response = world.tracks(
        world.session(), local("0", "mic"), sdp=fixture("chromium-156-offer-audio-video-sendrecv")
    )
    assert [media.direction for media in described(response.description).media] == ["recvonly", "recvonly"]


def test_simulcast_is_answered_in_the_order_of_the_offer() -> None:
    """api.md 4.4, sfu.md 5.3."""
    world = World()
    session = world.session()
    lines = ["a=rid:q send", "a=rid:f send", "a=rid:h send", "a=simulcast:send f;h;q"]
    response = world.tracks(session, local("0", "cam"), sdp=description(video("0", "sendonly", *lines)))
    assert response.description is not None
    assert "a=simulcast:recv f;h;q\r\n" in response.description.sdp
    assert [line for line in response.description.sdp.split("\r\n") if line.startswith("a=rid")] == [
        "a=rid:f recv",
        "a=rid:h recv",
        "a=rid:q recv",
    ]
    assert world.records[session].mlines[0].receiving.rids == ("f", "h", "q")


def test_simulcast_stays_in_our_own_offers() -> None:
    world = World()
    session = world.session()
    lines = ["a=rid:f send", "a=rid:h send", "a=simulcast:send f;h"]
    world.tracks(session, local("0", "cam"), sdp=description(video("0", "sendonly", *lines)))
    response = world.tracks(session, local(None, "mic", kind="audio"))
    assert response.description is not None
    assert "a=simulcast:recv f;h\r\n" in response.description.sdp


def test_the_published_track_tells_what_arrives() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local("1", "cam"), sdp=fixture("chromium-156-offer-audio-video-sendonly"))
    record = world.records[session]
    found = find_published(record, TrackName("cam"))
    assert isinstance(found, PublishedTrack)
    assert (found.kind, found.sending_pt, found.flowing) == ("video", 96, False)
    record = set_track_flowing(record, TrackName("cam"), flowing=True, sending_pt=PayloadType(98))
    found = find_published(record, TrackName("cam"))
    assert isinstance(found, PublishedTrack)
    assert (found.sending_pt, found.flowing) == (98, True)


def test_pcmu_is_payload_type_0_and_still_counts() -> None:
    world = World()
    session = world.session()
    sdp = description(section("audio", "0", "sendonly", "8 0"))
    world.tracks(session, local("0", "mic"), sdp=sdp)
    record = set_track_flowing(
        world.records[session], TrackName("mic"), flowing=True, sending_pt=PayloadType(0)
    )
    found = find_published(record, TrackName("mic"))
    assert isinstance(found, PublishedTrack)
    assert found.sending_pt == 0


@pytest.mark.parametrize(
    ("tracks", "sdp", "auto", "text"),
    [
        ((), None, False, "Expecting tracks"),
        ((local("0", "a"),), None, True, "autoDiscover needs"),
        ((TrackRequest("local", "0"),), BOTH, False, "trackName is required"),
        ((local("0", "x" * 1025),), BOTH, False, "at most 1024"),
        ((local("0", "a"), TrackRequest("remote", session=None)), BOTH, False, "all local or all remote"),
        ((TrackRequest("remote", track=TrackName("x")),), None, False, "sessionId is required"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    tracks: tuple[TrackRequest, ...], sdp: str | None, auto: bool, text: str
) -> None:
    """api.md 1.0: 406 invalid_params; batches are all local or all remote."""
    world = World()
    session = world.session()
    before = world.records[session]
    with pytest.raises(NegotiationError, match=text) as caught:
        world.tracks(session, *tracks, sdp=sdp, auto_discover=auto)
    assert (caught.value.status, caught.value.code) == (406, "invalid_params")
    assert world.records[session] is before


def test_the_tracks_of_a_call_are_bounded() -> None:
    """api.md 1.0 known text, 1.13: 64."""
    world = World()
    session = world.session()
    with pytest.raises(NegotiationError, match="Expecting at most 64 track in the request"):
        world.tracks(session, *(local(None, str(n), kind="audio") for n in range(65)))
    response = world.tracks(session, *(local(None, str(n), kind="audio") for n in range(64)))
    assert len(response.tracks) == 64


def test_the_sections_of_a_session_are_bounded() -> None:
    world = World(limits=Limits(mlines_per_session=2))
    session = world.session()
    with pytest.raises(NegotiationError, match="at most 2 media sections"):
        world.tracks(session, *(local(None, str(n), kind="audio") for n in range(3)))
    with pytest.raises(NegotiationError, match="3 media sections, more than 2"):
        world.create(description(audio("0"), audio("1"), audio("2")))


def test_location_may_be_left_out() -> None:
    """api.md 1.1: every property is optional in the schema."""
    world = World()
    session = world.session()
    response = world.tracks(session, TrackRequest(mid="0", track=TrackName("mic")), sdp=BOTH)
    assert failed(response.tracks) == [None]
    pulled = world.tracks(world.session(), TrackRequest(session=session, track=TrackName("mic")))
    assert failed(pulled.tracks) == [None]
    assert pulled.renegotiate


def test_a_stranger_s_track_is_not_found() -> None:
    world = World()
    session = world.session()
    response = world.tracks(world.session(), remote(session, "nothing"))
    assert failed(response.tracks) == ["not_found_track_error"]
