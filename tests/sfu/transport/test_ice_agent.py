"""Where a client is, and whether it still consents (sfu.md 5.2 rules 3 to 5, RFC 7675)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.base.ids import GENERATIONS
from sfu.net.address import Path
from sfu.transport.events import (
    ConsentExpired,
    Disconnected,
    Expired,
    IceEvent,
    PathDropped,
    PathSelected,
    PathValid,
    Reconnected,
)
from sfu.transport.ice import Check, CheckRefused, IceAgent, IceTimers, Refusal
from tests.scenarios.checks import HOST_PRIORITY, REMOTE_UFRAG, check, path_from

WIFI = path_from("198.51.100.1")
MOBILE = path_from("203.0.113.9")
LOW = HOST_PRIORITY - 1000
HIGH = HOST_PRIORITY + 1000


def agent_at(now: float = 0.0, *, generation: int = 0, remote_ufrag: str | None = REMOTE_UFRAG) -> IceAgent:
    """An agent with the times of production."""
    return IceAgent(generation=generation, remote_ufrag=remote_ufrag, now=now)


def wait(agent: IceAgent, until: float) -> list[tuple[float, IceEvent]]:
    """Let time pass; the events with their moments."""
    events: list[tuple[float, IceEvent]] = []
    while (at := agent.timer_at()) is not None and at <= until:
        events += [(at, event) for event in agent.handle_timer(at)]
    return events


def refusal_of(agent: IceAgent, refused: Check, now: float, path: Path = WIFI) -> Refusal:
    """Why the agent does not answer a check."""
    with pytest.raises(CheckRefused) as caught:
        agent.receive_check(refused, path, now)
    return caught.value.reason


# Which path is selected


def test_the_first_check_makes_a_path_valid_and_use_candidate_selects_it() -> None:
    agent = agent_at()
    assert agent.receive_check(check(), WIFI, 0.0) == [PathValid(WIFI)]
    assert agent.selected_path is None
    assert agent.receive_check(check(use_candidate=True), WIFI, 0.1) == [PathSelected(WIFI)]
    assert agent.receive_check(check(use_candidate=True), WIFI, 0.2) == []


def test_before_any_nomination_the_first_path_with_dtls_is_selected() -> None:
    agent = agent_at()
    agent.receive_check(check(), WIFI, 0.0)
    agent.receive_check(check(), MOBILE, 0.0)
    assert agent.receive_dtls(MOBILE) == [PathSelected(MOBILE)]
    assert agent.receive_dtls(WIFI) == []


def test_a_nomination_goes_before_a_selection_by_dtls() -> None:
    agent = agent_at()
    agent.receive_check(check(priority=HIGH), WIFI, 0.0)
    agent.receive_dtls(WIFI)
    assert PathSelected(MOBILE) in agent.receive_check(check(priority=LOW, use_candidate=True), MOBILE, 0.1)


def test_w37_of_aggressive_nominations_the_highest_priority_wins_in_any_order() -> None:
    """Firefox puts USE-CANDIDATE into every check, to a lite agent too."""
    for order in ([(WIFI, HIGH), (MOBILE, LOW)], [(MOBILE, LOW), (WIFI, HIGH)]):
        agent = agent_at()
        for turn in range(5):
            for path, priority in order:
                agent.receive_check(check(priority=priority, use_candidate=True), path, 0.05 * turn)
        assert agent.selected_path == WIFI


def test_w37_aggressive_nominations_do_not_make_the_selection_flap() -> None:
    agent = agent_at()
    selections = 0
    for turn in range(50):
        for path, priority in ((WIFI, HIGH), (MOBILE, LOW), (path_from("198.51.100.2"), HIGH)):
            events = agent.receive_check(check(priority=priority, use_candidate=True), path, 0.05 * turn)
            selections += sum(isinstance(event, PathSelected) for event in events)
    assert selections <= 2


def test_a_deliberate_nomination_of_lower_priority_is_followed_at_once() -> None:
    """Chromium checks without USE-CANDIDATE first and nominates what it has selected."""
    agent = agent_at()
    agent.receive_check(check(priority=HIGH), WIFI, 0.0)
    agent.receive_check(check(priority=HIGH, use_candidate=True), WIFI, 0.1)
    agent.receive_check(check(priority=LOW), MOBILE, 0.2)
    assert agent.selected_path == WIFI
    assert agent.receive_check(check(priority=LOW, use_candidate=True), MOBILE, 0.3) == [PathSelected(MOBILE)]


def test_a_nomination_is_followed_once_a_deliberate_client_nominates_the_selected_path_no_more() -> None:
    agent = agent_at()
    agent.receive_check(check(priority=HIGH), WIFI, 0.0)
    agent.receive_check(check(priority=HIGH, use_candidate=True), WIFI, 0.1)
    agent.receive_check(check(priority=HIGH), WIFI, 0.2)
    assert PathSelected(MOBILE) in agent.receive_check(check(priority=LOW, use_candidate=True), MOBILE, 0.3)


# What Debian's browsers sent to a lite agent on one host, by time, USE-CANDIDATE and PRIORITY.
CHROMIUM_156 = [
    (0.007, False, 1853759231),
    (0.059, True, 1853759231),
    (0.121, True, 1853759231),
    (1.247, True, 1853759231),
    (2.309, True, 1853759231),
    (4.966, True, 1853759231),
]
FIREFOX_153 = [
    (0.004, True, 1853751551),
    (5.411, False, 2122187007),
    (9.948, False, 2122187007),
    (15.2, False, 2122187007),
]


@pytest.mark.parametrize("trace", [CHROMIUM_156, FIREFOX_153])
def test_w37_a_recorded_browser_selects_its_path_once_and_stays_connected(
    trace: list[tuple[float, bool, int]],
) -> None:
    agent = agent_at()
    events: list[IceEvent] = []
    for at, use_candidate, priority in trace:
        events += [event for _, event in wait(agent, at)]
        events += agent.receive_check(check(priority=priority, use_candidate=use_candidate), WIFI, at)
    assert events == [PathValid(WIFI), PathSelected(WIFI)]


def test_w37_a_late_nomination_of_firefox_on_a_poorer_path_is_undone_by_its_next_consent_check() -> None:
    """It goes on with the path of higher priority, whose checks have no USE-CANDIDATE by then."""
    agent = agent_at()
    for at, use_candidate, priority in FIREFOX_153[:2]:
        agent.receive_check(check(priority=priority, use_candidate=use_candidate), WIFI, at)
    agent.receive_check(check(priority=1000, use_candidate=True), MOBILE, 6.0)
    assert agent.selected_path == WIFI
    agent.receive_check(check(priority=1000, use_candidate=True), MOBILE, 7.0)
    assert agent.selected_path == MOBILE
    agent.receive_check(check(priority=2122187007), WIFI, 9.9)
    assert agent.selected_path == WIFI


def test_firefox_behind_a_nat_that_forgot_is_followed_with_its_first_consent_check() -> None:
    agent = agent_at()
    for at, use_candidate, priority in FIREFOX_153[:2]:
        agent.receive_check(check(priority=priority, use_candidate=use_candidate), WIFI, at)
    other = path_from("198.51.100.1", 50_001)
    assert agent.receive_check(check(priority=2122187007), other, 9.9) == [
        PathValid(other),
        PathSelected(other),
    ]


def test_the_spare_path_of_chromium_is_not_selected_by_its_checks() -> None:
    agent = agent_at()
    for at, use_candidate, priority in CHROMIUM_156:
        agent.receive_check(check(priority=priority, use_candidate=use_candidate), WIFI, at)
    for at in (5.0, 7.0, 7.4):
        agent.receive_check(check(priority=1853759231), MOBILE, at)
    assert agent.selected_path == WIFI


def test_a_path_that_alone_is_checked_for_7_s_is_selected_whatever_the_client() -> None:
    agent = agent_at()
    agent.receive_check(check(), WIFI, 0.0)
    agent.receive_check(check(use_candidate=True), WIFI, 0.1)
    for at in (2.0, 5.0):
        agent.receive_check(check(priority=LOW), MOBILE, at)
    assert agent.selected_path == WIFI
    assert agent.receive_check(check(priority=LOW), MOBILE, 7.2) == [PathSelected(MOBILE)]


def test_a_client_seen_from_a_new_address_is_followed_with_its_first_check() -> None:
    """A NAT that forgot: the same candidate, so the same priority, from elsewhere."""
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    assert agent.receive_check(check(use_candidate=True), MOBILE, 0.5) == [
        PathValid(MOBILE),
        PathSelected(MOBILE),
    ]


def test_a_silent_path_gives_way_to_any_nomination() -> None:
    agent = agent_at()
    agent.receive_check(check(priority=HIGH, use_candidate=True), WIFI, 0.0)
    agent.receive_check(check(priority=LOW, use_candidate=True), MOBILE, 1.4)
    assert agent.selected_path == WIFI
    agent.receive_check(check(priority=LOW, use_candidate=True), MOBILE, 1.6)
    assert agent.selected_path == MOBILE


@pytest.mark.parametrize(
    ("first", "second", "follows"),
    [(1, 2, True), (2, 1, False), (1, 1, False), (None, 1, True), (1, None, False)],
)
def test_w37_the_highest_nomination_value_wins(first: int | None, second: int | None, follows: bool) -> None:
    """Renomination (mediasoup #1182): the value counts, whatever the priority."""
    agent = agent_at()
    agent.receive_check(check(use_candidate=True, nomination=first), WIFI, 0.0)
    agent.receive_check(check(priority=LOW, use_candidate=True, nomination=second), MOBILE, 0.1)
    assert (agent.selected_path == MOBILE) is follows


def test_w37_nomination_values_begin_again_with_new_credentials() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True, nomination=9), WIFI, 0.0)
    agent.restart(1, REMOTE_UFRAG, 1.0)
    agent.receive_check(check(generation=1, use_candidate=True, nomination=1), MOBILE, 1.1)
    assert agent.selected_path == MOBILE


