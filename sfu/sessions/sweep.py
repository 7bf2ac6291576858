"""Deleting sessions that were made and never connected, so that the directory does not fill up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import Counter

from sfu.base.log import get_logger
from sfu.directory.interface import Conflict, DirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.directory.interface import Directory

PERIOD_S = 5.0  # chosen: calls of an expired session are refused at once, so only memory waits for this

log = get_logger("sessions")

_expired = Counter("orchard_sessions_expired_total", "Sessions deleted since they never connected")


async def sweep_once(directory: Directory, before: float) -> int:
    """Delete every session made before `before` that never connected; returns how many there were.

    One that changes meanwhile is left to the next sweep: it may have just connected.
    """
    deleted = 0
    for record in await directory.list_unconnected(before):
        try:
            deleted += await directory.delete_session(record.id, version=record.version)
        except Conflict:
            continue
    if deleted:
        _expired.inc(deleted)
        log.info("sessions.expired", count=deleted)
    return deleted


async def sweep_forever(
    directory: Directory, before: Callable[[], float], *, period_s: float = PERIOD_S
) -> None:
    """Sweep every `period_s` until cancelled; `before` says of what age sessions are to go."""
    while True:
        await asyncio.sleep(period_s)
        try:
            await sweep_once(directory, before())
        except DirectoryError as error:
            log.warning("sessions.sweep_failed", error=str(error))
