"""Light clients of the load generator in a client's namespace.

    python -m tests.cluster.light publish URL APP SECRET
    python -m tests.cluster.light pull URL APP SECRET SESSION TRACK SUBSCRIBERS

The process connects, writes a line of JSON (the published track, or nothing in it) and from then on answers
each line of its input by a line of counts since its start; it ends with its input. Its subscribers ask for a
missing packet as soon as a later one has come. `LightClients` is its face in Python.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.api import RemoteTrack, Server
from loadtest.crowd import Crowd
from loadtest.seal import bucket_us
from loadtest.source import Media
from tests.cluster.lab import Namespace

VIDEO = Media.video(packets_per_s=200, size=1000, fps=25)


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles of a time in milliseconds, each as the two ends of the histogram's place it fell into."""

    count: int
    p50_ms: tuple[float, float]
    p95_ms: tuple[float, float]
    p99_ms: tuple[float, float]

    @classmethod
    def of(cls, counts: list[int]) -> Times:
        """From a histogram of the compiled half."""

        def percentile(percent: float) -> tuple[float, float]:
            left = sum(counts) * percent / 100
            for place, count in enumerate(counts):
                left -= count
                if count and left <= 0:
                    return bucket_us(place) / 1000, bucket_us(place + 1) / 1000
            return 0, 0

        return cls(sum(counts), percentile(50), percentile(95), percentile(99))


@dataclass(frozen=True, slots=True)
class Counts:
    """What the clients of one process have seen so far: sums over all of them."""

    totals: dict[str, int]  # loadtest/parts/incoming.pxi has the words
    sent: int  # RTP packets of media
    received: int
    noticed: int  # packets that were missing when a later one came
    repaired: int  # of them, those that came after they were asked for
    missing: int  # packets that are missing still
    times: Times  # from a packet noticed missing to its repair


class _Process:
    """The running side."""

    def __init__(self, server: Server) -> None:
        self._crowd = Crowd(server, reordering_s=0)
        self._repair: list[int] = []

    async def publish(self) -> None:
        async with self._crowd as crowd:
            peer = await crowd.peer()
            [source] = await peer.publish([VIDEO])
            await peer.connected()
            peer.start(source)
            _write({"session": source.track.session, "name": source.track.name})
            async for _ in await _lines():
                _write({**self._counts(), "sent": source.packets_sent})

    async def pull(self, track: RemoteTrack, subscribers: int) -> None:
        async with self._crowd as crowd:
            peers = [await crowd.peer() for _ in range(subscribers)]
            for peer in peers:
                await peer.pull([track])
                await peer.connected()
            _write({})
            async for _ in await _lines():
                streams = [stream for peer in peers for stream in peer.streams()]
                sums = {
                    name: sum(getattr(stream, name) for stream in streams)
                    for name in ("received", "noticed", "repaired")
                }
                _write({**self._counts(), **sums, "missing": sum(stream.lost for stream in streams)})

    def _counts(self) -> dict[str, Any]:
        new = self._crowd.swarm.take_repair()
        self._repair = [a + b for a, b in zip(self._repair, new, strict=True)] if self._repair else new
        none = dict.fromkeys(("sent", "received", "noticed", "repaired", "missing"), 0)
        return {"totals": self._crowd.swarm.totals, "repair": self._repair, **none}


def _write(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def _lines() -> asyncio.StreamReader:
    """Standard input, line by line."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


class LightClients:
    """A process of light clients in a namespace; `close` ends it."""

    def __init__(self, namespace: Namespace, server: Server, *arguments: str) -> None:
        kind, *others = arguments
        self._process = subprocess.Popen(
            [
                *(*namespace.prefix, sys.executable, "-m", "tests.cluster.light"),
                *(kind, server.url, server.app, server.secret, *others),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self.first = self._read()

    @classmethod
    def publish(cls, namespace: Namespace, server: Server) -> tuple[LightClients, RemoteTrack]:
        """One client that publishes a video of 200 packets of 1000 bytes a second."""
        clients = cls(namespace, server, "publish")
        return clients, RemoteTrack(**clients.first)

    @classmethod
    def pull(
        cls, namespace: Namespace, server: Server, track: RemoteTrack, subscribers: int = 1
    ) -> LightClients:
        """Clients that receive a video."""
        return cls(namespace, server, "pull", track.session, track.name, str(subscribers))

    def counts(self) -> Counts:
        """What they have seen so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        values = self._read()
        return Counts(times=Times.of(values.pop("repair")), **values)

    def close(self) -> None:
        """End them; they say goodbye."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError(
                f"the clients have ended with {self._process.wait()}; their standard error says why"
            )
        return json.loads(line)


async def _main(kind: str, url: str, app: str, secret: str, *others: str) -> None:
    process = _Process(Server(url, app, secret))
    if kind == "publish":
        await process.publish()
    else:
        session, name, subscribers = others
        await process.pull(RemoteTrack(session, name), int(subscribers))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