def test_at_most_8_paths_are_valid_and_the_selected_one_stays() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    others = [path_from("203.0.113.1", 1000 + i) for i in range(20)]
    events: list[IceEvent] = []
    for i, path in enumerate(others):
        events += agent.receive_check(check(), path, 0.1 + i / 100)
    dropped = [event.path for event in events if isinstance(event, PathDropped)]
    assert dropped == others[:13]
    assert agent.selected_path == WIFI
    assert sum(agent.is_valid(path) for path in [WIFI, *others]) == 8


def test_a_check_that_gets_an_error_changes_nothing() -> None:
    agent = agent_at()
    assert agent.receive_check(check(controlled=True), WIFI, 5.0) == []
    assert not agent.is_valid(WIFI)
    assert agent.timer_at() == 7.0


# Consent


def test_silence_is_disconnected_at_7_s_consent_ends_at_30_and_all_at_90() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 1.0)
    assert wait(agent, 1000.0) == [
        (8.0, Disconnected()),
        (31.0, PathDropped(WIFI)),
        (31.0, ConsentExpired()),
        (91.0, Expired()),
    ]
    assert agent.timer_at() is None
    assert agent.selected_path is None
    assert refusal_of(agent, check(generation=1), 92.0) is Refusal.OVER


def test_a_check_in_time_reconnects_and_keeps_the_path() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    assert wait(agent, 29.9) == [(7.0, Disconnected())]
    assert agent.receive_check(check(use_candidate=True), WIFI, 29.9) == [Reconnected()]
    assert wait(agent, 59.0) == [(29.9 + 7.0, Disconnected())]


