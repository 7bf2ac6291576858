"""Whose turn it is: runs in slices, audio first, and what is given up when the node can't keep up."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import Ssrc
from sfu.media.limits import Limits
from sfu.wire.rtcp import PictureLoss
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    VIDEO,
    Node,
    audio,
    video,
)
from tests.sfu.media.simulcast import SIMULCAST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sfu.media.events import TrackId
    from tests.sfu.media.peers import Client

CLOCK_PACKETS = 32
AT_ONCE = Limits(slice_s=0)
"""The time is always over: one call forwards as little as it may."""


@pytest.fixture
def hurried() -> Iterator[Node]:
    node = Node(AT_ONCE)
    yield node
    node.close()


def subscribed(node: Node, track: TrackId, count: int) -> list[Client]:
    clients = [node.client() for _ in range(count)]
    for client in clients:
        node.subscribe(client, track)
    return clients


def forwarded(node: Node) -> int:
    return node.media.counters()["media_out"]


def test_a_run_stops_between_two_subscriptions_and_goes_on_there(hurried: Node) -> None:
    publisher = hurried.client()
    clients = subscribed(hurried, hurried.media.add_track(publisher.peer, VIDEO), 100)
    publisher.send(video(1, key=True), video(2))
    hurried.read()
    steps = [forwarded(hurried)]
    while hurried.media.timer_at() <= hurried.now:
        hurried.media.handle_timer(hurried.now)
        steps.append(forwarded(hurried))
    assert len(steps) > 4
    assert all(after - before <= CLOCK_PACKETS + 2 for before, after in pairwise(steps))
    for client in clients:
        assert [packet.payload for packet in client.take()] == [video(1, key=True).payload, video(2).payload]


def test_what_comes_meanwhile_keeps_its_order_for_everyone(hurried: Node) -> None:
    publisher = hurried.client()
    clients = subscribed(hurried, hurried.media.add_track(publisher.peer, VIDEO), 70)
    for sequence in range(1, 20):
        publisher.send(video(sequence, key=sequence == 1))
        hurried.read()
    hurried.advance(0)
    for client in clients:
        packets = client.take()
        assert [packet.payload for packet in packets] == [video(n, key=n == 1).payload for n in range(1, 20)]
        assert [packet.sequence - packets[0].sequence for packet in packets] == list(range(19))


def test_audio_goes_before_video_that_came_first(hurried: Node) -> None:
    publisher = hurried.client()
    subscribed(hurried, hurried.media.add_track(publisher.peer, VIDEO), 100)
    listener = hurried.client()
    hurried.subscribe(listener, hurried.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(*(video(n, key=n == 1) for n in range(1, 20)))
    hurried.read()
    assert forwarded(hurried) < 1000
    publisher.send(audio(1))
    hurried.read()
    assert len(listener.take()) == 1
    assert forwarded(hurried) < 1000


def test_what_waits_in_the_socket_is_read_whatever_there_is_to_forward(hurried: Node) -> None:
    """What is left there the kernel drops blindly: sound that came after video, too."""
    publisher = hurried.client()
    subscribed(hurried, hurried.media.add_track(publisher.peer, VIDEO), 100)
    listener = hurried.client()
    hurried.subscribe(listener, hurried.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(*(video(n, key=n == 1) for n in range(1, 300)), audio(1))
    hurried.media.on_readable(hurried.now)
    assert hurried.media.counters()["media_in"] == 300
    assert len(listener.take()) == 1
    assert forwarded(hurried) < 1000


def test_of_video_that_can_not_wait_those_who_had_all_of_it_go_on() -> None:
    """Without a cache a run that is over the time is given up, but not by those that it was sent to."""
    node = Node(replace(AT_ONCE, cache=0))
    publisher = node.client()
    clients = subscribed(node, node.media.add_track(publisher.peer, VIDEO), 100)
    publisher.send(*(video(n, key=n == 1) for n in range(1, 20)))
    node.read()
    whole = [client for client in clients if len(client.take()) == 19]
    assert 0 < len(whole) < 100
    publisher.send(video(20))
    node.read()
    assert [client for client in clients if client.take()] == whole
    node.close()


def test_a_publisher_that_changes_layers_with_every_packet_is_looked_at_once_a_call(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = node.client()
    track = node.media.add_track(publisher.peer, SIMULCAST)
    subscribed(node, track, 10)
    chosen: list[TrackId] = []
    monkeypatch.setattr(node.media, "_choose_layers", chosen.append)
    publisher.send(*(video(n, ssrc=0x30, rid="ab"[n % 2], key=True) for n in range(1, 100)))
    node.read()
    assert 1 <= len(chosen) <= 3


def test_a_track_of_a_thousand_does_not_hold_up_another(hurried: Node) -> None:
    one, two = hurried.client(), hurried.client()
    subscribed(hurried, hurried.media.add_track(one.peer, VIDEO), 500)
    (watcher,) = subscribed(hurried, hurried.media.add_track(two.peer, VIDEO), 1)
    one.send(*(video(n, key=n == 1) for n in range(1, 30)))
    hurried.read()
    two.send(video(1, key=True))
    hurried.read()
    hurried.media.handle_timer(hurried.now)
    assert len(watcher.take()) == 1
    assert forwarded(hurried) < 1000


def test_those_who_leave_between_two_slices_are_passed_over(hurried: Node) -> None:
    """W35: everything may go while packets are on their way."""
    publisher = hurried.client()
    clients = subscribed(hurried, hurried.media.add_track(publisher.peer, VIDEO), 100)
    publisher.send(*(video(n, key=n == 1) for n in range(1, 5)))
    hurried.read()
    for client in clients[::2]:
        hurried.media.remove_peer(client.peer)
        hurried.media.handle_timer(hurried.now)
    hurried.advance(0)
    assert all(len(client.take()) == 4 for client in clients[1::2])


@pytest.mark.parametrize("what", ["track", "publisher"])
def test_a_publisher_who_leaves_between_two_slices_takes_what_waits_along(hurried: Node, what: str) -> None:
    publisher = hurried.client()
    track = hurried.media.add_track(publisher.peer, VIDEO)
    subscribed(hurried, track, 100)
    publisher.send(*(video(n, key=n == 1) for n in range(1, 5)))
    hurried.read()
    assert hurried.media.live()["waiting"] == 4
    if what == "track":
        hurried.media.remove_track(track)
    else:
        hurried.media.remove_peer(publisher.peer)
    assert hurried.media.live()["waiting"] == 0
    hurried.advance(1)


def test_who_starts_from_the_cache_between_two_slices_gets_nothing_twice(hurried: Node) -> None:
    publisher = hurried.client()
    track = hurried.media.add_track(publisher.peer, VIDEO)
    subscribed(hurried, track, 100)
    publisher.send(video(1, key=True), video(2))
    hurried.read()
    publisher.send(video(3))
    hurried.read()
    (late,) = subscribed(hurried, track, 1)
    hurried.advance(0)
    assert [packet.payload for packet in late.take()] == [video(n, key=n == 1).payload for n in (1, 2, 3)]


def test_padding_that_a_start_from_the_cache_left_out_does_not_take_the_next_packets_number(
    hurried: Node,
) -> None:
    """Its turn comes once more while it waits. Under the number of another it would cost that packet, and a
    resend of it would seal other bytes under one index."""
    publisher = hurried.client()
    track = hurried.media.add_track(publisher.peer, VIDEO)
    subscribed(hurried, track, 100)
    publisher.send(video(1, key=True), video(2))
    hurried.read()
    publisher.send(replace(video(3), payload=b"", padding=200))  # behind the run that is under way
    hurried.read()
    (late,) = subscribed(hurried, track, 1)
    hurried.advance(0)
    publisher.send(video(4))
    hurried.read()
    hurried.advance(0)
    packets = late.take()
    assert [packet.payload for packet in packets] == [video(n, key=n == 1).payload for n in (1, 2, 4)]
    assert [packet.sequence - packets[0].sequence for packet in packets] == [0, 1, 2]


def test_overload_sheds_video_and_keeps_audio() -> None:
    node = Node(replace(AT_ONCE, overload_s=0.25))
    publisher = node.client()
    clients = subscribed(node, node.media.add_track(publisher.peer, VIDEO), 200)
    listener = node.client()
    node.subscribe(listener, node.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(video(1, key=True))
    node.read()
    node.advance(0)
    for client in clients:
        client.take()
    for tick in range(2, 40):
        publisher.send(*(video(10 * tick + n) for n in range(10)), audio(tick))
        node.read()  # one slice, where fifty would be needed
        node.now += 0.02
    assert len(listener.take()) == 38
    counters = node.media.counters()
    assert counters["shed"] > 0
    assert counters["drop_overload"] > 0
    node.advance(0.6)
    assert [packet for packet in publisher.take_rtcp() if isinstance(packet, PictureLoss)]
    publisher.send(video(1000, key=True), video(1001))
    node.read()
    node.advance(0)
    for client in clients:
        packets = client.take()
        assert [packet.payload for packet in packets][-2:] == [
            video(1000, key=True).payload,
            video(1001).payload,
        ]
        assert [packet.sequence - packets[0].sequence for packet in packets] == list(range(len(packets)))
    node.close()


def test_the_bound_of_waiting_packets_holds_and_audio_takes_the_place_of_video() -> None:
    node = Node(replace(AT_ONCE, waiting=20))
    publisher = node.client()
    subscribed(node, node.media.add_track(publisher.peer, VIDEO), 200)
    listeners = [node.client() for _ in range(2)]
    track = node.media.add_track(publisher.peer, AUDIO)
    for listener in listeners:
        node.subscribe(listener, track, AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(*(video(n, key=n == 1) for n in range(1, 41)), *(audio(n) for n in range(1, 11)))
    node.read()
    assert node.media.live()["waiting"] <= 20
    node.advance(0)
    assert [len(listener.take()) for listener in listeners] == [10, 10]
    assert node.media.counters()["shed"] > 0
    node.close()


def test_packets_without_room_in_the_cache_are_forwarded_before_their_slot_is_used_again() -> None:
    node = Node(Limits(cache=0))
    publisher = node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, ssrcs=(Ssrc(0x11),)))
    clients = subscribed(node, track, 50)
    for start in range(1, 200, 40):
        publisher.send(*(video(start + n, key=start + n == 1) for n in range(40)))
        node.read()
    assert node.media.live()["waiting"] == 0
    for client in clients:
        assert [packet.payload for packet in client.take()] == [
            video(n, key=n == 1).payload for n in range(1, 201)
        ]
    node.close()


def test_without_room_in_the_cache_video_is_given_up_when_the_time_is_over_and_audio_is_not() -> None:
    """Its slots are about to be used again, so it can't wait; nor may it hold the loop."""
    node = Node(replace(AT_ONCE, cache=0))
    publisher, other, listener = node.client(), node.client(), node.client()
    clients = subscribed(node, node.media.add_track(publisher.peer, VIDEO), 100)
    others = subscribed(node, node.media.add_track(other.peer, VIDEO), 100)
    node.subscribe(listener, node.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    for start in range(1, 150, 30):
        before = forwarded(node)
        publisher.send(*(video(start + n, key=n == 0) for n in range(30)), audio(start))
        other.send(*(video(start + n, key=n == 0) for n in range(30)))
        node.read()
        assert 0 < forwarded(node) - before <= CLOCK_PACKETS + 30 + 1
        assert node.media.live()["waiting"] == 0
    assert len(listener.take()) == 5
    counters = node.media.counters()
    assert (counters["shed"], counters["drop_overload"]) == (10, 300)
    seen = 0
    for client in clients + others:
        packets = client.take()
        assert [packet.sequence - packets[0].sequence for packet in packets] == list(range(len(packets)))
        seen += len(packets)
    assert seen == forwarded(node) - 5
    node.close()


def test_what_leaves_the_cache_while_it_waits_is_dropped_and_is_nobody_elses() -> None:
    node = Node(replace(AT_ONCE, cache=2 * 16384, cache_video=2 * 16384))
    publisher = node.client()
    clients = subscribed(node, node.media.add_track(publisher.peer, VIDEO), 60)
    sent = {
        n: video(n, key=n == 1, payload=video(n, key=n == 1).payload + bytes((n,)) * 1000)
        for n in range(1, 60)
    }
    for packet in sent.values():
        publisher.send(packet)
        node.read()
    node.advance(0)
    wanted = {packet.payload for packet in sent.values()}
    for client in clients:
        assert {packet.payload for packet in client.take()} <= wanted
    assert node.drops()["overload"] > 0
    node.close()
