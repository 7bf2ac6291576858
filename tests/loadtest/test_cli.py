"""The command line, and each scenario once, small, against a server of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from loadtest.cli import app
from loadtest.report import Report

if TYPE_CHECKING:
    from pathlib import Path


def loadtest(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def measured(tmp_path: Path, *arguments: str) -> dict[str, float]:
    """Run a scenario; medians by the figure's name."""
    path = tmp_path / "result.json"
    result = loadtest("--core", str(min(os.sched_getaffinity(0))), "--json", str(path), *arguments)
    assert result.exit_code == 0, result.output
    [measurement] = Report.from_json(path.read_text()).measurements
    return {figure.name: figure.median for figure in measurement.figures}


def test_the_floor_needs_no_server(tmp_path: Path) -> None:
    figures = measured(tmp_path, "floor", "--receivers", "4", "--rounds", "2")
    assert set(figures) == {f"seal and {way}, 4 receivers" for way in ("sendto", "sendmmsg", "gso")}
    assert all(0.1 < value < 100 for value in figures.values())


def test_a_page_is_written_beside_its_json(tmp_path: Path) -> None:
    measured(tmp_path, "floor", "--receivers", "1", "--rounds", "1")
    assert loadtest("page", str(tmp_path / "result.json")).exit_code == 0
    assert (tmp_path / "result.md").read_text().startswith("# Floor\n")


