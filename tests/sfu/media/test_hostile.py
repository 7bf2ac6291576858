"""Whatever arrives on the media port: silence, a counter, and no harm to the others (sfu.md 9)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibsrtp import Error

from sfu.base.ids import Rid
from sfu.media.events import DatagramKind
from sfu.media.limits import Limits
from sfu.wire.rtcp import PictureLoss, ReceiverReport, SenderReport, serialize_rtcp
from sfu.wire.rtp import serialize_rtp
from tests.sfu.media.peers import (
    AUDIO,
    AUDIO_EGRESS,
    AUDIO_ROUTES,
    VIDEO,
    VIDEO_EGRESS,
    Node,
    audio,
    fresh_keys,
    video,
)

STUN = bytes.fromhex("000100002112a442") + bytes(12)
CLIENT_HELLO = b"\x16\xfe\xff" + bytes(60)


def test_w1_dtls_from_unchecked_addresses_is_never_handed_up(node: Node) -> None:
    """10,000 forged ClientHellos: none reaches Python, none is answered, the real one comes through."""
    client = node.client()
    stranger, path = node.dial()
    for _ in range(100):
        for _ in range(100):
            stranger.send(CLIENT_HELLO)
        node.read()
    assert node.datagrams == []
    assert node.drops() == {"unknown_path": 10_000}
    client.send_raw(CLIENT_HELLO)
    node.read()
    (datagram,) = node.datagrams
    assert (datagram.kind, datagram.peer, datagram.path) == (DatagramKind.DTLS, client.peer, client.path)
    with pytest.raises(BlockingIOError):
        stranger.recv(2048)
    assert path != client.path


def test_dtls_from_an_expected_path_is_handed_up_for_thirty_seconds(node: Node) -> None:
    sock, path = node.dial()
    node.media.expect_dtls(path, node.now)
    sock.send(CLIENT_HELLO)
    sock.send(serialize_rtp(video(1)))
    node.read()
    assert [(datagram.kind, datagram.peer) for datagram in node.datagrams] == [(DatagramKind.DTLS, None)]
    node.advance(31)
    sock.send(CLIENT_HELLO)
    node.read()
    assert len(node.datagrams) == 1
    assert node.drops() == {"unknown_path": 2}
    node.media.expect_dtls(path, node.now)
    node.media.forget_path(path)
    assert node.media.live()["expected"] == 0


def test_expected_paths_are_bounded(node: Node) -> None:
    _, path = node.dial()
    base = bytearray(path)
    for number in range(10_000):
        base[16:18] = number.to_bytes(2, "big")
        node.media.expect_dtls(type(path)(bytes(base)), node.now + number / 1000)
    assert node.media.live()["expected"] == 8192


def test_an_address_that_carries_a_new_session_is_no_longer_the_olds(node: Node) -> None:
    """design.md, Traps: the ufrag of an authenticated check decides, not the address."""
    client = node.client()
    heir = node.media.add_peer()
    node.media.allow_path(heir, client.path)
    client.send_raw(CLIENT_HELLO)
    node.read()
    assert node.datagrams[0].peer == heir
    node.media.remove_peer(client.peer)
    client.send_raw(CLIENT_HELLO)
    node.read()
    assert node.datagrams[1].peer == heir


def test_a_peer_keeps_eight_paths_and_its_selected_one(node: Node) -> None:
    client = node.client()
    node.media.add_track(client.peer, VIDEO)
    others = [node.dial() for _ in range(12)]
    for _, path in others:
        node.media.allow_path(client.peer, path)
    assert node.media.live()["paths"] == 8
    client.send(video(1))
    node.read()
    assert node.media.peer_stats(client.peer).packets_in == 1


def test_w6_media_from_another_address_teaches_nothing(node: Node) -> None:
    """Packets of a session, sealed with its keys, from an address without a check: dropped, not followed."""
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    stranger, _ = node.dial()
    stranger.send(publisher.seal(video(1, key=True)))
    node.read()
    assert node.drops() == {"unknown_path": 1}
    assert subscriber.take() == []
    with pytest.raises(BlockingIOError):
        stranger.recv(2048)


def test_media_follows_the_selected_path_and_comes_from_any_allowed(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    second, path = node.dial()
    node.media.select_path(subscriber.peer, path)
    publisher.send(video(1, key=True))
    node.read()
    assert subscriber.take() == []
    assert second.recv(2048)
    node.media.forget_path(path)
    publisher.send(video(2))
    node.read()
    assert len(subscriber.take()) == 1
    node.media.forget_path(subscriber.path)
    publisher.send(video(3))
    node.read()
    assert subscriber.take() == []


def test_w7_a_replay_is_refused_within_the_window_and_beyond(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    sealed = [publisher.seal(audio(sequence)) for sequence in range(3000)]
    for start in range(0, 3000, 500):
        for datagram in sealed[start : start + 500]:
            publisher.send_raw(datagram)
        node.read()
    for datagram in sealed[::10]:
        publisher.send_raw(datagram)
    node.read()
    assert len(subscriber.take()) == 3000
    assert node.drops() == {"refused": 300}
    assert node.media.peer_stats(publisher.peer).refused == 300


def test_w7_reordering_by_a_thousand_passes_the_window(node: Node) -> None:
    publisher = node.client()
    track = node.media.add_track(publisher.peer, AUDIO)
    early = publisher.seal(audio(1))
    publisher.send(audio(0), audio(1000))
    publisher.send_raw(early)
    node.read()
    assert node.media.track_stats(track).layers[0].packets == 3


def test_w16_short_and_overrunning_headers_never_reach_libsrtp(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, VIDEO)
    whole = publisher.seal(video(1))
    rtcp = publisher.seal([ReceiverReport(5)])
    for size in range(1, 12 + 16):
        publisher.send_raw(whole[:size])
    for size in range(2, 8 + 20):
        publisher.send_raw(rtcp[:size])
    for first in (0x8F, 0x9F):
        publisher.send_raw(bytes((first,)) + whole[1:20] + b"\xff" * 20)
    publisher.send_raw(b"\x90" + whole[1:12] + b"\xbe\xde\xff\xff" + bytes(40))
    node.read()
    assert node.drops().keys() == {"bad_header"}
    assert node.media.peer_stats(publisher.peer).refused == 0


def test_w12_media_of_more_than_1500_bytes_is_dropped(node: Node) -> None:
    publisher = node.client()
    node.media.add_track(publisher.peer, VIDEO)
    publisher.send_raw(b"\x80\x60" + bytes(1499))
    publisher.send_raw(b"\x80\x60" + bytes(3000))
    node.read()
    assert node.drops() == {"oversize": 1, "socket_truncated": 1}


def test_w22_forged_packets_change_nothing_that_is_known(node: Node) -> None:
    """Neither loss, jitter, feedback nor binding: all of it comes after authentication."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, VIDEO)
    node.subscribe(subscriber, track)
    publisher.send(video(1, key=True, transport=1))
    node.read()
    node.advance(0.1)
    publisher.take_rtcp()
    at = node.now
    before = node.media.track_stats(track, at)
    for sequence in range(2, 60):
        publisher.send_raw(serialize_rtp(video(sequence * 100, transport=sequence * 99)) + bytes(16))
    publisher.send_raw(serialize_rtcp([SenderReport(0x11, 1, 1, 1, 1)]) + bytes(20))
    subscriber.send_raw(serialize_rtcp([PictureLoss(1, VIDEO_EGRESS.ssrc)]) + bytes(20))
    node.read()
    node.advance(0.1)
    assert node.media.track_stats(track, at) == before
    assert publisher.take_rtcp() == []
    assert node.drops() == {"refused": 60}


