"""Every target of wire.py runs a bounded while in each test run; script/fuzz runs them for longer."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.wire import TARGETS, Found, fuzz, seeds

RUNS = (4_000, pytest.param(40_000, marks=pytest.mark.long))


def planted(data: bytes) -> None:
    """Wrong behind three bytes that chance alone would find once in 2**24."""
    if len(data) < 3 or data[0] != 0x4F:
        return
    if data[1] != 0x52:
        return
    if data[2] != 0x43:
        return
    raise IndexError


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_claims_holds_for_recorded_messages_and_mutations_of_them(name: str, runs: int) -> None:
    done, reached = fuzz(TARGETS[name], seeds(name), random.Random(1), runs=runs)
    assert done == runs
    assert reached > 10


def test_the_driver_finds_a_planted_fault_and_shows_its_input() -> None:
    with pytest.raises(Found) as found:
        fuzz(planted, [bytes(8)], random.Random(1), runs=100_000, files=(__file__,))
    assert found.value.data.startswith(b"ORC")
    assert found.value.data.hex() in str(found.value)
