"""`loadtest turn`: each scenario once, small, against a TURN server of this checkout, and beside coturn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from loadtest.relays import Coturn, OwnRelay, Secret
from loadtest.scenarios import turn_allocate, turn_relay, turn_soak
from loadtest.scenarios.turn_sides import Way
from tests.loadtest.test_cli import loadtest, measured

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from loadtest.relays import Relay
    from loadtest.report import Measurement

CORE = min(os.sched_getaffinity(0))
COTURN = shutil.which("turnserver")


def quietly(_what: str, _done: int, _total: int) -> None:
    """Tell nobody how far it is."""


def medians(measurement: Measurement) -> dict[str, float]:
    return {figure.name: figure.median for figure in measurement.figures}


@dataclass(frozen=True)
class Running:
    """One server for several runs."""

    running: Relay
    fresh: bool = False

    @contextlib.asynccontextmanager
    async def relay(self) -> AsyncGenerator[Relay]:
        yield self.running


async def test_by_all_ways_all_that_is_sent_comes_back() -> None:
    ways = (
        Way("udp", "channel", 4),
        Way("udp", "send", 4, size=101),
        Way("udp", "channel", 4, joined=True),
        Way("tcp", "channel", 4, size=102),
        Way("tls", "send", 4),
    )
    async with OwnRelay(CORE).relay() as relay:
        for way in ways:
            options = turn_relay.Paced(way, per_s=2000, rounds=1, window_s=0.2, step_s=0.004)
            figures = medians(await turn_relay.run({"orchard": Running(relay)}, options, quietly))
            assert figures["did not come back"] == 0, way
            # as much as was sent in time, twice: on a busy machine that is less
            late = figures["not sent: clients were late"]
            assert figures["relayed"] + 2 * late / 0.2 == pytest.approx(4000, rel=0.1), way
            assert 0.1 < figures["CPU per relayed packet"] < 1000, way
            assert 0 < figures["round trip, 50 %"] <= figures["round trip, 99 %"], way


@pytest.mark.skipif(COTURN is None, reason="Debian's package coturn is not installed")
async def test_coturn_and_orchard_take_turns() -> None:
    servers = {"orchard": OwnRelay(CORE), "coturn": Coturn(CORE)}
    options = turn_relay.Paced(Way(flows=2), per_s=1000, rounds=2, window_s=0.2)
    measurement = await turn_relay.run(servers, options, quietly)
    figures = {figure.name: figure.values for figure in measurement.figures}
    assert figures["coturn: did not come back"] == figures["orchard: did not come back"] == (0, 0)
    ours, theirs = (figures[f"{name}: CPU per relayed packet"] for name in servers)
    assert figures["CPU per relayed packet, orchard over coturn"] == (
        ours[0] / theirs[0],
        ours[1] / theirs[1],
    )


def test_a_flood_shows_where_loss_begins(tmp_path: Path) -> None:
    arguments = ("--flows", "4", "--rounds", "1", "--probe", "0.1", "--window", "0.1")
    figures = measured(tmp_path, "turn", "saturate", *arguments)
    assert figures["round trips with less than 0.1 % lost"] > 300
    assert figures["round trips in a flood"] > 300


def test_allocations_come_and_go(tmp_path: Path) -> None:
    figures = measured(tmp_path, "turn", "allocate", "--count", "100", "--rounds", "2")
    assert figures["allocations"] > 10
    assert figures["CPU per allocation"] > 10
    assert "growth per allocation after the first round" in figures


def test_memory_is_weighed(tmp_path: Path) -> None:
    arguments = ("--rounds", "1", "--step", "50", "--steps", "2", "--sources", "100", "--settle", "0.1")
    figures = measured(tmp_path, "turn", "memory", *arguments)
    assert figures["memory per allocation"] < 100_000
    assert figures["memory per source that has not authenticated"] < 10_000


def test_a_soak_loses_nothing_and_gives_all_back(tmp_path: Path) -> None:
    arguments = ("--minutes", "0.04", "--count", "100", "--rate", "200")
    figures = measured(tmp_path, "turn", "soak", *arguments)
    assert figures["failed"] == 0
    assert figures["did not come back"] == 0
    assert figures["descriptors when all are gone"] == figures["descriptors before"]
    # allocated and released by four requests each; some were refreshed by two
    assert figures["requests answered"] > 400


async def test_a_server_that_runs_already_is_measured_and_left_running(tmp_path: Path) -> None:
    async with OwnRelay(CORE).relay() as relay:
        assert isinstance(relay.credentials, Secret)
        where = ("--host", relay.host, "--port", str(relay.port), "--pid", str(relay.meter.pid))
        how = ("--secret", relay.credentials.secret)
        arguments = ("turn", *where, *how, "relay", "--flows", "2", "--rate", "500")
        again = (*arguments, "--rounds", "1", "--window", "0.1")
        for _ in range(2):
            figures = await asyncio.to_thread(measured, tmp_path, *again)
            assert figures["did not come back"] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "127.0.0.1", "relay"), "--pid"),
        (("--host", "127.0.0.1", "--pid", str(os.getpid()), "relay"), "--secret"),
        (("--host", "127.0.0.1", "--target", "coturn", "relay"), "leave --host out"),
        (("relay", "--transport", "tcp", "--joined"), "--joined"),
    ],
)
def test_what_does_not_go_together_is_told(arguments: tuple[str, ...], told: str) -> None:
    result = loadtest("turn", *arguments)
    assert result.exit_code == 2
    assert told in result.output


def test_a_server_that_does_not_answer_ends_with_a_reason() -> None:
    where = ("--host", "127.0.0.1", "--port", "9", "--secret", "s", "--pid", str(os.getpid()))
    result = loadtest("turn", *where, "relay")
    assert result.exit_code == 1
    assert "answers no Allocate" in result.output


@pytest.mark.long
async def test_five_thousand_allocations_are_kept_for_ten_minutes() -> None:
    """Refreshed all the time, with some data: none is lost, memory does not grow, all is given back."""
    figures = medians(await turn_soak.run({"orchard": OwnRelay(CORE)}, turn_soak.Kept(), quietly))
    assert figures["failed"] == 0
    assert figures["did not come back"] == 0
    assert figures["memory grows by, last three quarters"] < 64  # KiB/min: 13 bytes for each allocation
    assert figures["descriptors when all are gone"] == figures["descriptors before"]


@pytest.mark.long
async def test_a_million_allocations_leave_nothing() -> None:
    """Ten rounds of a hundred thousand: memory at the end of the last is within 2 % of that of the first."""
    options = turn_allocate.Allocate(count=100_000, rounds=10)
    measurement = await turn_allocate.run({"orchard": OwnRelay(CORE)}, options, quietly)
    [memory] = [figure for figure in measurement.figures if figure.name == "memory after each round"]
    assert memory.values[-1] < 1.02 * memory.values[0]
