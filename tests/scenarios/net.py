"""A simulated network with a seed and its own time.

Nodes hand it datagrams and it hands them on, later, twice, never or out of order, as the link between
the two says. Time jumps from one event to the next, so minutes pass in milliseconds. What happens is
decided by the seed alone: a scenario that fails is run again with the seed that it printed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Link:
    """How datagrams fare in one direction. Times are seconds, the others are probabilities."""

    latency_s: float = 0.02
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.03  # a reordered datagram is so much later


class Node(Protocol):
    """A machine on the network. An address is any string."""

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """A datagram has come from `source` to our address `destination`."""
        ...

    def timer_at(self) -> float | None:
        """The moment at which `handle_timer` has work, or None."""
        ...

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        ...

    def take(self) -> list[tuple[str, str, bytes]]:
        """Datagrams to send: from which of its addresses, to where, what."""
        ...


class Network:
    """Nodes, links and the time."""

    def __init__(self, seed: int, link: Link | None = None) -> None:
        self.seed = seed
        self.now = 0.0
        self.sent = 0
        self._random = random.Random(seed)
        self._link = link or Link()
        self._links: dict[tuple[str, str], Link] = {}
        self._nodes: dict[str, Node] = {}
        self._on_the_way: list[tuple[float, int, str, str, bytes]] = []
        self._order = itertools.count()
        self.lose: Callable[[int, str, str, bytes], bool] = lambda _count, _source, _destination, _data: False
        """Whether the datagram with this number (from 0), on top of the link's loss, is lost."""

    def attach(self, node: Node, *addresses: str) -> None:
        """Connect a node under its addresses."""
        for address in addresses:
            self._nodes[address] = node

    def detach(self, address: str) -> None:
        """Nothing arrives at this address any more."""
        del self._nodes[address]

    def set_link(self, source: str, destination: str, link: Link) -> None:
        """How datagrams from `source` to `destination` fare from now on."""
        self._links[source, destination] = link

    def send(self, source: str, destination: str, data: bytes) -> None:
        """Put a datagram on its way."""
        count, self.sent = self.sent, self.sent + 1
        link = self._links.get((source, destination), self._link)
        if self.lose(count, source, destination, data) or self._random.random() < link.loss:
            return
        for _ in range(1 + (self._random.random() < link.duplicate)):
            delay_s = link.latency_s + self._random.uniform(0, link.jitter_s)
            if self._random.random() < link.reorder:
                delay_s += link.reorder_s
            entry = (self.now + delay_s, next(self._order), source, destination, data)
            heapq.heappush(self._on_the_way, entry)

    def run(self, *, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass to `until`, or to when `done` says so."""
        while not done():
            self._collect()
            at = self._next_at()
            if at is None or at > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, at)
            self._step()

    def _step(self) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= self.now:
            _, _, source, destination, data = heapq.heappop(self._on_the_way)
            node = self._nodes.get(destination)
            if node is not None:
                node.receive(data, source, destination, self.now)
                self._collect()
        for node in self._distinct():
            at = node.timer_at()
            if at is not None and at <= self.now:
                node.handle_timer(self.now)
        self._collect()

    def _collect(self) -> None:
        for node in self._distinct():
            for source, destination, data in node.take():
                self.send(source, destination, data)

    def _next_at(self) -> float | None:
        moments = [at for node in self._distinct() if (at := node.timer_at()) is not None]
        if self._on_the_way:
            moments.append(self._on_the_way[0][0])
        return min(moments, default=None)

    def _distinct(self) -> list[Node]:
        return list({id(node): node for node in self._nodes.values()}.values())
