"""A video whose packets take their time, and whose packets get lost.

Every link takes 10 ms each way.
"""

from __future__ import annotations

import pytest

from tests.cluster.calls import Call
from tests.cluster.conftest import Worlds
from tests.cluster.lab import SERVER_V4, Lab

pytestmark = [pytest.mark.netns, pytest.mark.browser]


async def test_without_loss_nobody_asks_for_anything_again(lab: Lab, worlds: Worlds) -> None:
    """What the other tests of this file see comes of loss, not of the links."""
    call = await Call.open(lab, await worlds.start(SERVER_V4), "chromium")
    sample, _ = await call.watch(5)
    assert sample.frames > 5 * 15
    assert (sample.lost, sample.repaired, sample.nacks, sample.plis) == (0, 0, 0, 0)
    assert (sample.nacks_to_publisher, sample.resent_by_publisher, sample.keyframes) == (0, 0, 0)
