"""Who is told to speak."""

from __future__ import annotations

from meeting.speakers import HOLD_S, Speakers

A, B, C = (letter * 16 for letter in "abc")
HERE = {A: "main", B: "main", C: "1"}


def names(speakers: Speakers, now: float, places: dict[str, str] = HERE) -> dict[str, list[str]]:
    return {place: [one.member for one in told] for place, told in speakers.loudest(places, now).items()}


def test_the_loudest_of_each_place_come_first() -> None:
    speakers = Speakers(most=5)
    for member, level in ((A, 40), (B, 10), (C, 50)):
        speakers.report(member, level, 1.0)
    assert names(speakers, 1.0) == {"main": [B, A], "1": [C]}


def test_only_so_many_are_told() -> None:
    speakers = Speakers(most=1)
    speakers.report(A, 40, 1.0)
    speakers.report(B, 10, 1.0)
    assert names(speakers, 1.0) == {"main": [B]}


def test_breath_is_no_speech() -> None:
    speakers = Speakers(most=5)
    speakers.report(A, 80, 1.0)
    assert names(speakers, 1.0) == {}


def test_a_pause_between_two_words_changes_nothing_and_silence_does() -> None:
    speakers = Speakers(most=5)
    speakers.report(A, 20, 1.0)
    speakers.report(A, 127, 1.2)
    assert names(speakers, 1.0 + HOLD_S / 2) == {"main": [A]}
    assert names(speakers, 1.0 + HOLD_S) == {}


def test_who_left_is_forgotten() -> None:
    speakers = Speakers(most=5)
    speakers.report(A, 20, 1.0)
    assert names(speakers, 1.0, {}) == {}
    assert len(speakers) == 0


def test_one_loud_moment_does_not_pass_who_speaks_on() -> None:
    speakers = Speakers(most=5)
    for now in (1.0, 1.1, 1.2):
        speakers.report(A, 15, now)
        speakers.report(B, 40, now)
    speakers.report(B, 5, 1.3)
    assert names(speakers, 1.3)["main"] == [A, B]
