"""A late subscriber's first frame: out of the node's cache where there is a keyframe to start from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.browser.peer import BrowserPeer, eventually
from tests.cluster.calls import Call, Sample
from tests.cluster.conftest import Worlds
from tests.cluster.lab import SERVER_V4, Lab, Uplink
from tests.cluster.repair import LightCall
from tests.cluster.world import World

pytestmark = pytest.mark.netns

CHANGE_CIPHER_SPEC, HANDSHAKE, RTP, EXTENSION = 20, 22, 0x80, 0x10  # first bytes of datagrams (RFC 7983)

CACHED = ("--media-cached-start", "30", "--media-cache-video", "30")  # however busy the machine is


async def join(call: Call, world: World) -> Sample:
    """One more subscriber, until it has some frames; returns the call's counters over that time."""
    start = await call.sample()
    peer = await BrowserPeer.open(call.subscriber.page, world, "late")
    frame = await peer.first_frame(call.published)
    await peer.frames_rise(frame.mid, by=30)
    return (await call.sample()).since(start)


@pytest.mark.browser
async def test_a_late_subscriber_starts_from_the_nodes_cache_and_costs_no_keyframe(
    lab: Lab, worlds: Worlds
) -> None:
    world = await worlds.start(SERVER_V4, *CACHED)
    call = await Call.open(lab, world, "chromium")
    before = (await world.counters()).get("starts_cached", 0)
    assert (await join(call, world)).keyframes_sent == 0
    await eventually(
        world.counters, lambda counters: counters.get("starts_cached", 0) > before, "a start from the cache"
    )


@pytest.mark.browser
async def test_a_late_subscriber_without_a_start_from_the_cache_costs_a_keyframe(
    lab: Lab, worlds: Worlds
) -> None:
    world = await worlds.start(SERVER_V4, "--media-cached-start", "0")
    call = await Call.open(lab, world, "chromium")
    assert (await join(call, world)).keyframes_sent == 1


_LISTEN = """
import json, select, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind((sys.argv[1], 0x0800)); print("ready", flush=True)
seen = {}
while True:
    readable, _, _ = select.select([s, sys.stdin], [], [])
    if s in readable:
        data, (_, _, to, *_) = s.recvfrom(2048)
        if to == socket.PACKET_HOST and data[9] == socket.IPPROTO_UDP:
            udp = data[(data[0] & 15) * 4 :]
            seen.setdefault(udp[2:4], []).append(udp[8])
    else:
        break
print(json.dumps(list(seen.values())))
"""


@contextmanager
def first_bytes(uplink: Uplink) -> Generator[list[list[int]]]:
    """By port of the client, the first byte of each UDP datagram that comes to it, filled at the end."""
    command = [*uplink.client.prefix, sys.executable, "-c", _LISTEN, uplink.device]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    flows: list[list[int]] = []
    yield flows
    output, _ = process.communicate()
    flows += json.loads(output)


async def test_a_subscription_from_the_cache_begins_after_the_handshakes_last_flight(
    lab: Lab, worlds: Worlds
) -> None:
    """Media that came first could not be opened, and the keyframe would have to be asked for after all."""
    world = await worlds.start(SERVER_V4, *CACHED)
    call = await LightCall.open(lab, world, away_s=0, near_s=0.01, subscribers=5)
    try:
        with first_bytes(call.subscriber_link) as flows:
            await call.join(5)
        await eventually(
            world.counters,
            lambda counters: counters.get("starts_cached", 0) > 5,
            "more start from the cache than were there before",
        )
    finally:
        call.close()
    joined = [flow for flow in flows if HANDSHAKE in flow]
    assert len(joined) == 5
    for flow in joined:
        last_flight = max(at for at, first in enumerate(flow) if first in (CHANGE_CIPHER_SPEC, HANDSHAKE))
        assert all(first < RTP for first in flow[:last_flight])
        assert RTP | EXTENSION in flow[last_flight + 1 :]
