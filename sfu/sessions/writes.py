"""What an owner writes into the records of its sessions, in order and without making anyone wait.

The owner learns things in callbacks of the event loop (a handshake has ended, media arrives) and the
directory may take its time. So changes queue up here, per session, and one task per session with
changes stores them: all that are waiting go in one compare-and-set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from sfu.base.ids import SessionId
from sfu.base.log import get_logger
from sfu.directory.interface import DirectoryError
from sfu.negotiation.record import SessionRecord

Change = Callable[[SessionRecord], SessionRecord]
Update = Callable[[SessionId, Change], Awaitable[SessionRecord | None]]

RETRY_S = 0.5  # chosen: a store that fails over is back within seconds

PATIENCE_S = 2.0  # chosen: a node that stops is not kept by a store that is away

log = get_logger("sessions")

_failed = Counter("orchard_sessions_writes_failed_total", "Writes to a record that had to be repeated")


class RecordWrites:
    """Queues of changes, one per session.

    `update` loads a record, applies a change and stores it by compare-and-set, as
    `SessionService.update` does. `retry_s` is the pause after a store that did not answer; the
    changes are kept, since a record that misses one would stay wrong. `patience_s` is how long
    `settle` waits for such a store.
    """

    def __init__(self, update: Update, *, retry_s: float = RETRY_S, patience_s: float = PATIENCE_S) -> None:
        self._update = update
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._waiting: dict[SessionId, list[Change]] = {}
        self._tasks: dict[SessionId, asyncio.Task[None]] = {}

    def write(self, session: SessionId, change: Change) -> None:
        """Store `change` of the session's record soon, after those that were given before."""
        self._waiting.setdefault(session, []).append(change)
        if session not in self._tasks:
            self._tasks[session] = asyncio.create_task(self._store(session), name=f"writes {session}")

    def forget(self, session: SessionId) -> None:
        """The session is over: what still waits is of no use to anyone."""
        self._waiting.pop(session, None)

    async def settle(self) -> None:
        """Wait until nothing is left to store, or what is left can't be stored in time."""
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while self._tasks:
            tasks = set(self._tasks.values())
            left_s = deadline - asyncio.get_running_loop().time()
            done, late = await asyncio.wait(tasks, timeout=max(left_s, 0.0))
            if not done:
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _store(self, session: SessionId) -> None:
        try:
            while changes := self._waiting.pop(session, None):
                await self._store_all(session, changes)
        finally:
            del self._tasks[session]

    async def _store_all(self, session: SessionId, changes: list[Change]) -> None:
        def all_of_them(record: SessionRecord) -> SessionRecord:
            for change in changes:
                record = change(record)
            return record

        while True:
            try:
                await self._update(session, all_of_them)
            except DirectoryError as error:
                _failed.inc()
                log.warning("session.write_failed", session=session, error=str(error))
                await asyncio.sleep(self._retry_s)
            else:
                return
