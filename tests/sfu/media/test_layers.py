"""The choice between simulcast layers: numbers in, an index out; and how silence tells of an end."""

from __future__ import annotations

from sfu.base.ids import Rid
from sfu.media.engine import probe_flow
from sfu.media.layers import LayerRate, LayerWish, best_layer, choose_layer

RIDS = (Rid("a"), Rid("b"), Rid("c"))
ALL = frozenset({0, 1, 2})


def wish(rid: str, *, fallback: bool = False) -> LayerWish:
    return LayerWish(Rid(rid), fallback=fallback)


def test_the_layer_that_brings_most_is_chosen_and_kept() -> None:
    low, high = LayerRate(0, 200_000, flowing=True), LayerRate(1, 900_000, flowing=True)
    assert best_layer([low, high], None) == 1
    assert best_layer([low, LayerRate(1, 180_000, flowing=True)], 1) == 1
    assert best_layer([low, high], 0) == 1


def test_a_layer_that_ceased_is_left_for_one_that_flows() -> None:
    flowing, ceased = LayerRate(0, 200_000, flowing=True), LayerRate(1, 900_000, flowing=False)
    assert best_layer([flowing, ceased], 1) == 0
    assert best_layer([LayerRate(0, 0, flowing=False), LayerRate(1, 0, flowing=False)], 1) == 1
    assert best_layer([], None) is None


def test_without_a_wish_the_best_is_taken() -> None:
    assert choose_layer(LayerWish(), RIDS, ALL, 1) == 1
    assert choose_layer(LayerWish(), RIDS, frozenset(), None) is None


def test_a_wanted_layer_is_taken_while_it_is_sent() -> None:
    assert choose_layer(wish("c"), RIDS, ALL, 0) == 2
    assert choose_layer(wish("b", fallback=True), RIDS, ALL, 0) == 1


def test_a_wanted_layer_that_is_not_sent_is_waited_for_by_default() -> None:
    """api.md 4.4: ridNotAvailable none, no automatic switch."""
    assert choose_layer(wish("a"), RIDS, frozenset({1, 2}), 1) == 0


def test_the_next_name_is_taken_where_that_is_allowed() -> None:
    """api.md 4.4: asciibetical; names run from best to worst."""
    assert choose_layer(wish("a", fallback=True), RIDS, frozenset({1, 2}), 1) == 1
    assert choose_layer(wish("a", fallback=True), RIDS, frozenset({2}), 2) == 2
    shuffled = (Rid("c"), Rid("a"), Rid("b"))
    assert choose_layer(wish("a", fallback=True), shuffled, frozenset({0, 2}), 0) == 2


def test_where_no_worse_name_is_sent_the_nearest_better_one_is_taken() -> None:
    assert choose_layer(wish("c", fallback=True), RIDS, frozenset({0, 1}), 0) == 1


def test_a_name_that_the_publisher_lacks_only_says_where_to_look() -> None:
    assert choose_layer(wish("x"), RIDS, ALL, 0) == 0
    assert choose_layer(wish("aa", fallback=True), RIDS, ALL, 0) == 1
    assert choose_layer(wish("x", fallback=True), RIDS, ALL, 0) == 2
    assert choose_layer(wish("x", fallback=True), RIDS, frozenset(), 1) == 1


def test_while_nothing_is_sent_a_wish_stands() -> None:
    assert choose_layer(wish("b", fallback=True), RIDS, frozenset(), 0) == 1


def at_pace(gap_us: int, count: int = 60) -> list[tuple[int, int]]:
    """Frames of two packets at an even pace; the last comes at `count * gap_us`."""
    return [(i * 3000, i * gap_us + j) for i in range(1, count + 1) for j in (-1000, 0)]


def test_a_layer_at_30_frames_a_second_has_ceased_after_200_ms() -> None:
    end = 150 * 33_000
    assert probe_flow(at_pace(33_000, 150), [end, end + 120_000, end + 200_000]) == [False, False, True]


def test_a_slow_layer_is_given_time_by_its_own_pace() -> None:
    end = 60 * 200_000
    assert probe_flow(at_pace(200_000), [end + 450_000, end + 520_000]) == [False, True]


def test_a_layer_that_left_frames_out_lately_is_given_more_time() -> None:
    packets = at_pace(33_000)
    resumed = 60 * 33_000 + 190_000
    packets += [(400_000, resumed), (403_000, resumed + 33_000)]
    assert probe_flow(packets, [resumed + 33_000 + 400_000, resumed + 33_000 + 500_000]) == [False, True]


def test_a_long_pause_is_not_taken_for_the_pace() -> None:
    packets = [*at_pace(33_000), (9_000_000, 90_000_000), (9_003_000, 90_033_000)]
    assert probe_flow(packets, [90_033_000 + 1_050_000, 90_033_000 + 1_110_000]) == [False, True]


def test_one_packet_is_enough_to_wait_for_the_next() -> None:
    assert probe_flow([(1, 1_000_000)], [1_500_000, 1_700_000]) == [False, True]
