"""The TURN keys of a data directory, which `orchard turn key` changes beside running servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sfu.directory.files import DataDirectoryError, WatchedFile
from turn.credentials import SECRETS
from turn.keys import KeysError, read_keys, signing_keys, write_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.base.settings import Config
    from sfu.directory.files import DataDirectory
    from turn.credentials import Keys
    from turn.keys import TurnKey

FILE: Final = "turn-keys.json"


class TurnKeys:
    """The keys, each time as they stand."""

    def __init__(self, data: DataDirectory) -> None:
        self._data = data
        self._stored = WatchedFile(data, FILE, self._read)

    def current(self) -> dict[str, TurnKey]:
        """All keys by id. Raises DataDirectoryError."""
        return self._stored.current()

    def change(self, change: Callable[[dict[str, TurnKey]], None]) -> None:
        """Let `change` alter the keys and store them, while no other process does the same."""

        def changed(document: bytes | None) -> bytes:
            keys = self._read(document)
            change(keys)
            return write_keys(keys)

        self._data.change(FILE, changed)

    def _read(self, document: bytes | None) -> dict[str, TurnKey]:
        try:
            return read_keys(document)
        except KeysError as error:
            raise DataDirectoryError(
                f"{self._data.path / FILE}: {error}; restore it, or delete it, which ends all TURN keys"
            ) from None


def keys_of(config: Config, stored: TurnKeys | None) -> Keys:
    """The keys of the data directory, if there is one, beside the secrets of the settings."""
    shared = tuple(secret.encode() for secret in config[SECRETS])
    return signing_keys(stored.current().values() if stored else (), shared)
