"""Which ports relayed addresses have: chosen at random, none twice, pairs and reservations as RFC 8656 wants.

    free --take--> taken --release--> free
      |  take_pair: N is taken, N+1 reserved
      +--> reserved --redeem--> taken          after 30 s, or with the server: closed and free

Each host has ports of its own. A choice is uniform over what is free there, from the system's random
numbers (RFC 6056). Sockets are made by `bind`, which is given; a port that another program holds is
passed over. A reserved port is bound at once, so nobody else can have it when its token comes.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, OrderedDict
from dataclasses import dataclass
from secrets import SystemRandom
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sfu.base.settings import Setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

PortRange = tuple[int, int]
"""The lowest and the highest port, both included."""

LOWEST_PORT: Final = 1024  # RFC 8656 7.2: a relay never has a well-known port
TOKEN_BYTES: Final = 8  # RFC 8656 18.10
HOLD_S: Final = 30.0  # RFC 8656 7.2: a reservation lasts at least so long
_TRIES: Final = 16  # chosen: of ports that other programs hold half, all tries fail once in 65,536
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def parse_range(text: str) -> PortRange:
    """Read `PORT` or `LOW-HIGH`. Raises ValueError."""
    match = _RANGE.fullmatch(text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < low <= high < 65536:
        raise ValueError("want PORT or LOW-HIGH, numbers from 1 to 65535")
    return low, high


def wrong_range(text: str) -> str | None:
    """What is wrong with a range of ports."""
    try:
        parse_range(text)
    except ValueError as error:
        return str(error)
    return None


def _wrong_relay_range(text: str) -> str | None:
    wrong = wrong_range(text)
    if wrong is None and parse_range(text)[0] < LOWEST_PORT:
        wrong = f"relayed addresses have no port under {LOWEST_PORT}"
    return wrong


PORTS = Setting(
    "turn.relay_ports",
    str,
    "49152-65535",
    check=_wrong_relay_range,
    help="Ports of relayed addresses, LOW-HIGH; a client takes one for each address family",
)
RESERVATIONS = Setting(
    "turn.reservations",
    int,
    1000,
    minimum=0,
    maximum=32_768,
    help="Relay ports held at a time for clients that asked for a pair and have yet to use the second",
)
RESERVATIONS_PER_USER = Setting(
    "turn.reservations_per_user",
    int,
    10,
    minimum=0,
    maximum=32_768,
    help="Relay ports held at a time for one TURN username; for one more it is answered 508",
)


class RelaySocket(Protocol):
    """What `bind` makes: a socket."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def detach(self) -> int:
        """Its descriptor, which is the caller's from now on."""
        ...

    def close(self) -> None:
        """Give the port back to the system."""
        ...


class Taken(NamedTuple):
    """A relayed transport address of one allocation, and its socket, which is the caller's to close."""

    host: str
    port: int
    sock: RelaySocket


@dataclass(frozen=True, slots=True)
class _Reserved:
    """The odd port of a pair, until its token comes or its time is over."""

    taken: Taken
    owner: str
    until: float