def test_checks_every_6_s_keep_a_client_connected() -> None:
    agent = agent_at()
    for second in range(0, 600, 6):
        assert wait(agent, float(second)) == []
        agent.receive_check(check(use_candidate=True), WIFI, float(second))


def test_a_path_without_checks_is_dropped_after_30_s_while_another_lives() -> None:
    agent = agent_at()
    agent.receive_check(check(), MOBILE, 0.0)
    for second in range(0, 36, 5):
        agent.receive_check(check(use_candidate=True), WIFI, float(second))
    assert wait(agent, 35.0) == [(30.0, PathDropped(MOBILE))]


def test_a_client_is_followed_to_the_path_that_it_checks_and_the_other_ends() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    events: list[IceEvent] = []
    for second in range(1, 36, 5):
        events += [event for _, event in wait(agent, float(second))]
        events += agent.receive_check(check(), MOBILE, float(second))
    assert events == [PathValid(MOBILE), PathSelected(MOBILE), PathDropped(WIFI)]


def test_when_the_selected_path_ends_the_one_checked_last_takes_its_place() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    agent.receive_check(check(priority=LOW), MOBILE, 6.0)
    assert wait(agent, 30.0) == [
        (13.0, Disconnected()),
        (30.0, PathDropped(WIFI)),
        (30.0, PathSelected(MOBILE)),
    ]


