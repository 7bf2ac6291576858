"""Small named documents that nodes share: the store of a guest of the SFU, such as the meeting app.

A document is bytes with a version and a life. It is changed by compare-and-set: get it, derive the next, put
that over the version that was got. Who watches a name is told of each change, and of notes: words that are
passed on to all who watch at that moment and kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class DocumentsAway(Exception):
    """The store does not answer, or has no room; nothing is known about the outcome of a change."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is stored under a name. Versions begin at 1 and never go back while the document lives."""

    value: bytes = field(repr=False)
    version: int


class DocumentWatch(Protocol):
    """A subscription to one name."""

    def close(self) -> None:
        """End it: no call begins after this returns. Safe to call twice."""
        ...


class Documents(Protocol):
    """The store. Each method but `watch` may raise DocumentsAway."""

    async def get(self, name: str) -> Document | None:
        """The document as it stands; None if there is none, or its life is over."""
        ...

    async def put(self, name: str, value: bytes, *, over: int, life_s: float) -> bool:
        """Store `value` over version `over` (0: where there is none), as the next version, for `life_s` from
        now on. False, and nothing stored, if the stored version is another one."""
        ...

    async def note(self, name: str, note: bytes) -> None:
        """Pass `note` on to all who watch `name` now, on every node, this one included."""
        ...

    def watch(
        self, name: str, on_document: Callable[[Document], None], on_note: Callable[[bytes], None]
    ) -> DocumentWatch:
        """Call back in the running loop for each change and each note, never within this call.

        Changes may be merged: the last one always arrives.
        """
        ...
