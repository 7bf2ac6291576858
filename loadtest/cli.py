"""The command line: `python -m loadtest SCENARIO`, each with options of its own.

Without `--url` a server of this checkout is started on a core of its own for the measurement, and ended
after it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import httpx
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.api import ApiError, Server
from loadtest.client import ConnectFailed
from loadtest.description import DescriptionError
from loadtest.floor import RUN, Way, by_way, floors_us
from loadtest.meter import ProcessGone, pinned
from loadtest.report import Conditions, Figure, Measurement, Report, table
from loadtest.scenarios import churn, connect, fanout, memory, setup
from loadtest.server import OwnServer, RunningServer, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loadtest.scenarios.crowds import Tell
    from loadtest.server import Bench

app = typer.Typer(
    help="Load a server of the session API with light WebRTC clients and say what it cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
console = Console()

Rounds = Annotated[int, typer.Option(min=1, max=1000, help="Rounds; the median of them is the result.")]


@dataclass(frozen=True, slots=True)
class Common:
    """The options before the scenario's name."""

    bench: Bench
    clients: frozenset[int]
    json: Path | None
    page: Path | None


@app.callback()
def common(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Option(help="A running server, up to /v1; without it one is started.", envvar="LOADTEST_URL"),
    ] = "",
    app_id: Annotated[str, typer.Option("--app", help="Its app.", envvar="LOADTEST_APP")] = "",
    secret: Annotated[str, typer.Option(help="The app's secret.", envvar="LOADTEST_SECRET")] = "",
    pid: Annotated[int, typer.Option(help="Its process on this machine, to be measured.", min=0)] = 0,
    core: Annotated[int, typer.Option(help="The core of a server that is started.", min=0)] = 0,
    serve: Annotated[
        list[str] | None, typer.Option(help="An argument more for `orchard serve`; may be repeated.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result here.", dir_okay=False)] = None,
    page: Annotated[Path | None, typer.Option(help="Write a page (Markdown) here.", dir_okay=False)] = None,
) -> None:
    """What all scenarios take."""
    if url and not (app_id and secret and pid):
        raise typer.BadParameter("--url wants --app, --secret and --pid as well")
    cores = os.sched_getaffinity(0)
    if not url and core not in cores:
        raise typer.BadParameter(f"core {core} is not one of {sorted(cores)}", param_hint="--core")
    bench = RunningServer(Server(url, app_id, secret), pid) if url else OwnServer(core, tuple(serve or ()))
    taken = os.sched_getaffinity(pid) if url else {core}
    # With every core taken by the server, clients have to share.
    context.obj = Common(bench, frozenset(cores - taken) or frozenset(cores), json, page)


@app.command("fanout")
def run_fanout(
    context: typer.Context,
    subscribers: Annotated[
        list[int] | None, typer.Option(min=1, help="A size; may be repeated. 10 and 40 unless given.")
    ] = None,
    rounds: Rounds = 5,
    window: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds per round.")] = 4.0,
    rate: Annotated[float, typer.Option(min=1, max=50_000, help="Packets per second.")] = 500,
    size: Annotated[int, typer.Option(min=72, max=1400, help="Bytes per RTP packet.")] = 1200,
) -> None:
    """CPU per delivered packet: one publisher, many subscribers."""
    options = fanout.Fanout(tuple(subscribers or (10, 40)), rounds, window, rate, size)
    _run(context, lambda bench, tell: fanout.run(bench, options, tell))


@app.command("setup")
def run_setup(
    context: typer.Context,
    rounds: Rounds = 5,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Set-ups per round and kind.")] = 40,
) -> None:
    """CPU and time per set-up, one by one and all at once."""
    options = setup.Setup(rounds, count)
    _run(context, lambda bench, tell: setup.run(bench, options, tell))


