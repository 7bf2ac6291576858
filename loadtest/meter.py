"""What a process costs, as the kernel counts it: processor time, memory, descriptors."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

_CPUCLOCK_SCHED = 2


class ProcessGone(Exception):
    """The process that was to be measured has ended."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads one process, and whatever children it has are not counted."""

    pid: int

    def cpu_s(self) -> float:
        """Processor time since its start, user and system, of all its threads.

        The kernel's clock of that process: what /proc/PID/stat shows as utime + stime, but in nanoseconds
        instead of ticks of 10 ms. Raises ProcessGone.
        """
        try:
            return time.clock_gettime(~self.pid << 3 | _CPUCLOCK_SCHED)
        except OSError as error:
            raise ProcessGone(f"process {self.pid} has ended") from error

    def private_bytes(self) -> int:
        """Memory that is this process's alone: a share of libraries would change with what else runs here.

        Raises ProcessGone.
        """
        parts = re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", self._read("smaps_rollup"), re.MULTILINE)
        if not parts:
            raise ProcessGone(f"process {self.pid} has no memory any more")
        return sum(map(int, parts)) * 1024

    def descriptors(self) -> int:
        """Open file descriptors. Raises ProcessGone."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except FileNotFoundError as error:
            raise ProcessGone(f"process {self.pid} has ended") from error

    def _read(self, name: str) -> str:
        try:
            return Path(f"/proc/{self.pid}/{name}").read_text()
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ProcessGone(f"process {self.pid} has ended") from error


def slope(points: Iterable[tuple[float, float]]) -> float:
    """The least-squares slope of (x, y). Raises ValueError for fewer than two different x."""
    xs, ys = zip(*points, strict=True)
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    square = sum((x - mean_x) ** 2 for x in xs)
    if square == 0:
        raise ValueError("a slope needs two different x")
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / square


@contextlib.contextmanager
def pinned(cores: Iterable[int]) -> Generator[None]:
    """Keep the calling thread on `cores` while in the context."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
