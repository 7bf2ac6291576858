"""A TURN server that follows what other processes write into its data directory: keys and revocations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sfu.base.log import get_logger
from sfu.directory.files import DataDirectoryError
from sfu.turn.keys import TurnKeys, keys_of
from sfu.turn.revoked import Revocations
from turn.credentials import CredentialError

if TYPE_CHECKING:
    from sfu.base.settings import Config
    from sfu.directory.files import DataDirectory
    from turn.node import TurnNode

LOOK_S: Final = 0.25  # chosen: two looks at files; a credential of a new key may be used so soon

log = get_logger("turn")


class Follower:
    """Tells one running server of each change. `look` at any time, or `follow_forever`."""

    def __init__(self, node: TurnNode, config: Config, data: DataDirectory) -> None:
        self._node = node
        self._config = config
        self._stored = TurnKeys(data)
        self._revocations = Revocations(data)
        self._keys = node.credentials.keys
        self._fault = ""

    def look(self) -> None:
        """Take over what has changed since the last look; what can't be read changes nothing, and is said."""
        try:
            self._take_keys()
            self._take_revocations()
            self._fault = ""
        except DataDirectoryError as error:
            if str(error) != self._fault:  # once, not with each look
                log.error("turn.data_not_read", error=str(error))
            self._fault = str(error)

    async def follow_forever(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def _take_keys(self) -> None:
        keys = keys_of(self._config, self._stored)
        if keys != self._keys:
            self._keys = keys
            self._node.change_keys(keys)
            log.info("turn.keys_changed", count=len(keys.by_id))

    def _take_revocations(self) -> None:
        for name in self._revocations.news():
            try:
                self._node.revoke(name)
            except CredentialError as error:
                log.error("turn.not_revoked", user=name, error=str(error))
