"""How often one session may be called: a token bucket each, in a table of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from sfu.base.settings import ByteSize, Setting

BODY_BYTES = Setting(
    "http.body_limit",
    ByteSize,
    ByteSize(1024 * 1024),
    unit="B",
    minimum=1024,
    help="Largest body of a request; an offer of Chromium with 120 m-lines has 200 KiB",
)
BODY_TIMEOUT_S = Setting(
    "http.body_timeout",
    float,
    10.0,
    unit="s",
    minimum=0.1,
    help="Time in which the body of a request must arrive",
)
REQUESTS_UNDER_WAY = Setting(
    "http.requests_under_way",
    int,
    2048,
    minimum=1,
    help="Requests under way at once; more are answered 503",
)
CALLS_PER_SECOND = Setting(
    "http.calls_per_second",
    int,
    50,
    minimum=1,
    help="API calls per second for each session; more are answered 429",
)
TURN_CALLS_PER_SECOND = Setting(
    "http.turn_calls_per_second",
    int,
    500,
    minimum=1,
    help="API calls per second for each TURN key; more are answered 429",
)


_FULL_S = 1.0  # an empty bucket of `per_second` tokens is full after this, whatever the rate


class _Bucket(NamedTuple):
    tokens: float
    filled_at: float


class CallRate:
    """Lets `per_second` calls through for each key, and as many at once after a pause.

    A key is forgotten a second after its last call, when its bucket is full again and tells nothing.
    `capacity` bounds the table before that: the key that called longest ago is forgotten, which can only
    make its next call succeed.
    """

    def __init__(self, per_second: int, *, capacity: int = 100_000) -> None:
        self._per_second = per_second
        self._capacity = capacity
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, key: str, now: float) -> bool:
        """Whether `key` may make a call at `now` (seconds, monotonic); a refused call costs nothing."""
        bucket = self._buckets.get(key)
        tokens = float(self._per_second)
        if bucket is not None:
            tokens = min(tokens, bucket.tokens + (now - bucket.filled_at) * self._per_second)
        allowed = tokens >= 1.0
        self._buckets[key] = _Bucket(tokens - 1.0 if allowed else tokens, now)
        self._buckets.move_to_end(key)
        self._forget(now)
        return allowed

    def _forget(self, now: float) -> None:
        """Drop from the end where the oldest calls are; each key is dropped once for each time it came."""
        while self._buckets:
            oldest = next(iter(self._buckets))
            if len(self._buckets) <= self._capacity and now - self._buckets[oldest].filled_at < _FULL_S:
                return
            del self._buckets[oldest]
