"""A publisher's estimate of its way to us grows: transport-wide feedback reaches it (issue 4, section 5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.peer import eventually
from tests.browser.server import Orchard
from tests.browser.test_matrix import HD, publish

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

START_BPS = 300_000
"""What Chromium believes before it has heard any feedback."""


async def test_chromium_ramps_up_beyond_a_megabit(open_page: OpenPage, orchard: Orchard) -> None:
    publisher = await publish(open_page, orchard, "chromium", "VP8", HD)

    async def estimate() -> float:
        transport: dict[str, Any] = (await publisher.stats())["transport"]
        return float(transport.get("availableOut") or 0)

    await eventually(estimate, lambda rate: rate > 3 * START_BPS, "the estimate grows threefold")
