"""The documents of a single node: everything in this process, nothing kept when it ends."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from sfu.base.documents import Document, DocumentsAway
from sfu.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger("directory")


class MemoryDocuments:
    """`Documents` made of dictionaries; at most `limit` live at a time, with `limit_bytes` in all."""

    def __init__(self, *, limit: int, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._clock = clock
        self._stored: OrderedDict[str, tuple[Document, float]] = OrderedDict()  # and when its life ends
        self._watches: dict[str, set[_Watch]] = {}

    def __len__(self) -> int:
        return len(self._stored)

    async def get(self, name: str) -> Document | None:
        """The document, if it lives."""
        return self._living(name)

    async def put(self, name: str, value: bytes, *, over: int, life_s: float) -> bool:
        """Store over a version; DocumentsAway for one more than there may be."""
        now = self._living(name)
        if (0 if now is None else now.version) != over:
            return False
        grows = len(value) - (0 if now is None else len(now.value))
        if not self._has_room(now is None, grows):
            self._forget_dead()
            if not self._has_room(now is None, grows):
                raise DocumentsAway(
                    f"{len(self._stored)} documents have {self._bytes} bytes, and no more may be"
                )
        self._bytes += grows
        document = Document(value, over + 1)
        self._stored[name] = (document, self._clock() + life_s)
        for watch in self._watches.get(name, ()):
            watch.tell(document)
        return True

    async def note(self, name: str, note: bytes) -> None:
        """Pass a note on to who watches."""
        for watch in self._watches.get(name, ()):
            watch.pass_on(note)

    def watch(
        self, name: str, on_document: Callable[[Document], None], on_note: Callable[[bytes], None]
    ) -> _Watch:
        """Call back for changes and notes."""
        watch = _Watch(name, on_document, on_note, self._unwatch)
        self._watches.setdefault(name, set()).add(watch)
        return watch

    def _living(self, name: str) -> Document | None:
        document, until = self._stored.get(name, (None, 0.0))
        if document is not None and self._clock() >= until:
            self._forget(name)
            return None
        return document

    def _has_room(self, new: bool, grows: int) -> bool:
        """What makes a document smaller always has."""
        return not (new and len(self._stored) >= self._limit) and (
            grows <= 0 or self._bytes + grows <= self._limit_bytes
        )

    def _forget_dead(self) -> None:
        """Only who wants the last place pays for a look at all."""
        now = self._clock()
        for name in [name for name, (_, until) in self._stored.items() if until <= now]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._bytes -= len(self._stored.pop(name)[0].value)

    def _unwatch(self, watch: _Watch) -> None:
        watches = self._watches.get(watch.name)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[watch.name]


class _Watch:
    """One watcher of one name."""

    def __init__(
        self,
        name: str,
        on_document: Callable[[Document], None],
        on_note: Callable[[bytes], None],
        closed: Callable[[_Watch], None],
    ) -> None:
        self.name = name
        self._on_document = on_document
        self._on_note = on_note
        self._closed = closed
        self._open = True

    def tell(self, document: Document) -> None:
        asyncio.get_running_loop().call_soon(self._call, self._on_document, document)

    def pass_on(self, note: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._call, self._on_note, note)

    def close(self) -> None:
        """No further call."""
        self._open = False
        self._closed(self)

    def _call(self, callback: Callable[..., None], told: Document | bytes) -> None:
        if not self._open:
            return
        try:
            callback(told)
        except Exception:
            log.exception("directory.watch_callback_failed", document=self.name)
