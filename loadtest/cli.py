"""The command line: `orchard loadtest SCENARIO`, each with options of its own.

Without `--url` a server of this checkout is started on a core of its own for the measurement, and ended
after it.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from loadtest import budget as budgets
from loadtest import suite
from loadtest.api import Server
from loadtest.compare import compare
from loadtest.floor import RUN
from loadtest.html import to_html
from loadtest.janus import Janus, NoNetwork, private_network
from loadtest.report import Report
from loadtest.running import Common, console, keep, measured, run
from loadtest.scenarios import (
    browser,
    churn,
    connect,
    fanout,
    floor,
    loss,
    meetings,
    memory,
    overload,
    record,
    setup,
    soak,
    versus,
)
from loadtest.server import OwnServer, RunningServer
from loadtest.source import Media
from loadtest.trace import load
from loadtest.turn_cli import app as turn

if TYPE_CHECKING:
    pass

app = typer.Typer(
    help="Load a server of the session API with light WebRTC clients and say what it cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


app.add_typer(turn, name="turn")


class Beside(StrEnum):
    """What is measured."""

    ORCHARD = "orchard"
    JANUS = "janus"


Rounds = Annotated[int, typer.Option(min=1, max=1000, help="Rounds; the median of them is the result.")]
Window = Annotated[float, typer.Option(min=0.1, max=600, help="Seconds per round.")]
Rate = Annotated[float, typer.Option(min=1, max=50_000, help="Packets per second of the video.")]
Size = Annotated[int, typer.Option(min=72, max=1400, help="Bytes per RTP packet.")]
Share = Annotated[float, typer.Option(min=0, max=1, help="Share of packets that is lost, 0 to 1.")]
Run = Annotated[float, typer.Option(min=0, max=1000, help="Mean run of losses; 0: independent losses.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is drawn by lot.")]
Shape = Annotated[
    Path | None,
    typer.Option("--trace", help="Send video in this trace's shape.", exists=True, dir_okay=False),
]


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
        list[str] | None,
        typer.Option(help="An argument more for the server that is started; may be repeated."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result here.", dir_okay=False)] = None,
    page: Annotated[Path | None, typer.Option(help="Write a page (Markdown) here.", dir_okay=False)] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots here.", dir_okay=False)] = None,
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
    context.obj = Common(bench, frozenset(cores - taken) or frozenset(cores), json, page, html)


@app.command("fanout")
def run_fanout(
    context: typer.Context,
    subscribers: Annotated[
        list[int] | None, typer.Option(min=1, help="A size; may be repeated. 10 and 40 unless given.")
    ] = None,
    rounds: Rounds = 5,
    window: Window = 4.0,
    rate: Rate = 500,
    size: Size = 1200,
    target: Annotated[Beside, typer.Option(help="The server, or it and Janus in turns.")] = Beside.ORCHARD,
) -> None:
    """CPU per delivered packet: one publisher, many subscribers."""
    options = fanout.Fanout(tuple(subscribers or (10, 40)), rounds, window, rate, size)
    if target is Beside.JANUS:
        _beside_janus(context, options)
        return
    run(context, lambda bench, tell: fanout.run(bench, options, tell))


def _beside_janus(context: typer.Context, options: fanout.Fanout) -> None:
    bench = cast("Common", context.obj).bench
    if not isinstance(bench, OwnServer):
        raise typer.BadParameter("--target janus starts both servers itself; leave --url out")
    try:
        private_network()
    except NoNetwork as error:
        console.print(f"NoNetwork: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    servers = {"orchard": bench.target(), "janus": Janus(bench.core).target()}
    run(context, lambda _, tell: versus.run(servers, options, tell))


@app.command("setup")
def run_setup(
    context: typer.Context,
    rounds: Rounds = 5,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Set-ups per round and kind.")] = 40,
) -> None:
    """CPU and time per set-up, one by one and all at once."""
    options = setup.Setup(rounds, count)
    run(context, lambda bench, tell: setup.run(bench, options, tell))


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
    run(context, lambda bench, tell: memory.run(bench, options, tell))


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
    run(context, lambda bench, tell: churn.run(bench, options, tell))


@app.command("browser-connect")
def run_browser(
    context: typer.Context,
    rounds: Rounds = 5,
    connections: Annotated[int, typer.Option(min=1, max=100, help="Connections per browser.")] = 4,
) -> None:
    """First HTTP call to connected in Chromium."""
    options = browser.Browser(rounds, connections)
    run(context, lambda bench, tell: browser.run(bench, options, tell))


@app.command("connect")
def run_connect(
    context: typer.Context,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Arrivals per second.")] = 50,
    window: Window = 6.0,
    stay: Annotated[float, typer.Option(min=0, max=600, help="Seconds that each stays.")] = 2.0,
    subscribers: Annotated[int, typer.Option(min=0, help="Subscribers all the time.")] = 10,
    packets: Rate = 250,
    rounds: Rounds = 3,
) -> None:
    """Arrivals at a steady rate, media flowing: connect times, CPU per set-up."""
    options = connect.Connect(rate, window, stay, subscribers, packets, rounds)
    run(context, lambda bench, tell: connect.run(bench, options, tell))


@app.command("mesh")
def run_mesh(
    context: typer.Context,
    size: Annotated[int, typer.Option(min=2, max=80, help="Participants.")] = 8,
    window: Window = 5.0,
    rounds: Rounds = 3,
    shape: Shape = None,
) -> None:
    """One meeting, everybody with everybody."""
    _meet(context, 1, size, rounds, window, shape)


@app.command("rooms")
def run_rooms(
    context: typer.Context,
    rooms: Annotated[int, typer.Option(min=1, max=1000, help="Meetings.")] = 5,
    size: Annotated[int, typer.Option(min=2, max=80, help="Participants of each.")] = 4,
    window: Window = 5.0,
    rounds: Rounds = 3,
    shape: Shape = None,
) -> None:
    """Meetings side by side."""
    _meet(context, rooms, size, rounds, window, shape)


def _meet(
    context: typer.Context, rooms: int, size: int, rounds: int, window: float, shape: Path | None
) -> None:
    video = meetings.CAMERA if shape is None else Media.recorded(load(shape))
    options = meetings.Meetings(rooms, size, rounds, window, video)
    run(context, lambda bench, tell: meetings.run(bench, options, tell))


@app.command("loss")
def run_loss(
    context: typer.Context,
    down: Share = 0.1,
    up: Share = 0.0,
    publisher_up: Share = 0.0,
    publisher_down: Share = 0.0,
    run_length: Run = 0.0,
    subscribers: Annotated[int, typer.Option(min=1, max=2000)] = 20,
    window: Window = 8.0,
    rounds: Rounds = 3,
    rate: Rate = 500,
    size: Size = 1200,
    seed: Seed = 1,
    shape: Shape = None,
) -> None:
    """Lossy links: what is repaired, how soon, by whom. `down` and `up` are the subscribers' links."""
    video = Media.video(packets_per_s=rate, size=size) if shape is None else Media.recorded(load(shape))
    options = loss.Loss(
        down, up, publisher_up, publisher_down, run_length, subscribers, rounds, window, video, seed
    )
    run(context, lambda bench, tell: loss.run(bench, options, tell))


