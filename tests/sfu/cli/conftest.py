"""The `orchard` command for tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.sfu.cli.command import Command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def orchard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, in an environment without settings."""
    for name in [name for name in os.environ if name.startswith("ORCHARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path / "data", monkeypatch, capsys)