def test_w27_another_peers_ssrc_is_no_ones_but_its_own(node: Node) -> None:
    """A publisher that sends with an SSRC of another session touches only its own tables."""
    victim, squatter, subscriber = node.client(), node.client(), node.client()
    track = node.media.add_track(victim.peer, VIDEO)
    node.media.add_track(squatter.peer, VIDEO)
    node.subscribe(subscriber, track)
    victim.send(video(1, key=True))
    squatter.send(video(2, key=True), [SenderReport(0x11, 1 << 60, 7, 1, 1)])
    victim.send(video(2))
    node.read()
    assert [packet.payload[-1] for packet in subscriber.take()] == [1, 2]
    assert subscriber.take_rtcp() == []


def test_w28_unbound_ssrcs_are_bounded_and_media_goes_on(node: Node) -> None:
    node.close()
    small = Node(Limits(ssrcs_per_peer=8))
    publisher, subscriber = small.client(), small.client()
    track = small.media.add_track(publisher.peer, VIDEO)
    small.media.add_track(publisher.peer, replace(VIDEO, mid=VIDEO.mid.__class__("w")))
    small.subscribe(subscriber, track)
    publisher.send(video(1, key=True))
    for ssrc in range(0x1000, 0x1000 + 200):
        publisher.send(video(1, ssrc=ssrc, mid="nobody"))
    publisher.send(video(2))
    small.read()
    assert len(subscriber.take()) == 2
    assert small.media.live()["sources"] <= 10
    for ssrc in range(0x2000, 0x2000 + 600):
        publisher.send(video(1, ssrc=ssrc, mid="nobody"))
        publisher.send([ReceiverReport(ssrc + 0x10000)])
    publisher.send(video(3))
    small.read()
    assert len(subscriber.take()) == 1
    assert small.drops()["ssrc_limit"] > 0
    assert small.media.live()["sources"] <= 10
    small.close()


