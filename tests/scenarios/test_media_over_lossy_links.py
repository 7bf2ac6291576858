"""A publisher, the engine and its subscribers on links that lose, reorder and double, in virtual time.

What sfu.md asks of every forwarded stream, held over seconds of media per seed. A run that fails is run again
by its seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.scenarios.media import EGRESS, ROUTES, EngineNode, Publisher, Subscriber, address_of
from tests.scenarios.net import Link, Network
from tests.sfu.media.peers import VIDEO, Node

LATENCY_S = 0.02
SUBSCRIBERS = 3


@dataclass
class Run:
    """What came of a call."""

    publisher: Publisher
    subscribers: list[Subscriber]
    node: EngineNode
    network: Network

    def tap_of(self, subscriber: Subscriber) -> dict[int, int]:
        """Inputs by number, of what the node sent."""
        return self.node.taps[address_of(subscriber.client)].inputs(self.publisher)


def play(seed: int, *, up: Link, down: Link, seconds: float = 6.0, restarts: tuple[float, ...] = ()) -> Run:
    """A call, and two seconds more in which repairs may end."""
    node = Node()
    engine = EngineNode(node)
    network = Network(seed)
    sender = node.client()
    track = node.media.add_track(sender.peer, VIDEO)
    publisher = Publisher(sender, seed, seconds, restarts)
    network.attach(publisher, engine.add(sender))
    del engine.taps[address_of(sender)]
    network.attach(engine, "node")
    network.set_link(address_of(sender), "node", up)
    subscribers: list[Subscriber] = []
    for _ in range(SUBSCRIBERS):
        client = node.client()
        node.subscribe(client, track, EGRESS, ROUTES)
        subscriber = Subscriber(client, 2 * down.latency_s)
        network.attach(subscriber, engine.add(client))
        network.set_link("node", address_of(client), down)
        subscribers.append(subscriber)
    network.run(until=seconds + 2)
    run = Run(publisher, subscribers, engine, network)
    node.close()
    return run


def check(run: Run, seed: int) -> None:
    """The properties of every stream that leaves the node."""
    for subscriber in run.subscribers:
        tap = run.node.taps[address_of(subscriber.client)]
        inputs = run.tap_of(subscriber)
        where = f"seed {seed}, {address_of(subscriber.client)}"
        numbers = sorted(inputs)
        assert len(numbers) > 100, where
        # each input once, in order; a hole in the numbers is a hole of as many inputs that never came
        for before, after in pairwise(numbers):
            step = inputs[after] - inputs[before]
            assert step >= 1, f"{where}: input {inputs[after]} after {inputs[before]}"
            assert after - before <= step, f"{where}: numbers {before} to {after} without an input"
            if after - before > 1:
                continue
            left_out = run.publisher.sent[inputs[before] + 1 : inputs[after]]
            first, second = (run.publisher.sent[inputs[number]] for number in (before, after))
            # without a hole only padding is left out, and what came before the keyframe of another source
            assert first.ssrc != second.ssrc or not any(packet.payload for packet in left_out), where
        # time never goes back, and each frame has one marker, on its last packet
        packets = [packet for _, packet in sorted(tap.packets.items())]
        for before, after in pairwise(packets):
            assert (after.timestamp - before.timestamp) & 0xFFFFFFFF < 1 << 31, where
            assert not (before.marker and after.payload and after.timestamp == before.timestamp), where
        # what the subscriber has is what was sent
        for number, payload in subscriber.got.items():
            assert tap.packets[number].payload == payload, where


CLEAN = Link(LATENCY_S)
LOSSY = Link(LATENCY_S, jitter_s=0.002, loss=0.1, duplicate=0.02, reorder=0.02, reorder_s=0.004)


@pytest.mark.parametrize("seed", range(4))
def test_what_the_link_of_a_subscriber_loses_is_repaired_at_the_node_and_the_publisher_hears_nothing(
    seed: int,
) -> None:
    run = play(seed, up=CLEAN, down=LOSSY)
    check(run, seed)
    assert run.publisher.asked == []
    for subscriber in run.subscribers:
        tap = run.node.taps[address_of(subscriber.client)]
        assert subscriber.first is not None
        known = range(subscriber.first, max(subscriber.got) + 1)
        assert [number for number in known if number in tap.packets and number not in subscriber.got] == []
        assert tap.repeated > 10


@pytest.mark.parametrize("seed", range(4))
def test_what_the_publishers_link_loses_is_asked_for_once_and_goes_to_all(seed: int) -> None:
    """For three subscribers: each loss is heard of once, and again only where its repair was lost too."""
    run = play(seed, up=Link(LATENCY_S, loss=0.1), down=CLEAN)
    check(run, seed)
    sent = run.publisher.sent
    lost = {
        number
        for number, packet in enumerate(sent)
        if (packet.ssrc, packet.sequence) not in run.node.arrived and number < len(sent) - 10
    }
    assert len(lost) > 30
    assert {number for number in run.publisher.asked if number < len(sent) - 10} - lost == set(), (
        f"seed {seed}"
    )
    assert len(run.publisher.asked) < 1.3 * len(lost) + 10, f"seed {seed}"
    for subscriber in run.subscribers:
        got = set(run.tap_of(subscriber).values())
        wanted = {number for number in range(min(got), len(sent) - 10) if sent[number].payload}
        assert wanted - got == set(), f"seed {seed}"


@pytest.mark.parametrize("seed", range(6))
def test_streams_stay_whole_with_loss_on_both_sides_and_publishers_that_start_anew(seed: int) -> None:
    run = play(seed, up=LOSSY, down=LOSSY, restarts=(2.0, 4.0))
    check(run, seed)
    for subscriber in run.subscribers:
        sources = {run.publisher.sent[number].ssrc for number in run.tap_of(subscriber).values()}
        assert sources == {0x11, 0x12, 0x13}


@pytest.mark.parametrize("seed", range(3))
def test_streams_stay_whole_when_half_is_lost(seed: int) -> None:
    bad = Link(LATENCY_S, jitter_s=0.03, loss=0.5, duplicate=0.1, reorder=0.1)
    check(play(seed, up=bad, down=bad, seconds=8), seed)


@pytest.mark.parametrize("seed", [3, 112])
def test_repairs_of_before_a_new_start_are_not_mixed_into_it(seed: int) -> None:
    """With 112, RTX of the old SSRC once filled a hole of the new one, whose numbers were near."""
    bad = Link(LATENCY_S, jitter_s=0.03, loss=0.3, duplicate=0.1, reorder=0.1)
    check(play(seed, up=bad, down=bad, restarts=(1.5, 3.0)), seed)
