"""A video whose packets get lost, on the way to its subscriber or from its publisher.

Every link takes 10 ms each way. The default run looks at 10 % for a while and wants repair, and no keyframe,
to be what makes up for it; the long one watches the picture for a minute at 5, 10 and 20 %.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest

from tests.browser.driver import BrowserName
from tests.cluster.calls import CLEAN, Call, Sample
from tests.cluster.conftest import Worlds
from tests.cluster.lab import SERVER_V4, Lab
from tests.cluster.link import Bursts

pytestmark = [pytest.mark.netns, pytest.mark.browser]

Side = Literal["publisher", "subscriber"]
LONGEST_STILL_S = {0.05: 0.5, 0.1: 0.5, 0.2: 2.0}  # the longest time without a new frame, by the share lost
WHILE_S, MINUTE_S = 10, 60


def lose(call: Call, side: Side, loss: float | Bursts) -> None:
    """Let media get lost on one side's link, in the direction in which it flows."""
    lossy = dataclasses.replace(CLEAN, loss=loss)
    if side == "publisher":
        call.publisher_link.set(lossy, "up")
    else:
        call.subscriber_link.set(lossy, "down")


def nothing_reached_the_publisher(sample: Sample) -> None:
    """What the subscriber's link loses is the node's affair: no NACK, no packet sent again, no keyframe."""
    assert (sample.nacks_to_publisher, sample.resent_by_publisher, sample.keyframes_sent) == (0, 0, 0)


async def test_without_loss_nobody_asks_for_anything_again(lab: Lab, worlds: Worlds) -> None:
    """What the other tests of this file see comes of loss, not of the links."""
    call = await Call.open(lab, await worlds.start(SERVER_V4), "chromium")
    sample, _ = await call.watch(5)
    assert sample.frames > 5 * 15
    assert (sample.lost, sample.repaired, sample.nacks, sample.plis) == (0, 0, 0, 0)
    assert (sample.nacks_to_publisher, sample.resent_by_publisher, sample.keyframes_sent) == (0, 0, 0)


@pytest.mark.parametrize("receiver", ["chromium", "firefox"])
async def test_what_the_subscribers_link_loses_comes_again_from_the_node(
    receiver: BrowserName, lab: Lab, worlds: Worlds
) -> None:
    call = await Call.open(lab, await worlds.start(SERVER_V4), receiver)
    start = await call.sample()
    lose(call, "subscriber", 0.1)
    await call.frames_rise(30 * WHILE_S)
    lose(call, "subscriber", 0)
    await call.frames_rise(30)
    sample = (await call.sample()).since(start)
    assert call.subscriber_link.counts("down").lost > 20
    assert sample.repaired is None or sample.repaired > 20
    assert sample.residual_loss < 0.005
    assert sample.plis == 0
    nothing_reached_the_publisher(sample)


async def test_what_the_publishers_link_loses_is_asked_for_again(lab: Lab, worlds: Worlds) -> None:
    call = await Call.open(lab, await worlds.start(SERVER_V4), "chromium")
    start = await call.sample()
    lose(call, "publisher", 0.1)
    await call.frames_rise(30 * WHILE_S)
    lose(call, "publisher", 0)
    await call.frames_rise(30)
    sample = (await call.sample()).since(start)
    assert call.publisher_link.counts("up").lost > 20
    assert sample.nacks_to_publisher > 20
    assert sample.resent_by_publisher > 20
    assert sample.residual_loss < 0.005
    assert sample.plis == 0


@pytest.mark.long
@pytest.mark.parametrize("loss", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("side", ["subscriber", "publisher"])
@pytest.mark.parametrize("receiver", ["chromium", "firefox"])
async def test_a_minute_with_loss_passes_without_a_freeze(
    receiver: BrowserName, side: Side, loss: float, lab: Lab, worlds: Worlds
) -> None:
    call = await Call.open(lab, await worlds.start(SERVER_V4), receiver)
    lose(call, side, loss)
    sample, gaps = await call.watch(MINUTE_S)
    assert gaps.longest_s <= LONGEST_STILL_S[loss]
    assert sample.frames > MINUTE_S * 15  # of 30, on two cores
    if loss <= 0.1:
        assert sample.residual_loss < 0.001
    if side == "subscriber":
        nothing_reached_the_publisher(sample)


@pytest.mark.long
@pytest.mark.parametrize("side", ["subscriber", "publisher"])
async def test_a_minute_with_bursts_of_loss_passes_without_a_freeze(
    side: Side, lab: Lab, worlds: Worlds
) -> None:
    """5 % in runs of 5 packets, as on a radio link: a run is longer than most frames."""
    call = await Call.open(lab, await worlds.start(SERVER_V4), "chromium")
    lose(call, side, Bursts.of(0.05, packets=5))
    sample, gaps = await call.watch(MINUTE_S)
    assert gaps.longest_s <= LONGEST_STILL_S[0.05]
    assert sample.residual_loss < 0.001
