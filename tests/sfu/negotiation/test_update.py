"""tracks/update (api.md 1.6, 4.4)."""

from __future__ import annotations

import pytest

from sfu.base.ids import Mid, SessionId, TrackName
from sfu.negotiation.errors import TRACK_EMPTY, NegotiationError
from sfu.negotiation.record import Simulcast
from sfu.negotiation.requests import TrackRequest, UpdateTracks
from sfu.negotiation.tracks import update_tracks
from tests.sfu.negotiation.test_life import Call, publisher
from tests.sfu.negotiation.texts import audio, description, video
from tests.sfu.negotiation.world import World, failed, local, mids, remote

WISH = Simulcast(preferred_rid="b")
LAYERS = ("a=rid:a send", "a=rid:b send", "a=simulcast:send a;b")


def simulcast_room(world: World) -> SessionId:
    """A session that publishes "mic" and "cam", the latter in two layers."""
    session = world.session()
    sdp = description(audio("0"), video("1", "sendonly", *LAYERS))
    world.tracks(session, local("0", "mic"), local("1", "cam"), sdp=sdp)
    return session


def joined(world: World, *names: str) -> tuple[Call, SessionId, list[Mid]]:
    """A client that pulls these names of a room."""
    room = simulcast_room(world)
    call = Call(world, "chromium-156")
    return call, room, call.pull(*((room, name) for name in names))


def test_a_pulled_transceiver_takes_another_publication_without_sdp() -> None:
    """api.md 1.6, use 1: only an item, same SSRC."""
    world = World()
    call, _room, (mid,) = joined(world, "mic")
    other = publisher(world, "firefox-153")
    before = world.records[call.session].subscriptions[0]
    response = world.update(call.session, remote(other, "mic", mid=mid))
    assert (failed(response.tracks), mids(response.tracks)) == ([None], [mid])
    assert (response.renegotiate, response.description) == (False, None)
    (after,) = world.records[call.session].subscriptions
    assert (after.publisher, after.ssrc, after.state) == (other, before.ssrc, "open")
    assert after.pt_map[after.sending_pt] == 111
    assert after.sending_pt == 109


def test_the_wanted_layer_changes() -> None:
    """api.md 1.6, use 2; 5.13."""
    world = World()
    call, room, (mid,) = joined(world, "cam")
    response = world.update(call.session, remote(room, "cam", mid=mid, simulcast=WISH))
    assert failed(response.tracks) == [None]
    assert [item.simulcast for item in response.tracks] == [WISH]
    assert world.records[call.session].subscriptions[0].simulcast == WISH
    world.update(call.session, TrackRequest(mid=mid, simulcast=Simulcast()))
    assert world.records[call.session].subscriptions[0].simulcast == Simulcast()


def test_a_track_without_layers_has_no_layer_to_choose() -> None:
    """api.md 1.0 known text, 1.6."""
    world = World()
    call, room, (mid,) = joined(world, "mic")
    response = world.update(call.session, remote(room, "mic", mid=mid, simulcast=WISH))
    (error,) = [item.error for item in response.tracks]
    assert error is not None
    assert error.code == "update_track_error"
    assert error.text == "The track is not configured for simulcast, no updates applicable."


def test_the_same_publication_without_a_wish_changes_nothing() -> None:
    world = World()
    call, room, (mid,) = joined(world, "cam")
    before = world.records[call.session]
    assert failed(world.update(call.session, remote(room, "cam", mid=mid)).tracks) == [None]
    assert world.records[call.session] == before


def test_an_update_that_fails_leaves_what_is_sent() -> None:
    world = World()
    call, room, (mid,) = joined(world, "cam")
    before = world.records[call.session]
    silent = publisher(world, "chromium-156")
    requests = (
        remote(room, "nothing", mid=mid),
        remote(room, "mic", mid=mid),  # another kind
        remote(publisher(world, "safari-18"), "cam", mid=mid),  # another codec
    )
    response = world.update(call.session, *requests)
    assert failed(response.tracks) == [
        "not_found_track_error",
        "update_track_error",
        "update_track_error",
    ]
    outcome = update_tracks(
        before,
        UpdateTracks((remote(silent, "cam", mid=mid),)),
        world.context,
        {(silent, TrackName("cam")): TRACK_EMPTY},
    )
    assert failed(outcome.response.tracks) == ["empty_track_error"]
    assert world.records[call.session] == before == outcome.record


def test_a_layer_that_the_publisher_lacks_is_an_item_error_unless_the_next_one_will_do() -> None:
    world = World()
    call, room, (mid,) = joined(world, "cam")
    lacking = Simulcast(preferred_rid="x")
    response = world.update(call.session, remote(room, "cam", mid=mid, simulcast=lacking))
    (error,) = [item.error for item in response.tracks]
    assert error is not None
    assert (error.code, error.text) == ("update_track_error", "The track has no layer 'x'; it has a, b")
    assert world.records[call.session].subscriptions[0].simulcast is None
    lenient = Simulcast(preferred_rid="x", rid_not_available="asciibetical")
    assert failed(world.update(call.session, remote(room, "cam", mid=mid, simulcast=lenient)).tracks) == [
        None
    ]
    assert world.records[call.session].subscriptions[0].simulcast == lenient


@pytest.mark.parametrize("mid", ["9", "#nobody", None, "0"])
def test_a_mid_on_which_nothing_is_received_is_an_item_error(mid: str | None) -> None:
    world = World()
    call = Call(world, "chromium-156")
    room = simulcast_room(world)
    assert call.push("video") == "0"
    response = world.update(call.session, TrackRequest("remote", mid, room, TrackName("cam"), simulcast=WISH))
    assert failed(response.tracks) == ["update_track_error"]


def test_a_closed_pull_takes_another_publication_while_its_section_lives() -> None:
    world = World()
    call, room, (mid,) = joined(world, "cam")
    world.close(call.session, mid)
    assert failed(world.update(call.session, remote(room, "cam", mid=mid)).tracks) == [None]
    world.close(call.session, mid)
    call.pull((room, "mic"))  # our offer turns the idle section inactive
    assert failed(world.update(call.session, remote(room, "cam", mid=mid)).tracks) == ["update_track_error"]


def test_a_wish_for_a_closed_pull_is_an_item_error() -> None:
    world = World()
    call, _room, (mid,) = joined(world, "cam")
    world.close(call.session, mid)
    response = world.update(call.session, TrackRequest(mid=mid, simulcast=WISH))
    assert failed(response.tracks) == ["update_track_error"]


def test_an_update_names_something() -> None:
    world = World()
    with pytest.raises(NegotiationError, match="at least one track"):
        world.update(world.session())
    with pytest.raises(NegotiationError, match="at most 64"):
        world.update(world.session(), *(TrackRequest(mid=str(n)) for n in range(65)))
