"""Floods on the media port while others connect and talk. Nothing of it may be answered or believed."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sfu.base.ids import SessionId
from sfu.sessions.driver import HANDSHAKES_LIMIT
from sfu.wire.rtcp import Nack, PictureLoss, RtcpPacket, SenderReport
from sfu.wire.rtp import RtpPacket, serialize_rtp
from tests.security.media.world import (
    OPUS,
    Caller,
    Site,
    check_of,
    client_hello,
    hears,
    silent,
    site_at,
    until,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any


async def under_fire(
    shoot: Callable[[], None], rounds: int, calls: int, connect: Callable[[], Coroutine[Any, Any, Caller]]
) -> list[Caller]:
    """Connect callers while `shoot` goes on, at least so many rounds of it."""

    async def fire() -> None:
        done = 0
        while done < rounds or not setups.done():
            shoot()
            done += 1
            await asyncio.sleep(0)

    async def connect_all() -> list[Caller]:
        return [await connect() for _ in range(calls)]

    setups = asyncio.create_task(connect_all())
    await asyncio.gather(fire(), setups)
    return setups.result()


def volley(sockets: list[socket.socket], datagrams: list[bytes]) -> None:
    """Each datagram from the next socket."""
    for number, datagram in enumerate(datagrams):
        try:
            sockets[number % len(sockets)].send(datagram)
        except BlockingIOError:
            return


async def test_w1_w36_a_hundred_thousand_forged_hellos_fail_no_call(site: Site) -> None:
    """sfu.md W1: 10^5 during real set-ups, 0 failed calls; and no answer to reflect."""
    strangers = [site.stranger() for _ in range(20)]
    hello = client_hello()
    callers = await under_fire(lambda: volley(strangers, [hello] * 200), 500, 20, site.connected)
    assert all(caller.keyed for caller in callers)
    await hears_from(callers[0], callers[1])
    assert all(silent(stranger) for stranger in strangers)
    assert site.sizes()["unclaimed"] == 0


async def test_stun_of_the_right_form_with_a_wrong_signature_fails_no_call(site: Site) -> None:
    """Each costs an HMAC; calls that are up keep half of the turns, new ones get through by repetition."""
    talker, listener = await site.connected(), await site.connected()
    await listener.pull(talker)
    strangers = [site.stranger() for _ in range(20)]
    forged = [check_of(talker.session, 0, talker.credentials.ufrag, f"wrong{n}") for n in range(50)]
    callers = await under_fire(lambda: volley(strangers, forged), 100, 5, site.connected)
    assert all(caller.keyed for caller in callers)
    await hears(listener, talker)
    assert all(silent(stranger) for stranger in strangers)


async def test_a_client_that_floods_with_checks_of_its_own_stops_no_other(site: Site) -> None:
    flooder, talker, listener = await site.connected(), await site.connected(), await site.connected()
    await listener.pull(talker)
    callers = await under_fire(
        lambda: flooder.send(*(flooder.check() for _ in range(20))), 100, 5, site.connected
    )
    assert all(caller.keyed for caller in callers)
    await hears(listener, talker)
    assert site.sizes()["paths"] == 8


async def test_checks_from_ever_new_ports_hold_eight_paths_of_a_session(site: Site) -> None:
    talker, listener = await site.connected(), await site.connected()
    await listener.pull(talker)
    for _ in range(60):
        stranger = site.stranger()
        stranger.send(talker.check(nominate=False, priority=1))
        await asyncio.sleep(0)
    await hears(listener, talker)
    assert site.sizes()["paths"] <= 9


async def test_sessions_that_check_and_never_say_hello_leave_the_table_bounded(tmp_path: Path) -> None:
    """More of them than the table holds: the oldest go, with their tasks, and others connect."""
    async with site_at(tmp_path, {HANDSHAKES_LIMIT: 10}) as site:
        idle = [await site.caller() for _ in range(30)]
        for caller in idle * 3:
            caller.send(caller.check())
            await asyncio.sleep(0)
        await until(lambda: site.sizes()["unclaimed"] == site.sizes()["tasks"] == 10)
        talker, listener = await site.connected(), await site.connected()
        await listener.pull(talker)
        await hears(listener, talker)
        for caller in idle:
            await site.server.node.directory.delete_session(SessionId(caller.session))
        await until(lambda: site.sizes()["unclaimed"] == 0)


async def test_w30_bad_datagrams_are_counted_and_never_logged(site: Site) -> None:
    talker, listener = await site.connected(), await site.connected()
    await listener.pull(talker)
    stranger = site.stranger()
    rng = random.Random(30)
    with capture_logs() as logs:
        for _ in range(20):
            for sender in (stranger.send, talker.send, listener.send):
                for _ in range(25):
                    sender(
                        bytes((rng.choice((0, 1, 20, 22, 63, 64, 128, 144, 200)),))
                        + rng.randbytes(rng.randrange(1400))
                    )
            await asyncio.sleep(0)
        await hears(listener, talker)
    assert logs == []
    assert silent(stranger)


@pytest.mark.parametrize("seed", range(3))
async def test_w12_w15_w16_datagrams_of_any_size_and_content_harm_nobody(site: Site, seed: int) -> None:
    """Cut, overlong, flipped and random ones, from strangers and from the addresses of clients."""
    talker, listener = await site.connected(), await site.connected()
    await listener.pull(talker)
    stranger = site.stranger()
    rng = random.Random(seed)
    for _ in range(40):
        honest = [
            talker.check(),
            client_hello(),
            talker.sound(),
            talker.seal([SenderReport(talker.ssrc, 1, 1, 1, 1)]),
        ]
        for datagram in honest:
            cut = datagram[: rng.randrange(len(datagram))]
            flipped = bytearray(datagram)
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            overlong = datagram + rng.randbytes(rng.choice((1, 4, 1500, 3000)))
            for spoiled in (cut, bytes(flipped), overlong, rng.randbytes(rng.randrange(1, 3000))):
                for sender in (stranger.send, talker.send, listener.send):
                    sender(spoiled)
        await asyncio.sleep(0)
    await hears(listener, talker)
    assert silent(stranger)
    assert site.sizes()["transports"] == 2


async def test_w9_w15_w38_sealed_nonsense_of_a_client_reaches_no_other(site: Site) -> None:
    """Header bombs and garbage compounds under true keys: forwarded whole and valid, or not at all."""
    talker, listener = await site.connected(), await site.connected()
    await listener.pull(talker)
    rng = random.Random(9)
    for _ in range(300):
        talker.sequence += 1
        elements = b"".join(
            bytes((rng.randrange(256), size := rng.randrange(16))) + rng.randbytes(size)
            for _ in range(rng.randrange(60))
        )
        elements += bytes(-len(elements) % 4)
        profile = rng.choice((0xBEDE, 0x1000, 0x100F, rng.randrange(1 << 16)))
        extension = profile.to_bytes(2, "big") + (len(elements) // 4).to_bytes(2, "big") + elements
        csrcs = rng.randrange(16)
        head = bytes((0x90 | csrcs | rng.choice((0, 0x20)), OPUS | rng.choice((0, 0x80))))
        rest = talker.sequence.to_bytes(2, "big") + rng.randbytes(4) + talker.ssrc.to_bytes(4, "big")
        bomb = head + rest + rng.randbytes(4 * csrcs) + extension + rng.randbytes(rng.randrange(1, 200))
        if len(bomb) <= 1400:
            talker.send(talker.seal(bomb))
        kind = rng.randrange(200, 208)
        body = rng.randbytes(4 * rng.randrange(1, 250))
        words = len(body) // 4 if rng.random() < 0.7 else rng.randrange(1 << 16)
        compound = bytes((0x80 | rng.randrange(32), kind)) + words.to_bytes(2, "big") + body
        rng.choice((talker, listener)).send(rng.choice((talker, listener)).seal(compound))
        await asyncio.sleep(0)
    fresh = await site.connected()
    await fresh.pull(talker)
    assert listener.failed is None
    for packet in listener.rtp:
        assert [element for element, _ in packet.extensions if element != 1] == []
    quiet = await site.connected()
    await listener.pull(quiet)
    await hears(listener, quiet)


async def test_w24_w25_floods_of_nack_and_pli_cost_the_others_nothing(site: Site) -> None:
    """290 entries of NACK and a PLI each, hundreds of times: no packet of it comes back."""
    talker, listener = await site.connected(), await site.connected()
    await listener.pull(talker)
    await hears(listener, talker)
    ssrc = listener.rtp[0].ssrc
    lost = tuple(range(4000))
    heard = len(listener.rtp)
    flood: list[RtcpPacket] = [Nack(1, ssrc, lost[:290]), PictureLoss(1, ssrc)]
    for _ in range(300):
        listener.send(listener.seal(flood))
        await asyncio.sleep(0)
    await hears(listener, talker)
    assert len(listener.rtp) - heard < 400
    assert [packet for packet in talker.rtcp if isinstance(packet, PictureLoss)] == []


async def test_w7_w22_w27_media_of_one_session_from_the_address_of_another_is_refused(site: Site) -> None:
    """Sealed with the keys of one, sent from the address of another; and replayed from its own."""
    victim, squatter, listener = await site.connected(), await site.connected(), await site.connected()
    await listener.pull(victim)
    await hears(listener, victim)
    recorded = [victim.sound() for _ in range(50)]
    forged = serialize_rtp(RtpPacket(OPUS, 9, 9, victim.ssrc, b"forged", extensions=((1, b"0"),)))
    squatter.send(*recorded, forged + bytes(16))
    squatter.send(*(squatter.seal(forged[:2] + bytes((7, n)) + forged[4:]) for n in range(50)))  # its SSRC
    squatter.send(squatter.seal([SenderReport(victim.ssrc, 1 << 60, 7, 1, 1)]))
    await hears(listener, victim)
    victim.send(*recorded * 3)
    await hears(listener, victim)
    assert {packet.payload for packet in listener.rtp} == {b"sound"}
    numbers = [packet.sequence for packet in listener.rtp]
    assert len(numbers) == len(set(numbers))


async def hears_from(listener: Caller, speaker: Caller) -> None:
    """Subscribe and hear."""
    await listener.pull(speaker)
    await hears(listener, speaker)
