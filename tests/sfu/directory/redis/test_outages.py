"""Redis slow, gone, emptied, failed over, full: calls are answered at once, and what it kept is not lost."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import NodeId
from sfu.directory.apps import new_app
from sfu.directory.certificates import make_dtls_certificate
from sfu.directory.interface import NodeRecord, Unavailable
from sfu.directory.redis.link import LinkError
from tests.redis_server import RedisServer
from tests.sfu.directory.contract import A, B, C, Seen, record
from tests.sfu.directory.redis.nodes import Cluster, owned_record, until, until_away, until_there
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path
    from typing import Any

    from sfu.directory.redis.directory import RedisDirectory

KEEPING = (("appendonly", "yes"), ("appendfsync", "always"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which keeps what it was told."""
    with RedisServer(tmp_path / "redis", *KEEPING) as server:
        yield server


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Cluster]:
    async with Cluster(server) as cluster:
        yield cluster


def is_answered_at_once(call: Coroutine[Any, Any, object]) -> bool:
    """Whether a call ends without ever waiting, and with Unavailable."""
    try:
        call.send(None)
    except Unavailable:
        return True
    finally:
        call.close()
    return False


CALLS: list[Callable[[RedisDirectory], Coroutine[Any, Any, object]]] = [
    lambda node: node.create_session(record(C)),
    lambda node: node.get_session(A),
    lambda node: node.replace_session(replace(record(A), version=1)),
    lambda node: node.delete_session(A),
    lambda node: node.list_sessions(),
    lambda node: node.count_sessions(),
    lambda node: node.put_app(new_app("late", 1.0).app),
    lambda node: node.put_node(NodeRecord(NodeId("n1"), "1", 1.0), 5.0),
    lambda node: node.list_nodes(),
]


async def test_a_redis_that_hangs_fails_the_calls_that_wait_and_then_all_at_once(nodes: Cluster) -> None:
    node = await nodes.node(timeout_s=0.3)
    stored = await node.create_session(record(A))
    nodes.server.pause()
    waiting = [asyncio.create_task(node.get_session(A)) for _ in range(5)]
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, Unavailable)
    await until_away(node)
    for call in CALLS:
        assert is_answered_at_once(call(node))
    nodes.server.resume()
    await until_there(node)
    assert await node.get_session(A) == stored


async def test_a_redis_that_is_gone_and_comes_back_with_its_data_has_lost_nothing(nodes: Cluster) -> None:
    one, two = await nodes.node("n1"), await nodes.node("n2")
    app = new_app("mine", 1.0).app
    await one.put_app(app)
    owned = await one.create_session(owned_record(A))
    free = await one.create_session(record(B))
    seen = Seen()
    watch = two.watch(A, seen)
    await seen.until(owned)
    nodes.server.stop(signal.SIGKILL)
    await until_away(one)
    await until_away(two)
    for call in CALLS:
        assert is_answered_at_once(call(one))
    assert two.known_session(A) is None
    assert await two.get_app(app.id) == app  # whoever asks learns next that nothing else goes
    nodes.server.start()
    await until_there(one)
    await until_there(two)
    assert await two.list_sessions() == [owned, free]
    changed = await one.replace_session(owned)
    await seen.until(changed)
    assert seen.records == [owned, changed]
    assert [one_app.name for one_app in await one.list_apps()] == ["mine"]
    watch.close()


async def test_what_happened_while_a_node_was_cut_off_it_sees_afterwards(nodes: Cluster) -> None:
    async with Wire(nodes.server.port) as wire:
        cut, other = await nodes.node("n1", url=wire.url), await nodes.node("n2")
        first, second = await other.create_session(record(A)), await other.create_session(record(B))
        views = {session: Seen() for session in (A, B, C)}
        watches = [cut.watch(session, seen) for session, seen in views.items()]
        await views[A].until(first)
        await views[B].until(second)
        await views[C].until(None)
        wire.cut()
        await until_away(cut)
        for _ in range(3):
            first = await other.replace_session(first)
        await other.delete_session(B)
        third = await other.create_session(record(C))
        app = new_app("new", 1.0).app
        await other.put_app(app)
        late = Seen()
        watches.append(cut.watch(A, late))
        wire.mend()
        await views[A].until(first)
        await views[B].until(None)
        await views[C].until(third)
        await late.until(first)
        assert await cut.get_app(app.id) == app
        for watch in watches:
            watch.close()


