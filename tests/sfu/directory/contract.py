"""What every `Directory` must do, written against its interface alone.

A test module of an implementation subclasses `DirectoryContract` and gives a fixture `directory`
that is empty for each test.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import AppId, NodeId, SessionId
from sfu.directory.interface import App, Conflict, NodeRecord, StoredCertificate, digest_secret
from sfu.negotiation.record import Fingerprint, SessionRecord

if TYPE_CHECKING:
    from sfu.directory.interface import Directory

A = SessionId("a" * 32)
B = SessionId("b" * 32)
C = SessionId("c" * 32)
APP = AppId("app")


def record(session: SessionId = A, app: AppId = APP) -> SessionRecord:
    return SessionRecord(
        id=session, app=app, created_at=1000.0, fingerprint=Fingerprint("sha-256", "AB:CD"), origin_id=7
    )


class Seen:
    """A watch's callback; remembers what it was called with."""

    def __init__(self) -> None:
        self.records: list[SessionRecord | None] = []
        self._called = asyncio.Event()

    def __call__(self, record: SessionRecord | None) -> None:
        self.records.append(record)
        self._called.set()

    async def until(self, wanted: SessionRecord | None) -> None:
        """Wait until the last call was with `wanted`."""
        async with asyncio.timeout(30):  # nodes that write back what Redis lost take five seconds alone
            while not self.records or self.records[-1] != wanted:
                self._called.clear()
                await self._called.wait()


