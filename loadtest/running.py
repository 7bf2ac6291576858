"""How a scenario is run from the command line: server, cores, progress, and where the result is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httpx
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.allocations import NotAllocated
from loadtest.api import ApiError
from loadtest.client import ConnectFailed
from loadtest.description import DescriptionError
from loadtest.html import to_html
from loadtest.meter import ProcessGone, pinned
from loadtest.report import Conditions, Report, table
from loadtest.scenarios.browser import BrowserFailed
from loadtest.scenarios.churn import NotBack
from loadtest.server import ServerFailed
from loadtest.trace import TraceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from loadtest.report import Measurement
    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench

    Scenario = Callable[[Bench, Tell], Awaitable[Measurement]]

console = Console()

FAILURES = (
    ApiError,
    DescriptionError,
    ConnectFailed,
    ServerFailed,
    ProcessGone,
    NotBack,
    NotAllocated,
    BrowserFailed,
    TraceError,
    OSError,
    httpx.TransportError,
)


@dataclass(frozen=True, slots=True)
class Common:
    """The options before the scenario's name."""

    bench: Bench
    clients: frozenset[int]
    json: Path | None
    page: Path | None
    html: Path | None


def run(context: typer.Context, scenario: Scenario) -> None:
    """Run one scenario, show its table, keep it as asked."""
    common = cast("Common", context.obj)
    keep(common, measured(common, [scenario]))


def keep(common: Common, measurements: Sequence[Measurement]) -> Report:
    """Write what the options ask for."""
    report = Report(Conditions.here(), list(measurements))
    for path, text in (
        (common.json, report.to_json),
        (common.page, report.to_page),
        (common.html, lambda: to_html(report)),
    ):
        if path is not None:
            path.write_text(text())
            console.print(f"{path} written", highlight=False)
    return report


def measured(common: Common, scenarios: Iterable[Scenario]) -> list[Measurement]:
    """Run one after the other; each one's table is shown as it ends. Exits with 1 when one fails."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: list[Measurement] = []
    for scenario in scenarios:
        with pinned(common.clients), Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("starting", total=None)

            def tell(what: str, done: int, total: int) -> None:
                progress.update(bar, description=what, completed=done, total=total or None)  # noqa: B023

            async def work() -> Measurement:
                return await scenario(common.bench, tell)  # noqa: B023

            try:
                found.append(uvloop.run(work()))
            except FAILURES as error:
                progress.stop()
                console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
                raise typer.Exit(1) from error
        console.print(table(found[-1]))
    return found
