"""Closing tracks (api.md 1.5)."""

from __future__ import annotations

import pytest

from sfu.base.ids import TrackName
from sfu.negotiation.errors import TRACK_NOT_FOUND, NegotiationError
from sfu.negotiation.owner import end_track
from sfu.negotiation.requests import CloseTracks
from sfu.negotiation.session import view_session
from sfu.negotiation.tracks import close_tracks, find_published
from tests.sfu.negotiation.fake_browser import FLAVOURS, Flavour
from tests.sfu.negotiation.test_life import Call, publisher
from tests.sfu.negotiation.texts import audio, data, description, video
from tests.sfu.negotiation.world import World, described, failed, local, mids, remote

BOTH = description(audio("0"), video("1"))


def stopped(sdp: str, mid: str) -> str:
    """The offer after transceiver.stop() of a section."""
    head, *sections = sdp.split("m=")
    texts = [
        text.replace(" 9 ", " 0 ", 1).replace("a=sendonly", "a=inactive")
        if f"a=mid:{mid}\r\n" in text
        else text
        for text in sections
    ]
    return "m=".join([head.replace(f" {mid}", "", 1) if f"BUNDLE {mid}" in head else head, *texts])


def test_a_negotiated_close_is_answered() -> None:
    """api.md 4.1, 1.5: stop, offer, answer; item without error = closed."""
    world = World()
    call = Call(world, "chromium-156")
    mid, other = call.push("audio"), call.push("video")
    assert call.close(mid) == [None]
    assert [one.mid for one in call.browser.transceivers] == [other]
    assert [mline.rejected for mline in world.records[call.session].mlines] == [True, False]
    assert find_published(world.records[call.session], TrackName("track-1")) == TRACK_NOT_FOUND


def test_a_close_whose_items_all_fail_is_answered_too() -> None:
    """api.md 5.10."""
    world = World()
    call = Call(world, "chromium-156")
    mid = call.push("audio")
    response = world.close(call.session, "9", "#nobody", sdp=call.browser.offer())
    assert failed(response.tracks) == ["close_track_error", "close_track_error"]
    assert mids(response.tracks) == ["9", "#nobody"]
    call.accept(response)
    assert call.browser.by_mid(mid).current == "sendonly"


def test_sections_still_active_in_a_close_are_answered_inactive() -> None:
    """api.md 1.5, partytracks: a batch of closes stops only its first transceiver."""
    world = World()
    call = Call(world, "chromium-156")
    room = publisher(world, "chromium-156")
    pushed = [call.push("audio"), call.push("video")]
    pulled = call.pull((room, "mic"), (room, "cam"))
    assert call.close(*pushed, *pulled, stopped=1) == [None] * 4
    living = {one.mid: one.current for one in call.browser.transceivers}
    assert living == {pushed[1]: "inactive", pulled[0]: "inactive", pulled[1]: "inactive"}
    record = world.records[call.session]
    assert list(record.incoming()) == []
    assert list(record.outgoing()) == []


def test_what_was_closed_so_stays_closed_in_later_offers() -> None:
    world = World()
    call = Call(world, "chromium-156")
    pushed = [call.push("audio"), call.push("video")]
    call.close(*pushed, stopped=1)
    call.push("audio")
    assert call.browser.by_mid(pushed[1]).current == "inactive"


def test_a_forced_close_needs_no_sdp_and_is_still_listed() -> None:
    """api.md 1.5, 1.7: media stops, the m-line stays, the record may stay listed as inactive."""
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), local("1", "cam"), sdp=BOTH)
    response = world.close(session, "0")
    assert (failed(response.tracks), response.description, response.renegotiate) == ([None], None, False)
    view = view_session(world.records[session])
    assert [(item.track, item.status) for item in view.tracks] == [("mic", "inactive"), ("cam", "active")]
    assert not world.records[session].mlines[0].rejected