class RelayPorts:
    """The ports of all relayed addresses of one process.

    `bind(host, port)` makes a socket or returns None if the port is not to be had; what it raises comes out
    of the call, and nothing is taken then. `random` is a source that nobody can foresee. `reservations` and
    `reservations_per_owner` bound what clients can hold without an allocation. Raises ValueError for a range
    that is none or has well-known ports.
    """

    def __init__(
        self,
        low: int,
        high: int,
        *,
        bind: Callable[[str, int], RelaySocket | None],
        random: Random | None = None,
        reservations: int = RESERVATIONS.default,
        reservations_per_owner: int = RESERVATIONS_PER_USER.default,
    ) -> None:
        if not LOWEST_PORT <= low <= high <= 65535:
            raise ValueError(f"relay ports {low}-{high}: want a range within {LOWEST_PORT}-65535")
        self.range: PortRange = (low, high)
        self._bind = bind
        self._random = random or SystemRandom()
        self._reservations = reservations
        self._reservations_per_owner = reservations_per_owner
        self._free: dict[str, _Free] = {}
        self._taken: set[tuple[str, int]] = set()
        self._reserved: OrderedDict[bytes, _Reserved] = OrderedDict()  # by token, the oldest first
        self._held_by: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many ports are taken or reserved, of all hosts."""
        return len(self._taken) + len(self._reserved)

    @property
    def reserved(self) -> int:
        """How many ports wait for their token."""
        return len(self._reserved)

    def take(self, host: str) -> Taken | None:
        """Any port of `host`; None when none is to be had."""
        return self._take(host, _Free.choose)

    def take_even(self, host: str) -> Taken | None:
        """An even port, for EVEN-PORT without the R bit: nothing is reserved."""
        return self._take(host, _Free.choose_even)

    def take_pair(self, host: str, owner: str, now: float) -> tuple[Taken, bytes] | None:
        """An even port, for EVEN-PORT with the R bit, and the token for the port above it.

        `owner` is the user whose reservations are counted. None when no pair is to be had, or when there are
        too many reservations.
        """
        self.handle_timer(now)
        if len(self._reserved) >= self._reservations or self._held_by[owner] >= self._reservations_per_owner:
            return None
        free = self._of(host)
        tried: list[int] = []
        try:
            for _ in range(_TRIES):
                port = free.choose_pair(self._random)
                if port is None:
                    return None
                tried += port, port + 1
                free.remove(port)
                free.remove(port + 1)
                pair = self._bind_pair(host, port)
                if pair is not None:
                    del tried[-2:]
                    self._taken.add((host, port))
                    return pair[0], self._reserve(pair[1], owner, now)
            return None
        finally:
            for port in tried:
                free.add(port)

    def redeem(self, token: bytes, now: float) -> Taken | None:
        """The port that was reserved under `token`, once; None for a token that is unknown, used or over."""
        self.handle_timer(now)
        if token not in self._reserved:
            return None
        taken = self._unreserve(token).taken
        self._taken.add((taken.host, taken.port))
        return taken

    def holds(self, host: str, port: int) -> bool:
        """Whether a port is taken."""
        return (host, port) in self._taken

    def release(self, host: str, port: int) -> None:
        """Make a taken port free again, when its socket is closed. Raises KeyError if it is not taken."""
        self._taken.remove((host, port))
        self._of(host).add(port)

    def timer_at(self) -> float | None:
        """When `handle_timer` has work."""
        return next(iter(self._reserved.values())).until if self._reserved else None

    def handle_timer(self, now: float) -> None:
        """Close and free what was reserved for long enough."""
        while (at := self.timer_at()) is not None and at <= now:
            self._end_reservation(next(iter(self._reserved)))

    def close(self) -> None:
        """End all reservations. What is taken stays so until it is released."""
        for token in list(self._reserved):
            self._end_reservation(token)

    def _of(self, host: str) -> _Free:
        free = self._free.get(host)
        if free is None:
            free = self._free[host] = _Free(*self.range)
        return free

    def _take(self, host: str, choose: Callable[[_Free, Random], int | None]) -> Taken | None:
        free = self._of(host)
        tried: list[int] = []  # kept apart, so that none is tried twice
        try:
            for _ in range(_TRIES):
                port = choose(free, self._random)
                if port is None:
                    return None
                tried.append(port)
                free.remove(port)
                sock = self._bind(host, port)
                if sock is not None:
                    tried.pop()
                    self._taken.add((host, port))
                    return Taken(host, port, sock)
            return None
        finally:
            for port in tried:
                free.add(port)

    def _bind_pair(self, host: str, port: int) -> tuple[Taken, Taken] | None:
        lower = self._bind(host, port)
        if lower is None:
            return None
        try:
            upper = self._bind(host, port + 1)
        except BaseException:
            lower.close()
            raise
        if upper is None:
            lower.close()
            return None
        return Taken(host, port, lower), Taken(host, port + 1, upper)

    def _reserve(self, taken: Taken, owner: str, now: float) -> bytes:
        token = self._random.randbytes(TOKEN_BYTES)
        while token in self._reserved:
            token = self._random.randbytes(TOKEN_BYTES)
        self._reserved[token] = _Reserved(taken, owner, now + HOLD_S)
        self._held_by[owner] += 1
        return token

    def _unreserve(self, token: bytes) -> _Reserved:
        reserved = self._reserved.pop(token)
        self._held_by[reserved.owner] -= 1
        if not self._held_by[reserved.owner]:
            del self._held_by[reserved.owner]
        return reserved

    def _end_reservation(self, token: bytes) -> None:
        taken = self._unreserve(token).taken
        taken.sock.close()
        self._of(taken.host).add(taken.port)


class _Free:
    """The free ports of one host: even ones, odd ones, and the even ones with a free port above."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._even = _Bag(low, high)
        self._odd = _Bag(low, high)
        self._pairs = _Bag(low, high)
        for port in range(low, high + 1):
            self.add(port)

    def add(self, port: int) -> None:
        (self._odd if port & 1 else self._even).add(port)
        even = port & ~1
        if even in self._even and even + 1 in self._odd:
            self._pairs.add(even)

    def remove(self, port: int) -> None:
        (self._odd if port & 1 else self._even).remove(port)
        even = port & ~1
        if even in self._pairs:
            self._pairs.remove(even)

    def choose(self, random: Random) -> int | None:
        count = len(self._even) + len(self._odd)
        if not count:
            return None
        at = random.randrange(count)
        return self._even[at] if at < len(self._even) else self._odd[at - len(self._even)]

    def choose_even(self, random: Random) -> int | None:
        return self._even[random.randrange(len(self._even))] if self._even else None

    def choose_pair(self, random: Random) -> int | None:
        return self._pairs[random.randrange(len(self._pairs))] if self._pairs else None


class _Bag:
    """A set of ports, six bytes each, of which the n-th can be had at once, in no lasting order."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._high = high
        self._ports = array("H")
        self._where = array("i", [-1]) * (high - low + 1)  # where each port is in `_ports`

    def __len__(self) -> int:
        return len(self._ports)

    def __getitem__(self, at: int) -> int:
        return self._ports[at]

    def __contains__(self, port: int) -> bool:
        return self._low <= port <= self._high and self._where[port - self._low] >= 0

    def add(self, port: int) -> None:
        self._where[port - self._low] = len(self._ports)
        self._ports.append(port)

    def remove(self, port: int) -> None:
        at = self._where[port - self._low]
        last = self._ports.pop()
        if last != port:
            self._ports[at] = last
            self._where[last - self._low] = at
        self._where[port - self._low] = -1
