"""What the receiving clients counted, in the words of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadtest.seal import bucket_us

if TYPE_CHECKING:
    from collections.abc import Sequence


class StreamStats(NamedTuple):
    """One incoming RTP stream as its receiver counted it; `jitter` is in units of the clock rate.

    `noticed` packets were missing when a later one came, `repaired` of them came after they were asked for,
    `gave_up` were asked for no more. `lost` are missing now.
    """

    ssrc: int
    pt: int
    received: int
    lost: int
    duplicates: int
    reordered: int
    octets: int
    highest: int
    jitter: float
    noticed: int
    repaired: int
    gave_up: int


class Histogram:
    """Percentiles of a time, from the compiled half's histogram."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self.count = sum(counts)

    def curve(self) -> list[tuple[float, float]]:
        """(time in milliseconds, percent that took no longer) for each place that counted something."""
        points: list[tuple[float, float]] = []
        done = 0
        for place, count in enumerate(self._counts):
            done += count
            if count:
                points.append((bucket_us(place) / 1000, 100 * done / self.count))
        return points

    def percentile_us(self, percent: float) -> int | None:
        """The time, in microseconds, that `percent` of all did not pass by more than a 32nd."""
        left = self.count * percent / 100
        for place, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return bucket_us(place)
        return None
