"""From the outcomes of tests to those of rows, and the table of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.conformance.turn.rows import OPTIONAL, REQUIRED, ROWS, Row, row_of
from tests.conformance.turn.verdict import Deviation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pytest


class Result(StrEnum):
    """What a test or a row came to."""

    PASS = "pass"
    FAIL = "FAIL"
    SKIP = "skip"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one test came to, and why."""

    test: str
    result: Result
    why: str = ""


class Recorder:
    """A plugin of pytest that keeps the outcomes of tests."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.trouble = ""  # what kept tests from being collected
        self._deviations: dict[str, str] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep why a module can't be read."""
        if report.failed:
            self.trouble = str(report.longrepr)

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Keep what was expected and what came, in its short form."""
        if call.excinfo is None:
            return
        error = call.excinfo.value
        if isinstance(error, Deviation):
            self._deviations[item.nodeid] = str(error)
        else:
            self._deviations.setdefault(item.nodeid, f"{type(error).__name__}: {error}".splitlines()[0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep how a test went: its own part, and what went wrong around it."""
        if report.when != "call" and report.passed:
            return
        name = name_of(report.nodeid).replace("[given-", "[").replace("[given]", "")
        if report.passed:
            self.outcomes.append(Outcome(name, Result.PASS))
        elif report.skipped:
            why = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
            self.outcomes.append(Outcome(name, Result.SKIP, why.removeprefix("Skipped: ")))
        else:
            self.outcomes.append(Outcome(name, Result.FAIL, self._deviations.get(report.nodeid, "")))


def name_of(nodeid: str) -> str:
    """The name of a test with its parameters, which may be addresses of IPv6."""
    return nodeid.partition("::")[2]


class Score:
    """What rows came to: a failed test fails its row, a skipped one says what was not tested of it."""

    def __init__(self, outcomes: Iterable[Outcome], rows: Sequence[Row] = ROWS) -> None:
        self.rows = rows
        self.tests: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            row = row_of(outcome.test)
            if row is not None:
                self.tests[row].append(outcome)

    def result(self, row: Row) -> Result:
        """What a row came to."""
        results = {outcome.result for outcome in self.tests[row.id]}
        for result in (Result.FAIL, Result.PASS, Result.SKIP):
            if result in results:
                return result
        return Result.UNSEEN

    def of(self, rows: Iterable[Row]) -> tuple[int, int]:
        """How many of them passed, and how many were judged."""
        results = [self.result(row) for row in rows]
        return results.count(Result.PASS), results.count(Result.PASS) + results.count(Result.FAIL)

    @property
    def exit_code(self) -> int:
        """0 if no required row failed, 2 if none was judged."""
        passed, judged = self.of(row for row in self.rows if row.level == REQUIRED)
        return 2 if not judged else int(passed < judged)

    def table(self) -> str:
        """A line for each row, with what was expected and what came where it failed; and the sums."""
        lines: list[str] = []
        for row in self.rows:
            result = self.result(row)
            mark = " (optional)" if row.level == OPTIONAL else ""
            lines.append(f"{row.id:<9}{result.value:<7} {row.asks}{mark}")
            lines.extend(f"{'':17}{line}" for line in self._why(row, result))
        lines.append("")
        groups = dict.fromkeys(_group(row) for row in self.rows)
        for group in groups:
            passed, judged = self.of(row for row in self.rows if _group(row) == group)
            lines.append(f"{group:<9}{passed} of {judged}")
        lines.append("")
        for level in (REQUIRED, OPTIONAL):
            rows = [row for row in self.rows if row.level == level]
            passed, judged = self.of(rows)
            lines.append(f"{level:<9}{passed} of {judged} rows pass, {len(rows) - judged} were not judged")
        return "\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        levels = {level: [row for row in self.rows if row.level == level] for level in (REQUIRED, OPTIONAL)}
        return {
            "score": {
                level: dict(zip(("passed", "judged"), self.of(rows), strict=True))
                for level, rows in levels.items()
            },
            "rows": {
                row.id: {
                    "result": self.result(row).value.lower(),
                    "level": row.level,
                    "tests": [
                        {"test": outcome.test, "result": outcome.result.value.lower(), "why": outcome.why}
                        for outcome in self.tests[row.id]
                    ],
                }
                for row in self.rows
            },
        }

    def _why(self, row: Row, result: Result) -> Iterable[str]:
        failed = [outcome for outcome in self.tests[row.id] if outcome.result is Result.FAIL]
        yield from (f"{outcome.test}: {outcome.why}" for outcome in failed)
        skipped = {outcome.why for outcome in self.tests[row.id] if outcome.result is Result.SKIP}
        yield from (f"not tested: {why}" for why in sorted(skipped))
        if row.unseen and (result is Result.UNSEEN or row.unseen.startswith("partly")):
            yield f"not seen from outside{': ' if result is Result.UNSEEN else ', '}{row.unseen}"


def _group(row: Row) -> str:
    return row.id.partition(" ")[0] if " " in row.id else row.id[0]
