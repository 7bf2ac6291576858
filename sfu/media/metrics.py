"""The packet path's totals for Prometheus (docs/reference/counters.md)."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from sfu.base.metrics import Exported, ExportedTotals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DROPPED = Counter("orchard_media_dropped_total", "Datagrams and packets that went no further", ["reason"])
_COUNTED = Counter("orchard_media_events_total", "What the packet path has done, by name", ["name"])
_STAGES = Counter("orchard_media_stage_seconds_total", "Time of the batches that were timed", ["stage"])
_LIVE = Gauge("orchard_media_live", "Things that the packet path holds", ["thing"])


class _Holds(Collector):
    """How long calls of the packet path held the event loop, all engines of this process together.

    The module counts them in buckets of its own, so that no call costs a Python object.
    """

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._sum_s = 0.0

    def add(self, counts: Sequence[int], sum_ns: int) -> None:
        """Take in what an engine has counted; bucket `i` is of calls of up to 2**i us."""
        held = self._counts or [0] * len(counts)
        self._counts = [before + more for before, more in zip(held, counts, strict=True)]
        self._sum_s += sum_ns / 1e9

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histogram as Prometheus has it: each bucket holds those below it too."""
        bounds = [f"{2**i / 1e6:g}" for i in range(len(self._counts) - 1)] + ["+Inf"]
        yield HistogramMetricFamily(
            "orchard_media_hold_seconds",
            "How long one call of the packet path held the event loop",
            buckets=list(zip(bounds, map(float, accumulate(self._counts or [0])), strict=True)),
            sum_value=self._sum_s,
        )


_HOLDS = _Holds()
REGISTRY.register(_HOLDS)


class ExportedCounters:
    """What Prometheus has been told of one engine, whose counters only grow."""

    def __init__(self) -> None:
        self._totals = ExportedTotals(
            (Exported("drop_", _DROPPED), Exported("stage_ns_", _STAGES, 1e9), Exported("", _COUNTED))
        )

    def export(
        self, totals: Mapping[str, int], live: Mapping[str, int], holds: tuple[Sequence[int], int]
    ) -> None:
        """Bring Prometheus up to these; `holds` are those since the last time."""
        self._totals.export(totals)
        for name, count in live.items():
            _LIVE.labels(name).set(count)
        _HOLDS.add(*holds)
