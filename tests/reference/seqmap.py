"""A subscriber's numbering, written down: one slot for each number, in order. No arithmetic to get wrong."""

from __future__ import annotations

from itertools import islice

PIECES = 32
REMEMBERED = 20_000
"""Slots kept, for runs of millions of steps; far more than any question reaches back."""


class Numbering:
    """Plain integers that never wrap; the packet path's are these modulo 2**32."""

    def __init__(self) -> None:
        self._slots: dict[int, tuple[int, int, int]] = {}  # output number -> run, source, input
        self._outputs: dict[tuple[int, int], int] = {}  # run, input -> output number
        self._next = 0
        self._run = -1
        self._source = 0
        self._first = 0
        self._highest = 0
        self._pieces: list[tuple[int, int]] = []  # run, first output number

    def restart(self, number: int, out: int, source: int) -> None:
        """Go on with `source`, whose input `number` leaves as `out`, the number after the last sent."""
        for unsent in range(out, self._next):
            run, _, before = self._slots.pop(unsent)
            del self._outputs[run, before]
        self._next = out
        self._run += 1
        self._source, self._first, self._highest = source, number, number - 1
        self._pieces = [piece for piece in self._pieces if piece[1] < out]
        self._begin_piece()

    def send(self, number: int) -> int | None:
        """The output number of an input of the present source, or None when it is too old to have one."""
        self._reach(number)
        out = self._outputs.get((self._run, number))
        if out is None or out < self._oldest():
            return None
        return out

    def skip(self, number: int) -> bool:
        """Leave an input out; False when a later one has its number already."""
        if number <= self._highest:
            return False
        self._reach(number - 1)
        self._highest = number
        if self._pieces[-1][1] != self._next:  # else nothing was sent under the newest piece
            self._begin_piece()
        return True

    def input_of(self, out: int) -> tuple[int, int] | None:
        """Source and number of what has the output number `out`; None where nobody remembers."""
        if out < self._pieces[0][1] or out not in self._slots:
            return None
        _, source, number = self._slots[out]
        return source, number

    @property
    def next(self) -> int:
        """The first output number that no input has yet."""
        return self._next

    def _oldest(self) -> int:
        return next(out for run, out in self._pieces if run == self._run)

    def _begin_piece(self) -> None:
        self._pieces = [*self._pieces, (self._run, self._next)][-PIECES:]

    def _reach(self, number: int) -> None:
        """Give out the numbers up to that of `number`, also to those that have not come yet."""
        for missing in range(self._highest + 1, number + 1):
            self._slots[self._next] = self._run, self._source, missing
            self._outputs[self._run, missing] = self._next
            self._next += 1
        self._highest = max(self._highest, number)
        if len(self._slots) > 2 * REMEMBERED:
            for out in list(islice(self._slots, REMEMBERED)):
                run, _, before = self._slots.pop(out)
                del self._outputs[run, before]