@app.command("memory")
def run_memory(
    context: typer.Context,
    rounds: Rounds = 5,
    step: Annotated[int, typer.Option(min=1, max=1000, help="Subscribers per step.")] = 100,
    steps: Annotated[int, typer.Option(min=1, max=100, help="Steps.")] = 4,
    settle: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds between a step and its reading.")
    ] = 5.0,
) -> None:
    """Memory per subscriber."""
    options = memory.Memory(rounds, step, steps, settle)
    _run(context, lambda bench, tell: memory.run(bench, options, tell))


@app.command("churn")
def run_churn(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds against one server.")] = 2,
    in_sequence: Annotated[int, typer.Option(min=0, help="Sessions one after the other.")] = 2_000,
    at_once: Annotated[int, typer.Option(min=0, max=5_000, help="Sessions together.")] = 300,
    unconnected: Annotated[int, typer.Option(min=0, help="Sessions that never connect.")] = 20_000,
    settle: Annotated[float, typer.Option(min=2, help="Seconds within which the server must settle.")] = 90.0,
) -> None:
    """Sessions come and go: is everything back afterwards?"""
    options = churn.Churn(rounds, in_sequence, at_once, unconnected, settle)
    _run(context, lambda bench, tell: churn.run(bench, options, tell))


@app.command("connect")
def run_connect(
    context: typer.Context,
    rounds: Rounds = 5,
    connections: Annotated[int, typer.Option(min=1, max=100, help="Connections per browser.")] = 4,
) -> None:
    """First HTTP call to connected in Chromium."""
    options = connect.Connect(rounds, connections)
    _run(context, lambda bench, tell: connect.run(bench, options, tell))


@app.command("floor")
def run_floor(
    context: typer.Context,
    receivers: Annotated[int, typer.Option(min=1, max=1000)] = 40,
    rounds: Rounds = 5,
    size: Annotated[int, typer.Option(min=72, max=1400, help="Bytes per RTP packet.")] = 1200,
    run: Annotated[int, typer.Option(min=1, max=40, help="Packets per GSO send.")] = RUN,
) -> None:
    """The least that a fan-out can cost on this machine; needs no server."""

    async def work(_: Bench, tell: Tell) -> Measurement:
        found: list[dict[Way, float]] = []
        core = min(os.sched_getaffinity(0))
        for number in range(rounds):
            tell("rounds", number, rounds)
            found.append(await floors_us(receivers, core, size=size, run=run))
        figures = [
            Figure(f"seal and {way}, {receivers} receivers", "us", values)
            for way, values in by_way(found).items()
        ]
        return Measurement("floor", "Floor", {"bytes per RTP packet": size, "run": run}, tuple(figures))

    _run(context, work)


@app.command("page")
def write_page(
    results: Annotated[list[Path], typer.Argument(help="JSON of earlier runs.", exists=True, dir_okay=False)],
) -> None:
    """Write the page of each JSON result beside it, as the run itself does with --page."""
    for path in results:
        try:
            report = Report.from_json(path.read_text())
        except ValueError as error:
            raise typer.BadParameter(f"{path}: {error}") from error
        page = path.with_suffix(".md")
        page.write_text(report.to_page())
        console.print(f"{page} written")


def _run(context: typer.Context, scenario: Callable[[Bench, Tell], Awaitable[Measurement]]) -> None:
    options = cast("Common", context.obj)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with pinned(options.clients), Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=None)

        def tell(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        async def work() -> Measurement:
            return await scenario(options.bench, tell)

        try:
            measurement = uvloop.run(work())
        except (
            *(
                ApiError,
                DescriptionError,
                ConnectFailed,
                ServerFailed,
                ProcessGone,
                churn.NotBack,
                connect.BrowserFailed,
            ),
            httpx.TransportError,
        ) as error:
            progress.stop()
            console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
            raise typer.Exit(1) from error
    console.print(table(measurement))
    report = Report(Conditions.here(), [measurement])
    if options.json is not None:
        options.json.write_text(report.to_json())
    if options.page is not None:
        options.page.write_text(report.to_page())


def main() -> None:
    """Entry point."""
    app(prog_name="loadtest")
