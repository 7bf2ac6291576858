"""The server under test: one that is there already, or one that is started for the measurement."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

import httpx
from prometheus_client.parser import text_string_to_metric_families

from loadtest.api import Server, Site
from loadtest.meter import Meter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from prometheus_client import Metric

START_S: Final = 30.0
STOP_S: Final = 10.0
LOOP_LAG: Final = "orchard_loop_lag_seconds"


class ServerFailed(Exception):
    """The server could not be started; the text has the last it said."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running server: where it is, what it costs, and on which core it runs."""

    server: Site
    meter: Meter
    core: int
    metrics_secret: str = ""

    async def gauges(self) -> dict[str, float]:
        """The gauges of GET /metrics that are the server's own, by name and labels; none without a secret.

        The moment at which a counter was made (`_created`) is written as a gauge but is none.
        """
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in await self._families()
            if family.type == "gauge"
            and family.name.startswith("orchard_")
            and not family.name.endswith("_created")
            for sample in family.samples
        }

    async def loop_lag(self) -> LoopLag:
        """How late the server's event loop was since its start, as it says itself; empty if it does not."""
        return LoopLag(
            {
                float(sample.labels["le"]): sample.value
                for family in await self._families()
                if family.name == LOOP_LAG
                for sample in family.samples
                if sample.name.endswith("_bucket")
            }
        )

    async def _families(self) -> list[Metric]:
        """GET /metrics, parsed; nothing without a secret."""
        if not self.metrics_secret:
            return []
        root = self.server.url.removesuffix("/v1")
        headers = {"Authorization": f"Bearer {self.metrics_secret}"}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            response = await http.get(f"{root}/metrics")
        response.raise_for_status()
        return list(text_string_to_metric_families(response.text))


@dataclass(frozen=True, slots=True)
class LoopLag:
    """A cumulative histogram: upper bound in seconds -> how many."""

    buckets: dict[float, float]

    def p99_ms_since(self, before: LoopLag) -> float | None:
        """The bound that 99 % of what was counted since `before` stayed under, in milliseconds; None if
        nothing was. What lies above all finite bounds is told as the highest of them."""
        counts = {le: count - before.buckets.get(le, 0.0) for le, count in sorted(self.buckets.items())}
        total = max(counts.values(), default=0.0)
        finite = [le for le in counts if le != float("inf")]
        if total <= 0 or not finite:
            return None
        return 1000 * next((le for le in finite if counts[le] >= 0.99 * total), finite[-1])


class Bench(Protocol):
    """Gives scenarios a server to measure."""

    @property
    def fresh(self) -> bool:
        """Whether each target is a process of its own."""
        ...

    def target(self) -> AbstractAsyncContextManager[Target]:
        """A server, for the time of the context."""
        ...


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that somebody else started and pinned to a core; it is left running."""

    server: Server
    pid: int
    fresh: bool = False

    @contextlib.asynccontextmanager
    async def target(self) -> AsyncGenerator[Target]:
        """The one server there is."""
        yield Target(self.server, Meter(self.pid), min(os.sched_getaffinity(self.pid)))


@dataclass(frozen=True, slots=True)
class OwnServer:
    """Starts `orchard serve` on free loopback ports, on one core, with an empty data directory.

    `arguments` are added to the command line.
    """

    core: int
    arguments: Sequence[str] = ()
    fresh: bool = True

    @contextlib.asynccontextmanager
    async def target(self) -> AsyncGenerator[Target]:
        """A new process, ended with the context. Raises ServerFailed."""
        app, secret = secrets.token_hex(16), secrets.token_hex(32)
        http, media = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        with tempfile.TemporaryDirectory(prefix="orchard-loadtest-") as directory:
            command = [
                *("taskset", "-c", str(self.core), *orchard_command(), "serve"),
                *("--http", f"127.0.0.1:{http}", "--media", f"127.0.0.1:{media}"),
                *("--app", f"{app}:{secret}", "--data", f"{directory}/data", *self.arguments),
            ]
            environment = {**foreign_environment(), "ORCHARD_METRICS_SECRET": secret}
            with tempfile.TemporaryFile() as log:
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment
                )
                try:
                    await _ready(f"http://127.0.0.1:{http}/readyz", process, log)
                    # taskset becomes the server by exec, so the process is the server's.
                    server = Server(f"http://127.0.0.1:{http}/v1", app, secret)
                    yield Target(server, Meter(process.pid), self.core, secret)
                finally:
                    await stop(process)


async def _ready(url: str, process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
    deadline = asyncio.get_running_loop().time() + START_S
    async with httpx.AsyncClient(trust_env=False) as http:
        while process.returncode is None and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    log.seek(0)
    said = log.read()[-2000:].decode(errors="replace")
    how = (
        f"not ready after {START_S:g} s" if process.returncode is None else f"ended with {process.returncode}"
    )
    raise ServerFailed(f"the server {how}; it said:\n{said}")


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a server, and wait until it has ended."""
    if process.returncode is not None:
        return
    # Once to drain, twice to stop at once: what was measured needs no goodbye.
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1 if number is signal.SIGTERM else STOP_S)
            return


def foreign_environment() -> dict[str, str]:
    """The environment without settings of Orchard: a server that is started has those that it is given."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}


def orchard_command() -> list[str]:
    """The beginning of a command line of this checkout's server."""
    beside = Path(sys.executable).with_name("orchard")
    found = str(beside) if beside.exists() else shutil.which("orchard")
    return [sys.executable, "-m", "sfu.cli.main"] if found is None else [found]


def free_port(*kinds: socket.SocketKind) -> int:
    """A port of loopback that was free a moment ago, for sockets of all these kinds."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            port = 0
            for kind in kinds:
                sock = held.enter_context(socket.socket(socket.AF_INET, kind))
                sock.bind(("127.0.0.1", port))
                port = int(sock.getsockname()[1])
            return port
