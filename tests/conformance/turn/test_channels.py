"""Channels, and the headers around data: rows C1 to C6, D1, D2 (RFC 8656 12, 14, 21.4)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from sfu.wire import turn
from sfu.wire.turn import Method, TurnAttribute
from tests.conformance.turn.client import Client, channel_number, lifetime, to_peer
from tests.conformance.turn.links import Endpoint
from tests.conformance.turn.needs import ipv6_allocation, wait
from tests.conformance.turn.verdict import code_of, deviates, expect, expect_error, expect_success

if TYPE_CHECKING:
    from tests.conformance.turn.conftest import Connect, OpenPeer
    from tests.conformance.turn.links import Peer
    from tests.conformance.turn.target import Target

CHANNEL = 0x4000
IP_RECVTTL = 12  # of Linux: the module socket has no name for it
TOS = 46 << 2 | 2  # DSCP EF and ECT(0)


# C1


@pytest.mark.parametrize("channel", [0x4000, 0x4ABC, 0x4FFF], ids=hex)
def test_c1_a_channel_is_bound_and_bound_again(client: Client, peer: Peer, channel: int) -> None:
    relayed = client.allocate().relayed[0]
    for content in (b"once", b"again"):
        expect_success(client.bind(channel, peer.endpoint))
        client.send_channel(channel, content)
        peer.gets(content, relayed)
        peer.send(content, relayed)
        client.gets(content, peer.endpoint, channel)


@pytest.mark.parametrize("channel", [0, 0x3FFF, 0x8000, 0xFFFF], ids=hex)
def test_c1_a_number_out_of_range_is_a_bad_request(client: Client, peer: Peer, channel: int) -> None:
    client.allocate()
    expect_error(client.bind(channel, peer.endpoint), 400)


@pytest.mark.parametrize("without", ["number", "peer"])
def test_c1_number_and_peer_are_needed(client: Client, peer: Peer, without: str) -> None:
    client.allocate()
    attribute = to_peer(peer.endpoint) if without == "number" else channel_number(CHANNEL)
    expect_error(client.request(Method.CHANNEL_BIND, attribute), 400)


@pytest.mark.parametrize("value", [b"", b"\x40\0"], ids=len)
def test_c1_a_malformed_number_is_a_bad_request(client: Client, peer: Peer, value: bytes) -> None:
    client.allocate()
    malformed = (TurnAttribute.CHANNEL_NUMBER, value)
    expect_error(client.request(Method.CHANNEL_BIND, malformed, to_peer(peer.endpoint)), 400)


def test_c1_a_channel_of_another_peer_is_a_bad_request(client: Client, open_peer: OpenPeer) -> None:
    """Another port is another peer."""
    one, other = open_peer(), open_peer()
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, one.endpoint))
    expect_error(client.bind(CHANNEL, other.endpoint), 400)
    client.send_channel(CHANNEL, b"to the first")
    one.gets(b"to the first", relayed)


def test_c1_a_peer_of_another_channel_is_a_bad_request(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    expect_error(client.bind(CHANNEL + 1, peer.endpoint), 400)
    peer.send(b"on the first", relayed)
    client.gets(b"on the first", peer.endpoint, CHANNEL)


def test_c1_another_family_is_refused(client: Client) -> None:
    client.allocate()
    expect_error(client.bind(CHANNEL, Endpoint(bytes.fromhex("20010db8") + bytes(12), 9)), 443)


def test_c1_a_denied_peer_is_refused(target: Target, client: Client) -> None:
    client.allocate()
    expect_error(client.bind(CHANNEL, Endpoint.of((target.denied_peer, 9))), 403)


def test_c1_one_more_than_there_is_room_for_is_refused(target: Target, client: Client, peer: Peer) -> None:
    if not target.channels:
        pytest.skip("no number of channels is given (--channels)")
    relayed = client.allocate().relayed[0]
    ports = [
        peer.endpoint._replace(port=peer.endpoint.port - number) for number in range(target.channels + 1)
    ]
    for number, each in enumerate(ports[:-1]):
        expect_success(client.bind(CHANNEL + number, each))
    expect_error(client.bind(CHANNEL + target.channels, ports[-1]), 508)
    expect_success(client.bind(CHANNEL, peer.endpoint), "a channel that is there already")
    client.send_channel(CHANNEL, b"there")
    peer.gets(b"there", relayed)


# C2


def test_c2_a_binding_installs_a_permission(client: Client, open_peer: OpenPeer) -> None:
    """For the IP, as all permissions."""
    peer, other = open_peer(), open_peer()
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    peer.send(b"back", relayed)
    client.gets(b"back", peer.endpoint, CHANNEL)
    client.send_data(other.endpoint, b"there")
    other.gets(b"there", relayed)


def test_c2_a_refused_binding_installs_none(target: Target, client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    expect_error(client.bind(0x3FFF, peer.endpoint), 400)
    peer.send(b"back", relayed)
    client.fence()
    expect(not client.inbox, "nothing at the client", "data")
    client.send_data(peer.endpoint, b"there")
    client.fence()
    expect(peer.receive(target.quiet_s) is None, "nothing at the peer", "data")


def test_c2_the_permission_ends_after_300_s_and_the_binding_after_600(
    target: Target, client: Client, peer: Peer
) -> None:
    """Whether ChannelData of the client needs the permission as well RFC 8656 does not say."""
    wait(target, 0)
    relayed = client.allocate(lifetime(3600)).relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    wait(target, 290)
    client.send_channel(CHANNEL, b"before 300 s")
    peer.gets(b"before 300 s", relayed)
    wait(target, 15)
    peer.send(b"after 300 s", relayed)
    client.fence()
    expect(not client.inbox, "nothing from the peer after 300 s", "data")
    for seconds in (0, 285):  # at 305 s and 590 s
        wait(target, seconds)
        expect_success(client.permit(peer.endpoint))
        client.send_channel(CHANNEL, b"permitted again")
        peer.gets(b"permitted again", relayed)
        peer.send(b"back", relayed)
        client.gets(b"back", peer.endpoint, CHANNEL)
    wait(target, 15)
    client.send_channel(CHANNEL, b"after 600 s")
    client.fence()
    expect(peer.receive(target.quiet_s) is None, "nothing at the peer after 600 s", "data")
    peer.send(b"back", relayed)
    client.gets(b"back", peer.endpoint)


# C3


def test_c3_channel_data_that_is_too_short_is_dropped(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    client.stays_silent(
        struct.pack("!HH", CHANNEL, 4) + b"abc", struct.pack("!HH", CHANNEL, 1), b"\x40\0\0", b"\x40"
    )
    client.send_channel(CHANNEL, b"whole")
    peer.gets(b"whole", relayed)


@pytest.mark.parametrize("channel", [CHANNEL + 1, 0x5000, 0x7FFF], ids=hex)
def test_c3_channel_data_on_no_channel_is_dropped(client: Client, peer: Peer, channel: int) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    client.stays_silent(turn.build_channel_data(channel, b"unbound"))
    client.send_channel(CHANNEL, b"bound")
    peer.gets(b"bound", relayed)


@pytest.mark.parametrize("size", [0, 1, 3, 1200])
def test_c3_data_of_any_length_passes_both_ways(client: Client, peer: Peer, size: int) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    client.send_channel(CHANNEL, bytes(size))
    peer.gets(bytes(size), relayed)
    peer.send(bytes(size), relayed)
    client.gets(bytes(size), peer.endpoint, CHANNEL)


def test_c3_a_channel_is_that_of_its_own_client(client: Client, connect: Connect, peer: Peer) -> None:
    client.allocate()
    expect_success(client.bind(CHANNEL, peer.endpoint))
    stranger = connect()
    stranger.stays_silent(turn.build_channel_data(CHANNEL, b"stranger"))
    expect(peer.receive(client.target.quiet_s) is None, "nothing at the peer", "a stranger's data")


# C4 in test_streams, C5


def test_c5_what_begins_with_another_byte_is_dropped(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    others = [*range(4, 64), *range(128, 256)]
    client.stays_silent(*(bytes((first,)) + bytes(31) for first in others))
    client.send_channel(CHANNEL, b"alive")
    peer.gets(b"alive", relayed)


def test_c5_an_empty_datagram_is_dropped(client: Client) -> None:
    client.stays_silent(b"")


# C6


@pytest.mark.parametrize("channel", [0x5000, 0x7FFF], ids=hex)
def test_c6_numbers_of_older_clients_are_taken(client: Client, peer: Peer, channel: int) -> None:
    """Debian's turnutils_uclient draws from 0x4000 to 0x7FFF."""
    relayed = client.allocate().relayed[0]
    reply = client.bind(channel, peer.endpoint)
    if code_of(reply) == 400:
        pytest.skip("the server takes those of RFC 8656 alone")
    expect_success(reply)
    client.send_channel(channel, b"there")
    peer.gets(b"there", relayed)
    peer.send(b"back", relayed)
    client.gets(b"back", peer.endpoint, channel)


