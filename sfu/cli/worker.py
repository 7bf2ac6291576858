"""One worker of `orchard serve --workers N`: a node in a process of its own, started by `sfu.cli.supervisor`.

    python -m sfu.cli.worker INDEX

Standard input brings the settings as one line of JSON, then what the supervisor wants: `e` to end once
nothing is left, `d` to drain and end soon, `n` to end now, `r` to read certificates anew. Its end means that
the supervisor is gone, so nobody would end this process: it drains.
Standard output takes one line of JSON: the worker's address once it serves, or why it can't.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from sfu.api.server import run
from sfu.base.log import FORMAT, LEVEL, configure_logging
from sfu.base.privileges import USER, become
from sfu.base.reloading import ReloadRequests
from sfu.base.settings import Config, SettingsError
from sfu.base.stopping import StopRequests
from sfu.cli.limits import raise_descriptor_limit
from sfu.directory.interface import DirectoryError
from sfu.node import NodeError

if TYPE_CHECKING:
    from sfu.api.server import Server

WHEN_EMPTY, DRAIN, END_NOW, RELOAD = b"e", b"d", b"n", b"r"
_STDIN = 0


def main() -> None:
    """Serve until told to end; exit status 2 if that can't begin."""
    index = int(sys.argv[1])
    line, rest = _first_line()
    try:
        config = Config.restored(json.loads(line))
        configure_logging(config[LEVEL], config[FORMAT])
        structlog.contextvars.bind_contextvars(worker=index)
        raise_descriptor_limit()
        if config[USER]:
            become(config[USER])
        uvloop.run(_serve(config, index, rest))
    except (SettingsError, DirectoryError, NodeError) as error:
        _report({"error": str(error)})
        sys.exit(2)


async def _serve(config: Config, index: int, wishes: bytes) -> None:
    stop, reloads = StopRequests(), ReloadRequests()
    loop = asyncio.get_running_loop()

    def obey(wishes: bytes) -> None:
        if END_NOW in wishes:
            stop.ask_now()
        elif DRAIN in wishes:
            stop.ask()
        elif WHEN_EMPTY in wishes:
            stop.ask_when_empty()
        if RELOAD in wishes:
            reloads.ask()

    def on_readable() -> None:
        wishes = os.read(_STDIN, 64)
        obey(wishes)
        if not wishes:
            loop.remove_reader(_STDIN)
            stop.ask()

    obey(wishes)
    loop.add_reader(_STDIN, on_readable)
    await run(config, ready=_tell, stop=stop, reloads=reloads, worker=index)


def _tell(server: Server) -> None:
    _report({"url": server.url})


def _first_line() -> tuple[bytes, bytes]:
    """The first line of standard input, and what has come behind it. Ends the process if none comes."""
    data = b""
    while b"\n" not in data:
        more = os.read(_STDIN, 65536)
        if not more:
            sys.exit(0)  # the supervisor is gone before this has begun
        data += more
    line, _, rest = data.partition(b"\n")
    return line, rest


def _report(what: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # the supervisor is gone; the end of standard input says so too


if __name__ == "__main__":
    main()
