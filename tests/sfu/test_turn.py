"""TURN beside a data directory: a running server follows its keys."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sfu.directory.files import DataDirectory, DataDirectoryError
from sfu.turn import TurnKeys, follow_forever, keys_of
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Method
from tests.turn.test_node import RawClient, config
from turn.keys import new_key
from turn.node import TurnNode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.fixture
def stored(tmp_path: Path) -> TurnKeys:
    return TurnKeys(DataDirectory(tmp_path / "data"))


@asynccontextmanager
async def running(stored: TurnKeys) -> AsyncGenerator[TurnNode]:
    node = TurnNode(config(), keys=keys_of(config(), stored))
    node.start()
    following = asyncio.create_task(follow_forever(node, config(), stored))
    try:
        yield node
    finally:
        following.cancel()
        node.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 -- what is waited for is in a file
            await asyncio.sleep(0.01)


async def test_allocations_of_a_revoked_key_end_within_5_seconds_and_no_others(stored: TurnKeys) -> None:
    gone, stays = new_key("gone", NOW).key, new_key("stays", NOW).key
    stored.change(lambda keys: keys.update({gone.id: gone, stays.id: stays}))
    async with running(stored) as node:
        clients = [
            RawClient(node, node.credentials.mint(key.id, 600, "", time.time())) for key in (gone, stays)
        ]
        for client in clients:
            assert (await client.allocate()).message_class is MessageClass.SUCCESS
        stored.change(lambda keys: keys.__delitem__(gone.id))
        await until(lambda: len(node.server) == 1)
        answers = [await client.ask(Method.REFRESH, transaction=os.urandom(12)) for client in clients]
        assert [answer.message_class for answer in answers] == [MessageClass.ERROR, MessageClass.SUCCESS]
        for client in clients:
            client.sock.close()


async def test_a_key_made_beside_a_running_server_is_taken(stored: TurnKeys) -> None:
    async with running(stored) as node:
        key = new_key("late", NOW).key
        stored.change(lambda keys: keys.update({key.id: key}))
        await until(lambda: key.id in node.credentials.keys.by_id)
        assert node.credentials.keys.shared  # those of the settings stay


async def test_keys_that_can_not_be_read_change_nothing_until_they_can(
    stored: TurnKeys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key("mine", NOW).key
    stored.change(lambda keys: keys.update({key.id: key}))
    data = DataDirectory(tmp_path / "data")
    async with running(stored) as node:
        with caplog.at_level(logging.CRITICAL):
            data.write("turn-keys.json", b"damaged")
            with pytest.raises(DataDirectoryError, match="which ends all TURN keys"):
                stored.current()
            other = new_key("other", NOW).key
            assert key.id in node.credentials.keys.by_id
            (tmp_path / "data/turn-keys.json").unlink()
            stored.change(lambda keys: keys.update({other.id: other}))
            await until(lambda: set(node.credentials.keys.by_id) == {other.id})


def test_changes_of_two_processes_are_both_kept(stored: TurnKeys, tmp_path: Path) -> None:
    other = TurnKeys(DataDirectory(tmp_path / "data"))
    one, two = new_key("one", NOW).key, new_key("two", NOW).key
    stored.change(lambda keys: keys.update({one.id: one}))
    other.change(lambda keys: keys.update({two.id: two}))
    assert set(stored.current()) == {one.id, two.id}
