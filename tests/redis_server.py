"""Redis servers for tests: real ones, each with a directory and a port of its own, on this machine alone."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

PROGRAM = shutil.which("redis-server")
_START_S = 10.0


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """One server, running within `with`. `options` are its command line's: `("appendonly", "yes")`."""

    def __init__(
        self, directory: Path, *options: tuple[str, str], port: int | None = None, password: str | None = None
    ) -> None:
        if PROGRAM is None:
            pytest.skip("redis-server is not installed")
        self.directory = directory
        self.port = port or free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis = redis.Redis(port=self.port, password=password, protocol=3)

    @property
    def url(self) -> str:
        """Where it is, as a setting says it."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, with the data that its directory has, and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.directory), "save": ""}
        settings |= dict(self._options)
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([str(PROGRAM), *words], stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.directory / "log").read_text())
            with contextlib.suppress(redis.ConnectionError):
                if self("PING"):
                    return
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, or kill it; safe if it does not run."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None
        self._client.connection_pool.disconnect()

    def pause(self) -> None:
        """Let it be there and do nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT)

    def __call__(self, *words: str | bytes | int) -> Any:
        """What it answers to a command."""
        return cast("Any", self._client).execute_command(*words)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
