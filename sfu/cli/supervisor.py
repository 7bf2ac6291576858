"""The process behind `orchard serve --workers N`: starts the workers, again where one ends, and ends them.

It serves nothing itself. Each worker is a node with ports of its own (docs/decisions/0011); all have the
data directory, which the supervisor holds for them and fills before it starts one, so that no two of them
make the same file. How the two talk is in `sfu.cli.worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sfu.api.listener import GRACE_S, HTTP_LISTEN, https_files
from sfu.api.server import DRAIN_WAIT_S
from sfu.base.log import get_logger
from sfu.base.privileges import regain
from sfu.base.reloading import ReloadRequests
from sfu.base.settings import Config, Listen, Source
from sfu.base.stopping import StopRequests
from sfu.cli.worker import DRAIN, END_NOW, RELOAD, WHEN_EMPTY
from sfu.directory.certificates import renew_certificates
from sfu.directory.files import DataDirectory, DataDirectoryError, FilesDirectory
from sfu.net.interfaces import advertised, shifted
from sfu.node import DATA, MEDIA_ADVERTISE, MEDIA_LISTEN, WORKERS, NodeError, given_apps

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence

    from sfu.directory.apps import IssuedApp

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # chosen: before an ended worker starts again
CALM_S = 60.0  # chosen: a worker that ran for so long was not broken from the start
END_WAIT_S = 5.0  # chosen: beyond the drain and its grace, before a worker is killed

log = get_logger("workers")


class Pauses:
    """How long to wait before a worker is started again: longer each time, until one has lived."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def after(self, lived_s: float) -> float:
        """The pause after a worker that ran for `lived_s`."""
        if lived_s >= CALM_S:
            self._next_s = FIRST_PAUSE_S
        pause, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_PAUSE_S)
        return pause


def config_of(config: Config, index: int) -> Config:
    """The settings of worker `index`: its ports are so much higher, but for 0, which stays any free one.

    Raises NodeError when that leaves no port.
    """
    own = Config.restored(config.kept())

    for setting in (HTTP_LISTEN, MEDIA_LISTEN):
        listen = config[setting]
        port = listen.port + index if listen.port else 0
        if port > 65535:
            raise NodeError(f"{setting.flag} {listen}: leaves no port for worker {index}; choose a lower one")
        own.put(setting, Listen(listen.host, port), Source.FLAG)
    try:
        addresses = tuple(shifted(text, index) for text in config[MEDIA_ADVERTISE])
    except ValueError as error:
        raise NodeError(f"{MEDIA_ADVERTISE.flag}: worker {index}: {error}") from None
    own.put(MEDIA_ADVERTISE, addresses, Source.FLAG)
    return own


@dataclass(slots=True)
class _Worker:
    """One worker; `process` is its newest, `since` when that was started."""

    index: int
    config: Config
    pauses: Pauses
    process: Process | None = None
    since: float = 0.0
    url: str = ""