# D1


def header_of(sock: socket.socket, wait_s: float, level: int, kinds: dict[int, str]) -> dict[str, int]:
    """What the IP header of the next datagram says, by name."""
    sock.settimeout(wait_s)
    try:
        _, ancillary, _, _ = sock.recvmsg(2048, 256)
    except TimeoutError:
        deviates("a datagram", "none")
    told = {(kind_level, kind): value for kind_level, kind, value in ancillary}
    return {
        name: int.from_bytes(told[level, kind][:4], "little" if len(told[level, kind]) > 1 else "big")
        for kind, name in kinds.items()
        if (level, kind) in told
    }


@pytest.mark.parametrize("way", ["channel", "send", "from-peer"])
def test_d1_dscp_and_ecn_are_copied_or_cleared(client: Client, peer: Peer, way: str) -> None:
    """RFC 8656 14: to copy them is preferred; best effort and Not-ECT are the other choice."""
    if len(client.link.local.ip) != 4:
        pytest.skip("a client of IPv4 is needed")
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    sender, receiver = client.link.socket, peer.socket
    if way == "from-peer":
        sender, receiver = receiver, sender
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    if way == "from-peer":
        peer.send(b"x", relayed)
    elif way == "send":
        client.send_data(peer.endpoint, b"x")
    else:
        client.send_channel(CHANNEL, b"x")
    got = header_of(receiver, client.target.answer_s, socket.IPPROTO_IP, {socket.IP_TOS: "tos"})["tos"]
    expect(got >> 2 in (TOS >> 2, 0), f"DSCP {TOS >> 2} or 0", got >> 2)
    expect(got & 3 in (TOS & 3, 0), f"ECN {TOS & 3} or 0", got & 3)
    if got != TOS:
        pytest.skip("the server does not copy DSCP and ECN, as it may")