class DirectoryContract:
    async def test_a_new_session_is_stored_at_version_1(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        assert stored == replace(record(), version=1)
        assert await directory.get_session(A) == stored

    async def test_an_id_is_given_once(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        with pytest.raises(Conflict):
            await directory.create_session(record())
        assert await directory.get_session(A) == stored

    async def test_an_unknown_session_is_none(self, directory: Directory) -> None:
        assert await directory.get_session(A) is None

    async def test_replacing_bumps_the_version(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        changed = await directory.replace_session(replace(stored, owner=NodeId("n1")))
        assert (changed.version, changed.owner) == (2, NodeId("n1"))
        assert await directory.get_session(A) == changed

    async def test_of_two_writers_the_second_is_refused(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        first = await directory.replace_session(replace(stored, owner=NodeId("n1")))
        with pytest.raises(Conflict) as refusal:
            await directory.replace_session(replace(stored, owner=NodeId("n2")))
        assert (refusal.value.given, refusal.value.stored) == (1, 2)
        assert await directory.get_session(A) == first

    async def test_of_many_writers_at_once_one_wins(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        tries = [
            directory.replace_session(replace(stored, owner=NodeId(f"n{number}"))) for number in range(20)
        ]
        results = await asyncio.gather(*tries, return_exceptions=True)
        won = [result for result in results if isinstance(result, SessionRecord)]
        assert len(won) == 1
        assert await directory.get_session(A) == won[0]

    async def test_a_session_that_is_gone_is_not_replaced(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        await directory.delete_session(A)
        with pytest.raises(Conflict) as refusal:
            await directory.replace_session(stored)
        assert refusal.value.stored is None
        assert await directory.get_session(A) is None

    async def test_deleting_tells_whether_there_was_a_session(self, directory: Directory) -> None:
        await directory.create_session(record())
        assert await directory.delete_session(A)
        assert not await directory.delete_session(A)

    async def test_a_session_that_changed_is_not_deleted_by_version(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        changed = await directory.replace_session(stored)
        with pytest.raises(Conflict):
            await directory.delete_session(A, version=stored.version)
        assert await directory.get_session(A) == changed
        assert await directory.delete_session(A, version=changed.version)

    async def test_sessions_are_listed_oldest_first_and_by_app(self, directory: Directory) -> None:
        b = await directory.create_session(record(B, AppId("other")))
        a = await directory.create_session(replace(record(A), created_at=1001.0))
        b = await directory.replace_session(b)
        assert await directory.list_sessions() == [b, a]
        assert await directory.list_sessions(APP) == [a]
        assert await directory.list_sessions(AppId("none")) == []
        assert await directory.count_sessions() == 2

    async def test_sessions_that_never_connected_are_listed_by_age(self, directory: Directory) -> None:
        old = await directory.create_session(record(A))
        connected = await directory.create_session(record(B))
        await directory.replace_session(replace(connected, transport_state="connected"))
        young = await directory.create_session(replace(record(C), created_at=2000.0))
        assert await directory.list_unconnected(1500.0) == [old]
        assert await directory.list_unconnected(1500.0) == [old]  # looking at them changes nothing
        assert await directory.list_unconnected(2500.0) == [old, young]
        await directory.delete_session(A)
        assert await directory.list_unconnected(2500.0) == [young]

    async def test_what_a_watch_was_told_is_known_without_asking(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        seen = Seen()
        watch = directory.watch(A, seen)
        await seen.until(stored)
        assert directory.known_session(A) == stored
        changed = await directory.replace_session(stored)
        assert directory.known_session(A) == changed
        await directory.delete_session(A)
        assert directory.known_session(A) is None
        watch.close()

    async def test_a_watch_begins_with_the_session_as_it_stands(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        seen = Seen()
        watch = directory.watch(A, seen)
        assert seen.records == []  # never within the call
        await seen.until(stored)
        watch.close()

    async def test_a_watch_of_an_unknown_session_begins_with_none(self, directory: Directory) -> None:
        seen = Seen()
        watch = directory.watch(A, seen)
        await seen.until(None)
        stored = await directory.create_session(record())
        await seen.until(stored)
        watch.close()

    async def test_a_watch_sees_the_last_change_and_never_goes_back(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        seen = Seen()
        watch = directory.watch(A, seen)
        for number in range(10):
            stored = await directory.replace_session(replace(stored, owner=NodeId(f"n{number}")))
        await seen.until(stored)
        versions = [record.version for record in seen.records if record is not None]
        assert versions == sorted(versions)
        watch.close()

    async def test_a_watch_sees_the_end_of_the_session(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        seen = Seen()
        watch = directory.watch(A, seen)
        await seen.until(stored)
        await directory.delete_session(A)
        await seen.until(None)
        watch.close()

    async def test_a_closed_watch_is_silent(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        closed, open_ = Seen(), Seen()
        watches = [directory.watch(A, closed), directory.watch(A, open_)]
        await open_.until(stored)
        calls = len(closed.records)
        watches[0].close()
        watches[0].close()
        stored = await directory.replace_session(stored)
        await open_.until(stored)
        assert len(closed.records) == calls
        watches[1].close()

    async def test_a_watch_may_be_closed_before_its_first_call(self, directory: Directory) -> None:
        stored = await directory.create_session(record())
        closed, open_ = Seen(), Seen()
        directory.watch(A, closed).close()
        watch = directory.watch(A, open_)
        await open_.until(stored)
        assert closed.records == []
        watch.close()

    async def test_a_watcher_that_fails_harms_no_other(self, directory: Directory) -> None:
        stored = await directory.create_session(record())

        def fail(_record: SessionRecord | None) -> None:
            raise ValueError("a fault of the watcher's")

        seen = Seen()
        watches = [directory.watch(A, fail), directory.watch(A, seen)]
        await seen.until(stored)
        stored = await directory.replace_session(stored)
        await seen.until(stored)
        for watch in watches:
            watch.close()

    async def test_other_sessions_do_not_wake_a_watch(self, directory: Directory) -> None:
        stored = await directory.create_session(record(A))
        a, b = Seen(), Seen()
        watches = [directory.watch(A, a), directory.watch(B, b)]
        await a.until(stored)
        await b.until(None)
        other = await directory.create_session(record(B))
        await b.until(other)
        assert a.records == [stored]
        for watch in watches:
            watch.close()

    async def test_apps_come_and_go(self, directory: Directory) -> None:
        old = App(APP, "old", (digest_secret("s1"),), 1.0)
        new = App(AppId("second"), "new", (digest_secret("s2"),), 2.0)
        await directory.put_app(new)
        await directory.put_app(old)
        assert await directory.list_apps() == [old, new]
        assert await directory.get_app(APP) == old
        renamed = replace(old, name="renamed")
        await directory.put_app(renamed)
        assert await directory.get_app(APP) == renamed
        assert await directory.delete_app(APP)
        assert not await directory.delete_app(APP)
        assert await directory.get_app(APP) is None

    async def test_a_node_is_alive_until_its_lease_ends(self, directory: Directory) -> None:
        node = NodeRecord(NodeId("n1"), "1.2.3", 1000.0, ("192.0.2.1:40000",))
        assert await directory.get_node(node.id) is None
        await directory.put_node(node, 60.0)
        assert await directory.get_node(node.id) == node
        assert await directory.list_nodes() == {node.id: node}
        await directory.put_node(node, 0.001)
        async with asyncio.timeout(5):
            while await directory.get_node(node.id) is not None:  # noqa: ASYNC110 -- nothing tells of it
                await asyncio.sleep(0.001)
        assert await directory.list_nodes() == {node.id: None}
        await directory.put_node(node, 60.0)
        assert await directory.get_node(node.id) == node

    async def test_a_node_that_is_deleted_is_forgotten(self, directory: Directory) -> None:
        node = NodeRecord(NodeId("n1"), "1.2.3", 1000.0)
        await directory.put_node(node, 60.0)
        assert await directory.delete_node(node.id)
        assert not await directory.delete_node(node.id)
        assert await directory.get_node(node.id) is None
        assert await directory.list_nodes() == {}

    async def test_certificates_are_listed_last_to_end_first(self, directory: Directory) -> None:
        early, late = (
            StoredCertificate(f"AA:0{number}", b"certificate", b"key", float(number)) for number in (1, 2)
        )
        await directory.put_certificate(early)
        await directory.put_certificate(late)
        assert await directory.list_certificates() == [late, early]
        assert await directory.delete_certificate(early.fingerprint)
        assert not await directory.delete_certificate(early.fingerprint)
        assert await directory.list_certificates() == [late]
