"""`orchard serve`: runs a node, or several in processes of their own, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

import sfu
from sfu.api.server import run
from sfu.base.log import FORMAT, LEVEL, configure_logging
from sfu.base.settings import Config
from sfu.cli.limits import raise_descriptor_limit
from sfu.cli.options import takes_settings, warn_of_open_secrets
from sfu.cli.supervisor import supervise
from sfu.cli.terminal import out
from sfu.cli.user import begin_as_user
from sfu.node import DATA, WORKERS

if TYPE_CHECKING:
    from sfu.api.server import Server
    from sfu.cli.supervisor import Supervisor
    from sfu.directory.apps import IssuedApp


@takes_settings()
def serve(config: Config) -> None:
    """Run the server. SIGTERM or Ctrl-C lets clients go and ends it; a second one ends it at once."""
    configure_logging(config[LEVEL], config[FORMAT])
    warn_of_open_secrets(config)
    begin_as_user(config, data=Path(config[DATA]))
    if config[WORKERS] > 1:
        uvloop.run(supervise(config, ready=_tell_all))
    else:
        raise_descriptor_limit()
        uvloop.run(run(config, ready=_tell))


def _tell(server: Server) -> None:
    lines = [f"Orchard {sfu.__version__} is ready: {server.url}"]
    _say(lines, server.node.directory.keep_first_app(), server.url)


def _tell_all(supervisor: Supervisor) -> None:
    urls = supervisor.urls
    lines = [f"Orchard {sfu.__version__} is ready: {len(urls)} workers, each with sessions of its own"]
    lines += [f"  worker {index}  {url}" for index, url in enumerate(urls)]
    _say(lines, supervisor.keep_first_app(), urls[0])


def _say(lines: list[str], first: IssuedApp | None, url: str) -> None:
    if first is not None:
        lines += [
            "",
            "This first start made an app. Its secret is not kept and will not be shown again:",
            f"  app id      {first.app.id}",
            f"  app secret  {first.secret}",
            f"  API         {url}/v1/apps/{first.app.id}",
        ]
    out.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