def test_a_forced_close_with_an_offer_is_answered() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), local("1", "cam"), sdp=BOTH)
    record = world.records[session]
    request = CloseTracks(("0",), True, None)
    assert close_tracks(record, request, world.context).response.description is None
    response = world.close(session, "0", sdp=stopped(BOTH, "0"))
    assert described(response.description).media[0].stopped


def test_a_second_close_is_an_error_of_the_item() -> None:
    """api.md 1.5: close_track_error = absent or already closed."""
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    assert failed(world.close(session, "0").tracks) == [None]
    assert failed(world.close(session, "0", "1", "0").tracks) == ["close_track_error"] * 3
    again = world.close(session, "0")
    (error,) = [item.error for item in again.tracks]
    assert error is not None
    assert error.text == "Track doesn't exist or was already closed"


def test_one_mid_twice_in_a_call_is_closed_once() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    assert failed(world.close(session, "0", "0").tracks) == [None, "close_track_error"]


def test_a_transceiver_may_be_named_by_its_publication() -> None:
    """api.md 1.1: "#<trackName>"."""
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    response = world.close(session, "#mic")
    assert (failed(response.tracks), mids(response.tracks)) == ([None], ["0"])


def test_closing_a_bidirectional_transceiver_ends_both_directions() -> None:
    """api.md 1.5."""
    world = World()
    room, session = publisher(world, "chromium-156"), world.session()
    world.tracks(session, local("0", "m", bidirectional=True), sdp=description(audio("0", "sendrecv")))
    world.tracks(session, remote(room, "mic", mid="#m"))
    world.close(session, "0")
    record = world.records[session]
    assert [track.state for track in record.publications] == ["closed"]
    assert [pull.state for pull in record.subscriptions] == ["closed"]


def test_what_ended_by_itself_can_still_be_closed() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    world.records[session] = end_track(world.records[session], TrackName("mic"))
    assert failed(world.close(session, "0").tracks) == [None]


def test_a_bidirectional_section_still_active_in_its_close_is_answered_inactive() -> None:
    world = World()
    call, room = Call(world, "chromium-156"), publisher(world, "chromium-156")
    mid = call.push("audio", bidirectional=True)
    world.tracks(call.session, remote(room, "mic", mid=mid))
    assert call.close(mid, stopped=0) == [None]
    assert call.browser.by_mid(mid).current == "inactive"


def test_sections_of_ours_that_took_a_push_are_used_again() -> None:
    world = World()
    call = Call(world, "chromium-156")
    keep = call.push("video")
    for step in range(10):
        asked = world.tracks(call.session, local(None, f"t{step}", kind="audio"))
        assert asked.description is not None
        world.answer(call.session, call.browser.answer(asked.description.sdp))
        world.close(call.session, asked.tracks[0].mid or "")
    assert len(world.records[call.session].mlines) <= 3
    assert call.browser.by_mid(keep).current == "sendonly"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_pull_after_the_last_section_closed_begins_a_new_transport(flavour: Flavour) -> None:
    """Browsers drop their transport with it (seen: Chromium 156, Firefox 153): ICE and DTLS begin anew."""
    world = World()
    call, room = Call(world, flavour), publisher(world, "chromium-156")
    mid = call.push("audio")
    call.close(mid)
    before = world.records[call.session]
    assert (before.generation, before.association) == (0, 0)
    call.pull((room, "mic"))
    record = world.records[call.session]
    assert (record.generation, record.association) == (1, 1)
    assert record.dtls_role == "server"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_closing_the_section_that_leads_the_group_begins_a_new_transport(flavour: Flavour) -> None:
    """Browsers tie their transport to it: they make another, here with the same credentials of theirs."""
    world = World()
    call = Call(world, flavour)
    first, second, third = call.push("audio"), call.push("video"), call.push("audio")
    call.close(third)
    record = world.records[call.session]
    assert (record.generation, record.association) == (0, 0)
    call.close(first)
    record = world.records[call.session]
    assert (record.generation, record.association) == (0, 1)
    assert record.dtls_role == "server"
    call.close(second)
    assert world.records[call.session].association == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_our_offers_put_no_new_section_before_the_one_that_leads_the_group(flavour: Flavour) -> None:
    """Chromium 156 refuses it, or makes a new transport for all sections."""
    world = World()
    call, room = Call(world, flavour), publisher(world, "chromium-156")
    first, second, third = call.push("audio"), call.push("video"), call.push("audio")
    call.close(first, third)
    before = [mline.mid for mline in world.records[call.session].mlines if not mline.rejected]
    assert before == [second]
    call.pull((room, "mic"))
    call.pull((room, "mic"))
    record = world.records[call.session]
    assert [mline.rejected for mline in record.mlines] == [True, False, False, False]
    assert record.mlines[1].mid == second
    assert record.association == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_closing_the_last_section_leaves_no_group_and_the_next_push_works(flavour: Flavour) -> None:
    """api.md 1.5: elsewhere the session expires."""
    world = World()
    call = Call(world, flavour)
    mid = call.push("audio")
    call.browser.stop(mid)
    response = world.close(call.session, mid, sdp=call.browser.offer())
    assert response.description is not None
    assert "BUNDLE" not in response.description.sdp
    call.accept(response)
    again = call.push("audio")
    assert again != mid
    record = world.records[call.session]
    assert len(record.mlines) == 1
    assert (record.generation, record.association) == (1, 1)


