"""When to ask a publisher for a keyframe (PLI, RFC 4585 6.3.1).

Any number of subscribers may want one; the publisher hears of it at most once per `gap_s`, and again
until a keyframe comes or `tries` are spent. A request inside the gap is put off to its end, never
lost. A source whose keyframes can't be recognised (end-to-end encryption) is asked once per wish after
the first time that all tries were in vain. Times are seconds of the loop's clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Ask the publisher now."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """All tries are spent: the source is stalled, ignores PLI, or sends what we can't read."""

    waited_s: float


KeyframeEvent = SendRequest | Overdue


class KeyframeRequests:
    """Merged keyframe requests of one source.

    Two states: idle (`_wanted_at` is None) and wanted. `ask` enters wanted, `seen` or the last try
    leaves it.
    """

    def __init__(self, *, gap_s: float = 0.5, tries: int = 6) -> None:
        self._gap_s = gap_s
        self._tries = tries
        self._left = 0
        self._opaque = False
        self._wanted_at: float | None = None
        self._next_at = float("-inf")  # no request before this moment, idle or not

    def ask(self, now: float) -> list[KeyframeEvent]:
        """A subscriber cannot decode from `now` on."""
        if self._wanted_at is None:
            self._wanted_at, self._left = now, 1 if self._opaque else self._tries
        return self.handle_timer(now)

    def seen(self) -> None:
        """A keyframe has begun to arrive. Safe to call at any time."""
        self._wanted_at = None
        self._opaque = False

    def timer_at(self) -> float | None:
        """The moment at which `handle_timer` has work, or None."""
        return None if self._wanted_at is None else self._next_at

    def handle_timer(self, now: float) -> list[KeyframeEvent]:
        """Do what is due at `now`; too early a call does nothing."""
        if self._wanted_at is None or now < self._next_at:
            return []
        if self._left == 0:
            waited_s, self._wanted_at = now - self._wanted_at, None
            self._opaque = True
            return [Overdue(waited_s)]
        self._left -= 1
        self._next_at = now + self._gap_s
        return [SendRequest()]
