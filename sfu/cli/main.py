"""The `orchard` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import sfu
from sfu.base.settings import SettingsError
from sfu.cli.apps import apps
from sfu.cli.config import config
from sfu.cli.doctor import doctor
from sfu.cli.errors import CommandError
from sfu.cli.loadtest import loadtest
from sfu.cli.serve import serve
from sfu.cli.sessions import sessions
from sfu.cli.terminal import err, out
from sfu.cli.turn import turn
from sfu.directory.interface import DirectoryError
from sfu.node import NodeError

app = typer.Typer(
    name="orchard",
    help="A self-hosted WebRTC SFU with an HTTP API of sessions and tracks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve)
app.add_typer(turn, name="turn")
app.command("config")(config)
app.command("doctor")(doctor)
app.add_typer(apps, name="app")
app.add_typer(sessions, name="sessions")
app.command(
    "loadtest",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(loadtest)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"orchard {sfu.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a command."""
    del version  # its callback has done all


def main() -> None:
    """Run the command line; errors that a user can mend are one line and exit status 2."""
    try:
        app()
    except (SettingsError, DirectoryError, CommandError, NodeError) as error:
        err.print(f"orchard: {error}", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
