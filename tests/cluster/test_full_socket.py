"""A link slower than what is sent: datagrams wait, video gives way, and all goes on when there is room."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from sfu.media.limits import Limits
from sfu.net.address import Address, Path, make_path
from sfu.net.batch import Batch
from sfu.net.udp import open_udp
from sfu.wire.rtcp import PictureLoss
from tests.cluster.lab import SERVER_V4
from tests.sfu.media.peers import KEYFRAME, VIDEO, Node, video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.lab import Lab, Namespace
    from tests.sfu.media.peers import Client

pytestmark = pytest.mark.netns

CLONE_NEWNET = 0x40000000
SLOTS = 192


def inside(namespace: Namespace, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket made in a namespace; it stays there."""
    made: list[socket.socket] = []

    def enter() -> None:
        with open(f"/run/netns/{namespace.name}", "rb") as handle:
            if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        made.append(make())

    thread = threading.Thread(target=enter)  # a namespace is a thread's, so it ends with this one
    thread.start()
    thread.join()
    return made[0]


class SlowLink:
    """A sender behind 2 Mbit/s with a small buffer, and its receiver."""

    def __init__(self, lab: Lab) -> None:
        client = lab.client()
        uplink = lab.uplink(client)
        self.namespace, self.device, self.address = client, uplink.device, uplink.v4
        self.far_end = lab.server
        tbf = ["root", "tbf", "rate", "2mbit", "burst", "4kb", "limit", "1mb"]
        client.run("tc", "qdisc", "add", "dev", uplink.device, *tbf)
        self.receiver = inside(lab.server, lambda: open_udp("", 5000, setting="--media"))
        self.sender = inside(client, lambda: open_udp("", 5000, setting="--media", send_buffer=16384))
        self.batch = Batch(self.sender.fileno(), self.sender.family, send_slots=SLOTS)
        self.path: Path = make_path(Address(SERVER_V4, 5000), uplink.v4)

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()

    def received(self) -> list[bytes]:
        """All that comes until nothing has come for half a second."""
        out: list[bytes] = []
        while select.select([self.receiver], [], [], 0.5)[0]:
            out.append(self.receiver.recv(65536))
        return out

    def drain(self) -> list[bytes]:
        """Let the queue empty itself as the socket becomes writable, and take what arrives."""
        deadline = time.monotonic() + 20
        while self.batch.blocked() and time.monotonic() < deadline:
            if select.select([], [self.sender], [], 1)[1]:
                self.batch.on_writable()
        assert not self.batch.blocked()
        return self.received()


@pytest.fixture
def slow(lab: Lab) -> Iterator[SlowLink]:
    with closing(SlowLink(lab)) as link:
        yield link


def media(kind: bytes, number: int, size: int = 1000) -> bytes:
    return (kind + number.to_bytes(4)).ljust(size, b".")


def test_what_a_full_socket_does_not_take_waits_and_arrives_in_order(slow: SlowLink) -> None:
    sent = [media(b"v", i) for i in range(100)]
    taken = slow.batch.send_all([(slow.path, data, True) for data in sent])
    assert 0 < taken < 100
    assert (slow.batch.blocked(), slow.batch.live_slots()) == (True, 100 - taken)
    calls = slow.batch.counters()["send_calls"]
    assert slow.batch.send(slow.path, b"check")  # no call is made in vain
    assert slow.batch.counters()["send_calls"] == calls
    assert slow.drain() == [*sent, b"check"]
    assert slow.batch.live_slots() == 0


def test_the_oldest_video_gives_way_and_all_else_is_kept(slow: SlowLink) -> None:
    """Twenty times what fits, in calls of one frame each: 10 of video, then a packet of audio."""
    video: list[bytes] = []
    audio: list[bytes] = []
    for frame in range(180):
        burst = [media(b"v", frame * 10 + i) for i in range(10)]
        video += burst
        audio.append(media(b"a", frame, 100))
        slow.batch.send_all([(slow.path, data, True) for data in burst] + [(slow.path, audio[-1], False)])
        assert slow.batch.live_slots() <= SLOTS
    arrived = slow.drain()
    counters = slow.batch.counters()
    assert counters["drop_send_video"] == len(video) + len(audio) - len(arrived) > 1500
    assert counters["drop_send_full"] == 0
    assert [data for data in arrived if data[:1] == b"a"] == audio
    kept = [data for data in arrived if data[:1] == b"v"]
    gap = next(i for i, data in enumerate(kept) if data != video[i])
    assert kept == video[:gap] + video[gap - len(kept) :]


