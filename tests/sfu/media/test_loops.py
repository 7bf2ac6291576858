"""The loops over the packet path: numbers and time in, commands out."""

from __future__ import annotations

from sfu.media.feedback import CEILING_BPS, FLOOR_BPS, RembLimit
from sfu.media.keyframes import KeyframeRequests, Overdue, SendRequest


def test_a_thousand_subscribers_make_one_request() -> None:
    requests = KeyframeRequests()
    events = [event for _ in range(1000) for event in requests.ask(now=10.0)]
    assert events == [SendRequest()]


def test_the_gap_holds_across_a_keyframe_and_the_request_is_not_lost() -> None:
    requests = KeyframeRequests(gap_s=0.5)
    requests.ask(now=10.0)
    requests.seen()
    assert requests.timer_at() is None
    assert requests.ask(now=10.1) == []
    assert requests.timer_at() == 10.5
    assert requests.handle_timer(now=10.5) == [SendRequest()]


def test_a_silent_publisher_is_asked_again_then_given_up() -> None:
    requests = KeyframeRequests(gap_s=1.0, tries=3)
    events = requests.ask(now=0.0)
    while (at := requests.timer_at()) is not None:
        events += requests.handle_timer(at)
    assert events == [SendRequest()] * 3 + [Overdue(waited_s=3.0)]


def test_a_source_whose_keyframes_are_opaque_is_asked_once_per_wish() -> None:
    requests = KeyframeRequests(gap_s=1.0, tries=3)
    requests.ask(now=0.0)
    while (at := requests.timer_at()) is not None:
        requests.handle_timer(at)
    events = requests.ask(now=20.0)
    while (at := requests.timer_at()) is not None:
        events += requests.handle_timer(at)
    assert events == [SendRequest(), Overdue(waited_s=1.0)]
    requests.seen()
    assert requests.ask(now=30.0) == [SendRequest()]
    assert requests.timer_at() == 31.0


def test_a_publisher_with_remb_alone_grows_without_loss_and_yields_to_it() -> None:
    limit = RembLimit()
    grown = [limit.step(2_500_000, 0, 300) for _ in range(20)]
    assert grown == sorted(grown)
    assert grown[-1] > 4_000_000
    assert limit.step(4_000_000, 90, 300) < 4_000_000
    assert all(FLOOR_BPS <= limit.step(0, 300, 300) <= CEILING_BPS for _ in range(50))
