"""`orchard turn`: a STUN and TURN server alone."""

from __future__ import annotations

import asyncio
import signal

import uvloop

import sfu
from sfu.base.log import FORMAT, LEVEL, configure_logging
from sfu.base.settings import Config
from sfu.cli.errors import CommandError
from sfu.cli.limits import raise_descriptor_limit
from sfu.cli.options import takes_settings
from sfu.cli.terminal import out
from turn.node import SETTINGS, TurnError, TurnNode


@takes_settings(LEVEL, FORMAT, *SETTINGS)
def turn(config: Config) -> None:
    """Run a STUN and TURN server alone. SIGTERM or Ctrl-C ends it, and all allocations."""
    configure_logging(config[LEVEL], config[FORMAT])
    raise_descriptor_limit()
    uvloop.run(_run(config))


async def _run(config: Config) -> None:
    node = TurnNode(config)
    try:
        node.start()
    except TurnError as error:
        raise CommandError(str(error)) from error
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    where = ", ".join(f"udp {listen}" for listen in node.listens)
    out.print(f"Orchard {sfu.__version__} TURN is ready: {where}", highlight=False, markup=False)
    await stopped.wait()
    node.stop()
