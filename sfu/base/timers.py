"""One heap of moments for all that wait, so that a thousand of them cost one timer of the loop."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

K = TypeVar("K")


class Timers(Generic[K]):
    """The next moment of each key; keys can be ordered. Moments that were moved stay in the heap until they
    come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, K]] = []
        self._at: dict[K, float] = {}

    def set(self, key: K, at: float | None) -> None:
        """Let `at` be the key's next moment, in place of the one before; None for no moment."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            heapq.heappush(self._heap, (at, key))
            if len(self._heap) > 64 + 4 * len(self._at):
                self._heap = [(at, key) for key, at in self._at.items()]
                heapq.heapify(self._heap)

    def next_at(self) -> float | None:
        """The earliest moment of all."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[K]:
        """The keys whose moment has come; each has none any more."""
        due: list[K] = []
        while (at := self.next_at()) is not None and at <= now:
            key = heapq.heappop(self._heap)[1]
            del self._at[key]
            due.append(key)
        return due

    def held(self) -> int:
        """Moments in the heap, those that were moved included."""
        return len(self._heap)
