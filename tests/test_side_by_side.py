"""Parts of a test run that go side by side: none is lost, hides another, or outlives the run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import side_by_side

if TYPE_CHECKING:
    from pathlib import Path

FOREVER = "sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600'"


def shell(script: str) -> str:
    return f"timeout 60 sh -c '{script}'"


def once(file: Path) -> str:
    """The shell's words to wait for a file."""
    return f"until [ -e {file} ]; do sleep 0.01; done"


def test_commands_run_at_the_same_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    meeting = [shell(f"echo > {mine}; {once(its)}; echo met") for mine, its in ((a, b), (b, a))]
    assert side_by_side.run(meeting) == 0
    assert capfd.readouterr().out.splitlines().count("met") == 2


def test_the_output_of_each_is_in_one_piece(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    first = shell(f"echo one; echo > {a}; {once(b)}; echo two >&2")
    second = shell(f"{once(a)}; echo three; echo > {b}; echo four")
    assert side_by_side.run([first, second]) == 0
    written = [line for line in capfd.readouterr().out.splitlines() if line and not line.startswith("==")]
    assert sorted([written[:2], written[2:]]) == [["one", "two"], ["three", "four"]]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_one_that_fails_fails_the_run_and_is_named_last(
    bad: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    commands = [shell(f"echo > {tmp_path}/{number}") for number in range(3)]
    commands[bad] = shell("echo why; exit 3")
    assert side_by_side.run(commands) == 1
    written = capfd.readouterr().out
    assert re.search(r"FAILED \(3\) after \d+ s\nwhy\n", written)
    assert written.splitlines()[-1] == f"== FAILED: {commands[bad]}"
    assert len(list(tmp_path.iterdir())) == 2  # the others ran to their ends


def test_one_that_a_signal_ended_fails_the_run() -> None:
    assert side_by_side.run([shell("kill -9 $$")]) == 1


def test_how_far_each_is_is_told_by_whole_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "TOLD_S", 0.0)
    go = tmp_path / "go"
    told = shell(f"echo 10 of 20; printf half; {once(go)}; echo; echo 20 of 20")
    assert side_by_side.run([told, shell(f"sleep 0.5; echo > {go}")]) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("[")]
    assert lines[0].endswith(": 10 of 20")
    assert not any(line.endswith("half") for line in lines)


def test_one_that_can_not_be_started_leaves_no_other_running(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(FileNotFoundError):
        side_by_side.run([FOREVER.format(pid=pid), str(tmp_path / "no-such-program")])
    assert not pid.exists() or ended(int(pid.read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_end_ends_its_commands(number: signal.Signals, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    ready = shell(f"{once(pid)}; echo ready")
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.side_by_side", ready, FOREVER.format(pid=pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert run.stdout is not None
    while "ready\n" not in run.stdout.readline():
        assert run.poll() is None
    run.send_signal(number)
    assert run.wait(60) != 0
    run.stdout.close()
    assert ended(int(pid.read_text()))


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
