"""The budget file, and where a run stands against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest import budget, suite
from loadtest.budget import Limit, Standing
from loadtest.report import Conditions, Figure, Measurement, Report

if TYPE_CHECKING:
    from pathlib import Path

CONDITIONS = Conditions("abc", "2026-01-01 00:00 UTC", "a machine", "6.1", "3.11", "orchard loadtest x")
REPORT = Report(
    CONDITIONS,
    [
        Measurement(
            "x",
            "An X",
            {},
            (Figure("a", "us", (6.0, 6.0), {"gso": (2.0, 4.0)}), Figure("b", "us", (3.0, 3.0))),
        )
    ],
)


def standing(**limit: str | float) -> Standing:
    [found] = budget.stand([Limit("name", "x", **limit)], REPORT)  # pyright: ignore[reportArgumentType]
    return found


def test_a_limit_is_of_a_figure_a_floor_or_another_figure() -> None:
    assert standing(figure="a", most=5.0).value == 6.0
    assert standing(figure="a", most=5.0, floor="gso").value == 2.25
    assert standing(figure="a", most=5.0, over="b").value == 2.0


def test_the_verdict_is_within_over_or_not_measured() -> None:
    assert standing(figure="a", most=6.0).verdict == "within"
    assert standing(figure="a", most=5.9).verdict == "over"
    assert standing(figure="c", most=5.9).verdict == "not measured"
    assert standing(figure="a", most=5.9, over="c").verdict == "not measured"


def test_a_limit_may_say_which_of_a_scenarios_measurements() -> None:
    few, many = (Measurement("x", "X", {"flows": n}, (Figure("a", "us", (float(n),)),)) for n in (1, 50))
    limits = [Limit(f"{n}", "x", "a", 5.0, where={"flows": n}) for n in (1, 50, 7)]
    found = budget.stand(limits, Report(CONDITIONS, [few, many]))
    assert [standing.value for standing in found] == [1.0, 50.0, None]


@pytest.mark.parametrize("path", [budget.HERE, budget.TURN])
def test_the_repositorys_budgets_read_and_their_names_are_apart(path: Path) -> None:
    limits = budget.load(path)
    assert len({limit.name for limit in limits}) == len(limits) >= 5


def test_each_limit_of_relaying_is_measured_once() -> None:
    ways = [paced.parameters() for paced in suite.turn_ways(1)]
    limits = [limit for limit in budget.load(budget.TURN) if limit.scenario == "turn-relay"]
    assert [sum(limit.where.items() <= way.items() for way in ways) for limit in limits] == [1] * len(ways)


@pytest.mark.parametrize("text", ["", "[[limit]]\nname = 'x'", "[[limit]]\nno = 1", "limit = 3"])
def test_another_document_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "budget.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a budget"):
        budget.load(path)


def test_a_limit_has_one_yardstick(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text("[[limit]]\nname='n'\nscenario='x'\nfigure='a'\nmost=1.0\nfloor='gso'\nover='b'\n")
    with pytest.raises(ValueError, match="not both"):
        budget.load(path)