def test_rfc7675_old_credentials_do_not_bring_consent_back() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    wait(agent, 31.0)
    assert refusal_of(agent, check(use_candidate=True), 32.0) is Refusal.OLD_CREDENTIALS
    assert not agent.is_valid(WIFI)


def test_an_ice_restart_within_60_s_brings_consent_back() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    wait(agent, 89.0)
    agent.restart(1, "new+", 89.0)
    assert refusal_of(agent, check(generation=0), 90.0) is Refusal.OLD_CREDENTIALS
    assert wait(agent, 140.0) == []
    assert agent.receive_check(
        check(generation=1, remote_ufrag="new+", use_candidate=True), MOBILE, 140.0
    ) == [
        Reconnected(),
        PathValid(MOBILE),
        PathSelected(MOBILE),
    ]
    assert wait(agent, 150.0) == [(147.0, Disconnected())]


# Credentials


def test_w37_both_credentials_hold_until_the_first_check_with_the_new() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    agent.restart(1, REMOTE_UFRAG, 1.0)
    assert agent.receive_check(check(), WIFI, 2.0) == []
    agent.receive_check(check(generation=1), WIFI, 3.0)
    assert refusal_of(agent, check(), 4.0) is Refusal.OLD_CREDENTIALS


def test_w37_media_stays_on_the_old_path_until_the_new_one_is_nominated() -> None:
    agent = agent_at()
    agent.receive_check(check(priority=HIGH, use_candidate=True), WIFI, 0.0)
    agent.restart(1, REMOTE_UFRAG, 1.0)
    agent.receive_check(check(generation=1, priority=LOW), MOBILE, 1.1)
    assert agent.selected_path == WIFI
    agent.receive_check(check(generation=1, priority=LOW, use_candidate=True), MOBILE, 1.2)
    assert agent.selected_path == MOBILE
    assert agent.is_valid(WIFI)


def test_w37_credentials_in_use_hold_however_many_restarts_are_offered() -> None:
    """An offer that is rolled back, and another one."""
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    agent.restart(1, "a+", 1.0)
    agent.restart(2, "b+", 2.0)
    assert agent.receive_check(check(), WIFI, 3.0) == []
    agent.receive_check(check(generation=2, remote_ufrag="b+"), WIFI, 4.0)
    assert refusal_of(agent, check(generation=1, remote_ufrag="a+"), 5.0) is Refusal.OLD_CREDENTIALS


def test_w37_credentials_before_the_last_are_refused() -> None:
    agent = agent_at()
    agent.restart(1, REMOTE_UFRAG, 0.0)
    agent.restart(2, REMOTE_UFRAG, 0.0)
    agent.receive_check(check(generation=1), WIFI, 1.0)
    assert refusal_of(agent, check(generation=0), 1.0) is Refusal.OLD_CREDENTIALS