def test_a_close_without_offer_must_be_forced() -> None:
    world = World()
    session = world.session()
    with pytest.raises(NegotiationError, match="sessionDescription is required unless force") as caught:
        close_tracks(world.records[session], CloseTracks(("0",), False), world.context)
    assert (caught.value.status, caught.value.code) == (406, "invalid_params")
    with pytest.raises(NegotiationError, match="at least one track"):
        close_tracks(world.records[session], CloseTracks((), True), world.context)
    with pytest.raises(NegotiationError, match="at most 64"):
        world.close(session, *map(str, range(65)))


def test_an_offer_that_can_t_be_read_closes_nothing() -> None:
    world = World()
    session = world.session()
    world.tracks(session, local("0", "mic"), sdp=BOTH)
    before = world.records[session]
    with pytest.raises(NegotiationError, match="Unable to parse SDP"):
        world.close(session, "0", sdp="nonsense")
    assert world.records[session] is before


def test_a_stopped_section_is_used_again_with_a_new_mid() -> None:
    """sfu.md 5.3, m-line recycling: only port 0 and only a new mid (RFC 8829 5.2.2)."""
    world = World()
    call = Call(world, "chromium-156")
    room = publisher(world, "chromium-156")
    keep = call.push("audio")
    (pulled,) = call.pull((room, "mic"))
    call.close(pulled)
    (again,) = call.pull((room, "mic"))
    assert again not in (keep, pulled)
    assert [mline.mid for mline in world.records[call.session].mlines] == [keep, again]


def test_a_section_of_another_kind_is_not_used_again_by_us() -> None:
    world = World()
    call = Call(world, "firefox-153")
    room = publisher(world, "chromium-156")
    call.push("audio")
    (pulled,) = call.pull((room, "mic"))
    call.close(pulled)
    call.pull((room, "cam"))
    assert [mline.kind for mline in world.records[call.session].mlines] == ["audio", "audio", "video"]


def test_the_data_channel_s_place_is_not_taken_by_us() -> None:
    """Its client offers m=application there again."""
    world = World()
    room, session = publisher(world, "chromium-156"), world.session()
    world.tracks(session, local("0", "mic"), sdp=description(audio("0"), data("1")))
    response = world.tracks(session, remote(room, "mic"))
    assert [media.kind for media in described(response.description).media] == [
        "audio",
        "application",
        "audio",
    ]
