"""Sealing under AEAD: by the RFC's vectors, with libsrtp as the judge, and never twice under one index."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# pylibsrtp does not type its constants nor its binding.

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session, _binding

from sfu.media import control, srtp
from sfu.media.engine import probe_seal
from sfu.wire.srtp import SrtpProfile
from tests.reference.srtp import Aead, header_size
from tests.sfu.media.peers import VIDEO, VIDEO_EGRESS, VIDEO_ROUTES, Client, Node, fresh_keys, video

if TYPE_CHECKING:
    from sfu.media.events import EgressId, TrackId

AEAD = [SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM]
CIPHERS = srtp.cipher_addresses()


def seal(key: bytes, *packets: tuple[bytes, int], session: bool = False) -> list[bytes]:
    sealed = probe_seal(CIPHERS, key, [(p, header_size(p), index) for p, index in packets], session=session)
    assert sealed is not None
    return sealed


# RFC 7714 16.1.1 and 16.2.1
PLAIN = bytes.fromhex(
    "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
)
SALT = bytes.fromhex("517569642070726f2071756f")
VECTORS = {
    16: "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf"
    "8833899d7f27beb16a9152cf765ee4390cce",
    32: "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799"
    "b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
}


@pytest.mark.parametrize("size", [16, 32])
def test_a_packet_is_sealed_as_rfc_7714_prints_it(size: int) -> None:
    (sealed,) = seal(bytes(range(size)) + SALT, (PLAIN, 0xF17B), session=True)
    assert sealed == PLAIN[:12] + bytes.fromhex(VECTORS[size])


@pytest.mark.parametrize("size", [0, 15, 24, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    assert probe_seal(CIPHERS, bytes(size + 12), []) is None


def judge(profile: SrtpProfile, key: bytes, *, inbound: bool) -> Session:
    kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    policy = Policy(key=key, ssrc_type=kind, srtp_profile=getattr(Policy, f"SRTP_PROFILE_{profile.name}"))
    policy.window_size = 1024
    return Session(policy)


@st.composite
def packets(draw: st.DrawFn) -> list[tuple[bytes, int]]:
    """Packets of one SSRC in ascending order, with steps that a receiver can still follow."""
    index = draw(st.integers(0, 0x7FFF))
    ssrc = draw(st.binary(min_size=4, max_size=4))
    out: list[tuple[bytes, int]] = []
    for step in draw(st.lists(st.one_of(st.integers(1, 3), st.integers(1, 0x7FFF)), max_size=12)):
        index += step
        csrcs = draw(st.integers(0, 15))
        extension = draw(st.none() | st.integers(0, 6))
        header = bytes([0x80 | (0x10 if extension is not None else 0) | csrcs, draw(st.integers(0, 127))])
        header += (index & 0xFFFF).to_bytes(2) + draw(st.binary(min_size=4, max_size=4)) + ssrc
        header += draw(st.binary(min_size=4 * csrcs, max_size=4 * csrcs))
        if extension is not None:
            words = draw(st.binary(min_size=4 * extension, max_size=4 * extension))
            header += b"\xbe\xde" + extension.to_bytes(2) + words
        out.append((header + draw(st.binary(max_size=1400)), index))
    return out


@given(st.sampled_from(AEAD), st.binary(min_size=44, max_size=44), packets())
@settings(deadline=None)
def test_libsrtp_opens_what_we_seal_and_seals_the_same_bytes(
    profile: SrtpProfile, secret: bytes, stream: list[tuple[bytes, int]]
) -> None:
    key = secret[: profile.key_bytes + profile.salt_bytes]
    receiver, sender, book = judge(profile, key, inbound=True), judge(profile, key, inbound=False), Aead(key)
    for (plain, index), sealed in zip(stream, seal(key, *stream), strict=True):
        assert receiver.unprotect(sealed) == plain
        assert sender.protect(plain) == sealed
        assert book.seal(plain, index) == sealed


@given(st.binary(min_size=28, max_size=28), st.integers(0, (1 << 48) - 1))
def test_the_index_is_taken_whole(key: bytes, index: int) -> None:
    """Roll-over counters that libsrtp can't be brought to in a test, against the book."""
    plain = PLAIN[:2] + (index & 0xFFFF).to_bytes(2) + PLAIN[4:]
    assert seal(key, (plain, index)) == [Aead(key).seal(plain, index)]


def test_openssl_is_the_one_that_the_wheel_carries() -> None:
    """Else a packet costs twice as much to seal: see docs/decisions/0010 for what to do."""
    assert len(CIPHERS) == 10
    assert _binding.__file__ is not None
    with open("/proc/self/maps", encoding="ascii") as maps:
        areas = [line.split() for line in maps if line.rstrip().endswith(_binding.__file__)]
    ranges = [[int(end, 16) for end in area[0].split("-")] for area in areas]
    assert all(any(low <= address < high for low, high in ranges) for address in CIPHERS)


@pytest.mark.parametrize("without", [False, True], ids=["openssl", "libsrtp"])
def test_media_is_sealed_without_openssl_too(monkeypatch: pytest.MonkeyPatch, without: bool) -> None:
    if without:
        monkeypatch.setattr(srtp, "cipher_addresses", tuple)
        monkeypatch.setattr(control, "cipher_addresses", tuple)
    node = Node()
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True), video(2))
    node.read()
    assert len(subscriber.take()) == 2
    node.close()


