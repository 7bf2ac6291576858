"""What scenarios have in common: a publisher that flows, and subscribers by the dozen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.api import RemoteTrack
    from loadtest.client import Peer
    from loadtest.crowd import Crowd
    from loadtest.source import Media, Source

Tell = Callable[[str, int, int], None]
"""Progress: what is being done, how far, of how much."""

AT_ONCE: Final = 10  # subscribers that connect together: quick, and no storm


async def publish(crowd: Crowd, media: Sequence[Media]) -> tuple[Peer, list[Source]]:
    """A connected publisher whose sources send."""
    peer = await crowd.peer()
    sources = await peer.publish(media)
    await peer.connected()
    for source in sources:
        peer.start(source)
    return peer, sources


async def subscribe(crowd: Crowd, tracks: Sequence[RemoteTrack]) -> Peer:
    """A connected subscriber."""
    peer = await crowd.peer()
    await peer.pull(tracks)
    await peer.connected()
    return peer


async def fill(
    crowd: Crowd, tracks: Sequence[RemoteTrack], count: int, tell: Callable[[int], None]
) -> list[Peer]:
    """`count` connected subscribers, each of all `tracks`."""
    peers: list[Peer] = []
    while len(peers) < count:
        tell(len(peers))
        some = min(AT_ONCE, count - len(peers))
        peers += await asyncio.gather(*(subscribe(crowd, tracks) for _ in range(some)))
    tell(count)
    return peers
