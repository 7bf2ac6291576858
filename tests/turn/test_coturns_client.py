"""coturn's client and its other tools against the server, each as its own manual has it.

A client waits for seconds between a few messages, so those of a run go side by side; each is judged alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.turn.program import free_port
from tests.turn.rest import SECRET, credential_until
from tests.turn.test_node import config, echo
from turn.node import TurnNode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

pytestmark = pytest.mark.skipif(
    shutil.which("turnutils_uclient") is None, reason="coturn's client is not installed"
)

PASS = {
    "channels, a pair of ports, DONT-FRAGMENT": "-e 127.0.0.1 -X -g",
    "indications": "-e 127.0.0.1 -X -g -s",
    "padded ChannelData": "-e 127.0.0.1 -X -g -D",
    "more permissions and bindings": "-e 127.0.0.1 -X -g -G",
    "client to client": "-y -n 20 -m 2",
    "TCP": "-e 127.0.0.1 -X -g -t",
    "TCP, indications": "-e 127.0.0.1 -X -g -t -s",
    "TCP, client to client": "-t -y -n 20 -m 2",
    "TLS": "-e 127.0.0.1 -X -g -t -S",
    "TLS, indications": "-e 127.0.0.1 -X -g -t -S -s",
    "TCP allocations": "-T -n 20 -m 2",
    "TCP allocations over TLS": "-T -S -n 20 -m 2",
    "mobility, which is not offered: the ticket is ignored (RFC 8016 3.1.2)": "-e 127.0.0.1 -X -g -M",
    "some load": "-e 127.0.0.1 -X -g -c -m 10 -n 200 -z 5 -l 120",
    "some load on TCP": "-e 127.0.0.1 -X -g -t -c -m 6 -n 200 -z 5 -l 1000",
    "some load on TLS": "-e 127.0.0.1 -X -g -t -S -c -m 6 -n 200 -z 5 -l 1000",
    "some load on TCP allocations": "-T -m 2 -n 1000 -z 2 -l 1000",
}
LOAD = {
    "UDP, 50,000 messages a second each way": "-e 127.0.0.1 -X -g -c -m 50 -n 5000 -z 1 -l 120",
    "TCP, 15,000": "-e 127.0.0.1 -X -g -t -c -m 30 -n 3000 -z 2 -l 1000",
    "TLS, 7,500": "-e 127.0.0.1 -X -g -t -S -c -m 30 -n 3000 -z 4 -l 1000",
}
MANY = {  # all clients are one address, and what they get wrong is answered
    "allocations_per_user": "200",
    "allocations_per_address": "1000",
    "strangers_per_address": "1000",
    "replies_per_second": "100000",
    "failures_per_minute": "1000",
}


@dataclass(frozen=True)
class Said:
    """How a client ended, and what it printed."""

    code: int | None
    text: str

    def lost(self) -> tuple[int, int]:
        """How many messages it sent, and how many of them did not come back."""
        sent = re.search(r"tot_send_msgs=(\d+), tot_recv_msgs=\d+\n(?=.*tot_send_bytes)", self.text)
        lost = re.search(r"Total lost packets (\d+) ", self.text)
        assert self.code == 0, self.text
        assert sent, self.text
        assert lost, self.text
        return int(sent[1]), int(lost[1])


async def client(
    node: TurnNode,
    options: str,
    *,
    user: str | None = None,
    secret: str = SECRET,
    peer: int = 3480,
    wait_s: float = 60,
) -> Said:
    """Run coturn's client; with its time-limited names, if the options name nobody: `user` tells the runs
    apart. Without a code it waited for an answer for longer than `wait_s`."""
    listens = node.tls_listens if " -S" in options else node.tcp_listens if "-t" in options else node.listens
    program = await asyncio.create_subprocess_exec(
        *("turnutils_uclient", *options.split(), *(("-u", user, "-W", secret) if user else ())),
        *("-p", str(listens[0].port), "-r", str(peer), "127.0.0.1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    ended = asyncio.create_task(program.communicate())
    done, _ = await asyncio.wait([ended], timeout=wait_s)
    code = program.returncode
    if not done:
        program.kill()
    said, _ = await ended
    return Said(code, said.decode(errors="replace"))


def started(**settings: str | list[str]) -> TurnNode:
    port = str(free_port())  # one for UDP and TCP, as clients have it
    values: dict[str, str | list[str]] = {
        **{transport: [f"127.0.0.1:{port}"] for transport in ("udp", "tcp")},
        "tls": ["127.0.0.1:0"],
        "certificate": "self-made",
        "tcp_relay": "true",
        **MANY,
        **settings,
    }
    node = TurnNode(config(**values))
    node.start()
    return node


@pytest.fixture
async def node() -> AsyncIterator[TurnNode]:
    node = started()
    yield node
    node.stop()


@contextlib.asynccontextmanager
async def echoes() -> AsyncGenerator[int]:
    """Peers at two ports in a row, and the first of them: the client wants one for RTP, one for RTCP."""
    while True:
        first, (_, port) = await echo()
        try:
            second, _ = await echo(port + 1)
        except OSError:
            first.close()
            continue
        break
    try:
        yield port
    finally:
        first.close()
        second.close()


@pytest.fixture(scope="module")
def said() -> dict[str, Said]:
    """What the clients of `PASS` said."""

    async def run() -> dict[str, Said]:
        node = started()
        async with echoes() as peer, asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(client(node, options, user=f"user{number}", peer=peer))
                for number, (name, options) in enumerate(PASS.items())
            }
        node.stop()
        return {name: task.result() for name, task in tasks.items()}

    return asyncio.run(run())


@pytest.mark.parametrize("name", PASS)
def test_coturns_client_gets_back_all_that_it_sends(said: dict[str, Said], name: str) -> None:
    sent, lost = said[name].lost()
    assert sent > 0
    assert lost == 0


async def test_coturns_client_of_stun_is_told_its_address(node: TurnNode) -> None:
    await told_its_address(node)


async def told_its_address(node: TurnNode) -> None:
    program = await asyncio.create_subprocess_exec(
        *("turnutils_stunclient", "-p", str(node.listens[0].port), "127.0.0.1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        printed, _ = await program.communicate()
    assert program.returncode == 0, printed
    assert b"UDP reflexive addr: 127.0.0.1:" in printed


async def test_a_wrong_secret_is_of_no_use(node: TurnNode) -> None:
    wrong = await client(node, "-e 127.0.0.1 -X -g", user="user", secret="not the secret of this one")
    assert wrong.code == 255
    assert "Cannot complete Allocation" in wrong.text
    assert len(node.server) == 0


async def test_what_is_refused_is_refused_to_coturns_client_too() -> None:
    """Each line with its outcome: what may not be reached, who may not come, and how many."""
    node = started(allocations_per_user="4")
    over, over_password = credential_until(time.time() - 60)
    far, far_password = credential_until(time.time() + 400_000)
    holds, password = credential_until(time.time() + 600)
    lines = {
        f"-e 10.0.0.1 -X -g -u {holds} -w {password}": r"error 403 \(Forbidden\)",
        f"-e 169.254.169.254 -X -g -t -u user1 -W {SECRET}": r"error 403 \(Forbidden\)",
        f"-e 127.0.0.1 -X -g -u {over} -w {over_password}": "Cannot complete Allocation",
        f"-e 127.0.0.1 -X -g -u {far} -w {far_password}": "Cannot complete Allocation",
        "-e 127.0.0.1 -X -g -u nobody -w none": "Cannot complete Allocation",
        f"-e 127.0.0.1 -X -g -c -m 5 -u user2 -W {SECRET}": r"error 486 \(Allocation Quota Reached\)",
    }
    async with asyncio.TaskGroup() as group:
        tasks = {line: group.create_task(client(node, line)) for line in lines}
    node.stop()
    for line, wanted in lines.items():
        said = tasks[line].result()
        assert said.code == 255, said.text
        assert re.search(wanted, said.text), said.text
    assert len(node.server) == 0


async def test_what_the_client_gets_wrong_on_purpose_is_a_bad_request(node: TurnNode) -> None:
    async with echoes() as peer:
        wrong = await client(node, "-e 127.0.0.1 -X -g -N", user="user", peer=peer)
    assert wrong.code == 255
    assert "error 400 (Bad Request)" in wrong.text


async def test_a_client_that_breaks_the_protocol_at_random_harms_nobody(node: TurnNode) -> None:
    """It leaves out, repeats and cuts messages. Then it may have got through, or got a 400, or wait forever
    for the answer to what was no request."""
    async with echoes() as peer, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                client(node, f"-e 127.0.0.1 -X -g -R{more}", user=f"user{number}", peer=peer, wait_s=8)
            )
            for number, more in enumerate(["", "", " -t", " -t", " -y", " -T"])
        ]
    for task in tasks:
        ended = task.result()
        assert ended.code in (0, 255, None), ended.text
        assert set(re.findall(r"error (\d+)", ended.text)) <= {"400", "401", "437", "438"}, ended.text
    await told_its_address(node)


async def test_without_the_option_there_are_no_tcp_allocations() -> None:
    node = started(tcp_relay="false")
    refused = await client(node, "-T -n 20 -m 2", user="user")
    assert refused.code == 255
    assert "error 442 (Unsupported Transport Protocol)" in refused.text
    node.stop()


# load


@contextlib.asynccontextmanager
async def program(*command: str | Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A program that runs meanwhile."""
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
            await running.communicate()


