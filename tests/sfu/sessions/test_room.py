"""A full media socket: the loop tells when it has room again, and the driver goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from sfu.base.ids import NodeId
from sfu.directory.memory import MemoryDirectory
from sfu.net.udp import open_udp
from sfu.sessions.driver import Driver

if TYPE_CHECKING:
    from sfu.media.control import MediaControl
    from sfu.media.events import MediaEvent


class FullMedia:
    """Media whose socket is full until it was told twice that it is not."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.told = 0
        self.free = asyncio.Event()

    def fileno(self) -> int:
        return self._fd

    def timer_at(self) -> float:
        return float("inf")

    def handle_timer(self, now: float) -> None:
        """Nothing is ever due."""

    def take_events(self) -> list[MediaEvent]:
        return []

    @property
    def blocked(self) -> bool:
        return self.told < 2

    def on_writable(self) -> None:
        self.told += 1
        if not self.blocked:
            self.free.set()


class BehindMedia(FullMedia):
    """And then its slice ends before all that waited is forwarded."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.gone_on = asyncio.Event()

    def timer_at(self) -> float:
        return float("inf") if self.blocked or self.gone_on.is_set() else 0.0

    def handle_timer(self, now: float) -> None:
        """The loop has come back."""
        assert now >= 0
        self.gone_on.set()


def driver_of(media: FullMedia) -> Driver:
    return Driver(
        cast("MediaControl", media),
        MemoryDirectory(),
        cast("object", None),  # pyright: ignore[reportArgumentType] -- no record is ever changed
        node=NodeId("node"),
        cluster_secret=b"secret",
        context_of=lambda _: None,
    )


async def test_what_still_waits_when_a_full_socket_has_room_goes_on_without_a_packet_or_timer() -> None:
    with open_udp("127.0.0.1", 0, setting="--media") as sock:
        media = BehindMedia(sock.fileno())
        driver = driver_of(media)
        driver.start()
        await asyncio.wait_for(media.gone_on.wait(), 5)
        await driver.stop()


async def test_a_full_socket_is_gone_on_with_until_it_has_taken_all_and_no_longer() -> None:
    with open_udp("127.0.0.1", 0, setting="--media") as sock:
        media = FullMedia(sock.fileno())
        driver = driver_of(media)
        driver.start()
        await asyncio.wait_for(media.free.wait(), 5)
        for _ in range(5):
            await asyncio.sleep(0)  # turns of the loop, in each of which the socket is writable
        assert media.told == 2
        await driver.stop()


async def test_room_is_awaited_after_a_record_has_filled_the_socket() -> None:
    with open_udp("127.0.0.1", 0, setting="--media") as sock:
        media = FullMedia(sock.fileno())
        media.told = 2
        driver = driver_of(media)
        driver.start()
        media.told = 0
        driver.media_told()
        await asyncio.wait_for(media.free.wait(), 5)
        await driver.stop()