def test_d1_the_ttl_does_not_run_out(client: Client, peer: Peer) -> None:
    """A server may count its hop (RFC 8656 21.1.7), but what it sends has to get on from there."""
    if len(client.link.local.ip) != 4:
        pytest.skip("a client of IPv4 is needed")
    client.allocate()
    expect_success(client.bind(CHANNEL, peer.endpoint))
    peer.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    for way in ("channel", "send"):
        if way == "channel":
            client.send_channel(CHANNEL, b"x")
        else:
            client.send_data(peer.endpoint, b"x")
        got = header_of(peer.socket, client.target.answer_s, socket.IPPROTO_IP, {socket.IP_TTL: "ttl"})["ttl"]
        expect(got > 16, "a TTL of more than 16", got)


# D2


@pytest.mark.parametrize("peer", ["2001:0:1::1", "2002:c000:204::1"], ids=["teredo", "6to4"])
@pytest.mark.parametrize(
    "method", [Method.CREATE_PERMISSION, Method.CHANNEL_BIND], ids=["permission", "channel"]
)
def test_d2_tunnels_are_refused(client: Client, peer: str, method: Method) -> None:
    ipv6_allocation(client)
    refused = Endpoint.of((peer, 9))
    reply = client.permit(refused) if method is Method.CREATE_PERMISSION else client.bind(CHANNEL, refused)
    expect_error(reply, 403, 400)