@app.command("soak")
def run_soak(
    context: typer.Context,
    minutes: Annotated[float, typer.Option(min=0.05, max=10_000)] = 30.0,
    population: Annotated[int, typer.Option(min=1, max=2000, help="Subscribers.")] = 30,
    changes: Annotated[float, typer.Option(min=0.1, max=200, help="Per second.")] = 5.0,
    lost: Share = 0.05,
    run_length: Run = 2.0,
    seed: Seed = 1,
) -> None:
    """Minutes of coming and going on lossy links: memory's slope, nothing stuck."""
    options = soak.Soak(minutes, population, changes, lost, run_length, seed=seed)
    run(context, lambda bench, tell: soak.run(bench, options, tell))


@app.command("overload")
def run_overload(
    context: typer.Context,
    subscribers: Annotated[int, typer.Option(min=1, max=4000)] = 40,
    first_rate: Rate = 500,
    highest_rate: Rate = 20_000,
    step: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds per step.")] = 1.5,
    window: Annotated[float, typer.Option(min=0.5, max=600, help="Seconds of overload.")] = 4.0,
    rounds: Rounds = 1,
    size: Size = 1200,
) -> None:
    """The rate at which loss begins, half as much again, and the recovery."""
    options = overload.Overload(subscribers, first_rate, highest_rate, step, window, rounds=rounds, size=size)
    run(context, lambda bench, tell: overload.run(bench, options, tell))


