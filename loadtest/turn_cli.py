"""The command line of the load on TURN servers: `orchard loadtest turn SCENARIO`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, cast

import typer

from loadtest import budget as budgets
from loadtest import suite
from loadtest.allocations import raise_descriptor_limit
from loadtest.flows import MAX_BYTES, MAX_WINDOW, MIN_BYTES
from loadtest.relays import Coturn, OwnRelay, Relays, RunningRelay, Secret, User
from loadtest.running import Common, console, keep, measured, run
from loadtest.scenarios import turn_allocate, turn_memory, turn_relay, turn_saturate, turn_soak
from loadtest.scenarios.turn_sides import Way
from loadtest.server import OwnServer

app = typer.Typer(
    help="Load a TURN server with light clients and say what it cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Against(StrEnum):
    """What is measured."""

    ORCHARD = "orchard"
    COTURN = "coturn"


class Over(StrEnum):
    """Transports of clients."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class By(StrEnum):
    """How clients send data, and get it."""

    CHANNEL = "channel"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class TurnCommon(Common):
    """The options before the scenario's name, and the servers that they stand for, by name."""

    servers: dict[str, Relays]


ToTransport = Annotated[Over, typer.Option("--transport", help="Transport of the clients.")]
ByForm = Annotated[By, typer.Option("--form", help="Data by channels, or by Send and Data indications.")]
FlowCount = Annotated[
    int, typer.Option("--flows", min=1, max=20_000, help="Clients, each with an allocation.")
]
Size = Annotated[int, typer.Option(min=MIN_BYTES, max=MAX_BYTES, help="Bytes of data in a packet.")]
Rounds = Annotated[int, typer.Option(min=1, max=1000, help="Rounds; the median of them is the result.")]
Window = Annotated[float, typer.Option(min=0.1, max=600, help="Seconds per round.")]
Step = Annotated[
    float, typer.Option(min=0.02, max=100, help="Milliseconds between two sendings of what is due.")
]
Joined = Annotated[
    bool,
    typer.Option(
        "--joined",
        help="Hand bursts of a client over in one piece, as a network card does that joins them (GRO).",
    ),
]


@app.callback()
def common(
    context: typer.Context,
    target: Annotated[
        Against, typer.Option(help="This checkout's server, or it and Debian's coturn in turns.")
    ] = Against.ORCHARD,
    host: Annotated[
        str,
        typer.Option(
            help="The address of a running server; without it one is started.", envvar="LOADTEST_TURN_HOST"
        ),
    ] = "",
    port: Annotated[int, typer.Option(help="Its port of UDP and TCP.", min=1, max=65535)] = 3478,
    tls_port: Annotated[int, typer.Option(help="Its port of TLS; 0: none.", min=0, max=65535)] = 5349,
    secret: Annotated[
        str,
        typer.Option(help="A secret shared with it, for time-limited names.", envvar="LOADTEST_TURN_SECRET"),
    ] = "",
    user: Annotated[str, typer.Option(help="A name, where there is no secret.")] = "",
    password: Annotated[str, typer.Option(help="Its password.", envvar="LOADTEST_TURN_PASSWORD")] = "",
    realm: Annotated[str, typer.Option(help="Its realm; it is asked for over UDP if not given.")] = "",
    peer: Annotated[
        list[str] | None,
        typer.Option(help="An address of this machine that it relays to; else the one on the way to it."),
    ] = None,
    pid: Annotated[int, typer.Option(help="Its process on this machine, to be measured.", min=0)] = 0,
) -> None:
    """Which server: one that is started (`--core`, `--serve`), or that at `--host`."""
    above = cast("Common", context.obj)
    raise_descriptor_limit()
    clients = above.clients
    servers: dict[str, Relays]
    if host:
        if target is Against.COTURN:
            raise typer.BadParameter("--target coturn starts both servers itself; leave --host out")
        if not pid or not (secret or (user and password)):
            raise typer.BadParameter("--host wants --pid, and --secret or --user and --password as well")
        cores = os.sched_getaffinity(0)
        taken = os.sched_getaffinity(pid)
        clients = frozenset(cores - taken) or frozenset(cores)
        credentials = Secret(secret) if secret else User(user, password)
        servers = {
            host: RunningRelay(
                host, port, tls_port, credentials, pid, min(taken), realm=realm, peers=tuple(peer or ())
            )
        }
    elif isinstance(above.bench, OwnServer):
        servers = {"orchard": OwnRelay(above.bench.core, above.bench.arguments)}
        if target is Against.COTURN:
            servers["coturn"] = Coturn(above.bench.core)
    else:
        raise typer.BadParameter("a TURN server is named by --host after `turn`, not by --url")
    context.obj = TurnCommon(above.bench, clients, above.json, above.page, above.html, servers)


