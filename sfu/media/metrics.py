"""The packet path's totals for Prometheus (docs/reference/counters.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from collections.abc import Mapping

_DROPPED = Counter("orchard_media_dropped_total", "Datagrams and packets that went no further", ["reason"])
_COUNTED = Counter("orchard_media_events_total", "What the packet path has done, by name", ["name"])
_LIVE = Gauge("orchard_media_live", "Things that the packet path holds", ["thing"])


class ExportedCounters:
    """What Prometheus has been told of one engine, whose counters only grow."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def export(self, totals: Mapping[str, int], live: Mapping[str, int]) -> None:
        """Bring Prometheus up to these."""
        for name, total in totals.items():
            grown = total - self._told.get(name, 0)
            if name.startswith("drop_"):
                _DROPPED.labels(name.removeprefix("drop_")).inc(grown)
            else:
                _COUNTED.labels(name).inc(grown)
        self._told = dict(totals)
        for name, count in live.items():
            _LIVE.labels(name).set(count)
