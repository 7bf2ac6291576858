"""Light clients by the dozen: what all of a process share.

A `Crowd` owns the sockets' epoll descriptor, the DTLS identity, one heap of timers, the HTTP connections. A
`Peer` (client.py) is one of its clients.

    async with Crowd(server) as crowd:
        publisher = await crowd.peer()
        [source] = await publisher.publish([Media.video()])
        subscriber = await crowd.peer()
        await subscriber.pull([source.track])
        await asyncio.gather(publisher.connected(), subscriber.connected())
        publisher.start(source)
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import urlsplit

from loadtest.client import Peer
from loadtest.counts import Histogram
from loadtest.handshake import Identity
from loadtest.seal import Swarm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadtest.api import Site
    from sfu.net.address import Address


class Crowd:
    """All clients of this process, against one server. An async context manager.

    `reordering_s` is how long a packet may be missing before its receiver asks for it.
    """

    def __init__(
        self,
        server: Site,
        *,
        identity: Identity | None = None,
        connections: int = 64,
        reordering_s: float = 0.005,
    ) -> None:
        self.api = server.open(connections=connections)
        self.identity = identity or Identity()
        self.swarm = Swarm(reordering_s)
        self.failures: Counter[str] = Counter()  # by reason, of peers that failed of themselves
        self.reports_on_us = 0  # report blocks that the server sent about our streams
        self._host = urlsplit(server.url).hostname or ""
        self._loop = asyncio.get_running_loop()
        self._peers: set[Peer] = set()
        self._due: list[tuple[float, int, Peer]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._repair_timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self.swarm.fileno(), self._on_readable)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._loop.remove_reader(self.swarm.fileno())
        for peer in list(self._peers):
            peer.close()
        for timer in filter(None, (self._timer, self._repair_timer)):
            timer.cancel()
        self.swarm.close()
        await self.api.close()

    async def peer(self) -> Peer:
        """A new session and its client. Raises ApiError."""
        peer = Peer(self, await self.api.new_session())
        self._peers.add(peer)
        return peer

    def __len__(self) -> int:
        return len(self._peers)

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self._loop.time()

    def take_latency(self) -> Histogram:
        """One-way latency of all clients together since the last call."""
        return Histogram(self.swarm.take_latency())

    def take_repair(self) -> Histogram:
        """Time from a loss noticed to its repair, of all clients together since the last call."""
        return Histogram(self.swarm.take_repair())

    def take_answer(self) -> Histogram:
        """Time from request to repair where one request was enough, of all together since the last call."""
        return Histogram(self.swarm.take_answer())

    def in_order(self, candidates: Iterable[Address]) -> list[Address]:
        """The order to try candidates in: the host first at which the API answers."""
        return sorted(candidates, key=lambda candidate: candidate.host != self._host)

    def forget(self, peer: Peer) -> None:
        """A peer has closed."""
        self._peers.discard(peer)
        peer.due_at = None

    def arm(self, peer: Peer) -> None:
        """A peer's `timer_at` may have changed."""
        at = None if peer.closed else peer.timer_at()
        if at is None or at == peer.due_at:
            return
        peer.due_at = at
        heapq.heappush(self._due, (at, next(self._numbers), peer))
        if self._due[0][2] is peer:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due[0][0], self._on_timer) if self._due else None

    def _on_timer(self) -> None:
        now = self.now()
        while self._due and self._due[0][0] <= now:
            at, _, peer = heapq.heappop(self._due)
            if peer.due_at != at:
                continue  # a later `arm` moved it
            peer.due_at = None
            peer.handle_timer(now)
            self.arm(peer)
        self._set_timer()

    def _on_readable(self) -> None:
        now = self.now()
        for endpoint, data in self.swarm.drain():
            if endpoint.owner is not None:
                cast("Peer", endpoint.owner).receive_datagram(data, now)
        self._ask_again()

    def _ask_again(self) -> None:
        """Ask for what is missing and due, and come back for the rest."""
        if self._repair_timer is not None:
            self._repair_timer.cancel()
        wait_s = self.swarm.repair()
        self._repair_timer = None if wait_s is None else self._loop.call_later(wait_s, self._ask_again)
