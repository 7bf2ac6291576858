"""A running TURN server follows the keys and revocations of its data directory."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sfu.directory.files import DataDirectory, DataDirectoryError
from sfu.turn.follow import Follower
from sfu.turn.keys import TurnKeys, keys_of
from sfu.turn.revoked import Revocations
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
def data(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path / "data")


@pytest.fixture
def stored(data: DataDirectory) -> TurnKeys:
    return TurnKeys(data)


@asynccontextmanager
async def running(data: DataDirectory) -> AsyncGenerator[TurnNode]:
    node = TurnNode(config(), keys=keys_of(config(), TurnKeys(data)))
    node.start()
    following = asyncio.create_task(Follower(node, config(), data).follow_forever())
    try:
        yield node
    finally:
        following.cancel()
        node.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 -- what is waited for is in a file
            await asyncio.sleep(0.01)


async def test_allocations_of_a_revoked_key_end_within_5_seconds_and_no_others(
    data: DataDirectory, stored: TurnKeys
) -> None:
    gone, stays = new_key("gone", NOW).key, new_key("stays", NOW).key
    stored.change(lambda keys: keys.update({gone.id: gone, stays.id: stays}))
    async with running(data) as node:
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


async def test_a_key_made_beside_a_running_server_is_taken(data: DataDirectory, stored: TurnKeys) -> None:
    async with running(data) as node:
        key = new_key("late", NOW).key
        stored.change(lambda keys: keys.update({key.id: key}))
        await until(lambda: key.id in node.credentials.keys.by_id)
        assert node.credentials.keys.shared  # those of the settings stay


async def test_keys_that_can_not_be_read_change_nothing_until_they_can(
    data: DataDirectory, stored: TurnKeys, caplog: pytest.LogCaptureFixture
) -> None:
    key, other = new_key("mine", NOW).key, new_key("other", NOW).key
    stored.change(lambda keys: keys.update({key.id: key}))
    node = TurnNode(config(), keys=keys_of(config(), stored))
    node.start()
    follower = Follower(node, config(), data)
    with caplog.at_level(logging.CRITICAL):
        data.write("turn-keys.json", b"damaged")
        with pytest.raises(DataDirectoryError, match="which ends all TURN keys"):
            stored.current()
        follower.look()
        assert set(node.credentials.keys.by_id) == {key.id}
        (data.path / "turn-keys.json").unlink()
        stored.change(lambda keys: keys.update({other.id: other}))
        follower.look()
        assert set(node.credentials.keys.by_id) == {other.id}
    node.stop()


async def test_what_another_process_revokes_ends(data: DataDirectory, stored: TurnKeys) -> None:
    key = new_key("mine", NOW).key
    stored.change(lambda keys: keys.update({key.id: key}))
    async with running(data) as node:
        client = RawClient(node, node.credentials.mint(key.id, 600, "", time.time()))
        await client.allocate()
        Revocations(data).add(client.minted.username)
        await until(lambda: len(node.server) == 0)
        client.sock.close()


async def test_a_revoked_name_stays_so_across_a_restart(data: DataDirectory, stored: TurnKeys) -> None:
    key = new_key("mine", NOW).key
    stored.change(lambda keys: keys.update({key.id: key}))
    async with running(data) as node:
        minted = node.credentials.mint(key.id, 600, "", time.time())
    Revocations(data).add(minted.username)
    async with running(data) as node:
        await until(lambda: node.credentials.find(minted.username, time.time()) is None)


async def test_one_name_too_many_costs_no_other_its_revocation(
    data: DataDirectory, stored: TurnKeys, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key("mine", NOW).key
    stored.change(lambda keys: keys.update({key.id: key}))
    node = TurnNode(config(revoked="1"), keys=keys_of(config(), stored))
    node.start()
    first, second = (node.credentials.mint(key.id, 600, "", time.time()).username for _ in range(2))
    for name in (first, second, first):
        Revocations(data).add(name)
    with caplog.at_level(logging.CRITICAL):
        Follower(node, config(), data).look()
    assert node.credentials.revoked() == [first]
    node.stop()


def test_changes_of_two_processes_are_both_kept(data: DataDirectory, stored: TurnKeys) -> None:
    other = TurnKeys(DataDirectory(data.path))
    one, two = new_key("one", NOW).key, new_key("two", NOW).key
    stored.change(lambda keys: keys.update({one.id: one}))
    other.change(lambda keys: keys.update({two.id: two}))
    assert set(stored.current()) == {one.id, two.id}
