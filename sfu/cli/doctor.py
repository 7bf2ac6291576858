"""`orchard doctor`: what is wrong with this machine or these settings, and how to mend it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from sfu.base.privileges import USER, become, is_root
from sfu.base.settings import Config
from sfu.cli.checks import (
    Finding,
    Level,
    check_addresses,
    check_browsers,
    check_clock,
    check_data_directory,
    check_descriptors,
    check_ports,
    check_socket_buffers,
    check_turn_certificates,
)
from sfu.cli.options import takes_settings
from sfu.cli.terminal import out

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKS = {
    Level.GOOD: "[green]good[/green]",
    Level.WARNING: "[yellow]look[/yellow]",
    Level.BAD: "[red]BAD [/red]",
}


@takes_settings()
def doctor(config: Config) -> None:
    """Check addresses, ports, clock, limits, data directory and what browsers need; say how to mend it."""
    if config[USER] and is_root():
        become(config[USER])
    worst = Level.GOOD
    for finding in findings(config):
        worst = max(worst, finding.level)
        out.print(f"{_MARKS[finding.level]}  ", end="")
        out.print(f"{finding.subject}: {finding.text}", highlight=False, markup=False, soft_wrap=True)
        if finding.mend:
            out.print(f"        {finding.mend}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1 if worst is Level.BAD else 0)


def findings(config: Config) -> Iterator[Finding]:
    """All that is found, good and bad."""
    wall_now = time.time()
    yield from check_data_directory(config, wall_now)
    yield from check_ports(config)
    yield from check_addresses(config)
    yield from check_browsers(config, wall_now)
    yield from check_turn_certificates(config, wall_now)
    yield from check_clock(wall_now)
    yield from check_descriptors(config)
    yield from check_socket_buffers(config)
