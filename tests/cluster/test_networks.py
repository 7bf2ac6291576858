"""Calls over networks that lose packets, change addresses or have one family only.

Chromium stands in a namespace of its own and sees its own picture back through the server.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.cluster.conftest import Worlds, page_in
from tests.cluster.lab import FLIGHTS, SERVER_V4, SERVER_V6, Lab
from tests.cluster.mirror import Mirror

pytestmark = [pytest.mark.netns, pytest.mark.browser]


async def test_a_handshake_ends_well_whichever_flight_is_lost(lab: Lab, worlds: Worlds) -> None:
    """Each flight of the DTLS handshake in turn is dropped until one retransmission is due."""
    world = await worlds.start(SERVER_V4)
    uplink = lab.uplink(lab.client())
    page = await page_in(world, uplink)
    for number, flight in enumerate(FLIGHTS):
        drop = lab.drop_flight(uplink, flight)
        mirror = await Mirror.open(page, world, f"mirror{number}")
        await asyncio.to_thread(drop.wait_until_dropped)
        drop.end()
        after_ms = await mirror.peer.connected()
        assert after_ms < 5_000, flight
        await mirror.pull()
        await mirror.look()
        await mirror.peer.end()


async def test_a_client_with_ipv6_only_connects(lab: Lab, worlds: Worlds) -> None:
    world = await worlds.start(SERVER_V6)
    uplink = lab.uplink(lab.client(), ipv4=False)
    mirror = await Mirror.open(await page_in(world, uplink), world)
    await mirror.pull()
    await mirror.look()
    assert await mirror.addresses() != ("", "")
    _, remote = await mirror.addresses()
    assert SERVER_V6 in remote


async def test_a_dual_stack_client_goes_on_when_one_family_dies(lab: Lab, worlds: Worlds) -> None:
    world = await worlds.start(SERVER_V4)
    uplink = lab.uplink(lab.client())
    mirror = await Mirror.open(await page_in(world, uplink), world)
    await mirror.pull()
    await mirror.look()
    _, remote = await mirror.addresses()
    family = "ipv4" if SERVER_V4 in remote else "ipv6"
    for direction in ("up", "down"):
        lab.drop(uplink, direction, f"meta nfproto {family}")
    await mirror.look(deadline_s=30)
    _, now = await mirror.addresses()
    assert (SERVER_V6 if family == "ipv4" else SERVER_V4) in now


async def test_a_nat_that_changes_its_mind_is_followed_within_a_check(lab: Lab, worlds: Worlds) -> None:
    """The client keeps its address and notices nothing; what the server sees changes in mid-call."""
    world = await worlds.start(SERVER_V4)
    uplink = lab.uplink(lab.client(), ipv6=False)
    lab.show_as(uplink, 7)
    mirror = await Mirror.open(await page_in(world, uplink), world)
    await mirror.pull()
    await mirror.look()
    for host in (8, 9):
        lab.show_as(uplink, host)
        await mirror.look(deadline_s=8)
    assert (await mirror.peer.stats())["transport"]["state"] == "connected"


async def test_a_call_goes_from_one_network_to_another(lab: Lab, worlds: Worlds) -> None:
    """Wi-Fi goes down in mid-call, the mobile network takes over, without any signalling."""
    world = await worlds.start(SERVER_V4)
    client = lab.client()
    wifi = lab.uplink(client, ipv6=False, metric=100)
    mobile = lab.uplink(client, ipv6=False, metric=200)
    mirror = await Mirror.open(await page_in(world, wifi), world)
    await mirror.pull()
    await mirror.look()
    client.ip(f"link set {wifi.device} down")
    await mirror.look(deadline_s=30)
    local, _ = await mirror.addresses()
    assert mobile.v4 in local


@pytest.mark.long
async def test_after_40_s_of_silence_an_ice_restart_brings_the_call_back(lab: Lab, worlds: Worlds) -> None:
    """Consent ends after 30 s, and so does the track; the session can restart ICE for another 60 s."""
    world = await worlds.start(SERVER_V4)
    uplink = lab.uplink(lab.client(), ipv6=False)
    mirror = await Mirror.open(await page_in(world, uplink), world)
    await mirror.pull()
    await mirror.look()
    drops = [lab.drop(uplink, direction, "udp dport > 0") for direction in ("up", "down")]
    await asyncio.sleep(40)
    for drop in drops:
        drop.end()
    await mirror.peer.call("restartIce")
    await mirror.publish("again")
    await mirror.pull("again")
    await mirror.look()