def test_w37_credentials_that_only_another_node_has_handed_out_are_taken() -> None:
    agent = agent_at()
    agent.receive_check(check(use_candidate=True), WIFI, 0.0)
    agent.receive_check(check(generation=1, remote_ufrag="new+", use_candidate=True), WIFI, 1.0)
    agent.restart(1, "new+", 1.1)
    agent.receive_check(check(generation=1, remote_ufrag="new+"), WIFI, 1.2)
    assert refusal_of(agent, check(), 1.3) is Refusal.OLD_CREDENTIALS


def test_a_restart_that_comes_twice_or_late_changes_nothing() -> None:
    agent = agent_at()
    agent.restart(2, REMOTE_UFRAG, 0.0)
    agent.receive_check(check(generation=2, use_candidate=True), WIFI, 0.0)
    agent.restart(2, REMOTE_UFRAG, 1.0)
    agent.restart(1, "old+", 1.0)
    agent.receive_check(check(generation=2), WIFI, 1.0)
    assert refusal_of(agent, check(generation=1), 1.0) is Refusal.OLD_CREDENTIALS


def test_generations_wrap_around() -> None:
    last = GENERATIONS - 1
    agent = agent_at(generation=last)
    agent.receive_check(check(generation=last), WIFI, 0.0)
    agent.restart(0, REMOTE_UFRAG, 1.0)
    agent.receive_check(check(generation=0), WIFI, 1.0)
    assert refusal_of(agent, check(generation=last), 1.0) is Refusal.OLD_CREDENTIALS


def test_another_remote_ufrag_is_refused_where_one_is_known() -> None:
    assert refusal_of(agent_at(), check(remote_ufrag="else"), 0.0) is Refusal.OTHER_REMOTE_UFRAG
    assert agent_at(remote_ufrag=None).receive_check(check(remote_ufrag="else"), WIFI, 0.0) == [
        PathValid(WIFI)
    ]


# Whatever comes


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 20),
            st.integers(0, 11),
            st.integers(0, 2),
            st.integers(0, 3),
            st.booleans(),
            st.none() | st.integers(0, 5),
        ),
        max_size=60,
    )
)
def test_any_checks_keep_the_selection_valid_and_the_events_true(
    steps: list[tuple[float, int, int, int, bool, int | None]],
) -> None:
    """What is told by events is what is so, and a timer never stands still."""
    agent = IceAgent(generation=0, remote_ufrag=None, now=0.0, timers=IceTimers(), max_paths=4)
    paths = [path_from("198.51.100.1", 1 + i) for i in range(12)]
    valid: set[Path] = set()
    selected: Path | None = None
    now = 0.0
    for gap_s, which, generation, priority, use_candidate, nomination in steps:
        now += gap_s
        events = [event for _, event in wait(agent, now)]
        made = check(
            generation=generation, priority=priority, use_candidate=use_candidate, nomination=nomination
        )
        with contextlib.suppress(CheckRefused):
            events += agent.receive_check(made, paths[which], now)
        for event in events:
            match event:
                case PathValid(path):
                    assert path not in valid
                    valid.add(path)
                case PathDropped(path):
                    valid.remove(path)
                    selected = None if selected == path else selected
                case PathSelected(path):
                    assert path in valid
                    selected = path
                case _:
                    pass
        assert agent.selected_path == selected
        assert {path for path in paths if agent.is_valid(path)} == valid
        assert len(valid) <= 4
        at = agent.timer_at()
        assert agent.is_over or (at is not None and at > now)


def test_w37_a_check_heard_before_opens_no_path_and_keeps_no_consent() -> None:
    """Who saw a check may send it again, from elsewhere or after the client has left."""
    agent = IceAgent(generation=0, remote_ufrag=REMOTE_UFRAG, now=0.0)
    home, elsewhere = path_from("198.51.100.1"), path_from("203.0.113.9")
    seen = check(use_candidate=True)
    agent.receive_check(seen, home, 0.0)
    with pytest.raises(CheckRefused) as refused:
        agent.receive_check(seen, elsewhere, 5.0)
    assert refused.value.reason is Refusal.REPLAYED
    assert agent.receive_check(seen, home, 6.0) == []
    assert [type(event) for event in agent.handle_timer(7.0)] == [Disconnected]
    assert agent.selected_path == home
