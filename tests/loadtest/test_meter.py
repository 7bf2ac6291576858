"""What a process costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.meter import Meter, ProcessGone, pinned, slope

HERE = Meter(os.getpid())


def test_cpu_is_what_proc_stat_counts() -> None:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    assert HERE.cpu_s() == pytest.approx(ticks, abs=0.1)


def test_cpu_grows_with_work() -> None:
    before = HERE.cpu_s()
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    assert HERE.cpu_s() - before >= 0.02


def test_memory_and_descriptors_grow_with_use(tmp_path: Path) -> None:
    memory, descriptors = HERE.private_bytes(), HERE.descriptors()
    held = bytearray(b"x" * (1 << 26))  # more than malloc may have kept of what others let go
    with tmp_path.joinpath("x").open("w"):
        assert HERE.descriptors() == descriptors + 1
        assert HERE.private_bytes() - memory > len(held) // 2


def test_a_process_that_ended_is_an_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    meter = Meter(process.pid)
    for read in (meter.cpu_s, meter.private_bytes, meter.descriptors):
        with pytest.raises(ProcessGone, match=str(process.pid)):
            read()


def test_slope_is_of_least_squares() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2
    assert slope([(0, 0), (1, 2), (2, 1)]) == 0.5
    with pytest.raises(ValueError, match="two different x"):
        slope([(1, 1), (1, 2)])


def test_pinning_ends_with_its_context() -> None:
    before = os.sched_getaffinity(0)
    with pinned({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
