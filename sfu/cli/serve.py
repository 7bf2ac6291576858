"""`orchard serve`: runs a node until it is told to stop."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import uvloop

import sfu
from sfu.api.server import run
from sfu.base.log import FORMAT, LEVEL, configure_logging
from sfu.base.settings import Config
from sfu.cli.options import takes_settings
from sfu.cli.terminal import out

if TYPE_CHECKING:
    from sfu.api.server import Server


@takes_settings()
def serve(config: Config) -> None:
    """Run the server. SIGTERM or Ctrl-C lets clients go and ends it; a second one ends it at once."""
    configure_logging(config[LEVEL], config[FORMAT])
    # The usual soft limit of 1024 is for programs that use select(2).
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    uvloop.run(run(config, ready=_tell))


def _tell(server: Server) -> None:
    lines = [f"Orchard {sfu.__version__} is ready: {server.url}"]
    first = server.node.directory.keep_first_app()
    if first is not None:
        lines += [
            "",
            "This first start made an app. Its secret is not kept and will not be shown again:",
            f"  app id      {first.app.id}",
            f"  app secret  {first.secret}",
            f"  API         {server.url}/v1/apps/{first.app.id}",
        ]
    out.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