def test_w28_rids_that_were_not_named_bind_nothing(node: Node) -> None:
    publisher = node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, rids=(Rid("h"),)))
    for i in range(20):
        publisher.send(video(1, ssrc=0x100 + i, rid=f"x{i}"))
    node.read()
    assert node.media.track_stats(track).layers == ()
    assert node.drops() == {"no_track": 20}


def test_a_keyframe_of_a_layer_that_was_described_anew_can_be_asked_for_before_its_next_packet(
    node: Node,
) -> None:
    """The source is of no layer then; the request once led out of the track's table and ended the process."""
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, replace(VIDEO, rids=(Rid("h"), Rid("l"))))
    node.subscribe(subscriber, track)
    publisher.send(video(1, rid="h", key=True))
    node.read()
    assert len(subscriber.take()) == 1
    node.media.update_track(track, replace(VIDEO, rids=(Rid("l"), Rid("h"))))
    subscriber.send([PictureLoss(1, VIDEO_EGRESS.ssrc)])
    node.read()
    publisher.send(video(2, rid="h"))
    node.read()
    assert [layer.rid for layer in node.media.track_stats(track).layers] == ["h"]


def test_w15_compounds_of_any_bytes_are_survived_after_authentication(node: Node) -> None:
    """A peer with keys may still send nonsense: BYE, SDES and XR of any length."""
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, VIDEO))
    rng = random.Random(15)
    for _ in range(1500):
        kind = rng.randrange(200, 208)
        body = rng.randbytes(4 * rng.randrange(1, 12))
        words = len(body) // 4 if rng.random() < 0.7 else rng.randrange(0xFFFF)
        head = bytes((0x80 | rng.randrange(32), kind)) + words.to_bytes(2, "big")
        rng.choice((publisher, subscriber)).send(head + (1).to_bytes(4, "big") + body[4:])
        if rng.random() < 0.1:
            node.read()
            node.advance(0.02)
    publisher.send(video(1, key=True))
    node.read()
    assert len(subscriber.take()) == 1
    assert node.drops().keys() == {"bad_rtcp"}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=0, max_size=120), max_size=30), st.booleans())
