"""A stretch of time in which a server and its clients are watched, and what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.report import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.counts import Histogram
    from loadtest.crowd import Crowd
    from loadtest.server import Target

QUIET_S: Final = 0.3  # nothing came for so long: nothing is under way any more
QUIET_PATIENCE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in `seconds`; `counts` are the swarm's totals (parts/incoming.pxi), less those before."""

    seconds: float
    cpu_s: float
    counts: dict[str, int]
    latency: Histogram
    repair: Histogram
    answer: Histogram
    loop_lag_ms: float | None

    @property
    def delivered(self) -> int:
        """RTP packets that reached subscribers, each counted once."""
        return self.counts["rtp"]

    @property
    def cost_us(self) -> float:
        """The server's CPU microseconds per delivered packet, the share of receiving it included."""
        return self.cpu_s * 1e6 / max(1, self.delivered)


async def watch(target: Target, crowd: Crowd, seconds: float) -> Window:
    """Watch for so long."""
    lag = await target.loop_lag()
    for forget in (crowd.take_latency, crowd.take_repair, crowd.take_answer):
        forget()
    began, before, cpu_s = crowd.now(), crowd.swarm.totals, target.meter.cpu_s()
    await asyncio.sleep(seconds)
    cpu_s = target.meter.cpu_s() - cpu_s
    after, took = crowd.swarm.totals, crowd.now() - began
    latency, repair, answer = crowd.take_latency(), crowd.take_repair(), crowd.take_answer()
    return Window(
        took,
        cpu_s,
        {name: value - before[name] for name, value in after.items()},
        latency,
        repair,
        answer,
        (await target.loop_lag()).p99_ms_since(lag),
    )


async def quiet(crowd: Crowd, patience_s: float = QUIET_PATIENCE_S) -> None:
    """Wait until no RTP arrives any more: what is under way, repairs too, is there or lost."""
    deadline = crowd.now() + patience_s
    last, since = crowd.swarm.totals["rtp"], crowd.now()
    while crowd.now() - since < QUIET_S and crowd.now() < deadline:
        await asyncio.sleep(QUIET_S / 6)
        if (now := crowd.swarm.totals["rtp"]) != last:
            last, since = now, crowd.now()


def latency_figures(prefix: str, windows: Sequence[Window]) -> list[Figure]:
    """One-way latency of each window, and the server's loop lag where it tells."""
    figures = [
        Figure(f"{prefix}one-way latency, {name}", "ms", _percentiles([w.latency for w in windows], percent))
        for name, percent in (("median", 50), ("95 %", 95), ("99 %", 99))
    ]
    lags = [w.loop_lag_ms for w in windows if w.loop_lag_ms is not None]
    if lags:
        figures.append(Figure(f"{prefix}event loop late, 99 %", "ms", tuple(lags)))
    return figures


def repair_figures(prefix: str, windows: Sequence[Window]) -> list[Figure]:
    """How long repairs took, in windows that had any."""
    repaired = [w for w in windows if w.repair.count]
    if not repaired:
        return []
    figures = [
        Figure(
            f"{prefix}noticed to repaired, {name}", "ms", _percentiles([w.repair for w in repaired], percent)
        )
        for name, percent in (("median", 50), ("95 %", 95), ("99 %", 99))
    ]
    answered = [w.answer for w in repaired if w.answer.count]
    if answered:
        figures += [
            Figure(
                f"{prefix}request to repair, where one was enough, {name}",
                "ms",
                _percentiles(answered, percent),
            )
            for name, percent in (("median", 50), ("95 %", 95))
        ]
    return figures


def _percentiles(histograms: Sequence[Histogram], percent: float) -> tuple[float, ...]:
    return tuple((h.percentile_us(percent) or 0) / 1000 for h in histograms)
