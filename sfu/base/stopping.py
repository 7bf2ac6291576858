"""How a server is asked to end, by signals or by who started it.

    SIGUSR1            take nothing new; end once nothing is left, or `node.drain_limit` has passed
    SIGTERM, SIGINT    take nothing new, and end soon
    a second of these  end now

A later wish goes before an earlier one that is less urgent.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from sfu.base.log import get_logger
from sfu.base.settings import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

DRAIN_LIMIT_S = Setting(
    "node.drain_limit",
    float,
    3600.0,
    unit="s",
    minimum=0,
    maximum=604_800,
    help="Longest time between SIGUSR1, which lets calls go on, and the end of the process",
)

log = get_logger("node")


class StopRequests:
    """How urgently this process is asked to end."""

    def __init__(self) -> None:
        self._drain = asyncio.Event()
        self._soon = asyncio.Event()
        self._now = asyncio.Event()

    @property
    def asked(self) -> bool:
        """Whether it is to end whatever is left."""
        return self._soon.is_set()

    def heed_signals(self) -> None:
        """Signals ask from now on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.ask_when_empty)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def ask_when_empty(self) -> None:
        """Take nothing new, and end once nothing is left. Asking again changes nothing."""
        self._drain.set()

    def ask(self) -> None:
        """Take nothing new, and end soon. Asking again changes nothing."""
        self._drain.set()
        self._soon.set()

    def ask_now(self) -> None:
        """End now."""
        self.ask()
        self._now.set()

    async def wait_drain(self) -> None:
        """Until it is to take nothing new."""
        await self._drain.wait()

    async def wait(self) -> None:
        """Until it is to end whatever is left."""
        await self._soon.wait()

    async def wait_now(self) -> None:
        """Until it is to end now."""
        await self._now.wait()

    async def wait_or(self, empty: Callable[[], Coroutine[None, None, None]], limit_s: float) -> None:
        """Until it is to end whatever is left, or `empty` returns, or `limit_s` has passed."""
        if self.asked:
            return
        emptied = asyncio.create_task(empty(), name="drain")
        asked = asyncio.create_task(self.wait(), name="stop requests")
        done, pending = await asyncio.wait(
            (emptied, asked), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if emptied in done:
            emptied.result()
        log.info("node.drained", is_empty=emptied in done, is_cut_short=asked in done)

    def _on_signal(self) -> None:
        if self.asked:
            self.ask_now()
        else:
            self.ask()
