"""Starts a server's program for the tests, and ends it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from sfu.wire.stun import BINDING
from tests.conformance.turn.client import plain
from tests.conformance.turn.links import UdpLink

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from tests.conformance.turn.target import Target

START_S = 20  # chosen: for a busy machine
STOP_S = 20
RESEND_S = 0.05


@contextlib.contextmanager
def serving(target: Target, command: Sequence[str | Path], log: Path) -> Generator[Target]:
    """The target, once the command answers there; what it prints goes to `log`."""
    with log.open("ab") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=printed, cwd=log.parent)
    try:
        if not _answers(target, process):
            pytest.fail(f"{target.name} does not answer; its log ends with\n{log.read_text()[-2000:]}")
        yield target
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"{target.name} does not end within {STOP_S} s of SIGTERM")


def free_port() -> int:
    """A port of loopback that is free for UDP and TCP."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            stream = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = int(stream.getsockname()[1])
            datagrams = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            datagrams.bind(("127.0.0.1", port))
            return port


def _answers(target: Target, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_S
    with contextlib.closing(UdpLink(target.host, target.port)) as link:
        while time.monotonic() < deadline and process.poll() is None:
            link.send(plain(BINDING))
            if link.receive(RESEND_S) is not None:
                return True
    return False
