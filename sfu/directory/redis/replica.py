"""Hashes that every node holds as a whole: few, small, and wanted with each call (apps, certificates)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sfu.base.log import get_logger
from sfu.directory.redis.layout import PUT_FIELD
from sfu.directory.redis.link import Command
from sfu.directory.redis.sealed import opened
from sfu.directory.seal import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sfu.directory.redis.link import Link
    from sfu.directory.seal import Kind, Sealer

T = TypeVar("T")

_FORMAT = 1  # of all that is held so
_SCANNED = 100  # fields at once: opening them takes the event loop 2 ms

log = get_logger("directory")


class Replica(Generic[T]):
    """A copy of the hash `key`, whose fields are sealed values of one kind.

    It is loaded anew on each connection and follows the messages of the others' changes from before that.
    """

    def __init__(
        self,
        key: str,
        kind: Kind,
        sealer: Sealer,
        *,
        to_json: Callable[[T], bytes],
        from_json: Callable[[bytes], T],
    ) -> None:
        self.key = key
        self._kind: Kind = kind
        self._sealer = sealer
        self._to_json = to_json
        self._from_json = from_json
        self._held: dict[str, tuple[bytes, T]] = {}
        self._loading: dict[str, tuple[bytes, T]] | None = None

    def get(self, field: str) -> T | None:
        """The value as last heard of."""
        held = self._held.get(field)
        return None if held is None else held[1]

    def values(self) -> Iterator[T]:
        """All values as last heard of."""
        return (value for _, value in self._held.values())

    async def load(self, link: Link) -> dict[str, T]:
        """Read the whole hash; returns what was held before and is not in it."""
        await link.call(Command(("SUBSCRIBE", self.key)))
        self._loading = {}
        try:
            cursor = b"0"
            while True:
                words = ("HSCAN", self.key, cursor, "COUNT", _SCANNED)
                cursor, _ = await link.call(Command(words, self._scanned))
                if cursor == b"0":
                    break
            missing = {field: value for field, (_, value) in self._held.items() if field not in self._loading}
            self._held = self._loading
        finally:
            self._loading = None
        return missing

    async def put(self, link: Link, field: str, value: T) -> None:
        """Store a value, whatever was there."""
        await self._change(link, field, self._sealed(field, value), None)

    async def exchange(self, link: Link, field: str, old: T | None, new: T) -> bool:
        """Store `new` in the place of `old`, None for none; False if that is not what is there."""
        held = self._held.get(field)
        if old != (None if held is None else held[1]):
            return False
        expected = b"" if held is None else held[0]
        return await self._change(link, field, self._sealed(field, new), expected)

    async def delete(self, link: Link, field: str) -> bool:
        """Delete a value; False if there was none."""
        return await self._change(link, field, b"", None)

    def told(self, message: bytes) -> None:
        """A message about a change: the field, a space, and its sealed value or nothing."""
        field, _, sealed = message.partition(b" ")
        self._learn(field.decode("utf-8", "replace"), sealed)

    def _sealed(self, field: str, value: T) -> bytes:
        return self._sealer.seal(self._kind, field, self._to_json(value), form=_FORMAT)

    async def _change(self, link: Link, field: str, sealed: bytes, expected: bytes | None) -> bool:
        """Store `sealed`, or delete the field for nothing; with `expected`, only if that is there."""
        compare = expected is not None
        words = PUT_FIELD.words((self.key,), field, int(compare), expected or b"", sealed)

        def read(answer: Any) -> bool:
            if answer:
                self._learn(field, sealed)
            return bool(answer)

        return await link.call(Command(words, read))

    def _scanned(self, answer: Any) -> tuple[bytes, None]:
        cursor, flat = answer
        for field, sealed in zip(flat[::2], flat[1::2], strict=True):
            self._learn(field.decode("utf-8", "replace"), sealed)
        return cursor, None

    def _learn(self, field: str, sealed: bytes) -> None:
        into = self._held if self._loading is None else self._loading
        if not sealed:
            into.pop(field, None)
            return
        held = self._held.get(field)
        if held is not None and held[0] == sealed:
            into[field] = held
            return
        try:
            value = opened(self._sealer, self._kind, field, sealed, self._from_json, form=_FORMAT)
            into[field] = sealed, value
        except Unreadable as error:
            log.warning("directory.unreadable", reason=str(error))
            into.pop(field, None)  # what it took the place of is in force no more
