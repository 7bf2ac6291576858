"""Two runs held against each other: is the difference more than the rounds' own spread?"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table

from loadtest.report import number

if TYPE_CHECKING:
    from loadtest.report import Figure, Report

FEW: Final = 3  # rounds; with fewer there is no spread to speak of
SAME: Final = 0.01  # of the median: differences below this are none, however small the spread


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure in both runs. `spread` is three times the larger one of the two runs' median distances from
    their median, in the figure's unit."""

    name: str
    unit: str
    before: float
    after: float
    spread: float
    rounds: int

    @property
    def change(self) -> float | None:
        """As a share of the earlier median, or None where that is 0."""
        return (self.after - self.before) / self.before if self.before else None

    @property
    def verdict(self) -> str:
        """What may be said of it."""
        apart = abs(self.after - self.before)
        if apart <= SAME * max(abs(self.before), abs(self.after)):
            return "same"
        if self.rounds < FEW:
            return f"too few rounds ({self.rounds})"
        if apart <= self.spread:
            return "within the spread"
        return "lower" if self.after < self.before else "higher"


def differences(before: Report, after: Report) -> list[tuple[str, Difference]]:
    """(scenario's title, difference) of every figure that both have, and of its ratios to the floors."""
    theirs = {(m.title, str(m.parameters), f.name, f.unit): f for m in before.measurements for f in m.figures}
    found: list[tuple[str, Difference]] = []
    for measurement in after.measurements:
        for figure in measurement.figures:
            key = (measurement.title, str(measurement.parameters), figure.name, figure.unit)
            if (earlier := theirs.get(key)) is None:
                continue
            found.append(
                (measurement.title, _difference(figure.name, figure.unit, earlier.values, figure.values))
            )
            found += [
                (
                    measurement.title,
                    _difference(f"{figure.name}, over {way}", "x", _over(earlier, way), _over(figure, way)),
                )
                for way in figure.floors
                if way in earlier.floors
            ]
    return found


def compare(before: Report, after: Report) -> Table:
    """The differences, for a terminal."""
    table = Table(title=f"{before.conditions.commit} to {after.conditions.commit}", title_justify="left")
    for heading in ("scenario", "figure"):
        table.add_column(heading)
    for heading in ("before", "after", "change", "spread"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    styles = {"higher": "yellow", "lower": "cyan"}
    for title, d in differences(before, after):
        table.add_row(
            title,
            d.name,
            f"{number(d.before)} {d.unit}".rstrip(),
            f"{number(d.after)} {d.unit}".rstrip(),
            "" if d.change is None else f"{100 * d.change:+.1f} %",
            number(d.spread),
            d.verdict,
            style=styles.get(d.verdict),
        )
    return table


def _over(figure: Figure, way: str) -> tuple[float, ...]:
    return tuple(value / floor for value, floor in zip(figure.values, figure.floors[way], strict=True))


def _difference(name: str, unit: str, before: tuple[float, ...], after: tuple[float, ...]) -> Difference:
    spread = 3 * max(_spread(before), _spread(after))
    rounds = min(len(before), len(after))
    return Difference(name, unit, statistics.median(before), statistics.median(after), spread, rounds)


def _spread(values: tuple[float, ...]) -> float:
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)
