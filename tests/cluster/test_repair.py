"""Who repairs what: light clients far from and near to a node, with losses on either link."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster.conftest import Worlds
from tests.cluster.lab import SERVER_V4, Lab
from tests.cluster.repair import LightCall

pytestmark = pytest.mark.netns

AWAY_S, NEAR_S = 0.15, 0.01
SUBSCRIBERS = 10


@pytest_asyncio.fixture
async def call(lab: Lab, worlds: Worlds) -> AsyncIterator[LightCall]:
    """A publisher 150 ms away and ten subscribers 10 ms away, each way."""
    world = await worlds.start(SERVER_V4)
    opened = await LightCall.open(lab, world, away_s=AWAY_S, near_s=NEAR_S, subscribers=SUBSCRIBERS)
    yield opened
    opened.close()


async def test_what_subscribers_lose_the_node_repairs_and_the_publisher_never_hears_of(
    call: LightCall,
) -> None:
    call.lose(down=0.05)
    await call.noticed(500)
    call.lose()
    received = await call.whole()
    assert received.noticed >= 500
    assert received.repaired == received.noticed
    assert received.totals["gave_up"] == 0
    assert (await call.sent()).totals["asked"] == 0


async def test_what_the_publishers_link_loses_is_asked_for_once_whatever_the_number_of_subscribers(
    call: LightCall,
) -> None:
    """A request is repeated only if its answer was lost in turn, which the link has counted."""
    await learn_round_trip(call)
    before = await requests_and_losses(call)
    call.lose(up=0.05)
    await call.noticed(SUBSCRIBERS * 60)
    asked, lost = await requests_and_losses(call)
    assert 50 < asked - before[0] <= lost - before[1] + 5


async def test_losses_on_both_links_are_repaired_each_where_it_happened(call: LightCall) -> None:
    await learn_round_trip(call)
    before = await requests_and_losses(call)
    call.lose(up=0.05, down=0.05)
    await call.noticed(SUBSCRIBERS * 80)
    asked, lost = await requests_and_losses(call)
    assert asked - before[0] <= lost - before[1] + 5


async def learn_round_trip(call: LightCall) -> None:
    """Lose enough on the publisher's link for the node to know how long an answer takes."""
    call.lose(up=0.05)
    await call.noticed(SUBSCRIBERS * 20)


async def requests_and_losses(call: LightCall) -> tuple[int, int]:
    """What the publisher was asked for and what its link lost so far, once nothing is missing: else losses
    would be counted whose requests are under way."""
    call.lose()
    assert (await call.whole()).totals["gave_up"] == 0
    return (await call.sent()).totals["asked"], call.publisher_link.counts("up").lost