def start_at(monkeypatch: pytest.MonkeyPatch, sequence: int) -> None:
    """Let subscriptions begin with this number."""

    def drawn(_: int) -> int:
        return sequence

    monkeypatch.setattr(control.secrets, "randbelow", drawn)


def test_an_ssrc_subscribed_anew_goes_on_with_its_roll_over_counter(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    start_at(monkeypatch, 0xFFFE)
    for at in range(0, 12, 4):
        egress = node.subscribe(subscriber, track)
        publisher.send(video(at, key=True), *(video(at + i) for i in range(1, 4)))
        node.read()
        node.media.remove_egress(egress)
        node.advance(1.5)  # no keyframe is young enough to begin with
    assert [packet.sequence for packet in subscriber.take()] == [(0xFFFE + i) & 0xFFFF for i in range(12)]


@pytest.mark.parametrize("sequence", [0xFFF0, 0xFFFE])
def test_new_keys_begin_without_roll_overs(
    node: Node, monkeypatch: pytest.MonkeyPatch, sequence: int
) -> None:
    """The receiver of a new association knows of none."""
    publisher, subscriber = node.client(), node.client()
    start_at(monkeypatch, sequence)
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    publisher.send(video(1, key=True), video(2))
    node.read()
    assert len(subscriber.take()) == 2
    keys = fresh_keys()
    node.media.set_keys(subscriber.peer, keys)
    again = Client(node, subscriber.peer, keys, subscriber.sock, subscriber.path)
    publisher.send(*(video(i) for i in range(3, 40)))
    node.read()
    assert [packet.sequence for packet in again.take()] == [(sequence + i) & 0xFFFF for i in range(2, 39)]


class Storm:
    """A subscriber to whom everything happens; all that it is sent is opened under its true index."""

    def __init__(self, node: Node, seed: int) -> None:
        self.node = node
        self.random = random.Random(seed)
        self.publishers = [node.client() for _ in range(2)]
        self.tracks: list[TrackId] = [node.media.add_track(p.peer, VIDEO) for p in self.publishers]
        self.numbers = [self.random.randrange(1 << 16) for _ in self.publishers]
        self.subscriber = node.client()
        self.egress: EgressId | None = None
        self.seen: dict[tuple[bytes, int, int], bytes] = {}
        self.opened = 0

    def step(self) -> None:
        """One thing at random."""
        chance = self.random.random()
        media, at = self.node.media, self.random.randrange(2)
        if self.egress is None:
            self.egress = self.node.subscribe(self.subscriber, self.tracks[at])
        elif chance < 0.03:
            media.remove_egress(self.egress)
            self.egress = None
        elif chance < 0.08:
            media.switch_egress(self.egress, self.tracks[at], VIDEO_ROUTES)
        elif chance < 0.11:
            media.pause_egress(self.egress)
        elif chance < 0.17:
            media.start_egress(self.egress)
        elif chance < 0.20:
            media.update_egress(self.egress, VIDEO_EGRESS)
        elif chance < 0.22:
            media.set_keys(self.subscriber.peer, self.subscriber.keys)
        elif chance < 0.225:
            self.new_keys()
        else:
            self.packets(at)
        self.node.read()
        self.open_all()

    def new_keys(self) -> None:
        old = self.subscriber
        keys = fresh_keys(self.random.choice(AEAD))
        self.node.media.set_keys(old.peer, keys)
        self.subscriber = Client(self.node, old.peer, keys, old.sock, old.path)

    def packets(self, at: int) -> None:
        """A burst of a publisher: losses, jumps, keyframes, padding, and its order shuffled a little."""
        publisher = self.publishers[at]
        burst = [
            video(
                number,
                ssrc=0x11 + at,
                key=self.random.random() < 0.3,
                payload=b"" if self.random.random() < 0.1 else None,
                padding=4,
            )
            for number in range(self.numbers[at], self.numbers[at] + self.random.randrange(1, 60))
            if self.random.random() > 0.1
        ]
        self.numbers[at] += 60 + (1500 if self.random.random() < 0.02 else 0)
        burst.sort(key=lambda packet: (packet.sequence - self.numbers[at]) % 65536 + self.random.randrange(6))
        publisher.send(*burst)

    def open_all(self) -> None:
        """Every packet opens under exactly one index, and no index has two plain texts."""
        key = self.subscriber.keys.local
        book = Aead(key)
        while True:
            try:
                sealed = self.subscriber.sock.recv(65536)
            except BlockingIOError:
                return
            if 192 <= sealed[1] <= 223:
                continue
            sequence, ssrc = int.from_bytes(sealed[2:4]), int.from_bytes(sealed[8:12])
            found = [
                (index, plain)
                for index in range(sequence, 40 << 16, 1 << 16)
                if (plain := book.open(sealed, index)) is not None
            ]
            assert len(found) == 1
            index, plain = found[0]
            assert self.seen.setdefault((key, ssrc, index), plain) == plain
            self.opened += 1


@pytest.mark.parametrize("seed", range(4))
def test_no_index_of_a_key_is_used_for_two_packets(
    node: Node, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """design.md, Traps: it would break AEAD wholly."""
    start_at(monkeypatch, 0xFFC0)
    storm = Storm(node, seed)
    for _ in range(600):
        storm.step()
    assert storm.opened > 2000
    assert max(index for _, _, index in storm.seen) > 0x10000
