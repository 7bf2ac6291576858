"""Light clients against aiortc: ICE, DTLS and SRTP of another make."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from loadtest.api import Server
from loadtest.client import ConnectFailed
from loadtest.crowd import Crowd
from loadtest.source import Media
from tests.loadtest.stand_in import PICTURE, StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from loadtest.api import Api

NOWHERE = Server("http://127.0.0.1:9/v1", "app", "secret")
DEADLINE_S = 10.0


@asynccontextmanager
async def crowd_with(stand_in: StandIn) -> AsyncGenerator[Crowd]:
    crowd = Crowd(NOWHERE)
    await crowd.api.close()
    crowd.api = cast("Api", stand_in)
    async with crowd:
        yield crowd


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for what the network has to bring about; nobody announces it, so it is looked at again."""
    async with asyncio.timeout(DEADLINE_S):
        while not (met if isinstance(met := condition(), bool) else await met):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_aiortc_receives_what_a_publisher_sends() -> None:
    stand_in = StandIn()
    async with crowd_with(stand_in) as crowd:
        peer = await crowd.peer()
        sound, video = await peer.publish([Media.audio(), Media.video(packets_per_s=200, size=600)])
        await peer.connected()
        peer.start(sound)
        peer.start(video)
        await until(lambda: video.packets_sent >= 100)
        sound.stop()
        video.stop()
        sent = {"audio": sound.packets_sent, "video": video.packets_sent}

        async def all_arrived() -> bool:
            return await stand_in.received(peer.session) == sent

        await until(all_arrived)


async def test_a_subscriber_counts_what_aiortc_sends() -> None:
    stand_in = StandIn()
    async with crowd_with(stand_in) as crowd:
        publisher = await crowd.peer()
        [source] = await publisher.publish([Media.audio()])
        subscriber = await crowd.peer()
        await subscriber.pull([source.track, source.track])
        await subscriber.connected()
        await until(lambda: len(subscriber.streams()) == 2)
        await until(lambda: all(stream.received >= 10 for stream in subscriber.streams()))
        assert crowd.swarm.totals["refused"] == 0
        assert all(stream.lost == 0 for stream in subscriber.streams())


async def test_what_aiortc_sends_is_repaired_on_a_lossy_link() -> None:
    stand_in = StandIn()
    async with crowd_with(stand_in) as crowd:
        subscriber = await crowd.peer()
        await subscriber.pull([PICTURE])
        await subscriber.connected()
        subscriber.lose(0.05, 0.3, seed=1)
        totals = crowd.swarm.totals
        await until(lambda: crowd.swarm.totals["repaired"] >= 5)
        assert crowd.swarm.totals["rtx"] >= crowd.swarm.totals["repaired"]
        assert crowd.swarm.totals["refused"] == totals["refused"] == 0
        [stream] = subscriber.streams()
        assert (stream.repaired, subscriber.streams_of("video")) == (crowd.swarm.totals["repaired"], [stream])


async def test_aiortc_gets_again_what_a_publishers_link_lost() -> None:
    stand_in = StandIn()
    async with crowd_with(stand_in) as crowd:
        peer = await crowd.peer()
        [video] = await peer.publish([Media.video(packets_per_s=200, size=600)])
        await peer.connected()
        peer.lose(0.2, 0, run=2, seed=1)
        peer.start(video)
        await until(lambda: crowd.swarm.totals["resent"] >= 5)
        assert crowd.swarm.totals["forgotten"] == 0


async def test_a_goodbye_closes_the_peer() -> None:
    stand_in = StandIn()
    async with crowd_with(stand_in) as crowd:
        peer = await crowd.peer()
        await peer.publish([Media.audio()])
        await peer.connected()
        await stand_in.connections[peer.session].close()
        await until(lambda: peer.closed)
        assert crowd.failures == {"the server said goodbye": 1}
        assert len(crowd) == 0
        assert len(crowd.swarm) == 0


async def test_closing_says_goodbye() -> None:
    stand_in = StandIn()
    async with crowd_with(stand_in) as crowd:
        peer = await crowd.peer()
        await peer.publish([Media.audio()])
        await peer.connected()
        peer.close()
        peer.close()
        connection = stand_in.connections[peer.session]
        await until(lambda: connection.connectionState == "closed")


async def test_closing_while_connecting_tells_who_waits() -> None:
    stand_in = StandIn()
    async with crowd_with(stand_in) as crowd:
        peer = await crowd.peer()
        await peer.publish([Media.audio()])
        peer.close()
        with pytest.raises(ConnectFailed, match="closed while connecting"):
            await peer.connected()


async def test_a_wrong_fingerprint_is_noticed() -> None:
    class Forger(StandIn):
        async def publish(self, session: str, offer: str, tracks: Sequence[tuple[str, str]]) -> str:
            answer = await super().publish(session, offer, tracks)
            head, _, tail = answer.partition("a=fingerprint:sha-256 ")
            return f"{head}a=fingerprint:sha-256 00{tail[2:]}".replace("a=fingerprint:sha-384", "a=x")

    stand_in = Forger()
    async with crowd_with(stand_in) as crowd:
        peer = await crowd.peer()
        await peer.publish([Media.audio()])
        with pytest.raises(ConnectFailed, match="certificate is not the one"):
            await peer.connected()