def test_without_video_the_oldest_goes_and_new_video_finds_no_room(slow: SlowLink) -> None:
    sent = [media(b"a", i) for i in range(400)]
    slow.batch.send_all([(slow.path, data, False) for data in sent])
    assert slow.batch.send_all([(slow.path, media(b"v", 0), True)]) == 0
    arrived = slow.drain()
    counters = slow.batch.counters()
    assert counters["drop_send_video"] == 1
    assert counters["drop_send_full"] == 400 - len(arrived) > 0
    assert arrived == sent[: len(arrived) - SLOTS] + sent[-SLOTS:]


def test_a_path_too_narrow_for_a_datagram_gets_them_one_by_one(slow: SlowLink) -> None:
    """The kernel cuts no message into datagrams that it would have to fragment."""
    slow.namespace.run("tc", "qdisc", "del", "dev", slow.device, "root")
    slow.namespace.ip(f"route add {SERVER_V4} via 10.71.1.1 dev {slow.device} mtu 600")
    sent = [media(b"v", i) for i in range(4)]
    assert slow.batch.send_all([(slow.path, data, True) for data in sent]) == 4
    assert slow.received() == sent
    assert slow.batch.counters()["cuts_refused"] == 1


class SlowNode(Node):
    """A packet path behind the slow link; its peers are at the far end."""

    def __init__(self, slow: SlowLink) -> None:
        self.slow = slow
        super().__init__(Limits(send_queue=SLOTS), slow.sender)

    def dial(self) -> tuple[socket.socket, Path]:
        sock = inside(self.slow.far_end, lambda: open_udp(SERVER_V4, 0, setting="--media"))
        sock.connect((self.slow.address, 5000))
        self._clients.append(sock)
        return sock, make_path(Address(SERVER_V4, sock.getsockname()[1]), self.slow.address)

    def take_in(self, publisher: Client, first: int, count: int) -> None:
        """Packets of 1000 bytes, of which the first begins a keyframe, arrive and are read."""
        end = self.media.counters()["media_in"] + count
        for number in range(first, first + count):
            begins = KEYFRAME if number == first else b"\x10\x11"
            publisher.send(video(number, payload=begins + number.to_bytes(4) + bytes(1000)))
        deadline = time.monotonic() + 10
        while self.media.counters()["media_in"] < end and time.monotonic() < deadline:
            select.select([self.sock], [], [], 1)
            self.read()
        assert self.media.counters()["media_in"] == end

    def drain(self) -> None:
        """Let all that waits leave as the socket becomes writable."""
        deadline = time.monotonic() + 20
        while (self.media.blocked or self.media.live()["waiting"]) and time.monotonic() < deadline:
            if select.select([], [self.sock], [], 1)[1]:
                self.media.on_writable()
        assert not self.media.blocked


@pytest.fixture
def node(slow: SlowLink) -> Iterator[SlowNode]:
    with closing(SlowNode(slow)) as made:
        yield made


def settle(*clients: Client) -> None:
    """Take in what arrives until nothing has come for half a second."""
    while ready := select.select([client.sock for client in clients], [], [], 0.5)[0]:
        for client in clients:
            if client.sock in ready:
                client.receive()


@pytest.mark.parametrize("already", [True, False])
def test_a_start_from_the_cache_pushes_nothing_out_of_a_full_socket(node: SlowNode, already: bool) -> None:
    """Full already, or only over the start: it then begins, or goes on, at a keyframe that is asked for."""
    publisher, watcher, late = node.client(), node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    if already:
        node.subscribe(watcher, track)
    node.take_in(publisher, 1, 150 if already else 300)
    assert node.media.blocked is already
    node.subscribe(late, track)
    assert node.media.blocked
    counters = node.media.counters()
    assert (counters["drop_socket_send_video"], counters["starts_cached"]) == (0, 0)
    node.drain()
    settle(publisher, watcher, late)
    asked = [packet for packet in publisher.take_rtcp() if isinstance(packet, PictureLoss)]
    assert len(asked) == 1
    begun = len(late.rtp)
    assert begun == 0 if already else 0 < begun < 300
    node.take_in(publisher, 301, 1)
    settle(late)
    packets = late.take()
    assert [packet.sequence - packets[0].sequence & 0xFFFF for packet in packets] == list(range(begun + 1))
    assert packets[-1].payload[:11] == KEYFRAME
