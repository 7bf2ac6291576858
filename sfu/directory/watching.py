"""Telling those who watch a session, in the turn of the event loop after the change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sfu.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.base.ids import SessionId

log = get_logger("directory")


class LocalWatch:
    """One watcher. Changes until the loop comes round are merged into one call.

    `tell` calls the callback with the session as it stands then, `forget` is told of the end.
    """

    def __init__(
        self, tell: Callable[[], None], forget: Callable[[LocalWatch], None], session: SessionId
    ) -> None:
        self.session = session
        self._tell = tell
        self._forget = forget
        self._handle: asyncio.Handle | None = None

    def wake(self) -> None:
        """Tell of the session's state when the loop comes round."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._call)

    def close(self) -> None:
        """No further call of the callback."""
        if self._handle is not None:
            self._handle.cancel()
        self._forget(self)

    def _call(self) -> None:
        self._handle = None
        try:
            self._tell()
        except Exception:
            log.exception("directory.watch_callback_failed", session=self.session)
