"""Whole lives of PeerConnections: any sequence of operations, in both offer directions."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sfu.base.ids import Mid, SessionId, TrackName
from sfu.negotiation.owner import end_subscriptions, end_track, set_track_flowing
from sfu.negotiation.record import Kind
from sfu.negotiation.requests import TracksResponse
from tests.sfu.negotiation.fake_browser import FLAVOURS, FakeBrowser, Flavour
from tests.sfu.negotiation.world import World, failed, fixture, local, remote

kinds = st.sampled_from(["audio", "video"])
NAMES = ("mic", "cam")


def publisher(world: World, flavour: str) -> SessionId:
    """A session that publishes "mic" and "cam"."""
    session = world.session()
    sdp = fixture(f"{flavour}-offer-audio-video-sendonly")
    response = world.tracks(session, local("0", "mic"), local("1", "cam"), sdp=sdp)
    assert failed(response.tracks) == [None, None]
    return session


class Call:
    """One client with its session, and how it pushes, pulls and closes."""

    def __init__(self, world: World, flavour: Flavour) -> None:
        self.world = world
        self.browser = FakeBrowser(flavour)
        self.session = world.session()
        self._named = 0

    def push(self, kind: Kind, *, bidirectional: bool = False) -> Mid:
        """Publish by the client's offer."""
        transceiver = self.browser.add(kind, "sendrecv" if bidirectional else "sendonly")
        sdp = self.browser.offer()
        assert transceiver.mid is not None
        self._named += 1
        entry = local(transceiver.mid, f"track-{self._named}", bidirectional=bidirectional)
        response = self.world.tracks(self.session, entry, sdp=sdp)
        self.accept(response)
        assert failed(response.tracks) == [None]
        assert transceiver.current == transceiver.direction
        return transceiver.mid

    def accept(self, response: TracksResponse) -> None:
        """Apply an answer."""
        assert response.description is not None
        assert response.description.type == "answer"
        assert not response.renegotiate
        self.browser.accept(response.description.sdp)

    def pull(self, *wanted: tuple[SessionId, str], reject: frozenset[Mid] = frozenset()) -> list[Mid]:
        """Pull by our offer, and answer it; each track that is had makes a `track` event."""
        response = self.world.tracks(self.session, *(remote(*one) for one in wanted))
        got = [Mid(item.mid or "") for item in response.tracks if item.error is None]
        if not got:
            assert response.description is None
            return []
        assert response.renegotiate
        assert response.description is not None
        self.browser.events.clear()
        answered = self.world.answer(
            self.session, self.browser.answer(response.description.sdp, reject=reject)
        )
        lost = {item.mid for item in answered.tracks}
        assert set(self.browser.events) >= {mid for mid in got if mid not in lost}
        return [mid for mid in got if mid not in lost]

    def close(self, *mids: Mid, stopped: int | None = None) -> list[str | None]:
        """Close negotiated; only the first `stopped` transceivers are stopped."""
        for mid in mids[:stopped]:
            self.browser.stop(mid)
        response = self.world.close(self.session, *mids, sdp=self.browser.offer())
        self.accept(response)
        return failed(response.tracks)


@pytest.mark.parametrize(
    ("flavour", "source"),
    [("chromium-156", "firefox-153"), ("firefox-153", "chromium-156"), ("safari-18", "chromium-156")],
)
def test_fifty_cycles_of_close_and_reuse_do_not_grow_the_sdp(flavour: Flavour, source: str) -> None:
    world = World()
    room = publisher(world, source)
    call = Call(world, flavour)
    pushed = [call.push("audio"), call.push("video")]
    pulled = call.pull(*[(room, name) for name in NAMES] * 4)
    assert len(pulled) == 8
    sizes: list[int] = []
    for cycle in range(50):
        half, pulled = pulled[:4], pulled[4:]
        if cycle % 3 == 0:
            assert set(call.close(*half)) == {None}
        elif cycle % 3 == 1:
            assert set(call.close(*half, stopped=1)) == {None}
        else:
            world.close(call.session, *half)
        call.close(pushed.pop(0))
        pushed.append(call.push("audio" if cycle % 2 == 0 else "video"))
        pulled += call.pull(*[(room, name) for name in NAMES] * 2)
        assert len(pulled) == 8
        sizes.append(len(world.records[call.session].mlines))
    assert sizes[-1] == sizes[10]
    assert sizes[-1] <= 20


