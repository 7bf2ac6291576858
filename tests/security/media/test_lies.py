"""A client with keys that lies in RTCP or sends RTP with every oddity: no crash, bounded memory, counted by
reason, and a call beside it goes on without loss."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pylibsrtp import Error

from sfu.base.ids import Mid, Ssrc
from sfu.media.control import Limits
from sfu.wire.rtcp import (
    FullIntra,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    serialize_rtcp,
)
from sfu.wire.rtp import RtpPacket, serialize_rtp
from tests.fuzz import packets
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    KEYFRAME,
    VIDEO,
    VIDEO_EGRESS,
    Node,
    audio,
    video,
)
from tests.sfu.media.test_repair import RTX_EGRESS, Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sfu.media.events import TrackId
    from tests.sfu.media.peers import Client

BLOCK = 16384


class Bystanders:
    """A call of two others on the same node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher, self._subscriber = node.client(), node.client()
        track = node.media.add_track(self._publisher.peer, AUDIO)
        node.subscribe(self._subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
        self._sent = 0
        self._got: list[RtpPacket] = []

    def talk(self) -> None:
        """One packet; what came so far is taken."""
        self._publisher.send(audio(self._sent))
        self._sent += 1
        self._node.read()
        self._got += self._subscriber.take()

    def check(self) -> None:
        """All came, in order, under numbers without a hole."""
        assert [packet.payload for packet in self._got] == [audio(i).payload for i in range(self._sent)]
        first = self._got[0].sequence
        assert [packet.sequence - first & 0xFFFF for packet in self._got] == list(range(self._sent))


@pytest.fixture
def bystanders(node: Node) -> Iterator[Bystanders]:
    others = Bystanders(node)
    yield others
    others.check()


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


def absurd(rng: random.Random, ssrc: int) -> ReportBlock:
    return ReportBlock(
        ssrc,
        255,
        0x7FFFFF,
        rng.getrandbits(32),
        0xFFFFFFFF,
        rng.choice((0, 1, rng.getrandbits(32))),
        0xFFFFFFFF,
    )


OURS = VIDEO_EGRESS.ssrc
LIES: dict[str, Callable[[random.Random], bytes]] = {
    "reports of total loss": lambda rng: serialize_rtcp([ReceiverReport(9, (absurd(rng, OURS),) * 31)]),
    "reports of streams never sent": lambda rng: serialize_rtcp(
        [ReceiverReport(9, tuple(absurd(rng, rng.getrandbits(32)) for _ in range(31)))]
    ),
    "a bandwidth of nothing": lambda _rng: serialize_rtcp([Remb(9, 0, (OURS,))]),
    "a bandwidth of all": lambda _rng: (
        serialize_rtcp([Remb(9, 0x3FFFF << 63, (OURS,))])[:20] + b"\x01\xff\xff\xff" + bytes(4)
    ),
    "nacks of all that there can be": lambda rng: packets.nack_storm(OURS, rng.getrandbits(16)),
    "nacks of streams never sent": lambda rng: packets.nack_storm(rng.getrandbits(32), rng.getrandbits(16)),
    "keyframes for everything": lambda rng: serialize_rtcp(
        [PictureLoss(9, OURS), FullIntra(9, ((OURS, rng.randrange(256)), (rng.getrandbits(32), 1)))]
    ),
    "clocks from nowhere": lambda rng: serialize_rtcp(
        [SenderReport(rng.choice((9, 0x11)), rng.getrandbits(64), rng.getrandbits(32), 1, 1)]
    ),
    "feedback of any bytes": lambda rng: packets.broken_compound(rng, OURS),
}


@pytest.mark.parametrize("lie", LIES)
def test_w15_w24_w25_w26_what_a_subscriber_says_costs_the_others_nothing(
    lie: str, node: Node, bystanders: Bystanders
) -> None:
    """200 lies in two seconds: its publisher hears of two keyframe requests a second at most and of no loss,
    the other subscriber of the same track gets all."""
    rng = random.Random(lie)
    publisher, liar, honest = node.client(), node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    for subscriber in (liar, honest):
        node.subscribe(subscriber, track)
    got: list[RtpPacket] = []
    for sequence in range(200):
        publisher.send(video(sequence, key=sequence == 0))
        node.read()
        with contextlib.suppress(Error):  # libsrtp on the test's own side would not seal it
            liar.send(LIES[lie](rng))
        bystanders.talk()
        node.advance(0.01)
        got += honest.take()
    assert [packet.sequence - got[0].sequence & 0xFFFF for packet in got] == list(range(200))
    heard = publisher.take_rtcp()
    assert [packet for packet in heard if isinstance(packet, Nack | Remb)] == []
    assert len([packet for packet in heard if isinstance(packet, PictureLoss | FullIntra)]) <= 5
    # broken compounds may not even look like RTCP
    assert node.drops().keys() <= {"bad_rtcp", "no_track", "not_webrtc", "bad_header"}
    assert node.media.counters()["rtcp_in"] >= 150


@pytest.mark.parametrize("rtx", [True, False])
def test_w24_a_storm_of_nacks_gets_at_most_as_much_again_as_is_sent(rtx: bool, node: Node) -> None:
    """Of each packet asked for 17 times a datagram, 20 datagrams a frame: the ratio is 2 at most."""
    call = Call(node, rtx=rtx)
    media = sent = 0
    for at in range(0, 300, 10):
        call.publisher.send(*(video(i, payload=KEYFRAME + bytes(1000)) for i in range(at, at + 10)))
        node.read()
        newest = _sizes(call.subscriber)
        media += newest
        for _ in range(20):
            for first in range(0, 1 << 16, 290 * 17):
                call.subscriber.send(packets.nack_storm(RTX_EGRESS.ssrc, first))
            node.read()
        node.advance(0.033)
        sent += newest + _sizes(call.subscriber)
    assert media < sent <= 2 * media
    assert call.counters("nacks_refused")[0] > 1000


def _sizes(client: Client) -> int:
    """Bytes of media that came, sealed as they are."""
    total = 0
    while True:
        try:
            data = client.sock.recv(2048)
        except BlockingIOError:
            return total
        total += len(data) if not 192 <= data[1] <= 223 else 0


def test_w22_forged_nacks_are_not_answered(node: Node) -> None:
    call = Call(node)
    call.publish(1, 2, 3, key=True)
    number = call.subscriber.take()[1].sequence
    call.subscriber.send_raw(serialize_rtcp([Nack(9, RTX_EGRESS.ssrc, (number,))]) + bytes(20))
    node.read()
    assert call.subscriber.take() == []
    assert call.counters("nacks_in", "resent") == (0, 0)


def test_w7_w11_rtx_of_one_packet_counts_once_however_often_it_comes(node: Node) -> None:
    """Replayed as it was, it is refused; sealed anew, with an OSN that is here already, it is passed over."""
    call = Call(node)
    call.publish(1, 2, 4, key=True)
    call.subscriber.take()
    missing = replace(video(3), payload_type=packets.VP8_RTX, ssrc=0x41, payload=b"\0\x03" + video(3).payload)
    sealed = call.publisher.seal(replace(missing, sequence=1))
    for _ in range(5):
        call.publisher.send_raw(sealed)
    call.publisher.send(*(replace(missing, sequence=i) for i in range(2, 50)))
    call.publisher.send(*(replace(missing, sequence=i, payload=b"\0"[: i % 2]) for i in range(50, 60)))
    node.read()
    assert [packet.payload for packet in call.subscriber.take()] == [video(3).payload]
    assert call.counters("repaired") == (1,)
    assert node.drops() == {"refused": 4, "twice": 48, "bad_rtx": 5}


def test_w8_w9_w10_rtp_of_every_oddity_is_forwarded_whole_or_not_at_all(
    node: Node, bystanders: Bystanders
) -> None:
    """CSRCs, padding past the payload, extensions that overrun, payload types of nobody: what the subscriber
    gets parses, of version 2, with a P bit that is true."""
    rng = random.Random(9)
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    forwarded = 0
    for sequence in range(1500):
        base = video(sequence, key=sequence % 50 == 0)
        odd = packets.strange(rng, base) if sequence % 3 else packets.malformed(rng, base)
        try:
            publisher.send(base if sequence % 50 == 0 else odd)
        except Error:  # libsrtp on the test's own side would not seal it
            continue
        node.read()
        forwarded += len(subscriber.take())  # each is parsed by the strict reader
        if sequence % 50 == 0:
            bystanders.talk()
    assert forwarded > 200
    assert node.drops().keys() <= {"bad_header", "unknown_type", "not_mapped", "twice", "late", "bad_rtx"}
    assert node.drops()["bad_header"] > 20


def test_w16_headers_that_are_not_rtps_are_dropped_before_libsrtp(node: Node, bystanders: Bystanders) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, VIDEO)
    sealed = publisher.seal(video(1))
    for csrcs in range(16):
        for words in (0, 1, 0xFFFF):
            head = bytes((0x90 | csrcs,)) + sealed[1:12]
            publisher.send_raw(head + bytes(4 * csrcs) + b"\xbe\xde" + words.to_bytes(2, "big") + bytes(16))
        bystanders.talk()
    assert node.drops().keys() <= {"bad_header", "refused"}
    assert node.drops()["bad_header"] == 32


