"""Budgets: what the ratios of a run should stay under, kept in budget.toml and turn_budget.toml.

It is no test: the machine of the day decides too much. `bench` shows where each stands.
"""

from __future__ import annotations

import statistics
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from loadtest.report import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report import Figure, Report

HERE: Final = Path(__file__).with_name("budget.toml")
TURN: Final = Path(__file__).with_name("turn_budget.toml")
"""Of `turn bench`, whose figures are an Orchard's over coturn's."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`figure` of `scenario`, over one of its floors or over another figure, or as it is; at most `most`.

    `where` picks among measurements of one scenario by their parameters.
    """

    name: str
    scenario: str
    figure: str
    most: float
    floor: str = ""
    over: str = ""
    where: dict[str, float | int | str] = field(default_factory=dict[str, "float | int | str"])


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands: `value` is None if the run does not have the figure."""

    limit: Limit
    value: float | None

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.value is None:
            return "not measured"
        return "within" if self.value <= self.limit.most else "over"


def load(path: Path) -> list[Limit]:
    """Read a budget. Raises ValueError for another document."""
    try:
        entries: list[dict[str, Any]] = tomllib.loads(path.read_text())["limit"]
        limits = [Limit(**entry) for entry in entries]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a budget: {error!r}") from error
    for limit in limits:
        if limit.floor and limit.over:
            raise ValueError(f"{path}: {limit.name}: over a floor or over a figure, not both")
    return limits


def stand(limits: Sequence[Limit], report: Report) -> list[Standing]:
    """Where each stands in a run."""
    return [Standing(limit, _value(limit, report)) for limit in limits]


def table(standings: Sequence[Standing]) -> Table:
    """For a terminal."""
    made = Table(title="Budget", title_justify="left")
    made.add_column("what")
    for heading in ("now", "budget", "of it"):
        made.add_column(heading, justify="right")
    made.add_column("")
    for s in standings:
        made.add_row(
            s.limit.name,
            "" if s.value is None else number(s.value),
            number(s.limit.most),
            "" if s.value is None or not s.limit.most else f"{100 * s.value / s.limit.most:.0f} %",
            s.verdict,
            style=None if s.verdict == "within" else "yellow",
        )
    return made


def _value(limit: Limit, report: Report) -> float | None:
    figures: dict[str, Figure] = {
        figure.name: figure
        for measurement in report.measurements
        if measurement.scenario == limit.scenario and limit.where.items() <= measurement.parameters.items()
        for figure in measurement.figures
    }
    figure = figures.get(limit.figure)
    if figure is None:
        return None
    if limit.floor:
        return figure.ratios.get(limit.floor)
    if not limit.over:
        return figure.median
    other = figures.get(limit.over)
    if other is None or len(other.values) != len(figure.values) or 0 in other.values:
        return None
    return statistics.median(a / b for a, b in zip(figure.values, other.values, strict=True))
