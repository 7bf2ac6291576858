"""Running the `orchard` command in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sfu.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


class Command:
    """`orchard`, with a data directory of the test's own."""

    def __init__(
        self, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.data = data
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Result:
        """Run it."""
        self._monkeypatch.setattr(sys, "argv", ["orchard", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        written = self._capsys.readouterr()
        return Result(int(ended.value.code or 0), written.out, written.err)

    def on_data(self, *arguments: str) -> Result:
        """Run it with `--data`."""
        return self(*arguments, "--data", str(self.data))
