"""Starts a server's program for the tests, and ends it."""

from __future__ import annotations

import contextlib
import random
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
PORTS = 20_000, 32_000  # Linux chooses from 32,768 on, others from higher


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
    """A port of every address that is free for UDP and TCP, and not one of those that systems choose
    themselves: so nobody's connection has it before the server does."""
    while True:
        port = random.randrange(*PORTS)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            held.enter_context(socket.create_server(("", port)))
            datagrams = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            datagrams.bind(("", port))
            return port


def _answers(target: Target, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_S
    with contextlib.closing(UdpLink(target.host, target.port)) as link:
        while time.monotonic() < deadline and process.poll() is None:
            link.send(plain(BINDING))
            if link.receive(RESEND_S) is not None:
                return True
    return False
