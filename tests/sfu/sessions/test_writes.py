import asyncio
from dataclasses import replace

from sfu.base.ids import AppId, SessionId
from sfu.directory.interface import Unavailable
from sfu.negotiation.record import Fingerprint, SessionRecord
from sfu.sessions.writes import Change, RecordWrites

SESSION = SessionId("5" * 32)


class Store:
    """One record behind an `update` that takes its time and may fail."""

    def __init__(self, *, failures: int = 0) -> None:
        self.record = SessionRecord(
            SESSION, AppId("a"), created_at=0.0, fingerprint=Fingerprint("sha-256", "AB"), origin_id=1
        )
        self.stores = 0
        self.failures = failures

    async def update(self, session: SessionId, change: Change) -> SessionRecord:
        assert session == SESSION
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise Unavailable("the store is away")
        self.stores += 1
        self.record = change(self.record)
        return self.record


def add(number: int) -> Change:
    return lambda record: replace(record, refused_codecs=(*record.refused_codecs, str(number)))


async def test_changes_are_stored_in_the_order_in_which_they_were_given() -> None:
    store = Store()
    writes = RecordWrites(store.update)
    for number in range(5):
        writes.write(SESSION, add(number))
        await asyncio.sleep(0)
    await writes.settle()
    assert store.record.refused_codecs == ("0", "1", "2", "3", "4")


async def test_changes_that_wait_together_are_stored_together() -> None:
    store = Store()
    writes = RecordWrites(store.update)
    for number in range(50):
        writes.write(SESSION, add(number))
    await writes.settle()
    assert len(store.record.refused_codecs) == 50
    assert store.stores == 1


async def test_a_store_that_is_away_loses_no_change() -> None:
    store = Store(failures=3)
    writes = RecordWrites(store.update, retry_s=0.0)
    writes.write(SESSION, add(1))
    await writes.settle()
    assert store.record.refused_codecs == ("1",)


async def test_what_waits_for_a_session_that_is_over_is_dropped() -> None:
    store = Store()
    writes = RecordWrites(store.update)
    writes.write(SESSION, add(1))
    writes.forget(SESSION)
    await writes.settle()
    assert store.stores == 0


async def test_a_store_that_stays_away_does_not_keep_a_node_from_ending() -> None:
    store = Store(failures=1_000_000)
    writes = RecordWrites(store.update, retry_s=0.001, patience_s=0.02)
    writes.write(SESSION, add(1))
    async with asyncio.timeout(5):
        await writes.settle()
    assert store.stores == 0
