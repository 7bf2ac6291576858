"""One table of payload types and one of extension ids per PeerConnection, for its whole life.

All m-lines share a transport, so a number means one thing in all of them (RFC 9143 9.1): Chromium
refuses a PT that another section uses for another codec, and from 148 on an extension id that ever
had another URI.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from sfu.base.ids import PayloadType
from sfu.negotiation.record import Binding

Number = TypeVar("Number", int, PayloadType)


class Numbers(Generic[Number]):
    """A working copy of one table. Keys are codec keys or extension URIs."""

    def __init__(self, bindings: Mapping[Number, Binding], pool: Iterable[Number]) -> None:
        self._bindings = dict(bindings)
        self._pool = tuple(pool)
        self._by_key: dict[str, Number] = {}
        for number, binding in self._bindings.items():
            if binding.agreed or binding.key not in self._by_key:
                self._by_key[binding.key] = number

    def bindings(self) -> dict[Number, Binding]:
        """The table as it stands, for the record."""
        return self._bindings

    def agreed(self) -> set[Number]:
        """The numbers that hold for life."""
        return {number for number, binding in self._bindings.items() if binding.agreed}

    def means(self, number: Number, key: str) -> bool:
        """Whether `number` stands for `key`, or may come to."""
        binding = self._bindings.get(number)
        return binding is None or not binding.agreed or binding.key == key

    def see(self, number: Number, key: str) -> None:
        """The client uses this number so, though nothing is agreed: we avoid it for all else."""
        if (binding := self._bindings.get(number)) is None or not binding.agreed:
            self._bind(number, Binding(key, agreed=False))

    def agree(self, number: Number, key: str) -> None:
        """Both ends use the number so: that holds for life. Call only if `means` is true."""
        self._bind(number, Binding(key, agreed=True))

    def drop(self, numbers: Iterable[Number]) -> None:
        """What we offered under these numbers was not taken: they are as if only seen."""
        for number in numbers:
            self._bindings[number] = Binding(self._bindings[number].key, agreed=False)

    def _bind(self, number: Number, binding: Binding) -> None:
        old = self._bindings.get(number)
        if old is not None and old.key != binding.key and self._by_key.get(old.key) == number:
            del self._by_key[old.key]
        self._bindings[number] = binding
        if binding.key not in self._by_key or (
            binding.agreed and not self._bindings[self._by_key[binding.key]].agreed
        ):
            self._by_key[binding.key] = number

    def choose(self, key: str, wishes: Iterable[Number]) -> Number | None:
        """The number for `key` in an offer of ours, now agreed: the one it has, else a free one.

        `wishes` are tried first. A number that the client merely mentioned is taken last; None if
        every number is agreed to mean something else.
        """
        if (number := self._by_key.get(key)) is not None:
            self.agree(number, key)
            return number
        candidates = (*wishes, *self._pool)
        number = next((number for number in candidates if number not in self._bindings), None)
        if number is None:
            number = next((number for number in candidates if not self._bindings[number].agreed), None)
        if number is not None:
            self.agree(number, key)
        return number