@app.command("relay")
def run_relay(
    context: typer.Context,
    transport: ToTransport = Over.UDP,
    form: ByForm = By.CHANNEL,
    flows: FlowCount = 50,
    rate: Annotated[
        float, typer.Option(min=1, max=5_000_000, help="Packets per second that all clients together send.")
    ] = 50_000,
    size: Size = 120,
    rounds: Rounds = 6,
    window: Window = 3.0,
    step: Step = 1.0,
    joined: Joined = False,
) -> None:
    """CPU per relayed packet and round trip, at a steady rate."""
    way = _way(transport, form, flows, size, joined)
    options = turn_relay.Paced(way, rate, rounds, window, step / 1000)
    run(context, lambda _, tell: turn_relay.run(_servers(context), options, tell))


@app.command("saturate")
def run_saturate(
    context: typer.Context,
    transport: ToTransport = Over.UDP,
    form: ByForm = By.CHANNEL,
    flows: FlowCount = 50,
    first_rate: Annotated[
        float, typer.Option(min=1, max=1_000_000, help="Packets per second to begin with.")
    ] = 20_000,
    size: Size = 120,
    rounds: Rounds = 3,
    probe: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds at each rate that is tried.")] = 0.7,
    window: Window = 2.0,
    step: Step = 1.0,
    joined: Joined = False,
) -> None:
    """The most packets without loss (under 0.1 %), and what comes through of twice as many."""
    way = _way(transport, form, flows, size, joined)
    options = turn_saturate.Saturated(way, first_rate, probe, window, rounds, step / 1000)
    run(context, lambda _, tell: turn_saturate.run(_servers(context), options, tell))


@app.command("allocate")
def run_allocate(
    context: typer.Context,
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="Allocations per round.")] = 20_000,
    at_once: Annotated[int, typer.Option(min=1, max=MAX_WINDOW, help="Clients at a time.")] = 16,
    rounds: Rounds = 5,
    transport: ToTransport = Over.UDP,
) -> None:
    """Allocations that come and go: how many a second, CPU of each, does memory come back?"""
    options = turn_allocate.Allocate(count, at_once, rounds, transport.value)
    run(context, lambda _, tell: turn_allocate.run(_servers(context), options, tell))


@app.command("memory")
def run_memory(
    context: typer.Context,
    rounds: Rounds = 3,
    step: Annotated[int, typer.Option(min=1, max=5_000, help="Allocations per step.")] = 500,
    steps: Annotated[int, typer.Option(min=1, max=100, help="Steps.")] = 4,
    sources: Annotated[
        int, typer.Option(min=1, max=20_000, help="Sources that have not authenticated.")
    ] = 5_000,
    permissions: Annotated[int, typer.Option(min=1, max=8, help="Permissions of each allocation.")] = 4,
    channels: Annotated[int, typer.Option(min=0, max=16, help="Channels of each allocation.")] = 2,
    settle: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds between a step and its reading.")
    ] = 1.5,
    transport: ToTransport = Over.UDP,
) -> None:
    """Memory per allocation, and per source that has not authenticated."""
    options = turn_memory.Weighed(
        rounds, step, steps, sources, permissions, channels, settle, transport.value
    )
    run(context, lambda _, tell: turn_memory.run(_servers(context), options, tell))


@app.command("soak")
def run_soak(
    context: typer.Context,
    minutes: Annotated[float, typer.Option(min=0.01, max=10_000)] = 10.0,
    count: Annotated[int, typer.Option(min=1, max=16_000, help="Allocations.")] = 5_000,
    rate: Annotated[
        float, typer.Option(min=1, max=1_000_000, help="Packets per second that all clients together send.")
    ] = 2_500,
    transport: ToTransport = Over.UDP,
) -> None:
    """Allocations kept by refreshes, with a little data: memory's slope, nothing lost."""
    options = turn_soak.Kept(minutes, count, rate, transport.value)
    run(context, lambda _, tell: turn_soak.run(_servers(context), options, tell))


@app.command("bench")
def run_bench(context: typer.Context, rounds: Rounds = 6) -> None:
    """All ways of relaying, memory and allocations, each against the budget. Some ten minutes."""
    common = cast("Common", context.obj)
    report = keep(common, measured(common, suite.turn(_servers(context), rounds)))
    console.print(budgets.table(budgets.stand(budgets.load(budgets.TURN), report)))


def _way(transport: Over, form: By, flows: int, size: int, joined: bool) -> Way:
    if joined and transport is not Over.UDP:
        raise typer.BadParameter("datagrams alone are joined", param_hint="--joined")
    return Way(transport.value, form.value, flows, size, joined)


def _servers(context: typer.Context) -> dict[str, Relays]:
    return cast("TurnCommon", context.obj).servers
