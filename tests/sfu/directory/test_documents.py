"""The store of small documents: compare-and-set, life, watches, notes, bounds."""

from __future__ import annotations

import asyncio

import pytest

from sfu.base.documents import Document, DocumentsAway
from sfu.directory.documents import MemoryDocuments


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def documents(clock: Clock) -> MemoryDocuments:
    return MemoryDocuments(limit=2, limit_bytes=10, clock=clock)


async def test_a_document_is_stored_over_the_version_that_was_got(documents: MemoryDocuments) -> None:
    assert await documents.get("a") is None
    assert await documents.put("a", b"1", over=0, life_s=10)
    assert not await documents.put("a", b"x", over=0, life_s=10)
    assert await documents.put("a", b"2", over=1, life_s=10)
    assert not await documents.put("a", b"x", over=1, life_s=10)
    assert await documents.get("a") == Document(b"2", 2)


async def test_a_document_lives_as_long_as_was_said_last(documents: MemoryDocuments, clock: Clock) -> None:
    await documents.put("a", b"1", over=0, life_s=10)
    clock.now += 9
    await documents.put("a", b"2", over=1, life_s=10)
    clock.now += 9
    assert await documents.get("a") == Document(b"2", 2)
    clock.now += 1
    assert await documents.get("a") is None
    assert await documents.put("a", b"3", over=0, life_s=10)


async def test_there_are_so_many_documents_and_the_dead_make_room(
    documents: MemoryDocuments, clock: Clock
) -> None:
    await documents.put("a", b"", over=0, life_s=10)
    await documents.put("b", b"", over=0, life_s=20)
    with pytest.raises(DocumentsAway):
        await documents.put("c", b"", over=0, life_s=10)
    assert await documents.put("b", b"", over=1, life_s=20)
    clock.now += 10
    assert await documents.put("c", b"", over=0, life_s=10)
    assert len(documents) == 2


async def test_all_documents_together_have_so_many_bytes_and_those_that_shrink_always_fit(
    documents: MemoryDocuments, clock: Clock
) -> None:
    await documents.put("a", b"12345678", over=0, life_s=10)
    with pytest.raises(DocumentsAway):
        await documents.put("b", b"123", over=0, life_s=20)
    assert await documents.get("b") is None
    assert await documents.put("a", b"1234567", over=1, life_s=10)
    assert await documents.put("b", b"123", over=0, life_s=20)
    with pytest.raises(DocumentsAway):
        await documents.put("b", b"1234", over=1, life_s=20)
    clock.now += 10
    assert await documents.put("b", b"1234567890", over=1, life_s=20)


async def test_who_watches_hears_of_changes_and_notes_in_order_and_not_after_the_end(
    documents: MemoryDocuments,
) -> None:
    heard: list[Document | bytes] = []
    watch = documents.watch("a", heard.append, heard.append)
    other = documents.watch("a", heard.append, heard.append)
    other.close()
    await documents.put("a", b"1", over=0, life_s=10)
    await documents.note("a", b"note")
    await documents.note("b", b"elsewhere")
    assert heard == []  # never within the call
    await asyncio.sleep(0)
    assert heard == [Document(b"1", 1), b"note"]
    await documents.note("a", b"late")
    watch.close()
    watch.close()
    await asyncio.sleep(0)
    assert len(heard) == 2
