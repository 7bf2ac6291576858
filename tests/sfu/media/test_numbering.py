"""A subscriber's numbers against a plain list of them, over long random walks."""

from __future__ import annotations

import random

import pytest

from sfu.media.engine import ProbeNumbers
from tests.reference.seqmap import Numbering

WORD = 1 << 32


class Walk:
    """One subscription of several sources, stepped in the module and in the reference at once."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.module, self.model = ProbeNumbers(), Numbering()
        self.base_out = self.draw.choice([0, WORD - 700, self.draw.randrange(WORD)])
        self.base_in = [self.draw.choice([0, WORD - 500, self.draw.randrange(WORD)]) for _ in range(3)]
        self.newest = [0, 0, 0]
        self.source = 0
        self.highest = 0
        self.sent = 0
        self.seen: set[int] = set()
        self.restart(100)

    def restart(self, number: int) -> None:
        """Go over to another source, or to the same anew, at `number`."""
        self.source = self.draw.randrange(3)
        self.highest = number - 1
        self.seen = set()
        self.model.restart(number, self.sent, self.source)
        self.module.restart(self.wire_in(number), (self.base_out + self.sent) % WORD, self.source)
        self.send(number)

    def wire_in(self, number: int) -> int:
        return (self.base_in[self.source] + number) % WORD

    def send(self, number: int) -> None:
        self.seen.add(number)
        self.highest = max(self.highest, number)
        wanted = self.model.send(number)
        got = self.module.number_of(self.wire_in(number))
        assert got == (None if wanted is None else (self.base_out + wanted) % WORD)
        if wanted is not None:
            self.sent = max(self.sent, wanted + 1)

    def skip(self, number: int) -> None:
        self.seen.add(number)
        self.highest = max(self.highest, number)
        assert self.module.skip(self.wire_in(number)) == self.model.skip(number)

    def ask(self, out: int) -> None:
        """The question of a NACK, about a number that was given out."""
        wanted = self.model.input_of(out)
        got = self.module.input_of((self.base_out + out) % WORD)
        if wanted is None:
            assert got is None or out >= self.model.next
            return
        source, number = wanted
        assert got == (source, (self.base_in[source] + number) % WORD)

    def step(self) -> None:
        choice = self.draw.random()
        if choice < 0.01:
            self.restart(self.highest + self.draw.choice([1, 2, 50, 1001, 40_000]))
        elif choice < 0.15:
            self.ask(self.sent - self.draw.randrange(1, 400))
        else:
            # in order, after a loss, or late
            ahead = self.draw.choice([1, 1, 1, 1, 1, 2, 3, 20, -1, -2, -5, -40, -300])
            number = self.highest + ahead
            if number in self.seen:  # neither SRTP nor the source's window lets a number come twice
                return
            if self.draw.random() < 0.1:
                self.skip(number)
            else:
                self.send(number)


@pytest.mark.parametrize("seed", range(4))
def test_fifty_thousand_steps_number_as_the_list_does(seed: int) -> None:
    """Loss, reordering over wraps of 16 and 32 bits, padding left out, sources that change and come back;
    late packets of an old piece; and which input left under a number."""
    walk = Walk(seed)
    for _ in range(50_000):
        walk.step()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 12))
def test_millions_of_steps_number_as_the_list_does(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(1_000_000):
        walk.step()


def test_an_input_that_was_left_out_has_no_number() -> None:
    """Its number is the next one's: asked for again, it must not get that."""
    module = ProbeNumbers()
    module.restart(100, 500, 1)
    assert module.number_of(100) == 500
    assert module.skip(102)
    assert module.skip(103)
    assert module.number_of(104) == 502
    assert [module.number_of(number) for number in (101, 102, 103, 104)] == [501, None, None, 502]
