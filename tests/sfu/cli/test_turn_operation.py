"""What an operator does to a TURN server, alone and inside `orchard serve`, while a call runs through it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sfu.cli.relaying import KINDS, Call, credential, refusal, relaying

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sfu.cli.relaying import Kind


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_drains_lets_a_call_go_on_takes_no_new_one_and_ends_with_it(
    kind: Kind, tmp_path: Path
) -> None:
    async with relaying(kind, tmp_path) as server:
        async with Call.running(server, credential()) as call:
            server.process.send_signal(signal.SIGUSR1)
            assert (await server.logged("turn.draining"))["allocations"] == 1
            assert await refusal(server, credential()) == 508
            await call.goes_on()
            if server.url:
                async with httpx.AsyncClient(base_url=server.url) as http:
                    ready, health = await http.get("/readyz"), await http.get("/healthz")
                assert (ready.status_code, health.status_code) == (503, 200)
                assert ready.json()["errorDescription"] == "draining"
            assert server.process.returncode is None
        log = await server.ended()
    assert [line["reason"] for line in log if line["event"] == "turn.ended"] == ["released"]
    assert log_of(log, "node.drained")["is_empty"]


async def test_a_drain_ends_after_its_limit_whatever_is_left(tmp_path: Path) -> None:
    async with (
        relaying("alone", tmp_path, "--node-drain-limit", "0.5") as server,
        Call.running(server, credential()) as call,
    ):
        server.process.send_signal(signal.SIGUSR1)
        log = await server.ended()
        await call.ends()
    assert not log_of(log, "node.drained")["is_empty"]
    assert log_of(log, "turn.ended")["reason"] == "stopped"


async def test_sigterm_ends_a_drain(tmp_path: Path) -> None:
    async with relaying("inside", tmp_path) as server, Call.running(server, credential()) as call:
        server.process.send_signal(signal.SIGUSR1)
        await server.logged("turn.draining")
        await call.goes_on()
        server.process.send_signal(signal.SIGTERM)
        log = await server.ended()
        await call.ends()
    assert log_of(log, "node.drained")["is_cut_short"]


def log_of(log: list[dict[str, object]], event: str) -> dict[str, object]:
    """The one line of this event."""
    (line,) = (line for line in log if line["event"] == event)
    return line
