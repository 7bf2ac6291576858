"""A cache without room: what leaves under a number are the bytes that came under it, or nothing, whoever else
needs the memory meanwhile."""

from __future__ import annotations

import pytest

from sfu.media.limits import Limits
from sfu.wire.rtcp import PictureLoss
from tests.sfu.media.peers import VIDEO, Node, video

BLOCK = 16384


def filled(sequence: int, tag: int) -> bytes:
    """A payload of 1000 bytes that tells whose and which it is."""
    return b"\x10\x10\x00\x00\x9d\x01\x2a" + bytes((tag,)) * 989 + sequence.to_bytes(4, "big")


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("share", [1, 2, 50])
def test_a_burst_that_outgrows_the_cache_is_never_sent_as_another(blocks: int, share: int) -> None:
    """Two publishers' packets of one batch, of which each is kept where another one was."""
    node = Node(Limits(cache=blocks * BLOCK, cache_video=share * BLOCK))
    publishers = [node.client() for _ in range(2)]
    subscribers = [node.client() for _ in range(2)]
    for publisher, subscriber in zip(publishers, subscribers, strict=True):
        node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    for sequence in range(60):
        for tag, publisher in enumerate(publishers):
            publisher.send(video(sequence, payload=filled(sequence, tag)))
    node.read()
    for tag, subscriber in enumerate(subscribers):
        got = subscriber.take()
        inputs = [int.from_bytes(packet.payload[-4:], "big") for packet in got]
        assert [packet.payload for packet in got] == [filled(number, tag) for number in inputs]
        assert [packet.sequence - got[0].sequence & 0xFFFF for packet in got] == [
            number - inputs[0] for number in inputs
        ]
        assert len(got) == 60 or 0 < min(blocks, 2 * share) * BLOCK < 2 * 60 * 1200
    node.close()


def test_what_a_source_leaves_behind_is_not_anothers_before_it_is_sent() -> None:
    """A publisher with one SSRC too many loses its oldest, of which a packet is still under way, in the very
    batch in which another session's packet needs the memory."""
    node = Node(Limits(ssrcs_per_peer=4, cache=3 * BLOCK))
    publisher, other, subscriber = node.client(), node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.media.add_track(other.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(video(1, payload=filled(1, 1)))
    node.read()
    node.advance(1)
    subscriber.take()
    publisher.send(video(2, payload=filled(2, 1)))
    for ssrc in range(0x100, 0x110):
        publisher.send(video(1, ssrc=ssrc, payload=filled(3, 1)))
    for sequence in range(40):
        other.send(video(sequence, payload=filled(sequence, 2)))
    node.read()
    assert {packet.payload[7] for packet in subscriber.take()} == {1}
    node.close()


def test_video_whose_bytes_are_gone_goes_on_at_a_keyframe_that_is_asked_for() -> None:
    """One block holds fewer packets than come at once; the subscriber's numbers have no gap."""
    node = Node(Limits(cache=BLOCK))
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True))
    node.read()
    node.advance(1)
    publisher.take_rtcp()
    delta = b"\x10\x11\0\0\0\0\0\0" + bytes(1100)
    publisher.send(*(video(sequence, payload=delta) for sequence in range(2, 60)))
    node.read()
    assert node.drops()["overload"] > 0
    publisher.send(video(60))
    node.read()
    assert [p for p in publisher.take_rtcp() if isinstance(p, PictureLoss)]
    publisher.send(video(61, key=True))
    node.read()
    numbers = [packet.sequence for packet in subscriber.take()]
    assert [number - numbers[0] & 0xFFFF for number in numbers] == list(range(len(numbers)))
    assert len(numbers) >= 2
    node.close()
