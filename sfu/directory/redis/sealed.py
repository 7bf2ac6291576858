"""Values of the store, opened and read; those that can't be are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client import Counter

from sfu.directory.seal import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.directory.seal import Kind, Sealer

T = TypeVar("T")

_unreadable = Counter(
    "orchard_directory_unreadable_total", "Values in the store that could not be used", ["kind"]
)


def opened(
    sealer: Sealer,
    kind: Kind,
    name: str,
    sealed: bytes,
    read: Callable[[bytes], T],
    *,
    form: int,
    version: int = 0,
) -> T:
    """What `read` makes of a sealed value; `read` raises ValueError for what it can make nothing of.

    Raises Unreadable.
    """
    try:
        plain = sealer.open(kind, name, sealed, form=form, version=version)
        try:
            return read(plain)
        except ValueError as error:
            raise Unreadable(f"{kind} {name}: {error}") from error
    except Unreadable:
        _unreadable.labels(kind).inc()
        raise
