"""The TURN usernames that were revoked, for all processes of a data directory and across their restarts.

A file of lines, a name each as JSON. It is only added to; once it is large, names that have ended are left
out of a new one. So whoever follows it reads what has been added, and all of it when it was replaced.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.directory.files import DataDirectory, Mark

FILE: Final = "turn-revoked"
_LARGE_BYTES: Final = 1 << 20  # chosen: about 10,000 names


class Revocations:
    """The names; each object that reads them has its own place in the file."""

    def __init__(
        self,
        data: DataDirectory,
        *,
        large_bytes: int = _LARGE_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._data = data
        self._mark: Mark | None = None
        self._large_bytes = large_bytes
        self._tidy_at = large_bytes
        self._wall_clock = wall_clock

    def add(self, username: str) -> None:
        """Keep a name; when this returns, it outlives a power cut. Raises DataDirectoryError. May wait."""
        with self._data.locked(FILE):
            size = self._data.append(FILE, json.dumps(username).encode() + b"\n")
            if size >= self._tidy_at:
                self._tidy_at = max(self._large_bytes, 2 * self._tidy())

    def news(self) -> list[str]:
        """The names that were added since the last call, at first all. Raises DataDirectoryError."""
        self._mark, added = self._data.read_added(FILE, self._mark)
        return _names(added)

    def _tidy(self) -> int:
        """Leave out what has ended; the size that is left."""
        wall_now = self._wall_clock()
        live = [name for name in _names(self._data.read(FILE) or b"") if _ends_at(name) > wall_now]
        content = b"".join(json.dumps(name).encode() + b"\n" for name in dict.fromkeys(live))
        self._data.write(FILE, content)
        return len(content)


def _ends_at(username: str) -> float:
    seconds = username.partition(":")[0]
    return float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0


def _names(content: bytes) -> list[str]:
    """The names of whole lines; a line that a crash cut off was never acknowledged."""
    names: list[str] = []
    for line in content.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, str):
            names.append(value)
    return names