def test_another_file_makes_no_page(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    result = loadtest("page", str(path))
    assert result.exit_code == 2
    assert "not a report" in result.output


def test_a_running_server_is_named_whole() -> None:
    result = loadtest("--url", "http://127.0.0.1:1/v1", "setup")
    assert result.exit_code == 2
    assert "--pid" in result.output


def test_a_server_that_is_not_there_ends_with_a_reason() -> None:
    where = ("--url", "http://127.0.0.1:9/v1", "--app", "a", "--secret", "b", "--pid", str(os.getpid()))
    result = loadtest(*where, "setup")
    assert result.exit_code == 1
    assert "ConnectError" in result.output


def test_fanout_delivers_every_packet(tmp_path: Path) -> None:
    arguments = ("--subscribers", "3", "--rounds", "2", "--window", "0.5", "--rate", "100")
    figures = measured(tmp_path, "fanout", *arguments)
    assert figures["3 subscribers: delivered"] > 0
    assert figures["3 subscribers: not delivered"] == 0
    assert figures["3 subscribers: CPU per delivered packet"] > figures["3 receivers: floor, gso"] / 2


def test_setup_counts_both_kinds(tmp_path: Path) -> None:
    figures = measured(tmp_path, "setup", "--rounds", "1", "--count", "3")
    assert all(value > 0 for value in figures.values())
    assert len(figures) == 8


def test_memory_has_a_slope(tmp_path: Path) -> None:
    figures = measured(tmp_path, "memory", "--rounds", "1", "--step", "5", "--steps", "2", "--settle", "0.2")
    assert "memory per subscriber" in figures


def test_churn_finds_everything_back(tmp_path: Path) -> None:
    arguments = ("--in-sequence", "5", "--at-once", "5", "--unconnected", "20", "--rounds", "1")
    figures = measured(
        tmp_path, "--serve", "--sessions-unconnected-life", "--serve", "3", "churn", *arguments
    )
    # Less than before is back, too: an idle connection of ours may have ended meanwhile.
    assert 0 < figures["descriptors after each round"] <= figures["descriptors before"]


def test_loss_is_repaired_and_what_is_lost_for_good_is_told(tmp_path: Path) -> None:
    arguments = ("--down", "0.1", "--subscribers", "3", "--rounds", "1", "--window", "1", "--rate", "200")
    figures = measured(tmp_path, "loss", *arguments)
    assert 2 < figures["missing when a later one came"] < 30
    assert figures["repaired, of those"] > 50
    assert figures["lost for good"] < figures["missing when a later one came"]
    assert figures["the publisher was asked for, of what it sent"] == 0


def test_a_meeting_delivers_everybody_to_everybody(tmp_path: Path) -> None:
    figures = measured(tmp_path, "rooms", "--rooms", "2", "--size", "3", "--rounds", "1", "--window", "0.5")
    assert figures["not delivered"] == 0
    assert figures["delivered"] > 0


def test_arrivals_connect_while_media_flows(tmp_path: Path) -> None:
    arguments = ("--rate", "10", "--window", "1", "--stay", "0.2", "--subscribers", "1", "--rounds", "1")
    figures = measured(tmp_path, "connect", *arguments)
    assert figures["failed"] == 0
    assert 0 < figures["first call to connected, median"] <= figures["first call to connected, longest"]


def test_an_overload_that_is_none_ends_well(tmp_path: Path) -> None:
    arguments = ("--subscribers", "2", "--first-rate", "50", "--highest-rate", "60", "--step", "0.5")
    figures = measured(tmp_path, "overload", *arguments, "--window", "0.5")
    assert figures["at 150 %: audio not delivered"] < 50
    assert figures["all well after the overload"] < 15


def test_a_soak_finds_nothing_stuck_and_everything_back(tmp_path: Path) -> None:
    arguments = ("--minutes", "0.1", "--population", "4", "--changes", "20", "--lost", "0.05")
    figures = measured(tmp_path, "soak", *arguments)
    assert figures["stuck for 3 s or more"] == 0
    assert figures["failed"] == 0
    assert figures["held by the server when all are gone"] == 0
    assert sum(value for name, value in figures.items() if name.startswith("changes: ")) > 10


def test_a_report_is_one_file_and_a_run_compares_with_itself(tmp_path: Path) -> None:
    measured(tmp_path, "floor", "--receivers", "2", "--rounds", "3")
    json, html = str(tmp_path / "result.json"), tmp_path / "report.html"
    assert loadtest("report", json, json, "--to", str(html)).exit_code == 0
    assert html.read_text().count("<section") == 2
    compared = loadtest("compare", json, json)
    assert compared.exit_code == 0
    assert compared.output.count("same") == 3


@pytest.mark.browser
def test_chromium_is_timed(tmp_path: Path) -> None:
    figures = measured(tmp_path, "browser-connect", "--rounds", "1", "--connections", "2")
    assert 0 < figures["same browser again: connected"] < 5000


@pytest.mark.browser
def test_chromium_is_recorded_and_played_again(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    recorded = measured(tmp_path, "record", str(trace), "--seconds", "2", "--width", "320")
    assert recorded["packets"] > 20
    assert recorded["keyframes"] >= 1
    arguments = ("--trace", str(trace), "--subscribers", "2", "--rounds", "1", "--window", "1")
    played = measured(tmp_path, "loss", *arguments, "--down", "0")
    assert played["lost for good"] == 0
    assert played["missing when a later one came"] == 0


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
@pytest.mark.skipif(shutil.which("janus") is None, reason="Debian's package janus is not installed")
def test_janus_and_orchard_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    command = (
        sys.executable,
        "-m",
        "loadtest",
        "--core",
        str(min(os.sched_getaffinity(0))),
        "--json",
        str(path),
    )
    arguments = ("fanout", "--target", "janus", "--subscribers", "3", "--rounds", "2", "--window", "0.5")
    # A process of its own: it leaves this one's network.
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [measurement] = Report.from_json(path.read_text()).measurements
    figures = {figure.name: figure.values for figure in measurement.figures}
    assert figures["janus: not delivered"] == figures["orchard: not delivered"] == (0, 0)
    assert len(figures["CPU per delivered packet, orchard over janus"]) == 2


def test_janus_is_started_and_never_somebody_elses() -> None:
    where = ("--url", "http://127.0.0.1:9/v1", "--app", "a", "--secret", "b", "--pid", str(os.getpid()))
    result = loadtest(*where, "fanout", "--target", "janus")
    assert result.exit_code == 2
    assert "leave --url out" in result.output
