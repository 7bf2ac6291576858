"""`orchard turn` under garbage on TCP and TLS: its clients are served, and nothing is left when that ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from typing import TYPE_CHECKING

import pytest
from aioice import turn as aioice_turn

from loadtest.meter import Meter
from sfu.net.address import Address
from sfu.wire import stun
from sfu.wire.stun import MessageClass
from tests.sfu.cli.relaying import credential, relaying
from tests.turn.stream_lab import trusting
from tests.turn.test_node import Heard, echo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sfu.cli.relaying import Relaying

IDLE = 0.15  # of a core; chosen: an idle server takes under 0.02
MORE_BYTES = 4 << 20  # chosen: what the allocator keeps; a leak of 100 B for each connection is more
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


async def garbage(server: Relaying, source: str, seed: int) -> None:
    """Connection after connection from one address, each with something else that is of no use."""
    chance = random.Random(seed)
    while True:
        where = "127.0.0.1", server.ports[chance.choice(("tcp", "tls"))]
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
async def test_after_a_flood_of_garbage_the_server_is_idle_and_holds_nothing(
    seconds: int, tmp_path: Path
) -> None:
    username, password = credential()
    peer, address = await echo()
    async with relaying("alone", tmp_path) as server:
        meter = Meter(server.process.pid)
        client, heard = await aioice_turn.create_turn_endpoint(
            Heard,
            server_addr=("127.0.0.1", server.ports["tls"]),
            username=username,
            password=password,
            transport="tcp",
            ssl=trusting(),
        )
        await is_served(client, heard, Address(*address), 0)
        descriptors, cpu_s, memory = meter.descriptors(), meter.cpu_s(), 0
        flood = [
            asyncio.create_task(garbage(server, source, seed))
            for seed, source in enumerate(SOURCES * AT_A_TIME)
        ]
        begin = time.monotonic()
        for number in itertools.count(1):
            await is_served(client, heard, Address(*address), number)
            gone_s = time.monotonic() - begin
            if not memory and gone_s > seconds / 4:
                memory = meter.private_bytes()  # by then it has what so many connections at once take
            if gone_s > seconds:
                break
            await asyncio.sleep(0.05)
        assert meter.cpu_s() - cpu_s > seconds * IDLE  # it had work
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        await asyncio.sleep(1)
        cpu_s = meter.cpu_s()
        await asyncio.sleep(2)
        assert meter.cpu_s() - cpu_s < 2 * IDLE
        assert meter.descriptors() == descriptors
        assert meter.private_bytes() < memory + MORE_BYTES
        await is_served(client, heard, Address(*address), 0)
        client.close()
    peer.close()
