"""One heap of moments for all transports of a node, so that a thousand of them cost one timer."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfu.base.ids import SessionId


class Timers:
    """The next moment of each session. Moments that were moved stay in the heap until they come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, SessionId]] = []
        self._at: dict[SessionId, float] = {}

    def set(self, session: SessionId, at: float | None) -> None:
        """Let `at` be the session's next moment, in place of the one before; None for no moment."""
        if at is None:
            self._at.pop(session, None)
        elif self._at.get(session) != at:
            self._at[session] = at
            heapq.heappush(self._heap, (at, session))
            if len(self._heap) > 64 + 4 * len(self._at):
                self._heap = [(at, session) for session, at in self._at.items()]
                heapq.heapify(self._heap)

    def next_at(self) -> float | None:
        """The earliest moment of all."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[SessionId]:
        """The sessions whose moment has come; each has none any more."""
        due: list[SessionId] = []
        while (at := self.next_at()) is not None and at <= now:
            session = heapq.heappop(self._heap)[1]
            del self._at[session]
            due.append(session)
        return due

    def held(self) -> int:
        """Moments in the heap, those that were moved included."""
        return len(self._heap)
