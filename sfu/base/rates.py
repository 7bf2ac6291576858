"""How often something may be done: a token bucket for each key, in a table of bounded size."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple


class _Bucket(NamedTuple):
    tokens: float
    filled_at: float


class Rates:
    """Lets `per_second` through for each key on the average, `burst` at once after a pause.

    A key is forgotten once its bucket is full again and tells nothing. `capacity` bounds the table before
    that: the key that came longest ago is forgotten, which can only make its next try succeed.
    """

    def __init__(self, per_second: float, burst: float, *, capacity: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._full_s = burst / per_second if per_second else math.inf  # an empty bucket is full after this
        self._capacity = capacity
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, key: str, now: float) -> bool:
        """Whether `key` may do it once more at `now` (seconds, monotonic); what is refused costs nothing."""
        tokens = self._burst
        bucket = self._buckets.get(key)
        if bucket is not None:
            tokens = min(tokens, bucket.tokens + (now - bucket.filled_at) * self._per_second)
        allowed = tokens >= 1
        self._buckets[key] = _Bucket(tokens - 1 if allowed else tokens, now)
        self._buckets.move_to_end(key)
        self._forget(now)
        return allowed

    def _forget(self, now: float) -> None:
        """Drop from the end where the oldest are; each key is dropped once for each time it came."""
        while self._buckets:
            oldest = next(iter(self._buckets))
            is_full = now - self._buckets[oldest].filled_at >= self._full_s
            if len(self._buckets) <= self._capacity and not is_full:
                return
            del self._buckets[oldest]
