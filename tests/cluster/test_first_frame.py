"""A late subscriber's first frame: out of the node's cache where there is a keyframe to start from."""

from __future__ import annotations

import pytest

from tests.browser.peer import BrowserPeer, eventually
from tests.cluster.calls import Call, Sample
from tests.cluster.conftest import Worlds
from tests.cluster.lab import SERVER_V4, Lab
from tests.cluster.repair import LightCall
from tests.cluster.world import World

pytestmark = pytest.mark.netns

CACHED = ("--media-cached-start", "30", "--media-cache-video", "30")  # however busy the machine is


async def join(call: Call, world: World) -> Sample:
    """One more subscriber, until it has some frames; returns the call's counters over that time."""
    start = await call.sample()
    peer = await BrowserPeer.open(call.subscriber.page, world, "late")
    frame = await peer.first_frame(call.published)
    await peer.frames_rise(frame.mid, by=30)
    return (await call.sample()).since(start)


@pytest.mark.browser
async def test_a_late_subscriber_starts_from_the_nodes_cache_and_costs_no_keyframe(
    lab: Lab, worlds: Worlds
) -> None:
    world = await worlds.start(SERVER_V4, *CACHED)
    call = await Call.open(lab, world, "chromium")
    before = (await world.counters()).get("starts_cached", 0)
    assert (await join(call, world)).keyframes_sent == 0
    await eventually(
        world.counters, lambda counters: counters.get("starts_cached", 0) > before, "a start from the cache"
    )


@pytest.mark.browser
async def test_a_late_subscriber_without_a_start_from_the_cache_costs_a_keyframe(
    lab: Lab, worlds: Worlds
) -> None:
    world = await worlds.start(SERVER_V4, "--media-cached-start", "0")
    call = await Call.open(lab, world, "chromium")
    assert (await join(call, world)).keyframes_sent == 1


async def test_a_subscription_from_the_cache_begins_after_the_handshakes_last_flight(
    lab: Lab, worlds: Worlds
) -> None:
    """Media that came first could not be opened, and the keyframe would have to be asked for after all."""
    world = await worlds.start(SERVER_V4, *CACHED)
    call = await LightCall.open(lab, world, away_s=0, near_s=0.01, subscribers=5)
    try:
        late = await call.join(5)
        await eventually(
            world.counters,
            lambda counters: counters.get("starts_cached", 0) > 5,
            "more start from the cache than were there before",
        )
        assert late.totals["unknown"] == 0
    finally:
        call.close()
