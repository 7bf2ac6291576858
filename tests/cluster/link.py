"""A link that delays, jitters, loses, re-orders and limits: two TUN devices held by one process.

    a client's namespace                               the router's namespace
    kernel -> TUN "near" -> read -> Way "up"   -> write -> TUN "far" -> kernel
    kernel <- TUN "near" <- write <- Way "down" <- read <- TUN "far" <- kernel

A `Way` is one direction and knows neither a device nor a clock: packets and time go in, packets come out when
they are due, and what chance decides is drawn from a seed. The process moves packets between the devices and
its two ways; it takes a `Conditions` as a line of JSON on its standard input, answers each line with one of
its counters, and ends with its input. It costs some 50 us of CPU a packet: right for a few streams of video,
not for a load test.

    python -m tests.cluster.link NEAR FAR SEED

makes devices of these names in its own namespace; a device may be moved to another and stays the process's.
`LinkProcess` is its face in Python, and `Lab.long_uplink` puts one in place.
"""

from __future__ import annotations

import errno
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Direction = Literal["up", "down"]
DIRECTIONS: Final[tuple[Direction, Direction]] = ("up", "down")

UDP: Final = 17
HELD_LIMIT: Final = 10_000
"""Packets that a way holds at most: four seconds of 30 Mbit/s."""

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_PACKET_LIMIT = 65_535
_BATCH = 64  # packets read from one device before the other one has its turn


@dataclass(frozen=True, slots=True)
class Bursts:
    """Loss by the model of Gilbert and Elliott: a good state without loss and a bad one.

    `enter` and `leave` are the chances, per packet, of going to the bad state and back; `loss` is
    the share lost in the bad one.
    """

    enter: float
    leave: float
    loss: float = 1.0

    @classmethod
    def of(cls, share: float, packets: float) -> Bursts:
        """Bursts of `packets` on average, `share` of all packets lost."""
        leave = 1 / packets
        return cls(share * leave / (1 - share), leave)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What befalls packets on their way.

    `loss` is a share or bursts, and strikes UDP alone: what a test asks by HTTP is to take the link's time,
    not TCP's retransmission timers'. `jitter_s` is added to the delay evenly from 0 on and keeps the order. A
    share `reorder` is held back by `reorder_by_s` more while others pass. With `rate_bps` packets queue for
    up to `queue_s`; what comes to a full queue is dropped.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float | Bursts = 0.0
    reorder: float = 0.0
    reorder_by_s: float = 0.02
    rate_bps: float | None = None
    queue_s: float = 0.2


@dataclass(slots=True)
class WayCounts:
    """Packets of one direction since its start.

    `lost` are those that chance took, `full` those that found no room, `unplugged` those whose device was
    down when they arrived.
    """

    came: int = 0
    went: int = 0
    lost: int = 0
    full: int = 0
    reordered: int = 0
    unplugged: int = 0


def is_udp(packet: bytes) -> bool:
    """Whether an IP packet carries UDP; one with IPv6 extension headers does not count."""
    if len(packet) < 20:
        return False
    return packet[9 if packet[0] >> 4 == 4 else 6] == UDP


@dataclass(slots=True)
class Way:
    """One direction of a link. Times are seconds of any clock that does not go back."""

    seed: int
    conditions: Conditions = field(default_factory=Conditions)
    counts: WayCounts = field(default_factory=WayCounts)
    _random: random.Random = field(init=False)
    _held: list[tuple[float, int, bytes]] = field(default_factory=list[tuple[float, int, bytes]])
    _bad: bool = False  # the state of `Bursts`
    _free_at: float = 0.0  # when the last queued packet will have been sent at `rate_bps`
    _last_at: float = 0.0  # when the last packet that keeps the order arrives

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def put(self, packet: bytes, now: float) -> None:
        """A packet sets out."""
        self.counts.came += 1
        if self._is_lost(packet):
            self.counts.lost += 1
            return
        conditions = self.conditions
        leaves_at = now
        if conditions.rate_bps is not None:
            leaves_at = max(now, self._free_at) + len(packet) * 8 / conditions.rate_bps
        if leaves_at - now > conditions.queue_s or len(self._held) >= HELD_LIMIT:
            self.counts.full += 1
            return
        self._free_at = leaves_at
        at = leaves_at + conditions.delay_s + conditions.jitter_s * self._random.random()
        if conditions.reorder and self._random.random() < conditions.reorder:
            self.counts.reordered += 1
            at += conditions.reorder_by_s
        else:
            at = self._last_at = max(at, self._last_at)
        heapq.heappush(self._held, (at, self.counts.came, packet))

    def next_at(self) -> float | None:
        """When the next packet arrives, or None if none is on its way."""
        return self._held[0][0] if self._held else None

    def take(self, now: float) -> list[bytes]:
        """Packets that have arrived by now, in the order of their arrival."""
        taken: list[bytes] = []
        while self._held and self._held[0][0] <= now:
            taken.append(heapq.heappop(self._held)[2])
        self.counts.went += len(taken)
        return taken

    def _is_lost(self, packet: bytes) -> bool:
        loss = self.conditions.loss
        if loss == 0 or not is_udp(packet):
            return False
        if not isinstance(loss, Bursts):
            return self._random.random() < loss
        if self._random.random() < (loss.leave if self._bad else loss.enter):
            self._bad = not self._bad
        return self._bad and self._random.random() < loss.loss


