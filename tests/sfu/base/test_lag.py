"""The event loop's lateness is measured, and no longer than is asked for."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY

from sfu.base.lag import LoopLag


def looks() -> float:
    return REGISTRY.get_sample_value("orchard_loop_lag_seconds_count") or 0


def late_s() -> float:
    return REGISTRY.get_sample_value("orchard_loop_lag_seconds_sum") or 0


class Clock:
    """Each look at it is three seconds after the last."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 3
        return self.now


async def test_a_timer_that_comes_late_is_seen_again_and_again_until_the_end() -> None:
    before, before_s = looks(), late_s()
    lag = LoopLag(period_s=0.001, clock=Clock())
    lag.start()
    async with asyncio.timeout(10):
        while looks() < before + 3:  # noqa: ASYNC110 -- the timer has no one to tell
            await asyncio.sleep(0)
    seen = looks() - before
    assert abs(late_s() - before_s - seen * (3 - 0.001)) < 1e-6
    lag.stop()
    await asyncio.sleep(0.005)  # a timer that was set later has come up
    assert looks() == before + seen


async def test_a_timer_that_comes_early_is_not_late() -> None:
    before, before_s = looks(), late_s()
    lag = LoopLag(period_s=0.001, clock=lambda: 0.0)
    lag.start()
    async with asyncio.timeout(10):
        while looks() == before:  # noqa: ASYNC110 -- the timer has no one to tell
            await asyncio.sleep(0)
    lag.stop()
    assert late_s() == before_s
