"""What makes each of the rarer reasons of a drop rise, and that it costs nothing else."""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sfu.base.ids import PayloadType
from sfu.media import control
from sfu.media.engine import Engine
from sfu.media.events import TrackStarted
from sfu.media.tracks import IngressCodec, Routes
from sfu.net.udp import IP_PKTINFO
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    OPUS,
    VIDEO,
    Client,
    Node,
    audio,
    fresh_keys,
    video,
)
from tests.sfu.media.test_seal import start_at

if TYPE_CHECKING:
    import pytest

DTMF, RED = PayloadType(101), PayloadType(63)


def test_event_a_full_list_costs_a_source_its_first_packet_and_is_made_up_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A layer that is not told of would be nobody's."""
    monkeypatch.setattr(control, "Engine", partial(Engine, events_max=2))
    node = Node()
    publisher, listener = node.client(), node.client()
    first = node.media.add_track(publisher.peer, VIDEO)
    second = node.media.add_track(publisher.peer, AUDIO)
    node.subscribe(listener, second, AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(video(1, key=True), audio(1))
    node.read()
    assert node.drops() == {"event": 1}
    assert listener.take() == []
    publisher.send(audio(2), audio(3))
    node.read()
    assert [packet.payload for packet in listener.take()] == [audio(2).payload, audio(3).payload]
    assert [event.track for event in node.events if isinstance(event, TrackStarted)] == [first, second]
    assert node.drops() == {"event": 1}
    node.close()


def test_no_room_red_around_a_type_that_the_subscriber_lacks(node: Node) -> None:
    publisher, listener = node.client(), node.client()
    codecs = {**AUDIO.codecs, RED: IngressCodec("red", 48000), DTMF: IngressCodec("telephone-event", 8000)}
    track = node.media.add_track(publisher.peer, replace(AUDIO, codecs=codecs))
    node.subscribe(listener, track, AUDIO_EGRESS, Routes({OPUS: PayloadType(109), RED: PayloadType(110)}))
    publisher.send(audio(1), replace(audio(2), payload_type=RED, payload=bytes((DTMF,)) + b"1234"), audio(3))
    node.read()
    assert node.drops() == {"no_room": 1}
    assert [packet.payload for packet in listener.take()] == [audio(1).payload, audio(3).payload]


def test_not_mapped_a_late_packet_of_such_a_type_whose_number_is_a_gap_by_now(node: Node) -> None:
    publisher, listener = node.client(), node.client()
    codecs = {**AUDIO.codecs, DTMF: IngressCodec("telephone-event", 8000)}
    track = node.media.add_track(publisher.peer, replace(AUDIO, codecs=codecs))
    node.subscribe(listener, track, AUDIO_EGRESS, AUDIO_ROUTES)
    publisher.send(audio(1), audio(3), replace(audio(2), payload_type=DTMF), audio(4))
    node.read()
    assert node.drops() == {"not_mapped": 1}
    packets = listener.take()
    assert [packet.sequence - packets[0].sequence & 0xFFFF for packet in packets] == [0, 2, 3]


def test_seal_a_late_packet_whose_number_is_from_before_the_keys(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New keys begin without roll-overs: there is no index for what would lie before the first."""
    publisher, subscriber = node.client(), node.client()
    start_at(monkeypatch, 0xFFFE)
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True), video(3), video(4))
    node.read()
    assert [packet.sequence for packet in subscriber.take()] == [0xFFFE, 0, 1]
    keys = fresh_keys()
    node.media.set_keys(subscriber.peer, keys)
    again = Client(node, subscriber.peer, keys, subscriber.sock, subscriber.path)
    publisher.send(video(2), video(5))
    node.read()
    assert node.drops() == {"seal": 1}
    assert [packet.sequence for packet in again.take()] == [2]


def test_socket_no_path_a_datagram_that_does_not_tell_the_address_it_hit(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, AUDIO)
    node.sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 0)
    publisher.send(audio(1))
    node.read()
    node.sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    publisher.send(audio(2))
    node.read()
    assert node.drops() == {"socket_no_path": 1}
    assert node.media.counters()["media_in"] == 1
