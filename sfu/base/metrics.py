"""Totals that something counts by itself, such as a compiled module, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client import Counter


class Exported(NamedTuple):
    """Where totals go whose names begin with `prefix`: the rest of the name is the label."""

    prefix: str
    counter: Counter
    per_unit: float = 1
    """How many of what is counted are one of what the metric is in."""


class ExportedTotals:
    """What Prometheus has been told of totals by name, which only grow.

    Of `exported` the first whose prefix fits takes a total; an empty one, at the end, takes what is left.
    """

    def __init__(self, exported: Sequence[Exported]) -> None:
        self._exported = exported
        self._told: dict[str, int] = {}

    def export(self, totals: Mapping[str, int]) -> None:
        """Bring Prometheus up to these."""
        for name, total in totals.items():
            grown = total - self._told.get(name, 0)
            to = next(to for to in self._exported if name.startswith(to.prefix))
            to.counter.labels(name.removeprefix(to.prefix)).inc(grown / to.per_unit)
        self._told = dict(totals)
