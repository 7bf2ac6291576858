"""The table of rows and the tests agree, and the score counts what it says."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.turn.page import names_of_tests, table
from tests.conformance.turn.rows import OPTIONAL, ROWS, Row, row_of
from tests.conformance.turn.score import Outcome, Result, Score, name_of
from tests.conformance.turn.servers import DEVIATIONS, LEFT_OUT, STARTERS
from tests.conformance.turn.target import OPTIONS, option_names

PAGE = Path(__file__).parents[3] / "docs/reference/turn-conformance.md"


def test_every_test_names_a_row() -> None:
    ids = {row.id for row in ROWS}
    assert len(ids) == len(ROWS)
    assert {name for name in names_of_tests() if row_of(name) not in ids} == set()


def test_every_row_has_a_test_or_says_why_not() -> None:
    tested = {row_of(name) for name in names_of_tests()}
    for row in ROWS:
        assert (row.id in tested) != (bool(row.unseen) and not row.unseen.startswith("partly")), row.id


def test_deviations_are_those_of_tests_that_there_are() -> None:
    assert set(DEVIATIONS) <= set(STARTERS)
    for server, deviations in DEVIATIONS.items():
        assert {name.partition("[")[0] for name in deviations} <= names_of_tests(), server


def test_what_is_left_out_is_named_after_tests_that_there_are() -> None:
    assert set(LEFT_OUT) == set(STARTERS)
    for server, beginnings in LEFT_OUT.items():
        for beginning in beginnings:
            name = beginning.partition("[")[0]
            assert any(test.startswith(name) for test in names_of_tests()), f"{server}: {beginning}"


def test_every_option_is_a_field_of_a_target() -> None:
    assert [option.name for option in OPTIONS] == list(option_names())


def test_a_row_fails_with_one_of_its_tests_and_is_skipped_with_all_of_them() -> None:
    rows = (
        Row("S1", "", "one"),
        Row("S2", "", "two"),
        Row("A1", "", "three"),
        Row("A2", "", "four", OPTIONAL),
    )
    score = Score(
        [
            Outcome("test_s1_a", Result.PASS),
            Outcome("test_s1_b[x]", Result.FAIL, "expected this; got that"),
            Outcome("test_s2_a", Result.PASS),
            Outcome("test_s2_b", Result.SKIP, "no second address"),
            Outcome("test_a1_a", Result.SKIP, "not offered"),
            Outcome("test_a2_a", Result.PASS),
            Outcome("test_every_test_names_a_row", Result.FAIL),
        ],
        rows,
    )
    assert [score.result(row) for row in rows] == [Result.FAIL, Result.PASS, Result.SKIP, Result.PASS]
    assert score.of(rows[:3]) == (1, 2)
    assert score.exit_code == 1
    table = score.table()
    assert "test_s1_b[x]: expected this; got that" in table
    assert "not tested: no second address" in table
    assert "S        1 of 2\nA        1 of 1\n" in table
    assert "required 1 of 2 rows pass, 1 were not judged" in table
    assert Score([], rows).exit_code == 2
    assert score.as_json()["score"] == {
        "required": {"passed": 1, "judged": 2},
        "optional": {"passed": 1, "judged": 1},
    }


def test_a_test_is_named_with_all_of_its_address() -> None:
    assert (
        name_of("tests/test_policy.py::test_n2_a[given-::ffff:10.0.0.1]")
        == "test_n2_a[given-::ffff:10.0.0.1]"
    )


def test_the_page_has_the_table_as_it_is() -> None:
    """`python -m tests.conformance.turn.page` prints it."""
    assert table() in PAGE.read_text()
