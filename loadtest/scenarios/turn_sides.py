"""TURN servers side by side, each with clients of its own that keep what they have."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.allocations import DATAGRAM_WINDOW, STREAM_WINDOW, opening, perform, refreshing
from loadtest.report import Figure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from loadtest.flows import Flows
    from loadtest.relays import Form, Relay, Relays, Transport
    from loadtest.scenarios.crowds import Tell

WARM_S: Final = 0.3  # of sending, before each window: the first datagrams after a rest find everything cold


@dataclass(frozen=True, slots=True)
class Way:
    """How data goes: `flows` clients of one datagram size over one transport."""

    transport: Transport = "udp"
    form: Form = "channel"
    flows: int = 50
    size: int = 120
    joined: bool = False

    @property
    def name(self) -> str:
        """In a few words."""
        flows = "one flow" if self.flows == 1 else f"{self.flows} flows"
        return f"{flows}, {self.transport.upper()}, {'channels' if self.form == 'channel' else 'indications'}"

    def parameters(self) -> dict[str, float | int | str]:
        """As a report tells them."""
        form = "channels" if self.form == "channel" else "Send and Data indications"
        return {
            "flows": self.flows,
            "over": self.transport.upper(),
            "by": form,
            "bytes of data per packet": self.size,
            "sent as": "rows that the kernel cuts" if self.joined else "single packets",
        }


@dataclass(frozen=True, slots=True)
class Side:
    """One server with its clients. `label` begins the names of its figures."""

    label: str
    relay: Relay
    flows: Flows
    way: Way

    async def refresh(self) -> None:
        """Keep what the clients have: a round may come minutes after the last one. Raises NotAllocated."""
        await perform(self.flows, refreshing(self.way.form), window=STREAM_WINDOW)


@asynccontextmanager
async def sides(servers: Mapping[str, Relays], way: Way, tell: Tell) -> AsyncGenerator[list[Side]]:
    """Start all servers and give each its clients. Raises ServerFailed, NotAllocated."""
    async with AsyncExitStack() as stack:
        made: list[Side] = []
        for name, server in servers.items():
            relay = await stack.enter_async_context(server.relay())
            flows = relay.flows(
                way.flows, transport=way.transport, form=way.form, size=way.size, joined=way.joined
            )
            stack.callback(flows.close)
            label = f"{name}: " if len(servers) > 1 else ""
            window = DATAGRAM_WINDOW if way.transport == "udp" else STREAM_WINDOW
            await perform(
                flows,
                opening(way.form),
                lambda done, label=label: tell(f"{label}allocations", done, way.flows),
                window=window,
            )
            made.append(Side(label, relay, flows, way))
        yield made


def over(what: str, values: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Of two servers what the first has over what the second has, round by round; `values` are by label."""
    if len(values) != 2:
        return []
    ours, theirs = values.values()
    names = " over ".join(label.removesuffix(": ") for label in values)
    ratios = tuple(a / b for a, b in zip(ours, theirs, strict=True) if b)
    return [Figure(f"{what}, {names}", "x", ratios)] if ratios else []