class Negotiation(RuleBasedStateMachine):
    """Rules are what clients do; the checks are in World and FakeBrowser."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.rooms: list[SessionId] = []
        self.gone: set[tuple[SessionId, str]] = set()

    @initialize(flavour=st.sampled_from(FLAVOURS))
    def join(self, flavour: Flavour) -> None:
        self.rooms = [publisher(self.world, source) for source in FLAVOURS]
        self.call = Call(self.world, flavour)
        self.pushed: list[Mid] = []
        self.pulled: list[Mid] = []
        self.most = 0

    def some(self, picks: list[int]) -> list[tuple[SessionId, str]]:
        return [(self.rooms[pick // 2 % len(self.rooms)], NAMES[pick % 2]) for pick in picks]

    @rule(picks=st.lists(st.integers(0, 5), min_size=1, max_size=4), refuse=st.booleans())
    def pull(self, picks: list[int], refuse: bool) -> None:
        mid = Mid(str(self.world.records[self.call.session].next_mid))
        reject = frozenset({mid}) if refuse else frozenset[Mid]()
        self.pulled += self.call.pull(*self.some(picks), reject=reject)

    @rule(kind=kinds)
    def push(self, kind: Kind) -> None:
        self.pushed.append(self.call.push(kind))

    @rule(kind=kinds, pick=st.integers(0, 5))
    def push_and_pull_on_one_transceiver(self, kind: Kind, pick: int) -> None:
        mid = self.call.push(kind, bidirectional=True)
        self.pushed.append(mid)
        session, name = self.some([pick])[0]
        response = self.world.tracks(self.call.session, remote(session, name, mid=mid))
        assert not response.renegotiate
        assert response.description is None

    @rule(kind=kinds)
    def push_by_our_offer(self, kind: Kind) -> None:
        name = f"ours-{len(self.world.records[self.call.session].publications)}-{self.most}"
        self.most += 1
        response = self.world.tracks(self.call.session, local(None, name, kind=kind))
        assert response.description is not None
        self.world.answer(self.call.session, self.call.browser.answer(response.description.sdp))
        # a browser answers with its transceiver receive-only until a track is added: not published
        assert self.world.records[self.call.session].publication(TrackName(name)) is not None

    @rule(count=st.integers(1, 3), stopped=st.integers(0, 3))
    def close_pulls(self, count: int, stopped: int) -> None:
        if mids := self.pulled[:count]:
            assert set(self.call.close(*mids, stopped=stopped)) <= {None, "close_track_error"}
            self.pulled = self.pulled[count:]

    @rule(count=st.integers(1, 3))
    def close_by_force(self, count: int) -> None:
        if mids := self.pulled[-count:]:
            response = self.world.close(self.call.session, *mids)
            assert response.description is None
            self.pulled = self.pulled[:-count]

    @rule()
    def close_push(self) -> None:
        if self.pushed:
            assert self.call.close(self.pushed.pop(0)) == [None]

    @rule(kind=kinds)
    def offer_something_undeclared(self, kind: Kind) -> None:
        self.call.browser.add(kind)
        self.call.accept(self.world.tracks(self.call.session, sdp=self.call.browser.offer()))

    @rule(pick=st.integers(0, 5))
    def switch_source(self, pick: int) -> None:
        if self.pulled:
            session, name = self.some([pick])[0]
            response = self.world.update(self.call.session, remote(session, name, mid=self.pulled[0]))
            assert response.description is None

    @rule()
    def restart_ice(self) -> None:
        if self.call.browser.transceivers:
            before = self.world.records[self.call.session].generation
            self.call.browser.restart_ice()
            answered = self.world.restart(self.call.session, self.call.browser.offer())
            assert answered.description is not None
            self.call.browser.accept(answered.description.sdp)
            assert self.world.records[self.call.session].generation <= before + 1

    @rule(pick=st.integers(0, 5))
    def publisher_stalls_and_ends(self, pick: int) -> None:
        session, name = self.some([pick])[0]
        key = (session, TrackName(name))
        records = self.world.records
        records[session] = set_track_flowing(records[session], key[1], flowing=True)
        records[session] = end_track(records[session], key[1])
        records[self.call.session] = end_subscriptions(records[self.call.session], [key])
        ended = {pull.mid for pull in records[self.call.session].subscriptions if pull.state == "ended"}
        self.pulled = [mid for mid in self.pulled if mid not in ended]

    @invariant()
    def open_pulls_are_received(self) -> None:
        if not self.rooms:
            return
        living = {one.mid: one for one in self.call.browser.transceivers}
        for pull, _mline in self.world.records[self.call.session].outgoing():
            transceiver = living[pull.mid]
            assert transceiver.current in ("recvonly", "sendrecv")
            assert {codec.pt for codec in transceiver.codecs} >= set(pull.pt_map.values())
            assert pull.ssrc in transceiver.remote_ssrcs


Negotiation.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestNegotiation = Negotiation.TestCase