@pytest.mark.long
@pytest.mark.parametrize("name", LOAD)
async def test_coturns_client_is_carried_through_under_load(name: str, tmp_path: Path) -> None:
    """The server is a program of its own, and so is the peer. A stream loses nothing; UDP may lose one
    message in a hundred on a busy machine, where the client's own socket does."""
    port, tls_port, peer_port = free_port(), free_port(), free_port()
    settings = tmp_path / "orchard.toml"
    settings.write_text(
        "[turn]\n"
        + "".join(f"{key} = {value}\n" for key, value in MANY.items())
        + f'udp = ["127.0.0.1:{port}"]\ntcp = ["127.0.0.1:{port}"]\ntls = ["127.0.0.1:{tls_port}"]\n'
        + f'certificate = "self-made"\nrelay = ["127.0.0.1"]\nallow = ["127.0.0.1"]\nsecrets = ["{SECRET}"]\n'
    )
    orchard = Path(sys.executable).parent / "orchard"
    async with (
        program(
            orchard, "turn", "--http", "127.0.0.1:0", "--config", settings, "--log-level", "warning"
        ) as server,
        program("turnutils_peer", "-L", "127.0.0.1", "-p", str(peer_port)),
    ):
        assert server.stdout is not None
        async with asyncio.timeout(20):
            while b"is ready" not in await server.stdout.readline():
                pass
        options = LOAD[name]
        async with program(
            *("turnutils_uclient", *options.split(), "-u", "user", "-W", SECRET, "-r", str(peer_port)),
            *("-p", str(tls_port if " -S" in options else port), "127.0.0.1"),
        ) as running:
            async with asyncio.timeout(120):
                printed, _ = await running.communicate()
    sent, lost = Said(running.returncode, printed.decode(errors="replace")).lost()
    assert sent == int(options.split("-m ")[1].split()[0]) * int(options.split("-n ")[1].split()[0])
    assert lost <= (0 if " -t" in options else sent // 100)
