"""Clients of a TURN server, as scenarios drive them: through plans, and sending for a while.

All is done in slices of a tenth of a second, in which the compiled half has this thread for itself.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.counts import Histogram
from loadtest.flows import ALLOCATE, BIND, CHALLENGE, PERMIT, REFRESH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.flows import Flows
    from loadtest.meter import Meter

SLICE_S: Final = 0.1
SETTLE_S: Final = 0.5  # for what is under way when sending ends; what is not back then is lost
STREAM_WINDOW: Final = 16  # connections without an allocation at a time: a server may bound them by address
DATAGRAM_WINDOW: Final = 32


class NotAllocated(Exception):
    """Clients did not get what they asked for; the text says what went wrong, and how often."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What came of sending for some seconds. Each datagram that came to the peer or back was relayed."""

    seconds: float
    cpu_s: float
    sent: int
    relayed: int
    returned: int
    unsent: int
    round_trip: Histogram

    @property
    def cost_us(self) -> float:
        """The server's CPU microseconds per relayed packet."""
        return self.cpu_s * 1e6 / max(1, self.relayed)

    @property
    def lost_percent(self) -> float:
        """Of what was sent, the share that did not come back."""
        return 100 * (1 - self.returned / self.sent) if self.sent else 0.0


def opening(form: str, channels: int = 1) -> list[int]:
    """The plan of a client that gets an allocation and what it needs to send: channels, or a permission."""
    return [CHALLENGE, ALLOCATE, *keeping(form, channels)]


def keeping(form: str, channels: int = 1) -> list[int]:
    """What has to be asked for again every few minutes, but for the allocation itself."""
    return [BIND + number for number in range(channels)] if form == "channel" else [PERMIT]


def refreshing(form: str, channels: int = 1) -> list[int]:
    """The plan of a client that keeps what it has."""
    return [REFRESH, *keeping(form, channels)]


async def to_end(go_on: Callable[[float], bool], tell: Callable[[], None] = lambda: None) -> None:
    """Go on in slices until there is no more to do."""
    more = True
    while more:
        more = go_on(SLICE_S)
        tell()
        await asyncio.sleep(0)


async def perform(
    flows: Flows,
    steps: Sequence[int],
    tell: Callable[[int], None] = lambda _: None,
    *,
    first: int = 0,
    jobs: int | None = None,
    window: int = STREAM_WINDOW,
    passing: bool = False,
) -> None:
    """Have clients go through a plan. Raises NotAllocated if any did not get to its end."""
    before = flows.faults()
    flows.plan(steps, first=first, jobs=jobs, window=window, passing=passing)
    await to_end(flows.work, lambda: tell(flows.done))
    faults = {name: count - before.get(name, 0) for name, count in flows.faults().items()}
    if any(faults.values()):
        text = ", ".join(f"{name}: {count}" for name, count in faults.items() if count)
        raise NotAllocated(f"clients did not get what they asked for: {text}")


async def passage(
    flows: Flows,
    meter: Meter,
    per_s: float,
    seconds: float,
    *,
    step_s: float = 0.001,
    senders: int | None = None,
) -> Passage:
    """Send for a while, and wait until all is back or lost."""
    flows.take_round_trips()
    before, cpu_s = flows.counts(), meter.cpu_s()
    flows.send(per_s, seconds=seconds, step_s=step_s, senders=senders)
    await to_end(flows.run)
    flows.settle(SETTLE_S)
    cpu_s = meter.cpu_s() - cpu_s
    counts = {name: count - before[name] for name, count in flows.counts().items()}
    return Passage(
        seconds,
        cpu_s,
        sent=counts["sent"],
        relayed=counts["echoed"] + counts["returned"],
        returned=counts["returned"],
        unsent=counts["unsent"] + counts["refused"] + counts["echo_refused"],
        round_trip=Histogram(flows.take_round_trips()),
    )


def raise_descriptor_limit() -> None:
    """Let this process have as many open files as it may: each client is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
