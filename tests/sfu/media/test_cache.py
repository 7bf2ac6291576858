"""The packet cache by itself: what is found, what goes, and whose bytes they are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.media.engine import ProbeCache

BLOCK = 16384
PACKET = bytes(1200)
PER_BLOCK = BLOCK // (1200 + 16)


def packet(number: int, size: int = 1200) -> bytes:
    return random.Random(number).randbytes(size)


def test_a_packet_is_found_under_its_number_until_it_is_too_old() -> None:
    cache = ProbeCache(blocks=100, blocks_max=100)
    for number in range(100):
        assert cache.put(number, packet(number), now_us=number * 10_000, before_us=number * 10_000 - 500_000)
    assert cache.find(99) == packet(99)
    assert cache.find(60) == packet(60)
    assert cache.find(10) is None
    assert cache.find(100) is None
    assert cache.taken() <= 50 // PER_BLOCK + 2


def test_one_source_takes_no_more_than_its_share_and_gives_its_oldest_for_its_newest() -> None:
    cache = ProbeCache(blocks=100, blocks_max=4)
    for number in range(1000):
        assert cache.put(number, packet(number), now_us=number, before_us=0)
    assert cache.taken() == 4
    kept = [number for number in range(1000) if cache.find(number) is not None]
    assert kept == list(range(1000 - len(kept), 1000))
    assert len(kept) > 3 * PER_BLOCK


def test_an_empty_pool_leaves_what_is_there_and_refuses_who_has_nothing() -> None:
    cache = ProbeCache(blocks=2, blocks_max=2)
    assert cache.fill_other(PACKET)
    for _ in range(PER_BLOCK):
        assert cache.fill_other(PACKET)
    assert cache.taken() == 2
    assert not cache.put(1, packet(1), now_us=0, before_us=0)
    cache.clear_other()
    assert cache.put(1, packet(1), now_us=0, before_us=0)
    assert cache.find(1) == packet(1)


def test_clearing_gives_every_block_back() -> None:
    cache = ProbeCache(blocks=50, blocks_max=50)
    for number in range(300):
        cache.put(number, packet(number), now_us=0, before_us=0)
    cache.clear()
    assert cache.taken() == 0
    assert cache.find(299) is None


def test_an_index_that_fits_the_rate_finds_all_that_is_held() -> None:
    cache = ProbeCache(blocks=400, blocks_max=400)
    for number in range(3000):
        cache.put(number, packet(number, 200), now_us=number * 1000, before_us=0)
        if number % 500 == 499:
            cache.fit(seconds=0.5, hold_s=2.0)
    assert [number for number in range(1000, 3000) if cache.find(number) != packet(number, 200)] == []


@pytest.mark.parametrize("size", [0, BLOCK])
def test_what_fits_no_block_is_refused(size: int) -> None:
    cache = ProbeCache(blocks=4, blocks_max=4)
    assert not cache.put(1, bytes(size), now_us=0, before_us=0)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "other", "clear_other", "fit", "clear"]), st.integers(1, 1500)),
        max_size=300,
    ),
    st.integers(1, 12),
    st.integers(1, 8),
)
def test_a_find_gives_the_packet_that_was_put_or_none(
    steps: list[tuple[str, int]], blocks: int, blocks_max: int
) -> None:
    """Whatever is recycled between two caches: never another's bytes, and never more than the pool has."""
    cache = ProbeCache(blocks, blocks_max)
    number = 0xFFFFFF00
    put: dict[int, bytes] = {}
    for now, (step, size) in enumerate(steps):
        if step == "put":
            number = (number + (size % 7 != 0) + (size % 31 == 0) * 100) & 0xFFFFFFFF
            data = bytes((now & 0xFF,)) * size
            if cache.put(number, data, now_us=now, before_us=now - 150):
                put[number] = data
                assert cache.find(number) == data
        elif step == "other":
            cache.fill_other(b"other" * (size // 5 + 1))
        elif step == "clear_other":
            cache.clear_other()
        elif step == "clear":
            cache.clear()
            put.clear()
        else:
            cache.fit(seconds=0.1, hold_s=size / 1000)
        assert cache.taken() <= blocks
    for number, data in put.items():
        assert cache.find(number) in (data, None)
