"""What the receiving clients counted, in the words of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadtest.seal import bucket_us

if TYPE_CHECKING:
    from collections.abc import Sequence


class StreamStats(NamedTuple):
    """One incoming RTP stream as its receiver counted it; `jitter` is in units of the clock rate."""

    ssrc: int
    pt: int
    received: int
    lost: int
    duplicates: int
    reordered: int
    octets: int
    highest: int
    jitter: float


class Latency:
    """Percentiles of one-way latency, from the compiled half's histogram."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self.count = sum(counts)

    def percentile_us(self, percent: float) -> int | None:
        """The latency, in microseconds, that `percent` of the packets did not pass by more than an eighth."""
        left = self.count * percent / 100
        for place, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return bucket_us(place)
        return None
