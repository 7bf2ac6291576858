"""Every recorded offer is answered and every recorded answer taken (sfu.md 8: golden SDPs)."""

from __future__ import annotations

import sys

import pytest

from sfu.negotiation.sdp import read
from tests.sfu.negotiation.texts import audio, description
from tests.sfu.negotiation.world import FIXTURES, World, described, fixture, local

OFFERS = sorted(path.stem for path in FIXTURES.glob("*offer*.sdp") if "-answer-" not in path.stem)


@pytest.mark.parametrize("name", OFFERS)
def test_every_recorded_offer_is_answered(name: str) -> None:
    world = World()
    text = fixture(name)
    offered = read(text, max_bytes=1 << 20, max_sections=1000)
    session = world.session()
    response = world.tracks(session, sdp=text, auto_discover=True)
    answered = described(response.description)
    for before, after in zip(offered.media, answered.media, strict=True):
        assert (after.mid, after.kind) == (before.mid, before.kind)
        assert after.stopped == (before.stopped or before.kind == "application")
        assert after.receives == (before.sends and not after.stopped)
        if after.receives:
            assert before.codecs[0].pt == after.codecs[0].pt
    again = world.tracks(session, sdp=text, auto_discover=True)
    assert again.tracks == ()


PAST = (
    # the re-offers of one PeerConnection in order, and our directions after each ("x": rejected)
    ("unchanged", ["recvonly", "recvonly"]),
    ("ice-restart", ["recvonly", "recvonly"]),
    ("inactive", ["recvonly", "inactive"]),
    ("active-again", ["recvonly", "recvonly"]),
    ("after-stop", ["recvonly", "x"]),
    ("with-stopped-section", ["recvonly", "x"]),
    ("recycled-section", ["recvonly", "recvonly"]),
    ("data-channel-added", ["recvonly", "recvonly", "x"]),
    ("all-stopped", ["x", "x", "x"]),
)


@pytest.mark.parametrize("browser", ["chromium-156", "firefox-153"])
def test_the_recorded_past_of_one_connection_is_followed(browser: str) -> None:
    world = World()
    session = world.session()
    for case, directions in PAST:
        answered = world.restart(session, fixture(f"{browser}-reoffer-{case}"))
        media = described(answered.description).media
        assert ["x" if one.stopped else one.direction for one in media] == directions, case
        if any(one.receives for one in media):
            world.tracks(session, *(local(one.mid, one.mid) for one in media if one.receives))
    record = world.records[session]
    assert record.generation == 1
    assert {track.name: track.state for track in record.publications} == {"0": "closed", "2": "closed"}


def test_the_work_on_an_offer_grows_with_its_sections_and_not_with_their_square() -> None:
    world = World()
    few, many = _calls(world, sections=75), _calls(world, sections=300)
    assert many < 4.4 * few


def _calls(world: World, *, sections: int) -> int:
    """How many functions are called for an offer of so many sections."""
    text = description(*(audio(str(n)) for n in range(sections)))
    session = world.session()
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        response = world.tracks(session, *(local(str(n), str(n)) for n in range(64)), sdp=text)
    finally:
        sys.setprofile(None)
    assert len(described(response.description).media) == sections
    return calls
