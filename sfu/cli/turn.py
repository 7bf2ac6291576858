"""`orchard turn`: a STUN and TURN server alone, and the keys with which its credentials are made."""

from __future__ import annotations

import asyncio
import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop
from rich.table import Table

import sfu
from sfu.api import listener
from sfu.api.health import METRICS_SECRET, create_health_app
from sfu.api.listener import HTTP_LISTEN, HttpListeners
from sfu.base.log import FORMAT, LEVEL, configure_logging, get_logger
from sfu.base.privileges import USER, let_go
from sfu.base.reloading import ReloadRequests
from sfu.base.settings import Config, Source
from sfu.base.stopping import DRAIN_LIMIT_S, StopRequests
from sfu.cli.errors import CommandError
from sfu.cli.limits import raise_descriptor_limit
from sfu.cli.options import takes_settings, warn_of_open_secrets
from sfu.cli.terminal import as_text, err, out
from sfu.cli.user import begin_as_user, data_of
from sfu.directory.files import DataDirectory
from sfu.node import DATA, NodeError
from sfu.turn.follow import Follower
from sfu.turn.keys import TurnKeys, keys_of
from turn.keys import finish_rotation, new_key, rotate
from turn.node import SETTINGS, STRICT, TurnError, TurnNode

if TYPE_CHECKING:
    from turn.keys import IssuedKey, TurnKey

turn = typer.Typer(help="Run a STUN and TURN server alone; make and revoke TURN keys.")
keys = typer.Typer(help="Make and revoke TURN keys, and exchange their tokens.", no_args_is_help=True)
turn.add_typer(keys, name="key")

Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id, or a beginning that no other key has")]

_READ = (LEVEL, FORMAT, DATA, USER, DRAIN_LIMIT_S, METRICS_SECRET, *listener.SETTINGS, *SETTINGS)

log = get_logger("turn")


@turn.callback(invoke_without_command=True)
@takes_settings(*_READ)
def run(config: Config, *, context: typer.Context) -> None:
    """Run a STUN and TURN server alone. SIGTERM or Ctrl-C ends it, and all allocations; SIGUSR1 drains it: it
    takes no new ones and ends with the last. SIGHUP has it read its certificates anew, which ends nothing."""
    if context.invoked_subcommand is not None:
        if any(config.source(setting) is Source.FLAG for setting in _READ):
            raise CommandError(f"`orchard turn {context.invoked_subcommand}`: flags go behind its command")
        return
    configure_logging(config[LEVEL], config[FORMAT])
    warn_of_open_secrets(config)
    raise_descriptor_limit()
    begin_as_user(config, data=None if config.source(DATA) is Source.DEFAULT else Path(config[DATA]))
    uvloop.run(_run(config))


async def _run(config: Config) -> None:
    stop, reloads = StopRequests(), ReloadRequests()
    stop.heed_signals()
    reloads.heed_signals()
    data = _data_directory(config)
    signers = keys_of(config, None if data is None else TurnKeys(data))
    if not signers.by_id and not signers.shared:
        log.warning("turn.no_keys", mend="orchard turn key create, or turn.secrets")
    node = TurnNode(config, keys=signers)
    try:
        node.start()
    except TurnError as error:
        raise CommandError(str(error)) from error
    http = HttpListeners(config)
    try:
        await _serve_http(http, config, node, data)
        let_go()
        reloads.answer_with(lambda: _reload(http, node))
        _say(node)
        await _until_asked(stop, node, config, data)
    finally:
        await http.stop()
        node.stop()


async def _serve_http(
    http: HttpListeners, config: Config, node: TurnNode, data: DataDirectory | None
) -> None:
    """Health and metrics. Where only the default's port is taken, that is said, and there are none. Raises
    NodeError, DataDirectoryError."""
    app = create_health_app(node.not_ready, config[METRICS_SECRET])
    try:
        log.info("turn.http_started", url=await http.serve_site(app, data, node.hosts))
    except NodeError as error:
        if config[STRICT] or config.source(HTTP_LISTEN) is not Source.DEFAULT:
            raise
        log.warning("turn.http_off", error=str(error))


