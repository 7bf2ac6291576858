"""Types of the compiled TURN clients, and what each method promises; flows.pyx and c/ have the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

CHALLENGE: int
ALLOCATE: int
REFRESH: int
RELEASE: int
PERMIT: int
BIND: int
MIN_BYTES: int
MAX_BYTES: int
MAX_WINDOW: int

class Flows:
    """`count` clients of one server, and the peer that sends back what comes to it.

    `server` is the port of `transport`, `local` the clients' own address. The peer is at the first of
    `peers`, literal addresses of this machine; clients get permissions for all. `users` are names and
    long-term keys (RFC 8489 9.2.2), each of which `per_user` clients one after the other have. Data is
    `size` bytes, by `channel` or by Send indications; `joined`: see c/traffic.h. Raises ValueError, and
    OSError where the peer gets no socket.
    """

    def __init__(
        self,
        count: int,
        *,
        transport: Literal["udp", "tcp", "tls"],
        server: tuple[str, int],
        local: str,
        peers: Sequence[str],
        realm: str,
        users: Sequence[tuple[bytes, bytes]],
        per_user: int = 10,
        size: int = 120,
        channel: bool = True,
        joined: bool = False,
    ) -> None: ...
    def close(self) -> None:
        """Close all sockets; what the server holds of them is its own affair. Safe to call again."""
    def plan(
        self,
        steps: Sequence[int],
        *,
        first: int = 0,
        jobs: int | None = None,
        window: int = 64,
        passing: bool = False,
        lifetime_s: int = 600,
    ) -> None:
        """What clients do from now on: `jobs` of them from `first` on (all without a number), `window` at a
        time, go through `steps`; `BIND + n` binds channel n. `passing`: each job is a client of its own,
        which comes and goes. A client without a line begins with CHALLENGE."""
    def work(self, seconds: float) -> bool:
        """Go on with the plan for so long at most; False once it is done. Who met a fault is out of it."""
    @property
    def done(self) -> int:
        """How many clients are through the plan, well or not."""
    def send(
        self, per_s: float, *, seconds: float, step_s: float = 0.001, senders: int | None = None
    ) -> None:
        """From now on send so many datagrams a second, all `senders` (the first clients) together, every
        `step_s` what is due."""
    def run(self, seconds: float) -> bool:
        """Go on sending, and with a plan, for so long at most; False once all is sent."""
    def settle(self, seconds: float) -> None:
        """Take what comes for so long at most, or until all is back."""
    def counts(self) -> dict[str, int]:
        """Since the start. Datagrams `sent`, `refused` by our own sockets, `unsent` as it was too late;
        `echoed` by the peer (`echo_refused`: could not be), `returned`; `strange` ones. `ended` connections,
        `answered` requests and those `sent_again`."""
    def faults(self) -> dict[str, int]:
        """Why clients did not get through their plan, in words, and how many."""
    def take_round_trips(self) -> list[int]:
        """The histogram of times from sent to returned since the last call, by place (`seal.bucket_us`)."""
    def take_exchanges(self) -> list[int]:
        """The same of times from a request to its answer."""
