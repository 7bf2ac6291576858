"""Finding the tracks that a call wants to pull, and waiting for their media where they have none yet.

A client learns of a track from the publisher, often before the publisher's first packet is here. So a
track that is published but silent is waited for; one that is not published is not (api.md 1.13).
All tracks of a call are waited for at once, within one time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sfu.negotiation.errors import TRACK_EMPTY, TRACK_NOT_FOUND, ItemError
from sfu.negotiation.requests import PublishedTrack
from sfu.negotiation.tracks import find_published

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sfu.base.ids import AppId, SessionId, TrackName
    from sfu.directory.interface import Directory
    from sfu.negotiation.record import SessionRecord
    from sfu.negotiation.requests import Published

    TrackKey = tuple[SessionId, TrackName]


async def await_published(
    directory: Directory, app: AppId, wanted: AbstractSet[TrackKey], wait_s: float
) -> Published:
    """Each wanted track, or why it can't be had; waits up to `wait_s` for those that may still come.

    Tracks of other apps are not found.
    """
    search = _Search(directory, app, wanted)
    await search.load()
    await search.wait(wait_s)
    return search.with_media()


async def look_up_published(directory: Directory, app: AppId, wanted: AbstractSet[TrackKey]) -> Published:
    """Each wanted track as it stands, silent or not, or why it can't be had."""
    search = _Search(directory, app, wanted)
    await search.load()
    return search.as_they_stand()


class _Search:
    """The publishers of one call, each in its newest known state."""

    def __init__(self, directory: Directory, app: AppId, wanted: AbstractSet[TrackKey]) -> None:
        self._directory = directory
        self._app = app
        self._wanted = wanted
        self._publishers: dict[SessionId, SessionRecord | None] = {}
        self._settled = asyncio.Event()

    async def load(self) -> None:
        """Fetch all publishers as they stand."""
        sessions = sorted({session for session, _ in self._wanted})
        records = await asyncio.gather(*(self._directory.get_session(session) for session in sessions))
        self._publishers.update(zip(sessions, records, strict=True))

    async def wait(self, wait_s: float) -> None:
        """Watch those with silent tracks until none is left or the time is over."""
        silent = {key[0] for key in self._wanted if self._may_come(key)}
        if not silent:
            return
        watches = [
            self._directory.watch(session, lambda record, session=session: self._changed(session, record))
            for session in silent
        ]
        try:
            async with asyncio.timeout(wait_s):
                await self._settled.wait()
        except TimeoutError:
            pass  # the results say what was not there in time
        finally:
            for watch in watches:
                watch.close()

    def as_they_stand(self) -> Published:
        """What is known now of each wanted track."""
        return {key: self._look(key)[1] for key in self._wanted}

    def with_media(self) -> Published:
        """The same, but a track without media is an error."""
        return {key: self._with_media(key) for key in self._wanted}

    def _changed(self, session: SessionId, record: SessionRecord | None) -> None:
        self._publishers[session] = record
        if not any(self._may_come(key) for key in self._wanted):
            self._settled.set()

    def _look(self, key: TrackKey) -> tuple[SessionRecord | None, PublishedTrack | ItemError]:
        session, name = key
        publisher = self._publishers[session]
        if publisher is None or publisher.app != self._app or publisher.transport_state == "closed":
            return None, TRACK_NOT_FOUND
        return publisher, find_published(publisher, name)

    def _may_come(self, key: TrackKey) -> bool:
        """Whether the track is published and its media not here yet."""
        publisher, found = self._look(key)
        if isinstance(found, PublishedTrack):
            return not found.flowing
        publication = publisher.publication(key[1]) if publisher is not None else None
        return publication is not None and publication.state == "offered"

    def _with_media(self, key: TrackKey) -> PublishedTrack | ItemError:
        publisher, found = self._look(key)
        if isinstance(found, ItemError) or found.flowing:
            return found
        connected = publisher is not None and publisher.transport_state == "connected"
        return TRACK_EMPTY if connected else TRACK_NOT_FOUND
