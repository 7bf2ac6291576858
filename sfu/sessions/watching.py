"""Waiting until a session's record says what one waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.base.ids import SessionId
    from sfu.directory.interface import Directory
    from sfu.negotiation.record import SessionRecord


async def wait_for_session(
    directory: Directory, session: SessionId, holds: Callable[[SessionRecord], bool]
) -> SessionRecord | None:
    """The record once `holds` is true of it, or None once the session is not there or closed.

    Waits for ever: put a timeout around it.
    """
    settled: asyncio.Future[SessionRecord | None] = asyncio.get_running_loop().create_future()

    def changed(record: SessionRecord | None) -> None:
        gone = record is None or record.transport_state == "closed"
        if not settled.done() and (gone or (record is not None and holds(record))):
            settled.set_result(None if gone else record)

    watch = directory.watch(session, changed)
    try:
        return await settled
    finally:
        watch.close()
