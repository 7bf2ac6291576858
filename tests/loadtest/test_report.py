"""Figures, their JSON and their page."""

from __future__ import annotations

import json

import pytest

from loadtest.report import Conditions, Figure, Measurement, Report

CONDITIONS = Conditions("abc", "2026-01-01 00:00 UTC", "a machine", "6.1", "3.11", "python -m loadtest x")
REPORT = Report(
    CONDITIONS,
    [
        Measurement(
            "x",
            "An X",
            {"size": 1200},
            (
                Figure("cost", "us", (5.0, 4.0, 9.0), {"gso": (2.0, 2.0, 3.0)}),
                Figure("weight", "KiB", (77.25,)),
            ),
            ("A note.",),
        )
    ],
)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    [cost, weight] = REPORT.measurements[0].figures
    assert cost.median == 5.0
    assert cost.ratios == {"gso": 2.5}
    assert weight.ratios == {}


def test_json_reads_back_and_names_the_median() -> None:
    text = REPORT.to_json()
    assert Report.from_json(text) == REPORT
    assert json.loads(text)["measurements"][0]["figures"][0]["median"] == 5.0


def test_the_page_says_where_how_and_what() -> None:
    page = REPORT.to_page()
    assert page.startswith("# An X\n")
    assert "Commit abc" in page
    assert "    python -m loadtest x" in page
    assert "| cost | 5 us | 4 to 9 of 3 | 2.50 gso |" in page
    assert "| weight | 77.2 KiB | one |  |" in page
    assert page.endswith("A note.\n")


def test_a_page_of_several_has_a_heading_for_each_and_no_note_twice() -> None:
    page = Report(REPORT.conditions, [*REPORT.measurements, *REPORT.measurements]).to_page()
    assert page.startswith("# Measurements of one run\n")
    assert page.count("\n## An X\n") == 2
    assert page.count("A note.") == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"conditions": {}, "measurements": []}'])
def test_another_document_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Report.from_json(text)


def test_conditions_are_of_this_machine() -> None:
    here = Conditions.here()
    assert "cores" in here.machine
    assert here.commit
