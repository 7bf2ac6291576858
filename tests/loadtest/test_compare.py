"""What may be said of two runs."""

from __future__ import annotations

import io

from rich.console import Console

from loadtest.compare import compare, differences
from loadtest.report import Conditions, Figure, Measurement, Report

CONDITIONS = Conditions("abc", "2026-01-01 00:00 UTC", "a machine", "6.1", "3.11", "orchard loadtest x")


def report(*values: float, floor: float = 2.0, size: int = 1200, name: str = "cost") -> Report:
    floors = {"gso": (floor,) * len(values)}
    figure = Figure(name, "us", values, floors)
    return Report(CONDITIONS, [Measurement("x", "An X", {"size": size}, (figure,))])


def verdicts(before: Report, after: Report) -> list[str]:
    return [difference.verdict for _, difference in differences(before, after)]


def test_a_difference_beyond_the_spread_is_told_by_its_direction() -> None:
    assert verdicts(report(5.0, 5.1, 5.2), report(4.0, 4.1, 4.2)) == ["lower", "lower"]
    assert verdicts(report(4.0, 4.1, 4.2), report(5.0, 5.1, 5.2)) == ["higher", "higher"]


def test_a_difference_within_the_spread_is_none() -> None:
    assert verdicts(report(4.0, 5.0, 6.0), report(5.0, 6.0, 7.0)) == ["within the spread"] * 2


def test_equal_medians_are_the_same_however_small_the_spread() -> None:
    assert verdicts(report(5.0, 5.0, 5.0), report(5.01, 5.01, 5.01)) == ["same", "same"]


def test_two_rounds_say_nothing() -> None:
    assert verdicts(report(5.0, 5.0), report(9.0, 9.0)) == ["too few rounds (2)"] * 2


def test_a_slower_machine_shows_in_the_figure_and_not_in_its_ratio() -> None:
    assert verdicts(report(4.0, 4.0, 4.1), report(8.0, 8.0, 8.2, floor=4.0)) == ["higher", "same"]


def test_other_parameters_are_another_measurement() -> None:
    assert verdicts(report(4.0), report(4.0, size=100)) == []
    assert verdicts(report(4.0), report(4.0, name="weight")) == []


def test_the_table_names_both_medians() -> None:
    text = io.StringIO()
    Console(file=text, width=160).print(compare(report(5.0, 5.1, 5.2), report(4.0, 4.1, 4.2)))
    assert "5.10 us" in text.getvalue()
    assert "4.10 us" in text.getvalue()
    assert "-19.6 %" in text.getvalue()
