"""TURN inside `orchard serve`: beside the media port, in one process of several, and gone with it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aioice import turn as aioice_turn
from aioice.stun import TransactionFailed

from sfu.directory.files import DataDirectory
from sfu.turn.keys import TurnKeys
from tests.sfu.cli.test_serve import LOOPBACK, rest_of_output, serving, spawn
from tests.sfu.cli.test_workers import working
from tests.turn.certificates import pair_of
from turn.keys import new_key

if TYPE_CHECKING:
    from pathlib import Path

    from turn.keys import IssuedKey

TURN = ("--turn-udp", "127.0.0.1:0", "--turn-tcp", "127.0.0.1:0", "--turn-relay", "127.0.0.1")
DEADLINE_S = 10


def key_in(data: Path) -> IssuedKey:
    issued = new_key("mine", time.time())
    TurnKeys(DataDirectory(data)).change(lambda keys: keys.update({issued.key.id: issued.key}))
    return issued


async def ask(url: str, issued: IssuedKey, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.post(
            f"{url}/v1/turn/keys/{issued.key.id}/credentials/{path}",
            headers={"authorization": f"Bearer {issued.token}"},
        )


async def ice_server(url: str, issued: IssuedKey) -> dict[str, Any]:
    answer = await ask(url, issued, "generate")
    assert answer.status_code == 201, answer.text
    return answer.json()["iceServers"]


async def allocate(server: dict[str, Any]) -> aioice_turn.TurnTransport:
    """An allocation over UDP. Raises aioice's error if it is refused."""
    match = re.search(r"turn:([0-9.]+):(\d+)\?transport=udp", " ".join(server["urls"]))
    assert match is not None
    transport, _ = await aioice_turn.create_turn_endpoint(
        asyncio.DatagramProtocol,
        server_addr=(match[1], int(match[2])),
        username=server["username"],
        password=server["credential"],
    )
    return transport


async def refused(server: dict[str, Any]) -> None:
    """Wait until the credential is refused."""

    async def allocate_until_refused() -> None:
        while True:
            (await allocate(server)).close()
            await asyncio.sleep(0.05)

    with pytest.raises(TransactionFailed) as failed:
        await asyncio.wait_for(allocate_until_refused(), DEADLINE_S)
    assert failed.value.response.attributes["ERROR-CODE"][0] == 401


async def test_clients_get_credentials_and_allocate_until_these_are_revoked(tmp_path: Path) -> None:
    issued = key_in(tmp_path / "data")
    async with serving(*LOOPBACK, *TURN, "--data", str(tmp_path / "data")) as (process, url):
        server = await ice_server(url, issued)
        await allocate(server)
        assert (await ask(url, issued, f"{server['username']}/revoke")).status_code == 204
        await refused(server)
        _, log = await rest_of_output(process)
    assert '"reason": "revoked"' in log
    assert server["credential"] not in log
    assert issued.token not in log


async def test_allocations_end_with_the_server(tmp_path: Path) -> None:
    issued = key_in(tmp_path / "data")
    async with serving(*LOOPBACK, *TURN, "--data", str(tmp_path / "data")) as (process, url):
        await allocate(await ice_server(url, issued))
        _, log = await rest_of_output(process)
    assert '"reason": "stopped"' in log
    assert process.returncode == 0


async def test_a_turn_port_that_is_taken_is_said_and_the_server_goes_on(tmp_path: Path) -> None:
    issued = key_in(tmp_path / "data")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = (*LOOPBACK, "--turn-udp", port, "--data", str(tmp_path / "data"))
        async with serving(*arguments) as (process, url):
            assert (await ask(url, issued, "generate")).status_code == 503
            _, log = await rest_of_output(process)
        assert "turn.off" in log
        assert f"{port}: address in use" in log
        process = await spawn(*arguments, "--turn-strict-ports", "true")
        _, error = await process.communicate()
    assert process.returncode == 2
    assert error.decode().splitlines()[-1].startswith(f"orchard: --turn-udp {port}: address in use")


async def test_without_turn_nothing_listens_and_no_credentials_are_given(tmp_path: Path) -> None:
    issued = key_in(tmp_path / "data")
    arguments = (*LOOPBACK, *TURN, "--turn-enabled", "false", "--data", str(tmp_path / "data"))
    async with serving(*arguments) as (_, url):
        assert (await ask(url, issued, "generate")).status_code == 404
    assert not (tmp_path / "data" / "turn-urls.json").exists()


async def test_one_of_several_workers_listens_and_all_give_credentials_for_it(tmp_path: Path) -> None:
    issued = key_in(tmp_path / "data")
    async with working(tmp_path / "data", *TURN) as workers:
        servers = [await ice_server(url, issued) for url in workers.urls]
        assert servers[0]["urls"] == servers[1]["urls"]
        held = [await allocate(server) for server in servers]
        for url, server in zip(reversed(workers.urls), servers, strict=True):
            assert (await ask(url, issued, f"{server['username']}/revoke")).status_code == 204
            await refused(server)
        _, log = await rest_of_output(workers.supervisor)
    started = [line for line in map(json.loads, log.splitlines()) if line["event"] == "turn.started"]
    assert [line["worker"] for line in started] == [0]
    revoked = {line["user"] for line in map(json.loads, log.splitlines()) if line.get("reason") == "revoked"}
    assert revoked == {server["username"] for server in servers}
    assert len(held) == 2


@pytest.mark.parametrize(("host", "is_named"), [("turn.example.org", True), ("", False)])
async def test_urls_that_no_certificate_names_are_said(tmp_path: Path, host: str, is_named: bool) -> None:
    pair = pair_of("turn.example.org")
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "key.pem").write_bytes(pair.key)
    tls = ("--turn-certificate", str(tmp_path / "chain.pem"), "--turn-key", str(tmp_path / "key.pem"))
    options = (*TURN, "--turn-tls", "127.0.0.1:0", *tls, "--turn-host", host)
    async with serving(*LOOPBACK, *options, "--data", str(tmp_path / "data")) as (process, _):
        _, log = await rest_of_output(process)
    assert ("turn.not_named" in log) is not is_named
    assert "turns:" in log


@pytest.mark.parametrize("host", ["turn example", "-x", "turn.example.org:3478", "x" * 64, "a..b"])
async def test_a_wrong_host_name_is_refused(tmp_path: Path, host: str) -> None:
    process = await spawn(*LOOPBACK, "--turn-host", host, "--data", str(tmp_path / "data"))
    _, error = await process.communicate()
    assert process.returncode == 2
    assert "--turn-host" in error.decode()


async def test_a_certificate_that_can_not_be_read_is_an_error_and_not_a_server_without_turn(
    tmp_path: Path,
) -> None:
    missing = str(tmp_path / "none.pem")
    process = await spawn(
        *(*LOOPBACK, *TURN, "--data", str(tmp_path / "data")),
        *("--turn-certificate", missing, "--turn-key", missing),
    )
    _, error = await process.communicate()
    assert process.returncode == 2
    assert missing in error.decode().splitlines()[-1]
