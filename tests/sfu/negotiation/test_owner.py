"""What the owner writes: pure, and allowed while an offer is pending."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sfu.base.ids import NodeId, PayloadType, SessionId, TrackName
from sfu.negotiation.owner import (
    end_subscriptions,
    end_track,
    refresh_sources,
    set_owner,
    set_track_flowing,
    set_transport_state,
)
from sfu.negotiation.record import SessionRecord
from sfu.negotiation.tracks import find_published
from tests.sfu.negotiation.test_life import Call, publisher
from tests.sfu.negotiation.texts import description, section
from tests.sfu.negotiation.world import World, local, remote

MIC = TrackName("mic")


def pulling(world: World) -> tuple[Call, SessionId]:
    """A client that pulls "mic" and "cam" of a room."""
    room = publisher(world, "chromium-156")
    call = Call(world, "chromium-156")
    call.pull((room, "mic"), (room, "cam"))
    return call, room


CHANGES: list[Callable[[SessionRecord], SessionRecord]] = [
    lambda record: set_owner(record, NodeId("n")),
    lambda record: set_transport_state(record, "connected"),
    lambda record: set_transport_state(record, "closed"),
    lambda record: set_track_flowing(record, MIC, flowing=True, sending_pt=PayloadType(111)),
    lambda record: end_track(record, MIC),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_changes_nothing_returns_the_record_itself(
    change: Callable[[SessionRecord], SessionRecord],
) -> None:
    world = World()
    record = world.records[publisher(world, "chromium-156")]
    changed = change(record)
    assert changed != record
    assert change(changed) is changed


def test_a_closed_transport_ends_everything_for_good() -> None:
    world = World()
    call, _room = pulling(world)
    call.push("audio")
    record = set_transport_state(world.records[call.session], "closed")
    assert {track.state for track in record.publications} == {"ended"}
    assert {pull.state for pull in record.subscriptions} == {"ended"}
    assert set_transport_state(record, "connected") is record


def test_a_lost_connection_ends_nothing() -> None:
    """api.md 1.13: reusable for 30 s."""
    world = World()
    call, _room = pulling(world)
    record = set_transport_state(world.records[call.session], "disconnected")
    assert len(list(record.outgoing())) == 2


def test_a_silent_track_ends_for_everyone() -> None:
    """api.md 1.13: 30 s without RTP."""
    world = World()
    call, room = pulling(world)
    world.records[room] = end_track(world.records[room], MIC)
    track = world.records[room].publication(MIC)
    assert track is not None
    assert (track.state, track.flowing) == ("ended", False)
    record = end_subscriptions(world.records[call.session], [(room, MIC)])
    assert {pull.track: pull.state for pull in record.subscriptions} == {"mic": "ended", "cam": "open"}
    assert end_subscriptions(record, [(room, MIC)]) is record


def test_a_closed_or_unknown_track_does_not_flow() -> None:
    world = World()
    room = publisher(world, "chromium-156")
    world.close(room, "0")
    record = world.records[room]
    assert set_track_flowing(record, MIC, flowing=True) is record
    assert set_track_flowing(record, TrackName("x"), flowing=True) is record


def test_owner_changes_are_taken_while_an_offer_is_pending() -> None:
    world = World()
    room = publisher(world, "chromium-156")
    session = world.session()
    sdp = world.tracks(session, remote(room, "mic")).description
    assert sdp is not None
    world.records[session] = set_transport_state(world.records[session], "connected")
    world.records[session] = end_subscriptions(world.records[session], [(room, MIC)])
    call = Call(world, "chromium-156")
    world.answer(session, call.browser.answer(sdp.sdp))
    record = world.records[session]
    assert record.transport_state == "connected"
    assert [pull.state for pull in record.subscriptions] == ["ended"]


def test_a_publisher_that_leaves_and_comes_back_does_not_break_the_subscriber() -> None:
    world = World()
    call, room = pulling(world)
    for _ in range(5):
        world.records[call.session] = end_subscriptions(
            world.records[call.session], [(room, MIC), (room, TrackName("cam"))]
        )
        room = publisher(world, "firefox-153")
        assert len(call.pull((room, "mic"), (room, "cam"))) == 2
    assert len(world.records[call.session].mlines) == 4


def test_the_maps_follow_a_publisher_that_negotiates_anew() -> None:
    world = World()
    room = world.session()
    lines = ["a=rtpmap:96 VP8/90000", "a=rtpmap:98 VP9/90000", "a=fmtp:98 profile-id=0"]
    world.tracks(room, local("0", "cam"), sdp=description(section("video", "0", "sendonly", "96 98", *lines)))
    call = Call(world, "chromium-156")
    call.pull((room, "cam"))
    before = world.records[call.session].subscriptions[0]
    assert before.sending_pt == 96
    key = (room, TrackName("cam"))
    world.tracks(room, sdp=description(section("video", "0", "sendonly", "98", *lines[1:])))
    found = find_published(world.records[room], TrackName("cam"))
    record = refresh_sources(world.records[call.session], {key: found})
    (after,) = record.subscriptions
    assert (after.sending_pt, list(after.pt_map)) == (98, [98])
    assert after.pt_map[PayloadType(98)] == before.pt_map[PayloadType(98)]
    assert refresh_sources(record, {key: found}) is record


def test_a_publisher_that_turns_to_a_codec_that_the_subscriber_lacks_is_refused_until_it_returns() -> None:
    """A codec that a subscriber lacks is an error, not a black picture."""
    world = World()
    room = publisher(world, "safari-18")
    cam = TrackName("cam")
    world.records[room] = set_track_flowing(
        world.records[room], cam, flowing=True, sending_pt=PayloadType(106)
    )
    call = Call(world, "firefox-153")
    (mid,) = call.pull((room, "cam"))
    for pt, state in ((96, "refused"), (106, "open")):
        world.records[room] = set_track_flowing(
            world.records[room], cam, flowing=True, sending_pt=PayloadType(pt)
        )
        found = find_published(world.records[room], cam)
        record = refresh_sources(world.records[call.session], {(room, cam): found})
        world.records[call.session] = record
        pull = record.subscription(mid)
        assert pull is not None
        assert pull.state == state