@app.command("floor")
def run_floor(
    context: typer.Context,
    receivers: Annotated[int, typer.Option(min=1, max=1000)] = 40,
    rounds: Rounds = 5,
    size: Size = 1200,
    run_length: Annotated[int, typer.Option("--run", min=1, max=40, help="Packets per GSO send.")] = RUN,
) -> None:
    """The least that a fan-out can cost on this machine; needs no server."""
    run(context, lambda _, tell: floor.run(floor.FloorOptions(receivers, rounds, size, run_length), tell))


@app.command("record")
def run_record(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The trace to write.", dir_okay=False)],
    seconds: Annotated[float, typer.Option(min=1, max=600)] = 10.0,
    width: Annotated[int, typer.Option(min=160, max=1920, help="Of the picture, which is 16:9.")] = 640,
) -> None:
    """Record a trace of Chromium's video, for --trace."""
    options = record.Record(path, seconds, width)
    run(context, lambda bench, tell: record.run(bench, options, tell))


@app.command("all")
def run_all(
    context: typer.Context,
    long: Annotated[bool, typer.Option(help="Five rounds and longer windows; some 15 minutes.")] = False,
) -> None:
    """One full run: every scenario once. With --html before it, the report of it."""
    options = cast("Common", context.obj)
    keep(options, measured(options, suite.full(long)))


@app.command("bench")
def run_bench(
    context: typer.Context,
    budget: Annotated[
        Path | None, typer.Option(help="Another budget than the repository's.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """The short set against the budget. Tells where each ratio stands; never fails for being slow."""
    options = cast("Common", context.obj)
    limits = budgets.load(budget or budgets.HERE)
    report = keep(options, measured(options, suite.short()))
    console.print(budgets.table(budgets.stand(limits, report)))


@app.command("compare")
def run_compare(
    before: Annotated[Path, typer.Argument(help="JSON of the earlier run.", exists=True, dir_okay=False)],
    after: Annotated[Path, typer.Argument(help="JSON of the later run.", exists=True, dir_okay=False)],
) -> None:
    """Two runs side by side: median, spread, and whether the difference is more than the spread."""
    console.print(compare(_read(before), _read(after)))


@app.command("report")
def write_report(
    results: Annotated[list[Path], typer.Argument(help="JSON of earlier runs.", exists=True, dir_okay=False)],
    to: Annotated[Path, typer.Option(help="The HTML file.", dir_okay=False)] = Path("report.html"),
) -> None:
    """One HTML report of earlier runs, with plots, in one file."""
    reports = [_read(path) for path in results]
    measurements = [measurement for report in reports for measurement in report.measurements]
    to.write_text(to_html(Report(reports[0].conditions, measurements)))
    console.print(f"{to} written", highlight=False)


@app.command("page")
def write_page(
    results: Annotated[list[Path], typer.Argument(help="JSON of earlier runs.", exists=True, dir_okay=False)],
) -> None:
    """Write the page of each JSON result beside it, as the run itself does with --page."""
    for path in results:
        page = path.with_suffix(".md")
        page.write_text(_read(path).to_page())
        console.print(f"{page} written")


def _read(path: Path) -> Report:
    try:
        return Report.from_json(path.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{path}: {error}") from error


def main() -> None:
    """Entry point."""
    app(prog_name="loadtest")
