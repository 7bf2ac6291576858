"""Directories of nodes that share a Redis."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sfu.base.ids import NodeId
from sfu.directory.interface import Unavailable
from sfu.directory.redis.address import RedisAddress
from sfu.directory.redis.directory import RedisDirectory
from sfu.negotiation.record import ClientTransport, Fingerprint
from tests.sfu.directory.contract import A, record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sfu.base.ids import SessionId
    from sfu.negotiation.record import SessionRecord
    from tests.redis_server import RedisServer

SECRET = b"\x5e" * 32
CLIENT = ClientTransport("ufrag", "a-password-of-a-client", (Fingerprint("sha-256", "AB:CD"),))


class Cluster:
    """Nodes with one prefix; all are closed at the end of the block."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.prefix = f"test-{secrets.token_hex(6)}"
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def node(
        self, name: str = "n1", *, url: str = "", secret: bytes = SECRET, **options: Any
    ) -> RedisDirectory:
        """The directory of a further node, joined."""
        options = {"prefix": self.prefix, "node": NodeId(name), "timeout_s": 10.0} | options
        directory = RedisDirectory(RedisAddress.parse(url or self.server.url), secret, **options)
        await directory.open()
        self._stack.push_async_callback(directory.close)
        return directory

    def stored(self) -> list[bytes]:
        """The keys of this cluster that there are."""
        return sorted(self.server("KEYS", f"{self.prefix}:*"))


def owned_record(session: SessionId = A, node: str = "n1") -> SessionRecord:
    """A connected session of that node's."""
    return replace(record(session), owner=NodeId(node), transport_state="connected", client=CLIENT)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `holds`, which may be unavailable for a while."""
    async with asyncio.timeout(15):
        while True:
            try:
                if await holds():
                    return
            except Unavailable:
                pass
            await asyncio.sleep(0.01)


async def until_away(directory: RedisDirectory) -> None:
    """Wait until the connection of a node is lost."""
    async with asyncio.timeout(15):
        while True:
            try:
                await directory.count_sessions()
            except Unavailable:
                return
            await asyncio.sleep(0.01)


async def until_there(directory: RedisDirectory) -> None:
    """Wait until a node has its connection."""

    async def answers() -> bool:
        return await directory.count_sessions() >= 0

    await until(answers)
