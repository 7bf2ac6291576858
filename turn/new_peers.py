"""How fast a client may name peers that it has not named before: it is to be no scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turn.events import PeersLimited
from turn.requests import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from turn.allocation import Allocation
    from turn.events import Event
    from turn.limits import Limits


def admit_new_peers(
    allocation: Allocation, count: int, now: float, limits: Limits, note: Callable[[Event], None]
) -> None:
    """Raise Rejected (508) if so many are too many now. The first time that is noted, all are counted."""
    if limits.may_add_peers(allocation.id, count, now):
        return
    allocation.peers_refused += 1
    if allocation.peers_refused == 1:
        note(PeersLimited(allocation))
    raise Rejected(508)
