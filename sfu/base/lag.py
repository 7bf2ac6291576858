"""How late the event loop is: what a packet or an HTTP call waits before anybody looks at it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from prometheus_client import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_S = 0.1  # chosen: ten looks a second; a pause shorter than this may fall between two of them

_lag_s = Histogram(
    "orchard_loop_lag_seconds",
    "How much later than asked for a timer of the event loop came up",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)


class LoopLag:
    """A timer that notes how late it comes, again and again between `start` and `stop`."""

    def __init__(self, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock  # not the loop's own, which stands still while a callback runs
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure the running loop from now on."""
        self._due_at = self._clock() + self._period_s
        self._timer = asyncio.get_running_loop().call_later(self._period_s, self._on_timer)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        _lag_s.observe(max(0.0, self._clock() - self._due_at))  # uvloop's timers may be 1 ms early
        self.start()
