"""Runs commands at the same time and shows the output of each in one piece, once it has ended.

    python -m tests.side_by_side COMMAND [COMMAND...]

Each command is one argument, in the shell's words. While any runs, a line for each tells how far it is.
The exit status is 0 if that of every command is.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLD_S = 30.0  # from one word on how far all are to the next
LOOK_S = 0.1
END_S = 10.0  # that a command has to end once it is interrupted
TAIL_BYTES = 4096
WIDTH = 100


@dataclass(slots=True)
class Part:
    """One command that runs, in a process group of its own, and the file where its output goes."""

    command: str
    output: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    started_at: float = field(default_factory=time.monotonic)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            shlex.split(self.command),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    def read(self, start: int = 0) -> str:
        """The output so far from `start`, negative from the end. The command writes on where it was."""
        fd, size = self.output.fileno(), os.fstat(self.output.fileno()).st_size
        start = max(0, size + start) if start < 0 else start
        return os.pread(fd, size - start, start).decode(errors="replace")

    def told(self) -> str:
        """The last whole line of output."""
        lines = [line.strip() for line in self.read(-TAIL_BYTES).split("\n")[:-1] if line.strip()]
        return lines[-1][-WIDTH:] if lines else ""

    def end(self) -> None:
        """Interrupt what still runs."""
        for number in (signal.SIGINT, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(END_S)
                except subprocess.TimeoutExpired:
                    continue


def run(commands: Sequence[str]) -> int:
    """Run all to their ends; the exit status."""
    parts: list[Part] = []
    failed: list[str] = []
    started_at = told_at = time.monotonic()
    try:
        parts.extend(map(Part, commands))
        running = list(parts)
        while running:
            time.sleep(LOOK_S)
            now = time.monotonic()
            for part in [part for part in running if part.process.poll() is not None]:
                running.remove(part)
                status = part.process.returncode
                how = "done" if status == 0 else f"FAILED ({status})"
                say(f"\n== {part.command}: {how} after {now - part.started_at:.0f} s\n{part.read()}")
                if status != 0:
                    failed.append(part.command)
            if now - told_at >= TOLD_S:
                told_at = now
                for part in running:
                    say(f"[{now - started_at:3.0f} s] {part.command}: {part.told()}\n")
    finally:
        for part in parts:
            part.end()
            part.output.close()
    for command in failed:
        say(f"== FAILED: {command}\n")
    return 1 if failed else 0


def say(text: str) -> None:
    """Write to standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    """The command line; SIGTERM ends as ^C does, and ^C even where a background shell had it ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
