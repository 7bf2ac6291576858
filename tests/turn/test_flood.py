"""`orchard turn` under garbage on TCP and TLS: its clients are served, and nothing is left when that ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aioice import turn as aioice_turn

from sfu.net.address import Address
from sfu.wire import stun
from sfu.wire.stun import MessageClass
from tests.turn.stream_lab import trusting
from tests.turn.test_node import SECRET, Heard, echo, timed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

IDLE = 0.15  # of a core; chosen: an idle server takes under 0.02
MORE_KIB = 4096  # chosen: what the allocator keeps; a leak of 100 B for each connection is more
SOURCES = [f"127.0.0.{number}" for number in range(10, 74)]
AT_A_TIME = 4  # connections of a source
SAID: tuple[Callable[[random.Random], bytes], ...] = (
    lambda _: b"",  # silent
    lambda chance: chance.randbytes(4000),
    lambda chance: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(900),  # like TLS
    lambda chance: b"\x00\x01\xff\xfc\x21\x12\xa4\x42" + chance.randbytes(12),  # a huge claim
    lambda chance: stun.build(stun.BINDING, MessageClass.REQUEST, chance.randbytes(12)) * 20,
    lambda chance: b"\x40\x00\xff\xff" + chance.randbytes(3000),  # ChannelData of nobody
    lambda _: b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
)


@dataclass(frozen=True)
class Program:
    """A server in a process of its own, and where it listens by transport."""

    pid: int
    listens: dict[str, Address]

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def memory_kib(self) -> int:
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.findall(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[0])


@contextlib.asynccontextmanager
async def program() -> AsyncGenerator[Program]:
    settings = {
        **{transport: "127.0.0.1:0" for transport in ("udp", "tcp", "tls")},
        **{"relay": "127.0.0.1", "allow": "127.0.0.1", "secrets": SECRET, "certificate": "self-made"},
    }
    flags = [word for name, value in settings.items() for word in (f"--turn-{name}", value)]
    command = Path(sys.executable).parent / "orchard"
    process = await asyncio.create_subprocess_exec(
        command, "turn", *flags, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        assert process.stdout is not None
        ready = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        found = re.findall(r"(\w+) 127\.0\.0\.1:(\d+)", ready)
        yield Program(process.pid, {name: Address("127.0.0.1", int(port)) for name, port in found})
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


async def garbage(server: Program, source: str, seed: int) -> None:
    """Connection after connection from one address, each with something else that is of no use."""
    chance = random.Random(seed)
    while True:
        where = server.listens[chance.choice(("tcp", "tls"))]
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*where, local_addr=(source, 0))
            try:
                writer.write(chance.choice(SAID)(chance))
                async with asyncio.timeout(chance.uniform(0.02, 0.3)):
                    while await reader.read(65536):
                        pass
            except TimeoutError:
                pass
            finally:
                writer.close()


async def is_served(client: aioice_turn.TurnTransport, heard: Heard, peer: Address, number: int) -> None:
    """Wait until the peer's echo is here, said again as often as it takes: datagrams may be lost."""
    async with asyncio.timeout(10):
        while True:
            client.sendto(b"%d" % number, peer)
            with contextlib.suppress(TimeoutError):
                while await asyncio.wait_for(heard.heard.get(), 0.5) != b"%d" % number:
                    pass
                return


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
async def test_after_a_flood_of_garbage_the_server_is_idle_and_holds_nothing(seconds: int) -> None:
    username, password = timed()
    peer, address = await echo()
    async with program() as server:
        client, heard = await aioice_turn.create_turn_endpoint(
            Heard,
            server_addr=server.listens["tls"],
            username=username,
            password=password,
            transport="tcp",
            ssl=trusting(),
        )
        await is_served(client, heard, Address(*address), 0)
        descriptors, memory_kib, cpu_s = server.descriptors(), server.memory_kib(), server.cpu_s()
        flood = [
            asyncio.create_task(garbage(server, source, seed))
            for seed, source in enumerate(SOURCES * AT_A_TIME)
        ]
        end = time.monotonic() + seconds
        for number in itertools.count(1):
            await is_served(client, heard, Address(*address), number)
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.05)
        assert server.cpu_s() - cpu_s > seconds * IDLE  # it had work
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        await asyncio.sleep(1)
        cpu_s = server.cpu_s()
        await asyncio.sleep(2)
        assert server.cpu_s() - cpu_s < 2 * IDLE
        assert server.descriptors() == descriptors
        assert server.memory_kib() < memory_kib + MORE_KIB
        await is_served(client, heard, Address(*address), 0)
        client.close()
    peer.close()
