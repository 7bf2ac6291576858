"""A TURN server as a process, alone or inside `orchard serve`, and calls through it that never pause."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import sys
import time
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import httpx
import pytest
from aioice import turn as aioice_turn
from aioice.stun import TransactionFailed

from tests.turn.rest import SECRET, credential_until
from tests.turn.stream_lab import trusting
from turn.certificate import make_pair

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.turn.rest import Credential

Kind = Literal["alone", "inside"]
KINDS: list[Kind] = ["alone", "inside"]

DEADLINE_S = 60
METRICS_SECRET = "scrape it"
ROUND_S = 20.0  # a datagram that has not come back by then is lost, on however busy a machine
SILENCE_S = 1.5  # after which a call that is to end has
_ANYWHERE = tuple(f"--turn-{flag}=127.0.0.1:0" for flag in ("udp", "tcp", "tls"))


def credential(life_s: float = 600, whose: str = "alice") -> Credential:
    """One that holds for so long."""
    return credential_until(time.time() + life_s, whose)


@dataclass(slots=True)
class Relaying:
    """The process; `ports` are by transport, `url` is where it speaks HTTP."""

    process: Process
    ports: dict[str, int]
    url: str

    async def logged(self, event: str) -> dict[str, Any]:
        """The next event of this name."""
        assert self.process.stderr is not None
        async with asyncio.timeout(DEADLINE_S):
            while line := await self.process.stderr.readline():
                entry = json.loads(line)
                if entry["event"] == event:
                    return entry
        pytest.fail(f"the server ended before {event}")

    async def get(self, path: str) -> httpx.Response:
        """What is answered over HTTP, with the secret of metrics."""
        headers = {"authorization": f"Bearer {METRICS_SECRET}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers) as http:
            return await http.get(path)

    async def metric(self, name: str) -> float:
        """A metric as it stands, named with its labels; 0 if there is none."""
        text = (await self.get("/metrics")).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def ended(self) -> list[dict[str, Any]]:
        """Wait for its end by itself; what it still logged."""
        _, log = await asyncio.wait_for(self.process.communicate(), DEADLINE_S)
        assert self.process.returncode == 0
        return [json.loads(line) for line in log.splitlines()]


def write_pair(folder: Path) -> str:
    """Write a certificate of its own for each call, and its key; the certificate's PEM."""
    pair = make_pair(["127.0.0.1"], time.time())
    (folder / "chain.pem").write_bytes(pair.chain)
    (folder / "key.pem").write_bytes(pair.key)
    return pair.chain.decode()


@contextlib.asynccontextmanager
async def relaying(kind: Kind, folder: Path, *arguments: str) -> AsyncGenerator[Relaying]:
    """A server on loopback for the credentials of `credential`, with the certificate of `chain.pem` and
    `key.pem` in the folder, which are made; ended by SIGTERM if it still runs."""
    write_pair(folder)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
    inside = ("--media", "127.0.0.1:0") if kind == "inside" else ()
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "orchard", "serve" if kind == "inside" else "turn", *inside),
        *("--http", "127.0.0.1:0"),
        *(*_ANYWHERE, "--turn-relay", "127.0.0.1", "--turn-allow", "127.0.0.1", "--log-format", "json"),
        *("--turn-certificate", "chain.pem", "--turn-key", "key.pem", "--data", "data", *arguments),
        stdout=PIPE,
        stderr=PIPE,
        env=clean | {"ORCHARD_TURN_SECRETS": SECRET, "ORCHARD_METRICS_SECRET": METRICS_SECRET},
        cwd=folder,
    )
    try:
        yield await _started(process, kind)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), DEADLINE_S)


async def _started(process: Process, kind: Kind) -> Relaying:
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        ready = (await process.stdout.readline()).decode()
    if "is ready" not in ready:
        assert process.stderr is not None
        pytest.fail(f"{ready!r}: {(await process.stderr.read()).decode()}")
    if kind == "alone":
        found = re.findall(r"(udp|tcp|tls) 127\.0\.0\.1:(\d+)", ready)
        ports = {transport: int(port) for transport, port in found}
        server = Relaying(process, ports, "")
        server.url = (await server.logged("turn.http_started"))["url"]
        return server
    server = Relaying(process, {}, ready.split()[-1])
    for url in (await server.logged("turn.started"))["urls"]:
        scheme, port, transport = re.findall(r"(turns?):127\.0\.0\.1:(\d+)\?transport=(\w+)", url)[0]
        server.ports["tls" if scheme == "turns" else transport] = int(port)
    return server


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


class _Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        del addr
        self.heard.put_nowait(data)


class Call:
    """A client whose datagrams go through a relayed address to a peer and back, one after the other, without
    a pause. One that is lost is the end of it."""

    def __init__(self, client: aioice_turn.TurnTransport, heard: asyncio.Queue[bytes]) -> None:
        self._client = client
        self._heard = heard
        self._talking: asyncio.Task[None] | None = None
        self.rounds = 0
        """Datagrams that came back."""
        self.last_at = 0.0
        """When the last one did, of the monotonic clock."""

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, server: Relaying, whose: Credential, transport: str = "udp"
    ) -> AsyncGenerator[Call]:
        """Allocate, and talk until left. Raises aioice's error where the server refuses."""
        loop = asyncio.get_running_loop()
        peer, _ = await loop.create_datagram_endpoint(_Echo, local_addr=("127.0.0.1", 0))
        client: aioice_turn.TurnTransport | None = None
        try:
            client, protocol = await aioice_turn.create_turn_endpoint(
                _Client,
                server_addr=("127.0.0.1", server.ports[transport]),
                username=whose.username,
                password=whose.password,
                transport="udp" if transport == "udp" else "tcp",
                ssl=trusting() if transport == "tls" else False,
            )
            call = cls(client, protocol.heard)
            call._talking = asyncio.create_task(call._talk(peer.get_extra_info("sockname")), name="call")
            await call.goes_on()
            yield call
            call._talking.cancel()
            await asyncio.gather(call._talking, return_exceptions=True)
        finally:
            peer.close()
            if client is not None:
                client.close()

    async def goes_on(self, rounds: int = 50) -> None:
        """Wait for so many more datagrams to come back."""
        wanted = self.rounds + rounds
        async with asyncio.timeout(DEADLINE_S):
            while self.rounds < wanted:
                assert self._talking is not None
                if self._talking.done():
                    pytest.fail(f"the call ended after {self.rounds} datagrams")
                await asyncio.sleep(0.01)

    async def ends(self) -> float:
        """Wait until nothing comes back any more; when the last datagram did."""
        async with asyncio.timeout(DEADLINE_S):
            while time.monotonic() < self.last_at + SILENCE_S:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return self.last_at

    async def _talk(self, peer: tuple[str, int]) -> None:
        while True:
            data = b"%d" % self.rounds
            self._client.sendto(data, peer)
            async with asyncio.timeout(ROUND_S):  # `wait_for` may swallow the cancellation that ends this
                assert await self._heard.get() == data
            self.rounds += 1
            self.last_at = time.monotonic()
            await asyncio.sleep(0.001)


async def shown(server: Relaying) -> str:
    """The certificate, as PEM, that a new connection is shown."""
    where = "127.0.0.1", server.ports["tls"]
    return await asyncio.to_thread(ssl.get_server_certificate, where)


async def refusal(server: Relaying, whose: Credential, transport: str = "udp") -> int:
    """The code with which one more allocation is refused."""
    with pytest.raises(TransactionFailed) as failed:
        async with Call.running(server, whose, transport):
            pass
    code: int = failed.value.response.attributes["ERROR-CODE"][0]
    return code
