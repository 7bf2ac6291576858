"""A subscriber's numbering of one source: count what was left out. No arithmetic to get wrong."""

from __future__ import annotations

PIECES = 16


class SeqMap:
    """Plain integers that never wrap; the packet path's are these modulo 2**32."""

    def __init__(self, first: int, out: int) -> None:
        self._first = first
        self._out = out
        self._skipped: set[int] = set()
        self._pieces = [first]
        self._highest = first - 1

    def send(self, number: int) -> int | None:
        """The output number of an input, or None when it is too old to have one."""
        if number < self._pieces[0]:
            return None
        self._highest = max(self._highest, number)
        return self._out + (number - self._first) - sum(1 for skipped in self._skipped if skipped < number)

    def skip(self, number: int) -> bool:
        """Leave an input out; False when a later one has its number already."""
        if number <= self._highest:
            return False
        self._highest = number
        self._skipped.add(number)
        if self._pieces[-1] == number:
            self._pieces[-1] = number + 1
        else:
            self._pieces = [*self._pieces, number + 1][-PIECES:]
        return True
