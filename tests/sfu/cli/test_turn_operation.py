"""What an operator does to a TURN server, alone and inside `orchard serve`, while a call runs through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from sfu.api.listener import HTTP_LISTEN
from sfu.directory.files import DataDirectory
from sfu.turn.keys import TurnKeys
from sfu.turn.revoked import Revocations
from tests.sfu.cli.relaying import (
    DEADLINE_S,
    KINDS,
    Call,
    credential,
    refusal,
    relaying,
    shown,
    write_pair,
)
from tests.turn.rest import Credential
from turn.credentials import Credentials
from turn.keys import new_key, signing_keys

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from tests.sfu.cli.relaying import Kind
    from turn.keys import IssuedKey

REVOKED_WITHIN_S = 5.0


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
            ready, health = await server.get("/readyz"), await server.get("/healthz")
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


# Health and metrics, which `orchard serve` has in its own way


async def test_health_and_metrics_are_asked_for_over_http(tmp_path: Path) -> None:
    async with relaying("alone", tmp_path) as server, Call.running(server, credential()):
        ready, health = await server.get("/readyz"), await server.get("/healthz")
        assert (ready.json(), health.json()) == ({"status": "ready"}, {"status": "ok"})
        assert await server.metric('orchard_turn_allocations{transport="udp"}') == 1
        for path in ("/", "/v1/apps", "/openapi.json"):
            assert (await server.get(path)).status_code == 404
        async with httpx.AsyncClient(base_url=server.url) as stranger:
            assert (await stranger.get("/metrics")).status_code == 401


async def test_connections_of_http_are_bounded_in_number_and_time(tmp_path: Path) -> None:
    bounds = ("--http-connections", "3", "--http-head-timeout", "0.5", "--http-head-limit", "1024")
    async with relaying("alone", tmp_path, *bounds) as server, Call.running(server, credential()) as call:
        where = server.url.removeprefix("http://").split(":")
        silent = [await asyncio.open_connection(where[0], int(where[1])) for _ in range(10)]
        for reader, writer in silent:
            writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        reader, writer = await asyncio.open_connection(where[0], int(where[1]))
        writer.write(b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 300_000)
        assert b" 431 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        assert (await server.get("/healthz")).status_code == 200
        await call.goes_on()


async def spawn(folder: Path, *arguments: str, **environment: str) -> Process:
    """`orchard turn` on ports of its own but for HTTP's."""
    ports = (f"--turn-{flag}=127.0.0.1:0" for flag in ("udp", "tcp"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
    return await create_subprocess_exec(
        *(Path(sys.executable).parent / "orchard", "turn", *ports, *arguments),
        stdout=PIPE,
        stderr=PIPE,
        env=clean | environment,
        cwd=folder,
    )


async def refused_to_start(folder: Path, *arguments: str) -> str:
    """What it says instead of starting."""
    process = await spawn(folder, *arguments)
    _, error = await process.communicate()
    assert process.returncode == 2
    return error.decode().splitlines()[-1]


async def test_a_port_of_http_that_is_taken_is_an_error_where_it_was_chosen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = await refused_to_start(tmp_path, "--http", where)
    assert said.startswith(f"orchard: --http {where}: address in use")


async def test_the_default_port_of_http_that_is_taken_is_said_and_the_server_goes_on(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # another program's is as good
            stack.enter_context(socket.create_server(("127.0.0.1", HTTP_LISTEN.default.port)))
        assert "address in use" in await refused_to_start(tmp_path, "--turn-strict-ports", "true")
        process = await spawn(tmp_path, "--log-format", "json")
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            assert b"is ready" in await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    assert process.returncode == 0
    assert b"turn.http_off" in log


async def test_http_that_others_can_reach_wants_a_certificate(tmp_path: Path) -> None:
    said = await refused_to_start(tmp_path, "--http", "127.0.0.1:0", "--http-tls", "on")
    assert "HTTPS needs a certificate; give --tls-cert" in said


async def test_a_secret_among_the_arguments_is_said_and_not_shown(tmp_path: Path) -> None:
    flags = ("--http", "127.0.0.1:0", "--log-format", "json", "--metrics-secret", "seen-by-all")
    process = await spawn(tmp_path, *flags, ORCHARD_TURN_SECRETS="seen-by-nobody-else")
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        assert b"is ready" in await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, log = await process.communicate()
    said = log_of([json.loads(line) for line in log.splitlines()], "settings.secret_in_arguments")
    assert said["flags"] == ["--metrics-secret"]
    assert b"seen-by" not in log


# Certificates


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_certificate_is_shown_to_new_connections_and_ends_no_call(
    kind: Kind, tmp_path: Path
) -> None:
    async with (
        relaying(kind, tmp_path) as server,
        Call.running(server, credential(), "tls") as call,
    ):
        old = await shown(server)
        new = write_pair(tmp_path)
        assert await shown(server) == old != new
        server.process.send_signal(signal.SIGHUP)
        await server.logged("turn.certificate_loaded")
        assert await shown(server) == new
        async with Call.running(server, credential(), "tls") as later:
            await later.goes_on()
            await call.goes_on()
        (tmp_path / "key.pem").write_text("half a file")
        server.process.send_signal(signal.SIGHUP)
        assert "key.pem" in (await server.logged("turn.certificate_not_loaded"))["error"]
        assert await shown(server) == new
        await call.goes_on()


@pytest.mark.parametrize("kind", KINDS)
async def test_https_gets_its_new_certificate_with_the_others(kind: Kind, tmp_path: Path) -> None:
    https = ("--http-tls", "on", "--tls-cert", "chain.pem", "--tls-key", "key.pem")
    async with relaying(kind, tmp_path, *https) as server, Call.running(server, credential()) as call:
        trusted = ssl.create_default_context(cadata=write_pair(tmp_path))
        server.process.send_signal(signal.SIGHUP)
        await server.logged("http.certificate_loaded")
        async with httpx.AsyncClient(verify=trusted) as http:
            assert (await http.get(f"{server.url}/healthz")).status_code == 200
        (tmp_path / "key.pem").write_text("half a file")
        server.process.send_signal(signal.SIGHUP)
        assert "key.pem" in (await server.logged("http.certificate_not_loaded"))["error"]
        async with httpx.AsyncClient(verify=trusted) as http:
            assert (await http.get(f"{server.url}/healthz")).status_code == 200
        await call.goes_on()


# Credentials


def issue(folder: Path) -> tuple[IssuedKey, Credential]:
    """A TURN key of the server's data directory, and a credential by it that holds for long."""
    issued = new_key("mine", time.time())
    TurnKeys(DataDirectory(folder / "data")).change(lambda keys: keys.update({issued.key.id: issued.key}))
    minter = Credentials("orchard", signing_keys([issued.key], ()))
    minted = minter.mint(issued.key.id, 600, "alice", time.time())
    return issued, Credential(minted.username, minted.password)


async def run(folder: Path, *arguments: str) -> None:
    """The `orchard` command beside the server."""
    command = Path(sys.executable).parent / "orchard"
    process = await create_subprocess_exec(command, *arguments, cwd=folder, stdout=DEVNULL)
    assert await process.wait() == 0


@pytest.mark.parametrize(("kind", "transport"), [("alone", "tls"), ("inside", "udp")])
async def test_a_credential_that_is_revoked_ends_its_call_within_5_s_and_no_other(
    kind: Kind, transport: str, tmp_path: Path
) -> None:
    issued, whose = issue(tmp_path)
    _, others = issue(tmp_path)
    async with (
        relaying(kind, tmp_path) as server,
        Call.running(server, others) as other,
        Call.running(server, whose, transport) as call,
    ):
        revoked_at = time.monotonic()
        if kind == "inside":
            path = f"/v1/turn/keys/{issued.key.id}/credentials/{whose.username}/revoke"
            headers = {"authorization": f"Bearer {issued.token}"}
            async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
                assert (await http.post(path)).status_code == 204
        else:
            Revocations(DataDirectory(tmp_path / "data")).add(whose.username)
        ended = await server.logged("turn.ended")
        assert (ended["reason"], ended["user"]) == ("revoked", whose.username)
        assert await call.ends() < revoked_at + REVOKED_WITHIN_S
        assert await refusal(server, whose) == 401
        await other.goes_on()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_that_is_revoked_ends_the_calls_of_all_its_credentials_within_5_s(
    kind: Kind, tmp_path: Path
) -> None:
    issued, whose = issue(tmp_path)
    async with (
        relaying(kind, tmp_path) as server,
        Call.running(server, credential()) as other,
        Call.running(server, whose) as call,
    ):
        await run(tmp_path, "turn", "key", "revoke", issued.key.id, "--data", "data")
        revoked_at = time.monotonic()
        assert await call.ends() < revoked_at + REVOKED_WITHIN_S
        assert await refusal(server, whose) == 401
        await other.goes_on()


@pytest.mark.parametrize(("kind", "transport"), [("alone", "udp"), ("inside", "tcp")])
async def test_a_call_ends_when_its_credential_does(kind: Kind, transport: str, tmp_path: Path) -> None:
    async with relaying(kind, tmp_path) as server, Call.running(server, credential()) as other:
        whose = credential(6, "bob")
        left_s = int(whose.username.partition(":")[0]) - time.time()
        ends_at = time.monotonic() + left_s
        async with Call.running(server, whose, transport) as call:
            last_at = await call.ends()
        assert ends_at - 0.5 < last_at < ends_at + 0.5
        ended = await server.logged("turn.ended")
        assert (ended["reason"], ended["user"]) == ("expired", whose.username)
        assert await refusal(server, whose) == 401
        await other.goes_on()


# Quotas


@pytest.mark.parametrize(
    ("quota", "code", "limit"),
    [
        ("--turn-allocations-per-user", 486, "allocations_per_user"),
        ("--turn-allocations-per-address", 486, "allocations_per_address"),
        ("--turn-allocations", 508, "allocations"),
    ],
)
async def test_a_quota_refuses_one_more_and_lets_the_others_go_on(
    quota: str, code: int, limit: str, tmp_path: Path
) -> None:
    whose = credential()
    async with (
        relaying("alone", tmp_path, quota, "2") as server,
        Call.running(server, whose) as first,
    ):
        async with Call.running(server, whose, "tls") as second:
            assert await refusal(server, whose) == code
            assert await refusal(server, whose, "tcp") == code
            await first.goes_on()
            await second.goes_on()
            assert await server.metric(f'orchard_turn_refused_total{{limit="{limit}"}}') == 2
        async with Call.running(server, whose) as third:  # there is room again
            await third.goes_on()
        await first.goes_on()


def log_of(log: list[dict[str, object]], event: str) -> dict[str, object]:
    """The one line of this event."""
    (line,) = (line for line in log if line["event"] == event)
    return line
