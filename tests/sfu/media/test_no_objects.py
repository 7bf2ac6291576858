"""design.md, idea 3: media never touches Python."""

from __future__ import annotations

import gc
import sys

from tests.sfu.media.peers import AUDIO, AUDIO_EGRESS, AUDIO_ROUTES, Node, audio


def test_ten_thousand_packets_make_no_python_object(node: Node) -> None:
    publisher = node.client()
    track = node.media.add_track(publisher.peer, AUDIO)
    subscribers = [node.client() for _ in range(4)]
    for subscriber in subscribers:
        node.subscribe(subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
    sealed = [publisher.seal(audio(sequence)) for sequence in range(2_600)]

    def forward(start: int, end: int) -> None:
        for at in range(start, end, 50):
            for datagram in sealed[at : at + 50]:
                publisher.sock.send(datagram)
            node.media.on_readable(node.now)

    forward(0, 100)  # bindings, events and first reports are made now
    gc.collect()
    gc.disable()
    try:
        forwarded = node.media.counters()["media_out"]
        before = sys.getallocatedblocks()
        forward(100, 2_600)
        after = sys.getallocatedblocks()
        assert node.media.counters()["media_out"] - forwarded == 10_000
    finally:
        gc.enable()
    assert abs(after - before) < 20