def test_w19_w20_sequences_and_timestamps_that_jump_about_stop_no_picture(
    node: Node, bystanders: Bystanders
) -> None:
    """Each keyframe after a jump is shown: numbers go on by one, timestamps do not go back."""
    rng = random.Random(19)
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    sequence = 100
    got: list[RtpPacket] = []
    for _ in range(60):
        sequence += rng.choice((1500, 9_000, 20_000, 30_000))  # what SRTP itself lets through
        timestamp = rng.getrandbits(32)
        for i in range(5):
            publisher.send(video(sequence + i, timestamp=timestamp + 3000 * i, key=i == 0))
        sequence += 4
        node.read()
        got += subscriber.take()
        bystanders.talk()
        node.advance(0.2)
    assert len(got) == 300
    assert [packet.sequence - got[0].sequence & 0xFFFF for packet in got] == list(range(300))


def test_w28_a_publisher_that_goes_on_under_ever_new_ssrcs_is_bounded_and_its_call_goes_on(
    node: Node, bystanders: Bystanders
) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    got: list[RtpPacket] = []
    for number in range(400):
        publisher.send(video(number, ssrc=0x1000 + number, key=True))
        node.read()
        node.advance(0.6)
        got += subscriber.take()
        bystanders.talk()
    assert [packet.sequence - got[0].sequence & 0xFFFF for packet in got] == list(range(400))
    assert node.media.live()["sources"] <= 70
    assert node.media.counters()["sources_evicted"] > 300


