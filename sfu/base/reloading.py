"""How a process is asked to read anew what may change while it runs: by SIGHUP, or by who started it."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ReloadRequests:
    """Calls for what is to be read anew. One that comes before `answer_with` waits for it."""

    def __init__(self) -> None:
        self._reload: Callable[[], None] | None = None
        self._was_asked = False

    def heed_signals(self) -> None:
        """SIGHUP, which would end the process, asks from now on."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.ask)

    def ask(self) -> None:
        """Read anew what may have changed."""
        if self._reload is None:
            self._was_asked = True
        else:
            self._reload()

    def answer_with(self, reload: Callable[[], None]) -> None:
        """Call `reload` each time that it is asked for. It says itself what can't be read."""
        self._reload = reload
        if self._was_asked:
            self._was_asked = False
            reload()
