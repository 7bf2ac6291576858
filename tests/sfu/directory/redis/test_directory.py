"""A directory in Redis does what every directory must, and what several nodes need of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import NodeId
from sfu.directory.apps import new_app, rotate
from sfu.directory.certificates import make_dtls_certificate
from sfu.directory.interface import Conflict, NodeRecord, Unavailable
from sfu.directory.redis.link import LinkError
from sfu.directory.seal import NewerFormat, Sealer, Unreadable
from sfu.negotiation.record import RECORD_FORMAT, SessionRecord, to_json
from tests.redis_server import RedisServer, free_port
from tests.sfu.directory.contract import APP, A, B, DirectoryContract, Seen, record
from tests.sfu.directory.redis.nodes import CLIENT, SECRET, Cluster, owned_record, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sfu.directory.redis.directory import RedisDirectory


class TestRedisDirectory(DirectoryContract):
    @pytest.fixture
    async def directory(self, cluster: Cluster) -> RedisDirectory:
        return await cluster.node()


@pytest.fixture(scope="module")
def slots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis Cluster of one server, which holds all slots and refuses what touches two at once."""
    directory = tmp_path_factory.mktemp("slots")
    bus = ("cluster-port", str(free_port()))
    with RedisServer(directory, ("cluster-enabled", "yes"), bus) as server:
        server("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        yield server


class TestLayoutOnRedisCluster(DirectoryContract):
    @pytest.fixture
    async def directory(self, slots: RedisServer) -> AsyncIterator[RedisDirectory]:
        async with Cluster(slots) as cluster:

            async def slots_are_served() -> bool:
                return b"cluster_state:ok" in slots("CLUSTER", "INFO")

            await until(slots_are_served)
            yield await cluster.node()


async def test_what_one_node_stores_the_others_read(cluster: Cluster) -> None:
    one, two = await cluster.node("n1"), await cluster.node("n2")
    stored = await one.create_session(replace(record(), client=CLIENT))
    assert await two.get_session(A) == stored
    changed = await two.replace_session(replace(stored, owner=NodeId("n2")))
    with pytest.raises(Conflict):
        await one.replace_session(stored)
    assert await one.list_sessions() == [changed]
    assert await one.delete_session(A)
    assert await two.get_session(A) is None


async def test_a_watch_sees_what_other_nodes_do(cluster: Cluster) -> None:
    one, two = await cluster.node("n1"), await cluster.node("n2")
    seen = Seen()
    watch = one.watch(A, seen)
    await seen.until(None)
    stored = await two.create_session(record())
    await seen.until(stored)
    assert one.known_session(A) == stored
    assert two.known_session(A) is None  # not watched there
    await two.delete_session(A)
    await seen.until(None)
    watch.close()
    assert one.known_session(A) is None


async def test_of_nodes_that_write_at_once_one_wins_and_all_see_the_same(cluster: Cluster) -> None:
    nodes = [await cluster.node(f"n{number}") for number in range(4)]
    stored = await nodes[0].create_session(record())
    views = [Seen() for _ in nodes]
    watches = [node.watch(A, seen) for node, seen in zip(nodes, views, strict=True)]

    async def write(node: RedisDirectory, name: str) -> None:
        for _ in range(20):
            while True:
                now = await node.get_session(A)
                assert now is not None
                try:
                    await node.replace_session(replace(now, owner=NodeId(name)))
                    break
                except Conflict:
                    continue

    await asyncio.gather(*(write(node, f"n{number}") for number, node in enumerate(nodes)))
    last = await nodes[0].get_session(A)
    assert last is not None
    assert last.version == stored.version + 80
    for seen in views:
        await seen.until(last)
        versions = [record.version for record in seen.records if record is not None]
        assert versions == sorted(versions)
    for watch in watches:
        watch.close()


async def test_apps_and_certificates_of_one_node_are_those_of_all(cluster: Cluster) -> None:
    one, two = await cluster.node("n1"), await cluster.node("n2")
    issued = new_app("mine", 1000.0)
    await one.put_app(issued.app)
    exchanged = rotate(issued.app)
    await one.exchange_app(issued.app, exchanged.app)

    async def has_it() -> bool:
        return await two.get_app(issued.app.id) == exchanged.app

    await until(has_it)
    with pytest.raises(Unavailable, match="changed by somebody else"):
        await one.exchange_app(issued.app, rotate(issued.app).app)
    certificate = make_dtls_certificate(1000.0)
    await one.put_certificate(certificate)

    async def has_that() -> bool:
        return await two.list_certificates() == [certificate]

    await until(has_that)
    late = await cluster.node("n3")
    assert await late.list_apps() == [exchanged.app]
    assert await late.list_certificates() == [certificate]
    assert await late.delete_app(issued.app.id)

    async def is_gone() -> bool:
        return await one.get_app(issued.app.id) is None

    await until(is_gone)


async def test_many_apps_are_all_there_for_a_node_that_joins(cluster: Cluster) -> None:
    one = await cluster.node("n1")
    apps = [new_app(str(number), float(number)).app for number in range(350)]
    await asyncio.gather(*(one.put_app(app) for app in apps))
    assert await (await cluster.node("n2")).list_apps() == apps


async def test_given_apps_are_of_this_node_alone(cluster: Cluster) -> None:
    given = new_app("given", 1000.0).app
    one = await cluster.node("n1", given=[given])
    assert await one.list_apps() == [given]
    assert await (await cluster.node("n2")).get_app(given.id) is None
    assert await one.delete_app(given.id)
    assert await one.get_app(given.id) is None


async def test_a_reader_of_redis_learns_no_secret(cluster: Cluster) -> None:
    node = await cluster.node()
    issued = new_app("mine", 1000.0)
    await node.put_app(issued.app)
    certificate = make_dtls_certificate(1000.0)
    await node.put_certificate(certificate)
    await node.create_session(replace(record(), client=CLIENT))
    await node.put_node(NodeRecord(NodeId("n1"), "1", 0.0, ("192.0.2.1:40000",)), 60.0)
    dumped = b"".join(cluster.server("DUMP", key) or b"" for key in cluster.stored())
    hidden = [CLIENT.pwd.encode(), SECRET, SECRET.hex().encode(), certificate.key_pem, b"192.0.2.1"]
    hidden += issued.app.secret_digests
    hidden += [digest.hex().encode() for digest in issued.app.secret_digests]
    assert len(cluster.stored()) == 8
    for secret in hidden:
        assert secret not in dumped


async def test_a_session_has_its_keys_in_one_slot_and_leaves_none_for_long(cluster: Cluster) -> None:
    node = await cluster.node()
    before = cluster.stored()
    await node.create_session(record())
    await node.delete_session(A)
    await node.count_sessions()  # after all that was under way
    (left,) = set(cluster.stored()) - set(before)
    assert left == f"{cluster.prefix}:session:{{{A}}}".encode()  # who was cut off learns from it
    assert 3_500_000 < cluster.server("PTTL", left) <= 3_600_000
    assert cluster.server("HKEYS", left) == [b"v"]


async def test_what_others_keep_in_redis_is_left_alone(cluster: Cluster) -> None:
    others = {f"{cluster.prefix}x:cluster": "1", f"x{cluster.prefix}:session": "2"}
    for key, value in others.items():
        cluster.server("SET", key, value)
    node = await cluster.node()
    await node.create_session(record())
    await node.delete_session(A)
    assert [cluster.server("GET", key) for key in others] == [b"1", b"2"]
    cluster.server("DEL", *others)


async def test_a_prefix_that_others_use_is_told(cluster: Cluster) -> None:
    cluster.server("SET", f"{cluster.prefix}:cluster", "theirs")
    with pytest.raises(LinkError, match="WRONGTYPE"):
        await cluster.node()
    cluster.server("DEL", f"{cluster.prefix}:cluster")
    cluster.server("HSET", f"{cluster.prefix}:cluster", "name", "theirs")
    with pytest.raises(LinkError, match="is not Orchard's; choose another prefix"):
        await cluster.node()
    assert cluster.server("HGETALL", f"{cluster.prefix}:cluster") == {b"name": b"theirs"}


async def test_a_node_with_another_secret_does_not_join(cluster: Cluster) -> None:
    await cluster.node("n1")
    held = cluster.server("HGETALL", f"{cluster.prefix}:cluster")
    with pytest.raises(LinkError, match="secret is not that of the cluster there; give it the secret of the"):
        await cluster.node("n2", secret=b"another".ljust(32, b"."))
    assert cluster.server("HGETALL", f"{cluster.prefix}:cluster") == held


async def test_a_node_that_knows_another_layout_does_not_join(cluster: Cluster) -> None:
    await cluster.node("n1")
    cluster.server("HSET", f"{cluster.prefix}:cluster", "layout", "2")
    with pytest.raises(LinkError, match=r"lays its keys out otherwise \(2, this one: 1\)"):
        await cluster.node("n2")


def stored_as(cluster: Cluster, session: SessionRecord, *, form: int = RECORD_FORMAT) -> None:
    """Store a record as a node of that format would."""
    sealed = Sealer(SECRET).seal("session", session.id, to_json(session), form=form, version=session.version)
    key = f"{cluster.prefix}:session:{{{session.id}}}"
    cluster.server("HSET", key, "v", session.version, "r", sealed)
    cluster.server("PUBLISH", key, b"%d:%s" % (session.version, sealed))


async def test_a_record_of_a_newer_version_is_refused_and_left_alone(cluster: Cluster) -> None:
    node = await cluster.node()
    stored = await node.create_session(record(A))
    other = await node.create_session(record(B))
    seen = Seen()
    watch = node.watch(A, seen)
    await seen.until(stored)
    stored_as(cluster, replace(stored, version=2), form=RECORD_FORMAT + 1)
    with pytest.raises(NewerFormat, match="upgrade this node"):
        await node.get_session(A)
    assert await node.list_sessions() == [other]
    assert await node.list_unconnected(5000.0) == [other]
    assert seen.records == [stored]
    stored_as(cluster, replace(stored, version=3))
    await seen.until(replace(stored, version=3))
    assert await node.list_unconnected(5000.0) == [replace(stored, version=3), other]
    watch.close()


async def test_a_damaged_or_forged_value_is_refused_and_harms_nothing_else(cluster: Cluster) -> None:
    node = await cluster.node("n1")
    app = new_app("mine", 1000.0).app
    await node.put_app(app)
    stored = await node.create_session(record(A))
    other = await node.create_session(record(B))
    keys = {session: f"{cluster.prefix}:session:{{{session}}}" for session in (A, B)}
    cluster.server("HSET", keys[A], "r", cluster.server("HGET", keys[B], "r"))
    with pytest.raises(Unreadable, match="not sealed with this cluster's secret, or altered"):
        await node.get_session(A)
    cluster.server("HSET", f"{cluster.prefix}:apps", APP, b"{}", app.id + "x", b"\x01" * 60)
    cluster.server("SET", f"{cluster.prefix}:{{nodes}}:n9", b"\x00")
    cluster.server("SADD", f"{cluster.prefix}:{{nodes}}", "n9")
    late = await cluster.node("n2")
    assert await late.list_apps() == [app]
    assert await late.list_sessions() == [other]
    assert await late.list_nodes() == {}
    with pytest.raises(Unreadable):
        await late.get_node(NodeId("n9"))
    assert await node.delete_session(stored.id)


async def test_an_id_is_not_given_again_after_its_session(cluster: Cluster) -> None:
    node = await cluster.node()
    await node.create_session(record())
    await node.delete_session(A)
    with pytest.raises(Conflict):
        await node.create_session(record())


async def test_an_index_that_names_too_many_is_put_right(cluster: Cluster) -> None:
    node = await cluster.node(wall_clock=lambda: 1030.0)
    stored = await node.create_session(owned_record())
    for key in ("sessions", "unconnected"):
        cluster.server("ZADD", f"{cluster.prefix}:{key}", 1000, B)
    assert await node.list_sessions() == [stored]
    assert await node.count_sessions() == 2  # it may be on its way
    assert await node.list_unconnected(1015.0) == []
    await node.count_sessions()
    assert cluster.server("ZRANGE", f"{cluster.prefix}:unconnected", 0, -1) == []
    later = await cluster.node("n2", wall_clock=lambda: 1100.0)
    assert await later.list_sessions() == [stored]
    await later.count_sessions()
    assert await later.count_sessions() == 1


async def test_all_of_very_many_sessions_are_listed(cluster: Cluster) -> None:
    node = await cluster.node()
    made = [replace(owned_record(), id=type(A)(f"{number:032x}")) for number in range(1200)]
    for start in range(0, len(made), 300):
        await asyncio.gather(*(node.create_session(one) for one in made[start : start + 300]))
    assert [one.id for one in await node.list_sessions()] == [one.id for one in made]
