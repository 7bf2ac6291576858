"""Every counter of the relay is in the docs and reaches Prometheus, and so does what each key relays."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest
from aioice import turn as aioice_turn
from prometheus_client import REGISTRY

from tests.turn.rest import SECRET, credential_until
from tests.turn.test_node import KEY, Heard, config, echo, listens
from turn.credentials import Keys
from turn.node import TurnNode
from turn.relay import Relay

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "counters.md"


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def relayed(key: str, direction: str) -> float:
    return sample("orchard_turn_relayed_bytes_total", key=key, direction=direction)


@pytest.fixture
def relay() -> Relay:
    return Relay(seed=bytes(16), allocations_max=1)


def test_every_counter_of_the_relay_has_a_line_in_the_docs(relay: Relay) -> None:
    told = set(re.findall(r"`(\w+)`", PAGE.read_text().partition("\n## TURN\n")[2]))
    names = {re.sub("^(drop|end)_", "", name) for name in relay.counters()}
    assert names - told == set()
    assert relay.live().keys() - told == set()


async def test_drops_and_ends_reach_prometheus_by_their_reason() -> None:
    before = sample("orchard_turn_relay_dropped_total", reason="strange")
    ended_before = sample("orchard_turn_streams_ended_total", reason="garbage")
    node = TurnNode(config())
    node.start()
    loop = asyncio.get_running_loop()
    sender, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=listens(node))
    sender.sendto(b"\xff" * 20)
    reader, writer = await asyncio.open_connection(*node.tcp_listens[0])
    writer.write(b"\xff" * 20)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    async with asyncio.timeout(5):
        while node.relay_counters()["drop_strange"] == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    node.measure()
    assert sample("orchard_turn_relay_dropped_total", reason="strange") == before + 1
    assert sample("orchard_turn_streams_ended_total", reason="garbage") == ended_before + 1
    node.measure()
    assert sample("orchard_turn_relay_dropped_total", reason="strange") == before + 1
    sender.close()
    node.stop()


@pytest.mark.parametrize("key", [KEY, None], ids=["a key", "a shared secret"])
async def test_bytes_count_for_the_key_of_the_credential_while_the_allocation_goes_on_and_once(
    key: str | None,
) -> None:
    label = key or "shared"
    before = {direction: relayed(label, direction) for direction in ("to_peers", "to_client")}
    node = TurnNode(config(), keys=Keys({KEY: (SECRET.encode(),)}, shared=(SECRET.encode(),)))
    node.start()
    if key is None:
        username, password = credential_until(time.time() + 600)
    else:
        minted = node.credentials.mint(key, 600, "", time.time())
        username, password = minted.username, minted.password
    peer, address = await echo()
    client, heard = await aioice_turn.create_turn_endpoint(
        Heard, server_addr=listens(node), username=username, password=password
    )

    def counted() -> dict[str, float]:
        return {direction: relayed(label, direction) - was for direction, was in before.items()}

    client.sendto(b"x" * 100, address)
    assert await asyncio.wait_for(heard.heard.get(), 5) == b"x" * 100
    node.measure()
    assert counted() == {"to_peers": 100, "to_client": 100}
    client.sendto(b"y" * 50, address)
    assert await asyncio.wait_for(heard.heard.get(), 5) == b"y" * 50
    node.revoke(username)
    assert counted() == {"to_peers": 150, "to_client": 150}
    client.close()
    peer.close()
    node.stop()
    assert counted() == {"to_peers": 150, "to_client": 150}
