"""`orchard sessions`: what the running server holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sfu.base.settings import Config
from sfu.cli.options import takes_settings
from sfu.cli.running import RunningServer
from sfu.cli.terminal import as_text, out
from sfu.directory.files import DataDirectory
from sfu.node import DATA

sessions = typer.Typer(help="See and close the sessions of the running server.", no_args_is_help=True)


@sessions.command("list")
@takes_settings(DATA)
def list_sessions(
    config: Config,
    *,
    app: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this app")] = None,
) -> None:
    """List the sessions, oldest first."""
    table = Table(
        "id", "app", "state", "age", "publishes", "pulls", "correlation id", box=None, header_style="bold"
    )
    for line in _server(config).sessions(app):
        table.add_row(
            line.id,
            line.app,
            line.state,
            f"{max(0.0, time.time() - line.created_at):.0f} s",
            str(line.publishes),
            str(line.pulls),
            as_text(line.correlation_id or ""),
        )
    out.print(table)


@sessions.command("close")
@takes_settings(DATA)
def close(
    config: Config,
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Sessions to close")] = None,
    app: Annotated[str | None, typer.Option(metavar="ID", help="Close all sessions of this app")] = None,
) -> None:
    """Close sessions: their clients see the connection end."""
    server = _server(config)
    if not ids and app is None:
        raise typer.BadParameter("name sessions, or an app with --app")
    for session in ids or []:
        server.close_session(session)
    closed = len(ids or [])
    if app is not None:
        closed += server.close_sessions_of(app)
    out.print(f"{closed} sessions closed", highlight=False)


def _server(config: Config) -> RunningServer:
    return RunningServer(DataDirectory(Path(config[DATA])))
