"""`orchard app`: the apps of a data directory. A running server sees each change at once."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sfu.base.ids import AppId
from sfu.base.privileges import USER
from sfu.base.settings import Config
from sfu.cli.errors import CommandError
from sfu.cli.options import takes_settings
from sfu.cli.running import RunningServer, ServerNotRunning
from sfu.cli.terminal import as_text, err, out
from sfu.cli.user import data_of
from sfu.directory.apps import finish_rotation, new_app, rotate
from sfu.node import DATA

if TYPE_CHECKING:
    from sfu.directory.apps import IssuedApp
    from sfu.directory.interface import App

apps = typer.Typer(help="Make and revoke apps, and exchange their secrets.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The app's id, or a beginning that no other app has")]


@apps.command("create")
@takes_settings(DATA, USER)
def create(
    config: Config, *, name: Annotated[str, typer.Option(help="A name for people to tell apps by")] = "app"
) -> None:
    """Make an app and print its id and secret; the secret is not kept and never shown again."""
    issued = new_app(name, time.time())
    data_of(config).change_apps(lambda stored: stored.update({issued.app.id: issued.app}))
    _tell(issued)


@apps.command("list")
@takes_settings(DATA, USER)
def list_apps(config: Config) -> None:
    """List the apps of the data directory."""
    table = Table("id", "name", "created", "secrets", box=None, header_style="bold")
    for app in sorted(data_of(config).apps() or [], key=lambda app: app.created_at):
        created = datetime.datetime.fromtimestamp(app.created_at, datetime.UTC)
        table.add_row(app.id, as_text(app.name), f"{created:%Y-%m-%d %H:%M}Z", str(len(app.secret_digests)))
    out.print(table)


@apps.command("revoke")
@takes_settings(DATA, USER)
def revoke(config: Config, *, id: Id) -> None:
    """Delete an app: its secrets are refused from now on, its sessions are closed."""
    data = data_of(config)
    app: AppId | None = None

    def forget(stored: dict[AppId, App]) -> None:
        nonlocal app
        app = _find(stored, id)
        del stored[app]

    data.change_apps(forget)
    try:
        closed = RunningServer(data).close_sessions_of(str(app))
    except ServerNotRunning:
        closed = 0
    out.print(f"revoked {app}; {closed} sessions closed", highlight=False)


@apps.command("rotate")
@takes_settings(DATA, USER)
def rotate_secret(
    config: Config,
    *,
    id: Id,
    finish: Annotated[
        bool, typer.Option("--finish", help="End the exchange: only the newest secret stays")
    ] = False,
) -> None:
    """Make a second secret, valid beside the one in use; then, with --finish, end the old one."""
    issued: IssuedApp | None = None

    def change(stored: dict[AppId, App]) -> None:
        nonlocal issued
        app = _find(stored, id)
        if finish:
            stored[app] = finish_rotation(stored[app])
        else:
            issued = rotate(stored[app])
            stored[app] = issued.app

    data_of(config).change_apps(change)
    if issued is None:
        out.print("only the newest secret is valid now", highlight=False)
    else:
        _tell(issued)
        err.print(
            f"The secret in use stays valid until: orchard app rotate {issued.app.id} --finish",
            highlight=False,
        )


def _find(stored: dict[AppId, App], beginning: str) -> AppId:
    found = [app for app in stored if app.startswith(beginning)]
    if len(found) != 1:
        many = "no app has" if not found else f"{len(found)} apps have"
        raise CommandError(f'"{beginning}": {many} an id that begins so; `orchard app list` shows them')
    return found[0]


def _tell(issued: IssuedApp) -> None:
    out.print(f"app id      {issued.app.id}\napp secret  {issued.secret}", highlight=False)
