"""A measurement, kept so that another one can be held against it: JSON for programs, a page for people."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured once per round. `floors`: the least possible, in several ways by name,
    measured in the same rounds."""

    name: str
    unit: str
    values: tuple[float, ...]
    floors: dict[str, tuple[float, ...]] = field(default_factory=dict[str, "tuple[float, ...]"])

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.values)

    @property
    def ratios(self) -> dict[str, float]:
        """By floor, the median of the rounds' ratios to it."""
        return {
            name: statistics.median(value / floor for value, floor in zip(self.values, floors, strict=True))
            for name, floors in self.floors.items()
        }


@dataclass(frozen=True, slots=True)
class Series:
    """A curve: what stands on each axis, and its points by rising x."""

    name: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a scenario found: figures, the parameters they were found with, what a reader must know, and
    curves of the last round."""

    scenario: str
    title: str
    parameters: dict[str, float | int | str]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    series: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where and of what a measurement is."""

    commit: str
    date: str
    machine: str
    kernel: str
    python: str
    command: str

    @classmethod
    def here(cls) -> Conditions:
        """This machine, this checkout, this command line."""
        return cls(
            commit=_commit(),
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            machine=f"{_processor()}, {os.cpu_count()} cores",
            kernel=platform.release(),
            python=platform.python_version(),
            command=shlex.join(["orchard", "loadtest", *_arguments()]),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Measurements of one run under one set of conditions."""

    conditions: Conditions
    measurements: list[Measurement] = field(default_factory=list[Measurement])

    def to_json(self) -> str:
        """Everything, medians and ratios included."""
        document: dict[str, Any] = asdict(self)
        for measurement, written in zip(self.measurements, document["measurements"], strict=True):
            for figure, entry in zip(measurement.figures, written["figures"], strict=True):
                entry["median"] = figure.median
                entry["ratios"] = figure.ratios
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """What `to_json` wrote. Raises ValueError for another document."""
        try:
            document = json.loads(text)
            measurements = [
                Measurement(
                    m["scenario"],
                    m["title"],
                    m["parameters"],
                    tuple(
                        Figure(
                            f["name"],
                            f["unit"],
                            tuple(f["values"]),
                            {name: tuple(values) for name, values in f["floors"].items()},
                        )
                        for f in m["figures"]
                    ),
                    tuple(m["notes"]),
                    tuple(
                        Series(s["name"], s["x"], s["y"], tuple((x, y) for x, y in s["points"]))
                        for s in m.get("series", ())
                    ),
                )
                for m in document["measurements"]
            ]
            return cls(Conditions(**document["conditions"]), measurements)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a report of loadtest: {error!r}") from error

    def to_page(self) -> str:
        """A page for docs/measurements/."""
        c = self.conditions
        one = self.measurements[0].title if len(self.measurements) == 1 else ""
        lines = [
            f"# {one or 'Measurements of one run'}",
            "",
            f"Commit {c.commit}, {c.date}. {c.machine}; Linux {c.kernel}, Python {c.python}.",
            "",
            f"    {c.command}",
            "",
        ]
        noted: set[str] = set()
        for measurement in self.measurements:
            if not one:
                lines += [f"## {measurement.title}", ""]
            lines += _section(measurement, [note for note in measurement.notes if note not in noted])
            noted.update(measurement.notes)
        return "\n".join(lines).rstrip() + "\n"


def worded(parameters: dict[str, float | int | str]) -> list[str]:
    """Each parameter with its value, in words."""
    return [f"{name} {f'{v:g}' if isinstance(v, float) else v}" for name, v in parameters.items()]


def table(measurement: Measurement) -> Table:
    """A measurement for a terminal."""
    made = Table(title=measurement.title, title_justify="left")
    made.add_column("figure")
    for heading in ("median", "rounds", "x floors"):
        made.add_column(heading, justify="right")
    for figure in measurement.figures:
        made.add_row(*_cells(figure))
    return made


def _section(measurement: Measurement, notes: Sequence[str]) -> list[str]:
    lines: list[str] = []
    if measurement.parameters:
        lines += [", ".join(worded(measurement.parameters)) + ".", ""]
    lines += ["| figure | median | rounds, lowest to highest | x floors |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(figure))} |" for figure in measurement.figures]
    lines.append("")
    for note in notes:
        lines += [note, ""]
    return lines


def _cells(figure: Figure) -> Sequence[str]:
    low, high = min(figure.values), max(figure.values)
    return (
        figure.name,
        f"{number(figure.median)} {figure.unit}".rstrip(),
        f"{number(low)} to {number(high)} of {len(figure.values)}" if len(figure.values) > 1 else "one",
        ", ".join(f"{ratio:.2f} {name}" for name, ratio in figure.ratios.items()),
    )


def number(value: float) -> str:
    """Three digits that matter, and no exponent."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) < 10 else 1}f}"


def _arguments() -> list[str]:
    """Those of this program, whether started as `orchard loadtest` or `python -m loadtest`."""
    return sys.argv[2:] if sys.argv[1:2] == ["loadtest"] else sys.argv[1:]


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603

    commit = git("rev-parse", "--short=10", "HEAD") or "unknown"
    return f"{commit} with changes" if git("status", "--porcelain", "--", "sfu", "turn") else commit


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