def test_w27_w28_an_ssrc_for_everything_harms_its_owner_alone(node: Node, bystanders: Bystanders) -> None:
    """Of two tracks and of RTX at once, and another session's besides."""
    publisher, subscriber = node.client(), node.client()
    tracks: list[TrackId] = [
        node.media.add_track(
            publisher.peer,
            replace(VIDEO, mid=Mid(mid), ssrcs=(Ssrc(0x22),), rtx_ssrcs={Ssrc(0x22): Ssrc(0x22)}),
        )
        for mid in ("v", "w")
    ]
    for number, track in enumerate(tracks):
        node.subscribe(subscriber, track, replace(VIDEO_EGRESS, ssrc=Ssrc(0xA0 + number)))
    for sequence in range(300):
        made = video(sequence, ssrc=0x22, mid="vw"[sequence % 2], key=sequence % 10 < 2)
        publisher.send(packets.resent(random.Random(sequence), made) if sequence % 7 == 0 else made)
        node.read()
        bystanders.talk()
        subscriber.take()
    assert node.media.counters()["rebound"] > 100


def test_w29_ten_times_the_rate_takes_no_more_memory_than_its_share() -> None:
    """A publisher of 40 Mbit/s where 4 were said: its cache holds what one source may, and audio beside it
    loses nothing."""
    node = Node(Limits(cache=64 * BLOCK, cache_video=8 * BLOCK))
    others = Bystanders(node)
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    for start in range(0, 5000, 50):
        publisher.send(*(video(i, payload=KEYFRAME + bytes(1000)) for i in range(start, start + 50)))
        others.talk()
        assert node.media.live()["cache_bytes"] <= 9 * BLOCK
        node.advance(0.01)
        subscriber.take()
    others.check()
    node.close()


@pytest.mark.parametrize("gone", ["track", "subscriptions", "publisher", "subscribers"])
def test_w35_what_waits_to_be_forwarded_goes_with_its_ends(gone: str) -> None:
    """Removed while packets of theirs wait: the tables agree at once, and nothing is left."""
    node = Node(Limits(slice_s=0.0))
    publisher = node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    subscribers = [node.client() for _ in range(20)]
    egress = [node.subscribe(one, track) for one in subscribers]
    publisher.send(*(video(i, key=i == 0) for i in range(40)))
    node.media.on_readable(node.now)
    assert node.media.counters()["media_out"] < 40 * 20  # the others wait
    if gone == "track":
        node.media.remove_track(track)
    elif gone == "publisher":
        node.media.remove_peer(publisher.peer)
    elif gone == "subscriptions":
        for one in egress:
            node.media.remove_egress(one)
    else:
        for one in subscribers:
            node.media.remove_peer(one.peer)
    assert node.faults() == []
    before = node.media.counters()["media_out"]
    node.read()
    node.advance(1)
    assert node.media.counters()["media_out"] == before
    node.close()


def test_w9_padding_of_any_length_byte_is_judged_by_the_payload(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    plain = serialize_rtp(audio(0))
    payload_size = len(audio(0).payload)
    for length in range(256):
        data = bytearray(plain)
        data[0] |= 0x20
        data[2:4] = length.to_bytes(2, "big")
        data[-1] = length
        publisher.send(bytes(data))
        node.read()
    got = subscriber.take()
    assert [packet.padding for packet in got] == list(range(1, payload_size))
    assert node.drops() == {"bad_header": 255 - payload_size + 1}