def _reload(http: HttpListeners, node: TurnNode) -> None:
    http.reload()
    node.reload()


def _say(node: TurnNode) -> None:
    heard = {"udp": node.listens, "tcp": node.tcp_listens, "tls": node.tls_listens}
    where = ", ".join(f"{transport} {listen}" for transport, listens in heard.items() for listen in listens)
    out.print(f"Orchard {sfu.__version__} TURN is ready: {where}", highlight=False, markup=False)


async def _until_asked(
    stop: StopRequests, node: TurnNode, config: Config, data: DataDirectory | None
) -> None:
    """Follow the data directory until the server is to end."""
    following = None
    if data is not None:
        following = asyncio.create_task(Follower(node, config, data).follow_forever(), name="turn follower")
    await stop.wait_drain()
    node.drain()
    await stop.wait_or(node.empty, config[DRAIN_LIMIT_S])
    if following is not None:
        following.cancel()


def _data_directory(config: Config) -> DataDirectory | None:
    """The data directory. One that nobody named is not made: a server with shared secrets needs none."""
    path = Path(config[DATA])
    if config.source(DATA) is Source.DEFAULT and not path.is_dir():
        return None
    return DataDirectory(path)


@keys.command("create")
@takes_settings(DATA, USER)
def create(
    config: Config, *, name: Annotated[str, typer.Option(help="A name for people to tell keys by")] = "turn"
) -> None:
    """Make a TURN key and print its id and token; the token is not kept and never shown again."""
    issued = new_key(name, time.time())
    _data(config).change(lambda stored: stored.update({issued.key.id: issued.key}))
    _tell(issued)


@keys.command("list")
@takes_settings(DATA, USER)
def list_keys(config: Config) -> None:
    """List the TURN keys of the data directory."""
    table = Table("id", "name", "created", "tokens", box=None, header_style="bold")
    for key in sorted(_data(config).current().values(), key=lambda key: key.created_at):
        created = datetime.datetime.fromtimestamp(key.created_at, datetime.UTC)
        table.add_row(key.id, as_text(key.name), f"{created:%Y-%m-%d %H:%M}Z", str(len(key.token_digests)))
    out.print(table)


@keys.command("revoke")
@takes_settings(DATA, USER)
def revoke(config: Config, *, id: Id) -> None:
    """Delete a TURN key: its token and all credentials made with it hold no longer, allocations end."""
    found = ""

    def forget(stored: dict[str, TurnKey]) -> None:
        nonlocal found
        found = _find(stored, id)
        del stored[found]

    _data(config).change(forget)
    out.print(f"revoked {found}", highlight=False)


@keys.command("rotate")
@takes_settings(DATA, USER)
def rotate_token(
    config: Config,
    *,
    id: Id,
    finish: Annotated[
        bool, typer.Option("--finish", help="End the exchange: only the newest token and secret stay")
    ] = False,
) -> None:
    """Make a second token and a new signing secret; then, with --finish, end the old ones."""
    issued: IssuedKey | None = None

    def change(stored: dict[str, TurnKey]) -> None:
        nonlocal issued
        key = _find(stored, id)
        if finish:
            stored[key] = finish_rotation(stored[key])
        else:
            issued = rotate(stored[key])
            stored[key] = issued.key

    _data(config).change(change)
    if issued is None:
        out.print("only the newest token, and credentials made since, are valid now", highlight=False)
    else:
        _tell(issued)
        err.print(
            f"The token in use stays valid until: orchard turn key rotate {issued.key.id} --finish",
            highlight=False,
        )


def _data(config: Config) -> TurnKeys:
    return TurnKeys(data_of(config))


def _find(stored: dict[str, TurnKey], beginning: str) -> str:
    found = [key for key in stored if key.startswith(beginning)]
    if len(found) != 1:
        many = "no key has" if not found else f"{len(found)} keys have"
        raise CommandError(f'"{beginning}": {many} an id that begins so; `orchard turn key list` shows them')
    return found[0]


def _tell(issued: IssuedKey) -> None:
    out.print(f"key id     {issued.key.id}\nkey token  {issued.token}", highlight=False)
