"""TURN in this deployment: its keys are in the data directory, where whoever runs beside it finds them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sfu.base.log import get_logger
from sfu.directory.files import DataDirectoryError, WatchedFile
from turn.credentials import SECRETS
from turn.keys import KeysError, read_keys, signing_keys, write_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.base.settings import Config
    from sfu.directory.files import DataDirectory
    from turn.credentials import Keys
    from turn.keys import TurnKey
    from turn.node import TurnNode

KEYS_FILE: Final = "turn-keys.json"
LOOK_S: Final = 1.0  # chosen: a change is to be in force within 5 s

log = get_logger("turn")


class TurnKeys:
    """The TURN keys of a data directory, each time as they stand."""

    def __init__(self, data: DataDirectory) -> None:
        self._data = data
        self._stored = WatchedFile(data, KEYS_FILE, self._read)

    def current(self) -> dict[str, TurnKey]:
        """All keys by id. Raises DataDirectoryError."""
        return self._stored.current()

    def change(self, change: Callable[[dict[str, TurnKey]], None]) -> None:
        """Let `change` alter the keys and store them, while no other process does the same."""

        def changed(document: bytes | None) -> bytes:
            keys = self._read(document)
            change(keys)
            return write_keys(keys)

        self._data.change(KEYS_FILE, changed)

    def _read(self, document: bytes | None) -> dict[str, TurnKey]:
        try:
            return read_keys(document)
        except KeysError as error:
            raise DataDirectoryError(
                f"{self._data.path / KEYS_FILE}: {error}; restore it, or delete it, which ends all TURN keys"
            ) from None


def keys_of(config: Config, stored: TurnKeys | None) -> Keys:
    """The keys of the data directory, if there is one, beside the secrets of the settings."""
    shared = tuple(secret.encode() for secret in config[SECRETS])
    return signing_keys(stored.current().values() if stored else (), shared)


async def follow_forever(node: TurnNode, config: Config, stored: TurnKeys) -> None:
    """Tell a running TURN server of each change of the keys."""
    keys = keys_of(config, stored)
    node.change_keys(keys)  # what has changed since it started
    fault = ""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            newest = keys_of(config, stored)
        except DataDirectoryError as error:
            if str(error) != fault:
                log.error("turn.keys_not_read", error=str(error))
            fault = str(error)
            continue
        fault = ""
        if newest != keys:
            keys = newest
            node.change_keys(keys)
            log.info("turn.keys_changed", keys=len(keys.by_id))
