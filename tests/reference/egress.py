"""What one audio subscription gets of a source's packets, in the order of their arrival: the whole step
from an authenticated packet to a number, plainly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.seqmap import Numbering

if TYPE_CHECKING:
    from sfu.wire.rtp import RtpPacket

RESTART_GAP = 1000


class AudioEgress:
    """Extended input numbers in, output numbers out; `sequence` is the first to be sent."""

    def __init__(self, sequence: int) -> None:
        self._next = sequence
        self._map: Numbering | None = None
        self._highest = 0

    def receive(self, number: int, packet: RtpPacket) -> int | None:
        """The number under which the packet is forwarded, or None."""
        if self._map is None or number - self._highest > RESTART_GAP:
            if not packet.payload:
                return None
            self._map = self._map or Numbering()
            self._map.restart(number, self._next, 0)
            self._highest = number - 1
        if not packet.payload and self._map.skip(number):
            self._highest = max(self._highest, number)
            return None
        out = self._map.send(number)
        self._highest = max(self._highest, number)
        if out is not None:
            self._next = max(self._next, out + 1)
        return out
