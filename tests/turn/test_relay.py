"""The relay path on real sockets (RFC 8656 9, 11, 12, 14): what passes, in which form, and what does not."""

from __future__ import annotations

import gc
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from sfu.net.address import Address, local_host, make_path, remote_address
from sfu.net.udp import open_udp
from sfu.wire import stun
from sfu.wire.turn import Method, TurnAttribute
from tests.turn.relay_lab import (
    LIFE_US,
    Client,
    Lab,
    Peer,
    channel_data,
    packed,
    read_data_indication,
    send_indication,
    udp,
)
from turn.relay import Relay, StaleHandle, TableFull

if TYPE_CHECKING:
    from collections.abc import Generator

CHANNEL = 0x4000
BINDING = stun.build(stun.BINDING, stun.MessageClass.REQUEST, bytes(12))


@pytest.fixture
def lab() -> Generator[Lab]:
    with Lab() as lab:
        yield lab


# to peers


def test_channel_data_reaches_its_peer_from_the_relayed_address(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    client.send(channel_data(CHANNEL, b"hello"))
    assert lab.run() == []
    assert peer.sock.recvfrom(100) == (b"hello", relayed)
    assert lab.relay.counts(client.handle) == {
        "packets_in": 1,
        "bytes_in": 5,
        "packets_out": 0,
        "bytes_out": 0,
        "dropped": 0,
    }


@pytest.mark.parametrize("fingerprint", [False, True])
@pytest.mark.parametrize("size", [0, 1, 5, 8, 1200])
def test_p4_a_send_indication_reaches_its_peer(lab: Lab, size: int, fingerprint: bool) -> None:
    client, peer, relayed = lab.pair()
    data = os.urandom(size)
    client.send(send_indication(peer.address, data, fingerprint=fingerprint))
    assert lab.run() == []
    assert peer.sock.recvfrom(2000) == (data, relayed)


def test_c3_a_channel_of_no_bytes_is_an_empty_datagram(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    client.bind(CHANNEL, peer)
    client.send(channel_data(CHANNEL, b""), channel_data(CHANNEL, b"next"))
    lab.run()
    assert [peer.sock.recv(10), peer.sock.recv(10)] == [b"", b"next"]


@pytest.mark.parametrize("padding", [0, 1, 3, 7])
def test_c4_padding_of_channel_data_is_tolerated(lab: Lab, padding: int) -> None:
    client, peer, _ = lab.pair()
    client.bind(CHANNEL, peer)
    client.send(channel_data(CHANNEL, b"hello") + bytes(padding))
    lab.run()
    assert peer.sock.recv(100) == b"hello"


@pytest.mark.parametrize("channel", [0x4000, 0x4FFF, 0x5000, 0x7FFF])
def test_c6_channels_of_rfc_5766_work_too(lab: Lab, channel: int) -> None:
    client, peer, _ = lab.pair()
    client.bind(channel, peer)
    client.send(channel_data(channel, b"hello"))
    lab.run()
    assert peer.sock.recv(100) == b"hello"


# to clients


def test_p5_a_peer_with_a_channel_comes_as_channel_data(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(0x4ABC, peer)
    for data in (b"", b"x", b"hello"):
        peer.sock.sendto(data, relayed)
    lab.run()
    assert [client.sock.recv(100) for _ in range(3)] == [
        channel_data(0x4ABC, data) for data in (b"", b"x", b"hello")
    ]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1200])
def test_p5_a_peer_without_one_comes_as_a_data_indication(lab: Lab, size: int) -> None:
    client, peer, relayed = lab.pair()
    data = os.urandom(size)
    peer.sock.sendto(data, relayed)
    lab.run()
    datagram, source = client.sock.recvfrom(2000)
    assert source == lab.listens
    assert read_data_indication(datagram) == (peer.address, data)


def test_each_data_indication_has_a_transaction_id_of_its_own(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    for _ in range(50):
        peer.sock.sendto(b"x", relayed)
    lab.run()
    assert len({stun.parse(client.sock.recv(100)).transaction_id for _ in range(50)}) == 50


def test_another_port_of_a_bound_address_comes_as_a_data_indication(lab: Lab) -> None:
    """P1: the permission is for the address, the channel for one port of it."""
    client, peer, relayed = lab.pair()
    other = lab.peer()
    client.bind(CHANNEL, peer)
    other.sock.sendto(b"other", relayed)
    lab.run()
    assert read_data_indication(client.sock.recv(100)) == (other.address, b"other")


def test_an_answer_leaves_from_the_address_that_the_client_uses() -> None:
    with Lab("") as lab:
        sock = lab.stack.enter_context(udp("127.0.0.1"))
        path = make_path(Address(*sock.getsockname()), "127.0.0.9")
        handle = lab.relay.add(lab.listener, path, 0, 0)
        peer, relayed = lab.peer(), udp("127.0.0.1")
        address = relayed.getsockname()
        lab.relay.attach(handle, relayed.detach())
        lab.relay.permit(handle, peer.ip, lab.now + 1, False)
        peer.sock.sendto(b"hello", address)
        lab.run()
        assert sock.recvfrom(100)[1] == ("127.0.0.9", lab.port)


# both families


@pytest.mark.parametrize("client_host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("peer_host", ["127.0.0.1", "::1"])
def test_clients_and_peers_of_both_families_meet(client_host: str, peer_host: str) -> None:
    with Lab(client_host) as lab:
        client, peer, relayed = lab.pair(peer_host)
        client.send(send_indication(peer.address, b"there"))
        peer.sock.sendto(b"back", relayed)
        lab.run()
        assert peer.sock.recvfrom(100)[0] == b"there"
        assert read_data_indication(client.sock.recv(100)) == (peer.address, b"back")
        client.bind(CHANNEL, peer)
        client.send(channel_data(CHANNEL, b"there"))
        peer.sock.sendto(b"back", relayed)
        lab.run()
        assert peer.sock.recv(100) == b"there"
        assert client.sock.recv(100) == channel_data(CHANNEL, b"back")


def test_one_allocation_relays_in_both_families_until_one_is_given_up(lab: Lab) -> None:
    client = lab.client()
    four, six = lab.peer("127.0.0.1"), lab.peer("::1")
    for peer in (four, six):
        client.relayed_at(peer.address.host)
        client.permit(peer)
    client.bind(CHANNEL, four)
    client.bind(CHANNEL + 1, six)
    client.send(channel_data(CHANNEL, b"4"), channel_data(CHANNEL + 1, b"6"))
    lab.run()
    assert (four.sock.recv(10), six.sock.recv(10)) == (b"4", b"6")
    lab.relay.detach(client.handle, socket.AF_INET6)
    assert lab.relay.live() == {
        "allocations": 1,
        "sockets": 1,
        "permissions": 1,
        "channels": 1,
        "streams": 0,
        "splices": 0,
    }
    client.send(channel_data(CHANNEL + 1, b"6"), channel_data(CHANNEL, b"4"))
    lab.run()
    assert four.sock.recv(10) == b"4"
    assert lab.dropped() == {"unbound": 1}


# what may not pass


def test_p2_a_peer_without_permission_is_not_heard(lab: Lab) -> None:
    client, _, relayed = lab.pair()
    stranger = lab.peer("127.0.0.2")
    stranger.sock.sendto(b"x", relayed)
    lab.run()
    assert lab.dropped() == {"peer_no_permission": 1}
    assert lab.relay.counts(client.handle)["dropped"] == 1


def test_p4_an_address_without_permission_is_not_sent_to(lab: Lab) -> None:
    client, _, _ = lab.pair()
    stranger = lab.peer("127.0.0.2")
    client.send(send_indication(stranger.address, b"x"))
    lab.run()
    assert lab.dropped() == {"no_permission": 1}


def test_c2_a_channel_outlives_its_permission_and_passes_nothing_then(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    lab.now += LIFE_US
    client.send(channel_data(CHANNEL, b"x"))
    peer.sock.sendto(b"x", relayed)
    lab.run()
    assert lab.dropped() == {"no_permission": 1, "peer_no_permission": 1}
    client.permit(peer)
    client.send(channel_data(CHANNEL, b"again"))
    lab.run()
    assert peer.sock.recv(100) == b"again"


def test_c2_a_channel_ends_at_its_time(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer, until_us=lab.now + 1000)
    lab.now += 1000
    client.send(channel_data(CHANNEL, b"x"))
    peer.sock.sendto(b"now without", relayed)
    lab.run()
    assert lab.dropped() == {"unbound": 1}
    assert read_data_indication(client.sock.recv(100)) == (peer.address, b"now without")


def test_data_lengthens_nothing(lab: Lab) -> None:
    """T17, P4, C3."""
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    for _ in range(3):
        lab.now += LIFE_US // 3
        client.send(channel_data(CHANNEL, b"x"), send_indication(peer.address, b"x"))
        peer.sock.sendto(b"x", relayed)
        lab.run()
    assert lab.dropped() == {"no_permission": 2, "peer_no_permission": 1}


def test_another_clients_channel_is_not_open(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    other, _, _ = lab.pair()
    client.bind(CHANNEL, peer)
    other.send(channel_data(CHANNEL, b"x"))
    lab.run()
    assert lab.dropped() == {"unbound": 1}


def test_c6_ipv4_in_the_clothes_of_ipv6_is_no_peer(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    client.send(send_indication(Address("::ffff:127.0.0.1", peer.port), b"x"))
    lab.run()
    assert lab.dropped() == {"bad_send": 1}
    with pytest.raises(ValueError, match="4 bytes"):
        lab.relay.permit(client.handle, packed("::ffff:127.0.0.1"), lab.now + 1, False)


def test_own_addresses_are_reached_at_open_ports_alone(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.permit(peer, own_ports=True)
    client.bind(CHANNEL, peer)
    lab.relay.set_own_ports(((1, 10), (peer.port + 1, 65535)))
    client.send(channel_data(CHANNEL, b"x"), send_indication(peer.address, b"x"))
    peer.sock.sendto(b"x", relayed)
    lab.run()
    assert lab.dropped() == {"port": 2, "peer_port": 1}
    lab.relay.set_own_ports(((peer.port, peer.port),))
    client.send(channel_data(CHANNEL, b"open"))
    lab.run()
    assert peer.sock.recv(100) == b"open"


# addresses before a NAT


TOLD = "203.0.113.7"


@pytest.fixture
def behind() -> Generator[tuple[Lab, Client, Peer, Address, Address]]:
    """A client with a relayed address, and a peer at 127.0.0.2 that is told as another port of TOLD."""
    with Lab() as lab:
        client, peer = lab.client(), lab.peer("127.0.0.2")
        told = Address(TOLD, peer.port - 1000 if peer.port > 2000 else peer.port + 1000)
        lab.relay.set_told([(packed(TOLD), told.port, told.port, peer.ip, peer.port)])
        yield lab, client, peer, client.relayed_at("127.0.0.1"), told


Behind = tuple[Lab, Client, Peer, Address, Address]


def test_a_peer_before_the_nat_is_sent_to_where_it_is_and_known_as_it_is_told(behind: Behind) -> None:
    lab, client, peer, relayed, told = behind
    lab.relay.permit(client.handle, packed(TOLD), lab.now + LIFE_US, False)
    client.send(send_indication(told, b"there"))
    lab.run()
    assert peer.sock.recvfrom(100) == (b"there", relayed)
    peer.sock.sendto(b"back", relayed)
    lab.run()
    assert read_data_indication(client.sock.recv(100)) == (told, b"back")
    lab.relay.bind(client.handle, CHANNEL, packed(TOLD), told.port, lab.now + LIFE_US)
    client.send(channel_data(CHANNEL, b"there again"))
    lab.run()
    assert peer.sock.recvfrom(100) == (b"there again", relayed)
    peer.sock.sendto(b"back again", relayed)
    lab.run()
    assert client.sock.recv(100) == channel_data(CHANNEL, b"back again")
    assert lab.dropped() == {}


def test_permission_is_for_the_address_that_is_told_and_its_ports(behind: Behind) -> None:
    lab, client, peer, relayed, told = behind
    peer.sock.sendto(b"nobody", relayed)
    client.send(send_indication(told, b"nobody"))
    lab.run()
    assert lab.dropped() == {"no_permission": 1, "peer_no_permission": 1}
    lab.relay.permit(client.handle, packed(TOLD), lab.now + LIFE_US, True)
    peer.sock.sendto(b"closed", relayed)
    client.send(send_indication(told, b"closed"))
    lab.run()
    assert lab.dropped() == {"no_permission": 1, "peer_no_permission": 2, "port": 1}
    lab.relay.set_own_ports([(told.port, told.port)])
    peer.sock.sendto(b"open", relayed)
    lab.run()
    assert read_data_indication(client.sock.recv(100)) == (told, b"open")
    client.send(send_indication(peer.address, b"by its other name"))
    lab.run()
    assert lab.dropped() == {"no_permission": 2, "peer_no_permission": 2, "port": 1}


def test_who_has_a_permission_for_the_address_that_is_seen_sees_that(behind: Behind) -> None:
    lab, client, peer, relayed, _ = behind
    lab.relay.permit(client.handle, packed(TOLD), lab.now + LIFE_US, False)
    lab.relay.permit(client.handle, peer.ip, lab.now + LIFE_US // 2, False)
    peer.sock.sendto(b"seen", relayed)
    lab.run()
    assert read_data_indication(client.sock.recv(100)) == (peer.address, b"seen")


def test_p6_word_of_icmp_names_the_address_that_is_told(behind: Behind) -> None:
    lab, client, peer, _, told = behind
    lab.relay.permit(client.handle, packed(TOLD), lab.now + LIFE_US, False)
    peer.sock.close()
    client.send(send_indication(told, b"anyone?"))
    lab.run()
    lab.run()
    assert lab.relay.take_icmp() == [(client.handle, packed(TOLD), told.port, 3, 3, 0)]


def test_ports_of_the_told_address_that_lead_nowhere_are_sent_to_as_any_others(lab: Lab) -> None:
    client, peer, relayed = lab.pair("127.0.0.2")
    near = peer.port - 1
    lab.relay.set_told([(peer.ip, near, near, packed("127.0.0.3"), 9)])
    client.send(send_indication(peer.address, b"here"))
    lab.run()
    assert peer.sock.recvfrom(100) == (b"here", relayed)


@pytest.mark.parametrize(
    "row",
    [
        (packed("192.0.2.1"), 2, 1, packed("10.0.0.1"), 1),
        (packed("192.0.2.1"), 0, 1, packed("10.0.0.1"), 1),
        (packed("192.0.2.1"), 1, 65536, packed("10.0.0.1"), 1),
        (packed("192.0.2.1"), 1, 3, packed("10.0.0.1"), 65534),
        (packed("192.0.2.1"), 1, 3, packed("fd00::1"), 1),
    ],
)
def test_told_ports_that_make_no_sense_are_refused(lab: Lab, row: tuple[bytes, int, int, bytes, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        lab.relay.set_told([row])
    with pytest.raises(ValueError, match="at most 32"):
        lab.relay.set_told([(packed("192.0.2.1"), 1, 1, packed("10.0.0.1"), 1)] * 33)


def test_a_peer_of_a_family_without_relayed_address_is_not_sent_to(lab: Lab) -> None:
    client, _, _ = lab.pair("127.0.0.1")
    peer = lab.peer("::1")
    client.permit(peer)
    client.send(send_indication(peer.address, b"x"))
    lab.run()
    assert lab.dropped() == {"no_family": 1}


HOSTILE = {
    "strange": [b"", b"\x80x", b"\x14\xfe\xfd", b"\xff" * 100],
    "bad_stun": [b"\x00", BINDING[:19], BINDING + b"\0", BINDING[:4] + b"\0\0\0\0" + BINDING[8:]],
    "bad_channel_data": [b"\x40\x00\x00", channel_data(CHANNEL, b"hello")[:-1], b"\x40\x00\xff\xff"],
    "unbound": [channel_data(0x4001, b"x"), channel_data(0x7FFF, b"")],
    "bad_send": [
        send_indication(Address("127.0.0.1", 9), None),
        stun.build(Method.SEND, stun.MessageClass.INDICATION, bytes(12), [(TurnAttribute.DATA, b"x")]),
        stun.build(
            Method.SEND,
            stun.MessageClass.INDICATION,
            bytes(12),
            [(TurnAttribute.XOR_PEER_ADDRESS, b"x" * 8), (TurnAttribute.DATA, b"x")],
        ),
        send_indication(Address("127.0.0.1", 0), b"x"),
        send_indication(Address("127.0.0.1", 9), b"x" * 8).replace(b"\0\x13\0\x08", b"\0\x13\0\x09"),
        send_indication(Address("127.0.0.1", 9), b"x", more=[(0x8022, b"")] * 64),
        send_indication(Address("127.0.0.1", 9), b"x", more=[(TurnAttribute.DONT_FRAGMENT, b"long")]),
    ],
    "unknown_attribute": [send_indication(Address("127.0.0.1", 9), b"x", more=[(0x7F00, b"")])],
    "fingerprint": [
        send_indication(Address("127.0.0.1", 9), b"x", fingerprint=True)[:-1] + b"\x00",
        send_indication(Address("127.0.0.1", 9), b"x", more=[(0x8028, bytes(4))]),
    ],
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_hostile_bytes_of_a_client_are_dropped_by_their_reason(lab: Lab, reason: str) -> None:
    client, peer, _ = lab.pair()
    client.bind(CHANNEL, peer)
    for datagram in HOSTILE[reason]:
        client.send(datagram)
    assert lab.run() == []
    assert lab.dropped() == {reason: len(HOSTILE[reason])}


def test_t15_data_without_an_allocation_is_dropped_in_silence(lab: Lab) -> None:
    client = lab.client(allocated=False)
    client.send(channel_data(CHANNEL, b"x"), send_indication(Address("127.0.0.1", 9), b"x"))
    assert lab.run() == []
    assert lab.dropped() == {"no_allocation": 2}


def test_s4_what_follows_message_integrity_is_ignored(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    hidden = send_indication(peer.address, b"seen", more=[])
    body = hidden[20:] + stun.encode_attribute(0x0008, bytes(20)) + stun.encode_attribute(0x7F00, b"")
    client.send(hidden[:2] + len(body).to_bytes(2, "big") + hidden[4:20] + body)
    lab.run()
    assert peer.sock.recv(100) == b"seen"
    assert lab.dropped() == {}


def test_s3_the_first_of_several_attributes_counts(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    second = send_indication(Address("127.0.0.9", 9), b"second")
    first = send_indication(peer.address, b"first")
    body = first[20:] + second[20:]
    client.send(first[:2] + len(body).to_bytes(2, "big") + first[4:20] + body)
    lab.run()
    assert peer.sock.recv(100) == b"first"


# rates


def test_an_allocation_passes_so_many_packets_a_second_each_way(lab: Lab) -> None:
    client, peer = lab.client(packets_per_s=100), lab.peer()
    relayed = client.relayed_at("127.0.0.1")
    client.permit(peer)
    client.bind(CHANNEL, peer)
    for _ in range(80):
        client.send(channel_data(CHANNEL, b"x"))
        peer.sock.sendto(b"x", relayed)
    lab.run()
    counts = lab.relay.counts(client.handle)
    assert (counts["packets_in"], counts["packets_out"], counts["dropped"]) == (50, 50, 60)
    assert lab.dropped() == {"rate": 30, "peer_rate": 30}
    lab.now += 100_000
    for _ in range(20):
        client.send(channel_data(CHANNEL, b"x"))
    lab.run()
    assert lab.relay.counts(client.handle)["packets_in"] == 60


def test_an_allocation_passes_so_many_bytes_a_second(lab: Lab) -> None:
    client, peer = lab.client(bytes_per_s=10_000), lab.peer()
    client.relayed_at("127.0.0.1")
    client.permit(peer)
    for _ in range(8):
        client.send(send_indication(peer.address, bytes(1000)))
    lab.run()
    assert lab.relay.counts(client.handle)["bytes_in"] == 5000
    assert lab.dropped() == {"rate": 3}


@pytest.mark.parametrize(("packets_per_s", "bytes_per_s"), [(1, 0), (0, 1000)])
def test_a_rate_of_less_than_a_packet_in_its_burst_passes_one_at_a_time(
    lab: Lab, packets_per_s: int, bytes_per_s: int
) -> None:
    client, peer = lab.client(packets_per_s=packets_per_s, bytes_per_s=bytes_per_s), lab.peer()
    relayed = client.relayed_at("127.0.0.1")
    client.permit(peer)
    client.bind(CHANNEL, peer)
    for second in range(1, 4):
        for _ in range(3):
            client.send(channel_data(CHANNEL, bytes(1000)))
            peer.sock.sendto(bytes(1000), relayed)
        lab.run()
        counts = lab.relay.counts(client.handle)
        assert (counts["packets_in"], counts["packets_out"]) == (second, second)
        lab.now += 1_000_000


# STUN for Python


def test_stun_is_handed_up_with_its_listener_and_path(lab: Lab) -> None:
    client = lab.client(allocated=False)
    client.send(BINDING)
    ((listener, path, message),) = lab.run()
    assert (listener, message) == (lab.listener, BINDING)
    assert remote_address(path) == Address(*client.sock.getsockname())
    assert local_host(path) == "127.0.0.1"
    assert lab.relay.send(listener, path, b"answer")
    assert client.sock.recvfrom(100) == (b"answer", lab.listens)


def test_strangers_leave_room_for_those_who_have_an_allocation() -> None:
    with Lab(control_per_call=8) as lab:
        stranger, client = lab.client(allocated=False), lab.client()
        stranger.send(*[BINDING] * 20)
        client.send(*[BINDING] * 6)
        heads = [path for _, path, _ in lab.run()]
        assert (heads.count(stranger.path), heads.count(client.path)) == (4, 4)
        assert lab.dropped() == {"control_flood": 18}


def test_a_huge_stun_message_is_not_handed_up(lab: Lab) -> None:
    client = lab.client()
    client.send(stun.build(stun.BINDING, stun.MessageClass.REQUEST, bytes(12), [(0x8022, bytes(5000))]))
    assert lab.run() == []
    assert lab.dropped() == {"control_size": 1}


def test_what_is_handed_up_of_strangers_is_shorter() -> None:
    def request(size: int) -> bytes:
        return stun.build(
            stun.BINDING,
            stun.MessageClass.REQUEST,
            bytes(12),
            [(0x8022, bytes(size - 24))],
            fingerprint=False,
        )

    with Lab(stranger_bytes=1024, control_bytes=2048) as lab:
        stranger, client = lab.client(allocated=False), lab.client()
        stranger.send(request(1024), request(1028))
        client.send(request(2048), request(2052))
        assert sorted(len(data) for _, _, data in lab.run()) == [1024, 2048]
        assert lab.dropped() == {"control_size": 2}


# rows and limits of the socket


def test_a_burst_for_one_peer_leaves_as_rows_that_the_kernel_cuts(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    other, second, _ = lab.pair("127.0.0.2")
    other.bind(CHANNEL, second)
    for i in range(30):
        client.send(channel_data(CHANNEL, bytes([i]) * 100))
        other.send(channel_data(CHANNEL, bytes([i]) * 50))
    lab.run()
    assert [peer.sock.recv(200) for _ in range(30)] == [bytes([i]) * 100 for i in range(30)]
    assert [second.sock.recv(200) for _ in range(30)] == [bytes([i]) * 50 for i in range(30)]
    for i in range(30):
        peer.sock.sendto(bytes([i]) * 100, relayed)
    lab.run()
    assert [client.sock.recv(200) for _ in range(30)] == [
        channel_data(CHANNEL, bytes([i]) * 100) for i in range(30)
    ]
    # all but the first: a socket is asked for one datagram, then for twice as many each time
    assert lab.relay.counters()["sent_cut"] >= 80
    assert lab.dropped() == {}


def test_rows_end_where_sizes_grow_and_keep_their_order(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    sizes = [10, 10, 3, 10, 0, 0, 700, 700, 1, 1, 2, 0, 5]
    sent = [bytes([i]) * size for i, size in enumerate(sizes)]
    client.send(*(send_indication(peer.address, data) for data in sent))
    for data in sent:
        peer.sock.sendto(data, relayed)
    lab.run()
    assert [peer.sock.recv(2000) for _ in sent] == sent
    assert [read_data_indication(client.sock.recv(2000))[1] for _ in sent] == sent


def test_what_a_peer_sends_in_one_piece_is_cut_for_the_client(lab: Lab) -> None:
    """A row (UDP_SEGMENT) stays one on loopback, as does what a network card puts together."""
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    data = b"".join(bytes([i]) * 200 for i in range(20)) + b"last"
    peer.sock.setsockopt(socket.IPPROTO_UDP, 103, 200)
    peer.sock.sendto(data, relayed)
    lab.run()
    got = [client.sock.recv(300) for _ in range(21)]
    assert got == [channel_data(CHANNEL, bytes([i]) * 200) for i in range(20)] + [
        channel_data(CHANNEL, b"last")
    ]
    counters = lab.relay.counters()
    assert (counters["receive_calls"], counters["received"]) == (1, 21)


def test_a_clients_row_is_cut_for_its_peers(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    other = lab.peer()
    client.bind(CHANNEL, peer)
    client.bind(CHANNEL + 1, other)
    row = b"".join(channel_data(CHANNEL + i % 2, bytes([i]) * 96) for i in range(20))
    client.sock.setsockopt(socket.IPPROTO_UDP, 103, 100)
    client.send(row)
    lab.run()
    assert [peer.sock.recv(200)[0] for _ in range(10)] == list(range(0, 20, 2))
    assert [other.sock.recv(200)[0] for _ in range(10)] == list(range(1, 20, 2))


def test_the_largest_datagrams_pass_and_what_does_not_fit_is_counted(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    client.send(channel_data(CHANNEL, bytes(65503)))
    peer.sock.sendto(bytes(65503), relayed)
    lab.run()
    assert len(peer.sock.recv(65535)) == 65503
    assert len(client.sock.recv(65535)) == 65507
    peer.sock.sendto(bytes(65507), relayed)
    lab.run()
    assert lab.dropped() == {"too_long": 1}


def test_bursts_of_any_length_from_many_peers_at_once_all_pass() -> None:
    """What is asked of a relay socket grows and shrinks with them, never beyond the slots there are."""
    with Lab() as lab:
        pairs = [lab.pair() for _ in range(12)]
        for client, peer, _ in pairs:
            client.bind(CHANNEL, peer)
        for burst in (1, 3, 3, 40, 40, 5, 40, 1, 7, 60, 60):
            for number, (client, peer, relayed) in enumerate(pairs):
                for i in range(burst):
                    peer.sock.sendto(bytes((number, i)) * 10, relayed)
                    client.send(channel_data(CHANNEL, bytes((number, i)) * 10))
            assert lab.run() == []
            for number, (client, peer, _) in enumerate(pairs):
                wanted = [bytes((number, i)) * 10 for i in range(burst)]
                assert [peer.sock.recv(100) for _ in wanted] == wanted
                assert [client.sock.recv(100)[4:] for _ in wanted] == wanted
        assert lab.dropped() == {}


def test_many_clients_in_one_call_get_what_is_theirs(lab: Lab) -> None:
    pairs = [lab.pair() for _ in range(100)]
    for i, (client, peer, relayed) in enumerate(pairs):
        client.bind(CHANNEL + i, peer)
        client.send(channel_data(CHANNEL + i, b"to %d" % i))
        peer.sock.sendto(b"from %d" % i, relayed)
    lab.run()
    for i, (client, peer, _) in enumerate(pairs):
        assert peer.sock.recv(100) == b"to %d" % i
        assert client.sock.recv(100) == channel_data(CHANNEL + i, b"from %d" % i)
    assert not lab.is_readable()


def test_a_call_that_has_used_its_time_leaves_the_rest_readable() -> None:
    with Lab(slice_us=1) as lab:
        client, peer, _ = lab.pair()
        client.bind(CHANNEL, peer)
        for _ in range(150):
            client.send(channel_data(CHANNEL, b"x"))
        calls = 0
        while lab.is_readable():
            lab.run()
            calls += 1
        assert calls >= 3
        assert lab.relay.counts(client.handle)["packets_in"] == 150


def test_ten_thousand_datagrams_make_no_python_object(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    datagram = channel_data(CHANNEL, bytes(100))

    def relay(rounds: int) -> None:
        for _ in range(rounds):
            for _ in range(25):
                client.sock.sendto(datagram, lab.listens)
                peer.sock.sendto(datagram, relayed)
            lab.relay.on_readable(lab.now)
            for _ in range(25):
                peer.sock.recv(200)
                client.sock.recv(200)

    relay(2)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        relay(200)
        after = sys.getallocatedblocks()
    finally:
        gc.enable()
    assert lab.relay.counters()["sent"] == 10_100
    assert abs(after - before) < 20


def test_a_client_with_one_socket_has_an_allocation_by_each_listener(lab: Lab) -> None:
    other = lab.stack.enter_context(open_udp("127.0.0.1", 0, setting="--listen"))
    listener = lab.relay.add_listener(other.fileno(), other.family)
    first, peer, relayed = lab.pair()
    second = Client(lab, first.path, first.sock, lab.relay.add(listener, first.path, 0, 0))
    also = second.relayed_at("127.0.0.1")
    second.permit(peer)
    for client in (first, second):
        client.bind(CHANNEL, peer)
    for to in (lab.listens, other.getsockname()):
        first.sock.sendto(channel_data(CHANNEL, b"x"), to)
        lab.run()
    assert [peer.sock.recvfrom(10)[1] for _ in range(2)] == [relayed, also]
    for to in (relayed, also):
        peer.sock.sendto(b"y", to)
        lab.run()
    assert [first.sock.recvfrom(10)[1] for _ in range(2)] == [lab.listens, other.getsockname()]
    lab.relay.remove(first.handle)
    first.sock.sendto(channel_data(CHANNEL, b"x"), lab.listens)
    first.sock.sendto(channel_data(CHANNEL, b"z"), other.getsockname())
    lab.run()
    assert (peer.sock.recv(10), lab.dropped()) == (b"z", {"no_allocation": 1})


# what the kernel says


def test_p4_dont_fragment_is_set_for_the_indication_that_asks_alone(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    try:
        raw = lab.stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
    except PermissionError:
        pytest.skip("IP headers are for root to see")
    raw.settimeout(5)
    asks = [(TurnAttribute.DONT_FRAGMENT, b"")]
    flags: list[int] = []
    for more in ([], asks, asks, []):
        client.send(send_indication(peer.address, b"find me", more=more))
        lab.run()
        while (packet := raw.recv(100))[28:] != b"find me":
            pass
        flags.append(packet[6] >> 5)
    assert flags == [0, 2, 2, 0]


def test_d1_dscp_and_ecn_go_with_a_datagram(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    seen: list[int] = []
    for sock in (client.sock, peer.sock):
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    for traffic in (0xB8, 0x02, 0x00):
        for sock in (client.sock, peer.sock):
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, traffic)
        client.send(channel_data(CHANNEL, b"x"))
        peer.sock.sendto(b"x", relayed)
        lab.run()
        for sock in (client.sock, peer.sock):
            ((_, _, value),) = sock.recvmsg(100, 100)[1]
            seen.append(value[0])
    assert seen == [0xB8, 0xB8, 0x02, 0x02, 0x00, 0x00]


@pytest.mark.parametrize("client_host", ["127.0.0.1", "::1"])
def test_d1_dscp_and_ecn_go_from_one_family_to_the_other(client_host: str) -> None:
    peer_host = "::1" if client_host == "127.0.0.1" else "127.0.0.1"
    with Lab("") as lab:
        lab.host = client_host
        lab.listens = (client_host, lab.port)
        client, peer, relayed = lab.pair(peer_host)
        for sock in (client.sock, peer.sock):
            six = sock.family == socket.AF_INET6
            level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
            sock.setsockopt(level, socket.IPV6_RECVTCLASS if six else socket.IP_RECVTOS, 1)
            sock.setsockopt(level, socket.IPV6_TCLASS if six else socket.IP_TOS, 0xB9)
        client.send(send_indication(peer.address, b"x"))
        peer.sock.sendto(b"x", relayed)
        lab.run()
        for sock in (client.sock, peer.sock):
            ((_, _, value),) = sock.recvmsg(100, 100)[1]
            assert value[0] == 0xB9


def test_datagrams_of_two_classes_do_not_share_a_row(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    client.bind(CHANNEL, peer)
    peer.sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    for traffic in (0xB8, 0xB8, 0x28, 0x28):
        client.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, traffic)
        client.send(channel_data(CHANNEL, b"x"))
    lab.run()
    assert [peer.sock.recvmsg(100, 100)[1][0][2][0] for _ in range(4)] == [0xB8, 0xB8, 0x28, 0x28]


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", (3, 3)), ("::1", (1, 4))])
def test_p6_word_of_a_closed_port_is_kept_for_the_client(lab: Lab, host: str, kind: tuple[int, int]) -> None:
    client, peer, _ = lab.pair(host)
    peer.sock.close()
    client.send(send_indication(peer.address, b"x"))
    lab.run()
    lab.run()  # loopback has answered by now
    assert lab.relay.take_icmp() == [(client.handle, peer.ip, peer.port, *kind, 0)]
    assert lab.relay.take_icmp() == []


def test_p6_word_of_icmp_needs_a_permission_and_has_a_rate(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    peer.sock.close()
    for _ in range(8):
        client.send(send_indication(peer.address, b"x"))
        lab.run()
        lab.run()
    assert len(lab.relay.take_icmp()) == 5
    client.send(send_indication(peer.address, b"x"))
    lab.run()
    lab.now += LIFE_US
    lab.run()
    assert lab.relay.take_icmp() == []
    assert lab.dropped() == {"icmp": 4}


def test_icmp_of_one_peer_costs_no_datagram_of_another(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    other = lab.peer()
    peer.sock.close()
    for i in range(20):
        client.send(send_indication(peer.address, b"lost"), send_indication(other.address, bytes([i])))
        other.sock.sendto(bytes([i]), relayed)
        lab.run()
    assert [other.sock.recv(10)[0] for _ in range(20)] == list(range(20))
    assert [read_data_indication(client.sock.recv(100))[1][0] for _ in range(20)] == list(range(20))


def test_a_peer_that_the_kernel_refuses_is_counted_and_costs_no_other(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    lab.relay.permit(client.handle, packed("255.255.255.255"), lab.now + 1, False)
    refused = send_indication(Address("255.255.255.255", 9), b"x")
    client.send(refused, refused, send_indication(peer.address, b"there"))
    lab.run()
    assert peer.sock.recv(10) == b"there"
    assert lab.dropped() == {"send_refused": 2}


def test_what_the_kernel_could_not_keep_is_counted(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    lab.listener_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind(CHANNEL, peer)
    for _ in range(100):
        client.send(channel_data(CHANNEL, bytes(1000)))
    lab.run()
    client.send(channel_data(CHANNEL, b"a drop is told of with the next datagram"))
    lab.run()
    passed = lab.relay.counts(client.handle)["packets_in"]
    assert lab.dropped() == {"overflow": 101 - passed}
    assert relayed


def test_a_listener_that_does_not_tell_what_was_hit_hears_nothing(lab: Lab) -> None:
    with udp("0.0.0.0") as blind, udp("127.0.0.1") as client:
        lab.relay.add_listener(blind.fileno(), socket.AF_INET)
        client.sendto(BINDING, ("127.0.0.1", blind.getsockname()[1]))
        assert lab.run() == []
    assert lab.dropped() == {"no_path": 1}


# tables


def test_what_is_removed_is_closed_and_its_handle_stale(lab: Lab) -> None:
    client, peer, relayed = lab.pair()
    client.bind(CHANNEL, peer)
    lab.relay.remove(client.handle)
    assert set(lab.relay.live().values()) == {0}
    again = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lab.stack.enter_context(again)
    again.bind(relayed)  # its port is free
    client.send(channel_data(CHANNEL, b"x"))
    lab.run()
    assert lab.dropped() == {"no_allocation": 1}
    for stale in (
        lambda: lab.relay.remove(client.handle),
        lambda: lab.relay.counts(client.handle),
        lambda: client.permit(peer),
        lambda: client.bind(CHANNEL, peer),
        lambda: lab.relay.attach(client.handle, 0),
        lambda: lab.relay.detach(client.handle, socket.AF_INET),
    ):
        with pytest.raises(StaleHandle):
            stale()
    assert lab.relay.add(lab.listener, client.path, 0, 0) != client.handle


def test_every_table_has_its_bound_and_what_is_over_makes_room() -> None:
    with Lab(
        allocations_max=3, permissions_max=5, channels_max=5, permissions_each=3, channels_each=2
    ) as lab:
        lab.run()
        clients = [lab.client() for _ in range(3)]
        with pytest.raises(TableFull, match="allocations: 3"):
            lab.client()
        peers = [lab.peer(f"127.0.0.{i + 1}") for i in range(5)]
        for peer in peers[:3]:
            clients[0].permit(peer)
        with pytest.raises(TableFull, match="permissions: 3 of"):
            clients[0].permit(peers[3])
        for i, peer in enumerate(peers[:2]):
            clients[0].bind(CHANNEL + i, peer)
        with pytest.raises(TableFull, match="channels: 2 of"):
            clients[0].bind(CHANNEL + 2, peers[2])
        clients[1].permit(peers[0])
        clients[1].permit(peers[1])
        with pytest.raises(TableFull, match="5 in all"):
            clients[2].permit(peers[0])
        lab.now += 3 * LIFE_US
        clients[2].send(BINDING)
        lab.run()  # tells the time
        for peer in peers[:3]:
            clients[2].permit(peer)
        assert lab.relay.live() == {
            "allocations": 3,
            "sockets": 0,
            "permissions": 3,
            "channels": 0,
            "streams": 0,
            "splices": 0,
        }


def test_there_is_room_for_what_is_left_and_what_is_over() -> None:
    with Lab(allocations_max=2, permissions_max=3, channels_max=2) as lab:
        lab.run()
        first, second = lab.client(), lab.client()
        peers = [lab.peer(f"127.0.0.{i + 1}") for i in range(3)]
        first.permit(peers[0])
        first.permit(peers[1], until_us=lab.now + 1)
        first.bind(CHANNEL, peers[0], until_us=lab.now + 1)

        def room(permissions: int, channels: int) -> bool:
            return lab.relay.has_room(second.handle, permissions, channels)

        assert (room(1, 1), room(0, 0)) == (True, True)
        lab.now += LIFE_US // 2
        lab.relay.on_readable(lab.now)
        assert (room(2, 2), room(3, 0), room(0, 3)) == (True, False, False)
        lab.relay.remove(first.handle)
        assert (room(3, 2), room(4, 0)) == (True, False)


def test_a_channel_bound_anew_is_bound_once(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    other = lab.peer()
    client.bind(CHANNEL, peer)
    client.bind(CHANNEL + 1, peer)  # the peer moves
    client.bind(CHANNEL + 1, other)  # the number moves
    assert lab.relay.live()["channels"] == 1
    client.send(channel_data(CHANNEL, b"old"), channel_data(CHANNEL + 1, b"new"))
    lab.run()
    assert other.sock.recv(10) == b"new"
    assert lab.dropped() == {"unbound": 1}


def test_a_channel_needs_a_permission(lab: Lab) -> None:
    client, _, _ = lab.pair()
    with pytest.raises(ValueError, match="permission"):
        client.bind(CHANNEL, lab.peer("127.0.0.2"))


def test_arguments_that_make_no_sense_are_refused(lab: Lab) -> None:
    client, peer, _ = lab.pair()
    with pytest.raises(ValueError, match="path"):
        lab.relay.add(lab.listener, client.path[:-1], 0, 0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="has an allocation"):
        lab.relay.add(lab.listener, client.path, 0, 0)
    other = make_path(Address("127.0.0.1", 9), "127.0.0.2")
    with pytest.raises(ValueError, match="bound to another"):
        lab.relay.add(lab.listener, other, 0, 0)
    assert lab.relay.live()["allocations"] == 1
    with pytest.raises(ValueError, match="no listener"):
        lab.relay.add(7, client.path, 0, 0)
    with pytest.raises(ValueError, match="are left"):
        lab.relay.remove_listener(lab.listener)
    with pytest.raises(ValueError, match="no UDP socket"):
        lab.relay.attach(client.handle, 0)
    with udp("127.0.0.1") as second, pytest.raises(ValueError, match="of this family"):
        lab.relay.attach(client.handle, second.fileno())
    for channel, port in ((0x3FFF, 9), (0x8000, 9), (CHANNEL, 0)):
        with pytest.raises(ValueError, match="channel"):
            lab.relay.bind(client.handle, channel, peer.ip, port, lab.now + 1)
    with pytest.raises(ValueError, match="seed"):
        Relay(seed=b"short")


def test_a_listener_that_is_removed_hears_nothing(lab: Lab) -> None:
    client = lab.client(allocated=False)
    lab.relay.remove_listener(lab.listener)
    client.send(BINDING)
    assert not lab.is_readable()