def test_any_bytes_are_counted_and_never_answered(datagrams: list[bytes], known: bool) -> None:
    node = Node()
    client = node.client()
    sock = client.sock if known else node.dial()[0]
    for datagram in datagrams:
        sock.send(datagram)
    node.read()
    counters = node.media.counters()
    handed_up = len(node.datagrams)
    assert handed_up + sum(node.drops().values()) == len(datagrams)
    assert counters["socket_sent"] == 0
    node.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6), st.integers(12, 60))
def test_authenticated_nonsense_is_forwarded_whole_or_not_at_all(
    edits: list[tuple[int, int]], size: int
) -> None:
    """W9, W10: what a peer with keys may do to others with every header oddity: nothing."""
    node = Node()
    publisher, subscriber = node.client(), node.client()
    node.subscribe(subscriber, node.media.add_track(publisher.peer, AUDIO), AUDIO_EGRESS, AUDIO_ROUTES)
    data = bytearray(serialize_rtp(replace(audio(1), padding=7)))
    for at, value in edits:
        if at < len(data) and at not in (2, 3, 8, 9, 10, 11):  # number and SSRC stay
            data[at] = value
    data[0] = data[0] & 0x3F | 0x80
    data[1] = data[1] if not 64 <= data[1] & 0x7F < 96 else 111
    try:
        publisher.send(bytes(data[:size]))
    except Error:  # libsrtp on the test's own side refuses to seal it
        node.close()
        return
    publisher.send(audio(2))
    node.read()
    assert subscriber.take()[-1].payload == audio(2).payload
    node.close()


def test_a_flood_of_stun_leaves_half_of_the_turns_to_peers(node: Node) -> None:
    client = node.client()
    stranger, _ = node.dial()
    for _ in range(400):
        stranger.send(STUN)
    for _ in range(40):
        client.send_raw(STUN)
    datagrams = node.media.on_readable(node.now)
    assert len([d for d in datagrams if d.peer is None]) == 64
    assert len([d for d in datagrams if d.peer == client.peer]) == 40
    assert node.drops() == {"control_flood": 336}


def test_stun_of_the_wrong_shape_is_dropped(node: Node) -> None:
    stranger, _ = node.dial()
    for datagram in (STUN[:19], STUN + b"\0", STUN[:4] + bytes(16), b"\0\x01\0\x01" + STUN[4:] + b"\0"):
        stranger.send(datagram)
    node.read()
    assert node.datagrams == []
    assert node.drops() == {"bad_stun": 4}


def test_media_before_the_handshake_is_dropped(node: Node) -> None:
    sock, path = node.dial()
    peer = node.media.add_peer()
    node.media.allow_path(peer, path)
    sock.send(serialize_rtp(video(1)) + bytes(16))
    sock.send(serialize_rtcp([ReceiverReport(1)]) + bytes(20))
    node.read()
    assert node.drops() == {"no_keys": 2}


def test_keys_of_one_peer_open_nothing_of_another(node: Node) -> None:
    one, two = node.client(), node.client(fresh_keys())
    node.media.add_track(two.peer, VIDEO)
    two.send_raw(one.seal(video(1)))
    node.read()
    assert node.drops() == {"refused": 1}


def test_w19_w29_sequence_resets_and_churn_leave_tables_as_they_were(node: Node) -> None:
    publisher = node.client()
    for round_number in range(200):
        track = node.media.add_track(
            publisher.peer, replace(VIDEO, mid=VIDEO.mid.__class__(f"m{round_number}"))
        )
        subscriber = node.client()
        node.subscribe(subscriber, track)
        publisher.send(
            video(round_number * 21_000, ssrc=0x5000 + round_number, mid=f"m{round_number}", key=True)
        )
        node.read()
        assert len(subscriber.take()) == 1
        subscriber.sock.close()
        node.media.remove_peer(subscriber.peer)
        node.media.remove_track(track)
    live = node.media.live()
    assert (live["peers"], live["tracks"], live["egress"], live["sources"]) == (1, 0, 0, 0)
    publisher.send(video(1, ssrc=0x5000, mid="m0"))
    node.read()
    assert node.drops() == {"no_track": 1}
