"""The relay's totals, and what the clients of each TURN key have relayed, for Prometheus
(docs/reference/counters.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge

from sfu.base.metrics import Exported, ExportedTotals
from turn.events import Allocated, Disconnected, Ended
from turn.relays import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turn.allocation import Allocation, AllocationId
    from turn.events import Event

SHARED: Final = "shared"
"""The label of those whose credentials are by a shared secret: theirs have no key."""

_DROPPED = Counter("orchard_turn_relay_dropped_total", "Datagrams that the relay took no further", ["reason"])
_ENDED = Counter("orchard_turn_streams_ended_total", "Connections of clients that were closed", ["reason"])
_COUNTED = Counter("orchard_turn_relay_events_total", "What the relay has done, by name", ["name"])
_LIVE = Gauge("orchard_turn_live", "Things that the relay holds", ["thing"])
_RELAYED = Counter(
    "orchard_turn_relayed_bytes_total", "Data relayed, by the key of the credential", ["key", "direction"]
)


class ExportedRelay:
    """What Prometheus has been told of one relay, whose counters only grow."""

    def __init__(self) -> None:
        self._totals = ExportedTotals(
            (Exported("drop_", _DROPPED), Exported("end_", _ENDED), Exported("", _COUNTED))
        )

    def export(self, totals: Mapping[str, int], live: Mapping[str, int]) -> None:
        """Bring Prometheus up to these."""
        self._totals.export(totals)
        for thing, count in live.items():
            _LIVE.labels(thing).set(count)


class UsageMeter:
    """What has been relayed for each TURN key, allocations that go on included.

    There are as many keys as the operator makes: a name by any other has no allocation.
    """

    def __init__(self, usage_of: Callable[[AllocationId], Usage]) -> None:
        self._usage_of = usage_of
        self._told: dict[AllocationId, tuple[Allocation, Usage]] = {}

    def note(self, event: Event) -> None:
        """Take in what became of an allocation. Connections with peers (RFC 6062) count at their end."""
        match event:
            case Allocated(allocation):
                self._told[allocation.id] = allocation, Usage()
            case Ended(allocation):
                _, told = self._told.pop(allocation.id)
                _add(allocation, told, event.usage)
            case Disconnected(allocation):
                _add(allocation, Usage(), event.usage)
            case _:
                pass

    def look(self) -> None:
        """Count what has been relayed since the last look."""
        for handle, (allocation, told) in self._told.items():
            usage = self._usage_of(handle)
            _add(allocation, told, usage)
            self._told[handle] = allocation, usage


def _add(allocation: Allocation, told: Usage, usage: Usage) -> None:
    key = allocation.credential.key_id or SHARED
    _RELAYED.labels(key, "to_peers").inc(usage.to_peers_bytes - told.to_peers_bytes)
    _RELAYED.labels(key, "to_client").inc(usage.to_client_bytes - told.to_client_bytes)
