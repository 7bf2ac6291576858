"""How fast a publisher that has REMB alone may send (draft-alvestrand-rmcat-remb-03).

A rule on loss, once a second: hardly any lets the rate grow, much of it cuts by half the lost share.
The limit never runs far ahead of what is really sent, so that it means something when loss begins.
"""

from __future__ import annotations

FLOOR_BPS = 100_000
CEILING_BPS = 20_000_000
START_BPS = 2_000_000
LITTLE = 0.02
MUCH = 0.10
GROWTH = 1.08
HEADROOM = 2.0


class RembLimit:
    """The limit of one publisher. Rates are bits per second."""

    def __init__(self) -> None:
        self._limit = float(START_BPS)

    def step(self, received_bps: float, lost: int, expected: int) -> int:
        """A second has passed in which `lost` of `expected` packets did not come; the limit to announce."""
        share = lost / expected if expected > 0 else 0.0
        if share > MUCH:
            self._limit = min(self._limit, received_bps or self._limit) * (1 - share / 2)
        elif share < LITTLE and self._limit < HEADROOM * max(received_bps, START_BPS):
            self._limit *= GROWTH
        self._limit = min(max(self._limit, FLOOR_BPS), CEILING_BPS)
        return int(self._limit)