async def test_a_watch_misses_nothing_however_often_the_connection_breaks(nodes: Cluster) -> None:
    async with Wire(nodes.server.port) as wire:
        shaky, other = await nodes.node("n1", url=wire.url), await nodes.node("n2")
        stored = await other.create_session(record(A))
        seen = Seen()
        watch = shaky.watch(A, seen)
        for _ in range(6):
            for _ in range(5):
                stored = await other.replace_session(stored)
            wire.cut()
            stored = await other.replace_session(stored)
            wire.mend()
            await seen.until(stored)
        versions = [record.version for record in seen.records if record is not None]
        assert versions == sorted(versions)
        watch.close()


async def test_an_emptied_redis_is_filled_by_the_nodes_again(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:  # keeps nothing
        async with Cluster(server) as nodes:
            one, two = await nodes.node("n1"), await nodes.node("n2")
            app, certificate = new_app("mine", 1.0).app, make_dtls_certificate(1.0)
            await one.put_app(app)
            await one.put_certificate(certificate)
            owned = await one.create_session(owned_record(A))
            free = await one.create_session(record(B))
            views = [Seen(), Seen(), Seen()]
            watches = [one.watch(A, views[0]), two.watch(A, views[1]), two.watch(B, views[2])]
            await views[0].until(owned)
            await views[1].until(owned)
            await views[2].until(free)
            server.stop(signal.SIGKILL)
            await until_away(one)
            await until_away(two)
            server.start()
            await until_there(two)
            with pytest.raises(Unavailable, match="has lost its data"):  # which is not to say that it is gone
                await two.get_session(C)

            async def is_back() -> bool:
                return await two.get_session(A) == owned

            await until(is_back)
            assert await one.list_sessions() == [owned]
            await until_there(one)
            late = await nodes.node("n3")
            assert await late.list_apps() == [app]
            assert await late.list_certificates() == [certificate]
            changed = await two.replace_session(owned)
            await views[0].until(changed)
            await views[1].until(changed)
            assert views[0].records == [owned, changed]
            assert views[1].records == [owned, changed]
            await views[2].until(None)  # nobody had it yet; when all are back, that is for certain
            assert await two.get_session(C) is None
            for watch in watches:
                watch.close()


async def test_a_session_that_was_deleted_meanwhile_is_not_written_back(nodes: Cluster) -> None:
    async with Wire(nodes.server.port) as wire:
        owner, other = await nodes.node("n1", url=wire.url), await nodes.node("n2")
        stored = await owner.create_session(owned_record(A))
        seen = Seen()
        watch = owner.watch(A, seen)
        await seen.until(stored)
        wire.cut()
        await until_away(owner)
        assert await other.delete_session(A)
        wire.mend()
        await seen.until(None)
        assert await other.get_session(A) is None
        assert await other.count_sessions() == 0
        watch.close()


async def test_a_replica_that_takes_over_without_the_last_writes_gets_them(
    server: RedisServer, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "replica") as replica:
        async with Cluster(server) as nodes, Wire(server.port) as wire:
            owner, other = await nodes.node("n1", url=wire.url), await nodes.node("n2", url=wire.url)
            first = await owner.create_session(owned_record(A))
            gone = await owner.create_session(owned_record(B))
            views = [Seen() for _ in range(3)]
            watches = [owner.watch(A, views[0]), owner.watch(B, views[1]), other.watch(A, views[2])]
            replica("REPLICAOF", "127.0.0.1", server.port)

            async def is_in_step() -> bool:
                return bool(replica("EXISTS", f"{nodes.prefix}:session:{{{B}}}"))

            await until(is_in_step)
            replica("REPLICAOF", "NO", "ONE")
            second = await owner.replace_session(first)
            await owner.delete_session(B)
            for seen, last in zip(views, (second, None, second), strict=True):
                await seen.until(last)
            wire.cut()
            wire.mend(replica.port)
            await until_there(owner)
            await until_there(other)

            async def is_as_it_was() -> bool:
                return await other.get_session(A) == second

            await until(is_as_it_was)
            assert gone.id in {
                found.id for found in await other.list_sessions()
            }  # of that nobody is the owner
            third = await other.replace_session(second)
            await views[0].until(third)
            await views[2].until(third)
            for watch in watches:
                watch.close()


async def test_a_primary_that_became_a_replica_is_left(server: RedisServer, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "promoted") as promoted:
        async with Cluster(server) as nodes, Wire(server.port) as wire:
            node = await nodes.node(url=wire.url)
            stored = await node.create_session(record(A))
            promoted("REPLICAOF", "127.0.0.1", server.port)

            async def is_in_step() -> bool:
                return bool(promoted("EXISTS", f"{nodes.prefix}:session:{{{A}}}"))

            await until(is_in_step)
            promoted("REPLICAOF", "NO", "ONE")
            server("REPLICAOF", "127.0.0.1", promoted.port)
            with pytest.raises(Unavailable, match="is a replica"):
                await node.replace_session(stored)
            with pytest.raises(LinkError, match="is a replica: name the primary"):
                await nodes.node("n2")
            wire.target = promoted.port  # as a name that leads to the primary does
            await until_there(node)
            changed = await node.replace_session(stored)
            assert await node.get_session(A) == changed


async def test_a_full_redis_refuses_what_adds_and_does_what_takes_away(nodes: Cluster) -> None:
    node = await nodes.node()
    alive = NodeRecord(NodeId("n1"), "1", 1.0)
    await node.put_node(alive, 60.0)
    owned = await node.create_session(owned_record(A))
    other = await node.create_session(record(B))
    nodes.server("CONFIG", "SET", "maxmemory", 1)
    for change in (node.create_session(record(C)), node.replace_session(owned)):
        with pytest.raises(Unavailable, match=r"is full \(maxmemory\)"):
            await change
    assert await node.get_session(A) == owned
    await node.put_node(alive, 60.0)
    assert await node.get_node(alive.id) == alive
    assert await node.delete_session(B)
    nodes.server("CONFIG", "SET", "maxmemory", 0)
    assert await node.list_sessions() == [owned]
    assert await node.get_session(other.id) is None
    assert (await node.replace_session(owned)).version == 2


async def test_scripts_that_somebody_flushed_are_loaded_again(nodes: Cluster) -> None:
    node = await nodes.node()
    stored = await node.create_session(record(A))
    nodes.server("SCRIPT", "FLUSH")
    with pytest.raises(Unavailable, match="lost its scripts"):
        await node.replace_session(stored)

    async def goes_on() -> bool:
        return (await node.replace_session(stored)).version == 2

    await until(goes_on)


async def test_commands_past_the_bound_are_refused(nodes: Cluster) -> None:
    node = await nodes.node(pending_limit=20)
    nodes.server.pause()
    waiting = [asyncio.create_task(node.get_session(A)) for _ in range(20)]
    await asyncio.sleep(0)
    assert is_answered_at_once(node.get_session(A))
    nodes.server.resume()
    assert await asyncio.gather(*waiting) == [None] * 20


async def test_a_caller_that_gives_up_costs_the_others_nothing(nodes: Cluster) -> None:
    node = await nodes.node()
    stored = await node.create_session(record(A))
    nodes.server.pause()
    given_up = asyncio.create_task(node.replace_session(stored))
    others = [asyncio.create_task(node.get_session(A)) for _ in range(3)]
    await asyncio.sleep(0)
    given_up.cancel()
    nodes.server.resume()
    for found in await asyncio.gather(*others):
        assert found is not None
        assert found.version == 2  # it was under way already
    assert given_up.cancelled() or given_up.cancelling()


async def test_a_closed_directory_refuses_and_leaves_no_task(nodes: Cluster) -> None:
    node = await nodes.node()
    watch = node.watch(A, Seen())
    await node.close()
    assert is_answered_at_once(node.get_session(A))
    watch.close()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in names if name.startswith("redis")}