class Supervisor:
    """The workers of one data directory: `start`, then `watch`; `ask` and `end` at any time."""

    def __init__(self, config: Config) -> None:
        """Claim the data directory. Raises NodeError, DataDirectoryError."""
        self._config = config
        self._workers = [_Worker(i, config_of(config, i), Pauses()) for i in range(config[WORKERS])]
        self._wish = b""  # what workers were told last
        self._ending = asyncio.Event()
        with contextlib.ExitStack() as stack:
            self._data = DataDirectory(Path(config[DATA]))
            stack.enter_context(self._data.claimed())
            wall_now = time.time()
            self._directory = FilesDirectory(self._data, wall_now, given=given_apps(config, wall_now))
            self._stack = stack.pop_all()

    @property
    def urls(self) -> list[str]:
        """Where each worker serves."""
        return [worker.url for worker in self._workers]

    def keep_first_app(self) -> IssuedApp | None:
        """Store the first app, if this start made one; its secret is known now and never again."""
        return self._directory.keep_first_app()

    async def start(self) -> None:
        """Start all workers and wait until they serve. Raises NodeError if one can't."""
        results = await asyncio.gather(
            *(self._start(worker) for worker in self._workers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        log.info("workers.started", count=len(self._workers), urls=self.urls)

    async def watch(self) -> None:
        """Start each worker again that ends, until `ask`."""
        async with asyncio.TaskGroup() as keepers:
            for worker in self._workers:
                keepers.create_task(self._keep(worker), name=f"worker {worker.index}")

    def ask(self, wish: bytes) -> None:
        """Have all workers end: WHEN_EMPTY, DRAIN or END_NOW. None is started again."""
        self._wish = wish
        self._ending.set()
        for worker in self._workers:
            self._tell(worker, wish)

    def reload(self) -> None:
        """Have all workers read their certificates anew."""
        for worker in self._workers:
            self._tell(worker, RELOAD)

    async def end(self) -> None:
        """Until all workers are gone; kills those that take too long. Without an `ask` before, it is now."""
        if not self._wish:
            self.ask(END_NOW)
        wait_s = self._config[DRAIN_WAIT_S] + GRACE_S + END_WAIT_S
        try:
            async with asyncio.timeout(wait_s):
                await self._all_gone()
        except TimeoutError:
            for worker in self._workers:
                if worker.process is not None and worker.process.returncode is None:
                    log.error("worker.killed", worker=worker.index, waited_s=wait_s)
                    worker.process.kill()
            await self._all_gone()
        self._stack.close()

    async def _all_gone(self) -> None:
        processes = [worker.process for worker in self._workers if worker.process is not None]
        await asyncio.gather(*(process.wait() for process in processes))

    async def _start(self, worker: _Worker) -> None:
        """Start a process and wait until it serves. Raises NodeError if it ends before."""
        await self._prepare()
        worker.since = time.monotonic()
        process = worker.process = await asyncio.create_subprocess_exec(
            *_command(worker.index),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the supervisor's, which passes it on
            preexec_fn=regain,
        )
        cast("StreamWriter", process.stdin).write(json.dumps(worker.config.kept()).encode() + b"\n")
        self._tell(worker, self._wish)  # what came while it was being made
        line = await cast("StreamReader", process.stdout).readline()
        if not line:
            status = await process.wait()
            raise NodeError(f"worker {worker.index} ended with status {status} before it served")
        report = json.loads(line)
        if "error" in report:
            await process.wait()
            raise NodeError(f"worker {worker.index}: {report['error']}")
        worker.url = report["url"]

    async def _prepare(self) -> None:
        """Have in the data directory what a worker would make if it were not there."""
        wall_now = time.time()
        self._data.cluster_secret()
        await renew_certificates(self._directory, wall_now)
        listen = self._config[MEDIA_LISTEN]
        found = advertised(listen.host, listen.port, self._config[MEDIA_ADVERTISE])
        https_files(self._config, self._data, [candidate.host for candidate in found], wall_now)

    async def _keep(self, worker: _Worker) -> None:
        while (process := worker.process) is not None:
            status = await process.wait()
            if self._ending.is_set():
                return
            pause_s = worker.pauses.after(time.monotonic() - worker.since)
            log.error("worker.ended", worker=worker.index, status=status, again_in_s=pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause_s)
                return
            try:
                await self._start(worker)
                log.info("worker.started", worker=worker.index, url=worker.url)
            except (NodeError, DataDirectoryError, OSError) as error:
                log.error("worker.failed", worker=worker.index, error=str(error))

    def _tell(self, worker: _Worker, wish: bytes) -> None:
        process = worker.process
        if wish and process is not None and process.returncode is None and process.stdin is not None:
            process.stdin.write(wish)


def _command(index: int) -> Sequence[str]:
    # Safe path: a directory named sfu where the user happens to be is not this package.
    return (sys.executable, "-P", "-m", "sfu.cli.worker", str(index))


async def supervise(config: Config, *, ready: Callable[[Supervisor], None]) -> None:
    """Run all workers until signals ask for the end (`sfu.base.stopping`). Raises NodeError.

    `ready` is called once all of them serve.
    """
    stop, reloads = StopRequests(), ReloadRequests()
    stop.heed_signals()
    reloads.heed_signals()
    try:
        supervisor = Supervisor(config)
    except DataDirectoryError as error:
        raise NodeError(str(error)) from error
    reloads.answer_with(supervisor.reload)
    work = asyncio.create_task(_work(supervisor, stop, ready), name="workers")
    asked = asyncio.create_task(_pass_on(stop, supervisor), name="stop requests")
    ending = asyncio.create_task(stop.wait(), name="end")
    await asyncio.wait((work, ending), return_when=asyncio.FIRST_COMPLETED)
    await supervisor.end()
    for task in (asked, ending):
        task.cancel()
    await asyncio.gather(work, asked, ending, return_exceptions=True)
    if not stop.asked:
        work.result()


async def _work(supervisor: Supervisor, stop: StopRequests, ready: Callable[[Supervisor], None]) -> None:
    await supervisor.start()
    if not stop.asked:
        ready(supervisor)
    await supervisor.watch()


async def _pass_on(stop: StopRequests, supervisor: Supervisor) -> None:
    await stop.wait_drain()
    log.info("workers.draining")
    if not stop.asked:
        supervisor.ask(WHEN_EMPTY)
        await stop.wait()
    supervisor.ask(DRAIN)
    await stop.wait_now()
    supervisor.ask(END_NOW)
