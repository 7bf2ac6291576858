"""How often and how many: what limits are made of.

Memory is bounded by construction. A `Rate` keeps one number for whatever it limits: the moment at which its
bucket will be full again. A `RateTable` has a fixed number of them, which keys share by a keyed hash, so no
key can choose whom it collides with, and a flood of keys takes no memory. A `Tally` holds no more keys than
there is something to count.
"""

from __future__ import annotations

from array import array
from collections import Counter
from hashlib import blake2b
from typing import Final

FULL: Final = float("-inf")
"""The state of a bucket from which nothing was taken yet."""

_SLACK_S: Final = 1e-6  # sums of floating-point seconds miss by less


class Rate:
    """A token bucket: `burst` at once, then `per_s`. It keeps nothing itself: its states are numbers."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._gap_s = 1 / per_s
        self._burst_s = burst / per_s + _SLACK_S

    def take(self, full_at: float, now: float, count: int = 1) -> float | None:
        """The bucket's new state when `count` are taken; None when it has fewer, and none is taken."""
        full_at = max(full_at, now) + count * self._gap_s
        return full_at if full_at - now <= self._burst_s else None


class RateTable:
    """One rate for each of any number of keys, in a fixed number of `slots`.

    Keys of one slot share its bucket; `secret` (16 bytes) decides which those are.
    """

    def __init__(self, rate: Rate, slots: int, secret: bytes) -> None:
        self._rate = rate
        self._secret = secret
        self._full_at = array("d", [FULL]) * slots

    def __len__(self) -> int:
        """How many slots there are."""
        return len(self._full_at)

    def allow(self, key: bytes, now: float) -> bool:
        """Take one from the key's bucket, if it has one; a refusal costs nothing."""
        digest = blake2b(key, digest_size=8, key=self._secret).digest()
        slot = int.from_bytes(digest, "big") % len(self._full_at)
        full_at = self._rate.take(self._full_at[slot], now)
        if full_at is None:
            return False
        self._full_at[slot] = full_at
        return True


class Tally:
    """How many things each key has, of at most `limit`; keys that have none are forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: Counter[str | bytes] = Counter()

    def __len__(self) -> int:
        """How many keys have something."""
        return len(self._counts)

    def __getitem__(self, key: str | bytes) -> int:
        return self._counts[key]

    def has_room(self, key: str | bytes) -> bool:
        """Whether the key may have one more."""
        return self._counts[key] < self._limit

    def add(self, key: str | bytes) -> None:
        """The key has one more."""
        self._counts[key] += 1

    def remove(self, key: str | bytes) -> None:
        """The key has one less. Raises KeyError if it has none."""
        left = self._counts[key] - 1
        if left < 0:
            raise KeyError(key)
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