def to_json(direction: Direction, conditions: Conditions) -> str:
    """A line for the process."""
    return json.dumps({"direction": direction, **asdict(conditions)})


def from_json(line: str) -> tuple[Direction, Conditions]:
    """What `to_json` wrote."""
    values: dict[str, Any] = json.loads(line)
    direction = values.pop("direction")
    if not isinstance(values["loss"], float | int):
        values["loss"] = Bursts(**values["loss"])
    return direction, Conditions(**values)


def _open_tun(name: str) -> int:
    """A TUN device that lives as long as the file, wherever it is moved. Raises OSError."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def _read_batch(device: int) -> list[bytes]:
    packets: list[bytes] = []
    try:
        while len(packets) < _BATCH:
            packets.append(os.read(device, _PACKET_LIMIT))
    except BlockingIOError:
        pass  # all that waited has been read
    return packets


def _deliver(way: Way, now: float, device: int) -> None:
    for packet in way.take(now):
        try:
            os.write(device, packet)
        except OSError as error:
            if error.errno != errno.EIO:  # the kernel's word for a device that is down
                raise
            way.counts.unplugged += 1


class _Link:
    """Both ways between two devices, and the loop that serves them."""

    def __init__(self, near: str, far: str, seed: int) -> None:
        self._near, self._far = _open_tun(near), _open_tun(far)
        self._ways: dict[Direction, Way] = {"up": Way(seed), "down": Way(seed + 1)}

    def run(self) -> None:
        """Serve until standard input ends."""
        up, down = self._ways["up"], self._ways["down"]
        self._answer()
        while True:
            times = [at for at in (up.next_at(), down.next_at()) if at is not None]
            wait_s = max(0.0, min(times) - time.monotonic()) if times else None
            # Not epoll: its timeout comes in whole milliseconds.
            readable, _, _ = select.select((0, self._near, self._far), (), (), wait_s)
            now = time.monotonic()
            if self._near in readable:
                for packet in _read_batch(self._near):
                    up.put(packet, now)
            if self._far in readable:
                for packet in _read_batch(self._far):
                    down.put(packet, now)
            _deliver(up, now, self._far)
            _deliver(down, now, self._near)
            if 0 in readable and not self._command():
                return

    def _command(self) -> bool:
        """Take one line; False at the end of input."""
        line = sys.stdin.readline()
        if line == "":
            return False
        if line.strip():
            direction, conditions = from_json(line)
            self._ways[direction].conditions = conditions
        self._answer()
        return True

    def _answer(self) -> None:
        counts = {direction: asdict(way.counts) for direction, way in self._ways.items()}
        sys.stdout.write(json.dumps(counts) + "\n")
        sys.stdout.flush()


class LinkProcess:
    """A running link; `close` ends it, and its devices with it."""

    def __init__(self, near: str, far: str, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.link", near, far, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self._read()  # the devices are there

    def set(self, direction: Direction, conditions: Conditions) -> WayCounts:
        """Change a direction from now on; packets on their way keep their times. Returns its counters."""
        return self._ask(to_json(direction, conditions))[direction]

    def counts(self) -> dict[Direction, WayCounts]:
        """The counters of both directions."""
        return self._ask("")

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def _ask(self, line: str) -> dict[Direction, WayCounts]:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[Direction, WayCounts]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError(f"the link has ended with {self._process.wait()}; its standard error says why")
        counts: dict[Direction, dict[str, int]] = json.loads(line)
        return {direction: WayCounts(**of) for direction, of in counts.items()}


if __name__ == "__main__":
    os.nice(-15)  # a busy machine is not to add to the delay
    _Link(sys.argv[1], sys.argv[2], int(sys.argv[3])).run()
