"""Permissions and indications: rows P1 to P6 (RFC 8656 9 to 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sfu.wire.turn import AddressFamily, Icmp, Method, TurnAttribute
from tests.conformance.turn.client import (
    DONT_FRAGMENT,
    Client,
    Relayed,
    data,
    indication,
    lifetime,
    to_peer,
)
from tests.conformance.turn.links import Endpoint
from tests.conformance.turn.needs import ipv6_allocation, ipv6_peer, second_host, supports_dont_fragment, wait
from tests.conformance.turn.verdict import expect, expect_error, expect_success

if TYPE_CHECKING:
    from tests.conformance.turn.conftest import Connect, OpenPeer
    from tests.conformance.turn.links import Peer
    from tests.conformance.turn.target import Target

CHANNEL = 0x4000
IPV6_DOCUMENTATION = Endpoint(bytes.fromhex("20010db8") + bytes(11) + b"\x01", 9)
UNREACHABLE_PORT = {AddressFamily.IPV4: (3, 3), AddressFamily.IPV6: (1, 4)}  # type and code of ICMP


def nothing_at(peer: Peer, client: Client, why: str) -> None:
    """The peer may have got nothing of what the client sent before."""
    client.fence()
    got = peer.receive(client.target.quiet_s)
    expect(got is None, f"nothing at the peer ({why})", got)


def nothing_from(client: Client, why: str) -> None:
    """The client may have got nothing of what a peer sent before."""
    client.fence()
    got = client.inbox.popleft() if client.inbox else None
    expect(got is None, f"nothing at the client ({why})", got)


# P1


def test_p1_a_permission_is_for_all_ports_of_an_ip(client: Client, open_peer: OpenPeer) -> None:
    one, other = open_peer(), open_peer()
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(one.endpoint._replace(port=9)))
    for peer in (one, other):
        client.send_data(peer.endpoint, b"there")
        peer.gets(b"there", relayed)
        peer.send(b"back", relayed)
        client.gets(b"back", peer.endpoint)


def test_p1_a_permission_lasts_300_seconds_whatever_is_sent(
    target: Target, client: Client, peer: Peer
) -> None:
    wait(target, 0)
    relayed = client.allocate(lifetime(3600)).relayed[0]
    expect_success(client.permit(peer.endpoint))
    for _ in range(2):
        wait(target, 145)
        client.refreshed()
        client.send_data(peer.endpoint, b"there")
        peer.gets(b"there", relayed)
        peer.send(b"back", relayed)
        client.gets(b"back", peer.endpoint)
    wait(target, 15)
    client.send_data(peer.endpoint, b"late")
    nothing_at(peer, client, "300 s are over")
    peer.send(b"late", relayed)
    nothing_from(client, "300 s are over")


def test_p1_create_permission_makes_it_last_longer(target: Target, client: Client, peer: Peer) -> None:
    wait(target, 0)
    relayed = client.allocate(lifetime(3600)).relayed[0]
    for _ in range(3):
        expect_success(client.permit(peer.endpoint))
        wait(target, 120)
    client.send_data(peer.endpoint, b"there")
    peer.gets(b"there", relayed)


# P2


def test_p2_what_comes_before_a_permission_is_dropped(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    peer.send(b"early", relayed)
    nothing_from(client, "there is no permission")
    expect_success(client.permit(peer.endpoint))
    peer.send(b"permitted", relayed)
    client.gets(b"permitted", peer.endpoint)


def test_p2_what_comes_from_another_ip_is_dropped(
    target: Target, client: Client, peer: Peer, open_peer: OpenPeer
) -> None:
    stranger = open_peer(second_host(target))
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    stranger.send(b"stranger", relayed)
    peer.send(b"permitted", relayed)
    client.gets(b"permitted", peer.endpoint)
    nothing_from(client, "the other IP has no permission")


# P3


def test_p3_many_peers_in_one_request(
    target: Target, client: Client, peer: Peer, open_peer: OpenPeer
) -> None:
    other = open_peer(second_host(target))
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint, other.endpoint))
    for each in (peer, other):
        each.send(b"permitted", relayed)
        client.gets(b"permitted", each.endpoint)


def test_p3_no_peer_is_a_bad_request(client: Client) -> None:
    client.allocate()
    expect_error(client.request(Method.CREATE_PERMISSION), 400)


@pytest.mark.parametrize(
    "value",
    [b"", bytes(3), b"\0\1" + bytes(4), b"\0\1" + bytes(18), b"\0\3" + bytes(6)],
    ids=["empty", "too-short", "cut", "too-long", "no-family"],
)
def test_p3_an_invalid_peer_is_a_bad_request(client: Client, value: bytes) -> None:
    client.allocate()
    expect_error(client.request(Method.CREATE_PERMISSION, (TurnAttribute.XOR_PEER_ADDRESS, value)), 400)


def test_p3_another_family_is_refused(client: Client) -> None:
    client.allocate()
    expect_error(client.permit(IPV6_DOCUMENTATION), 443)


def test_p3_a_denied_peer_is_refused(target: Target, client: Client) -> None:
    client.allocate()
    expect_error(client.permit(Endpoint.of((target.denied_peer, 9))), 403)


@pytest.mark.parametrize("bad", ["denied", "another-family", "invalid"])
def test_p3_all_peers_or_none(target: Target, client: Client, peer: Peer, bad: str) -> None:
    relayed = client.allocate().relayed[0]
    second, code = {
        "denied": (to_peer(Endpoint.of((target.denied_peer, 9))), 403),
        "another-family": (to_peer(IPV6_DOCUMENTATION), 443),
        "invalid": ((TurnAttribute.XOR_PEER_ADDRESS, bytes(3)), 400),
    }[bad]
    expect_error(client.request(Method.CREATE_PERMISSION, to_peer(peer.endpoint), second), code)
    client.send_data(peer.endpoint, b"x")
    nothing_at(peer, client, "the whole request was refused")
    peer.send(b"x", relayed)
    nothing_from(client, "the whole request was refused")


def test_p3_one_more_than_there_is_room_for_is_refused(target: Target, client: Client) -> None:
    """Nothing is sent to any of them."""
    if not target.permissions:
        pytest.skip("no number of permissions is given (--permissions)")
    client.allocate()
    peers = [Endpoint(bytes((8, 8, 4, number + 1)), 9) for number in range(target.permissions + 1)]
    for each in peers[:-1]:
        expect_success(client.permit(each))
    expect_error(client.permit(peers[-1]), 508)
    expect_success(client.permit(peers[0]), "a permission that is there already")


# P4


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1200])
def test_p4_data_of_any_length_is_sent(client: Client, peer: Peer, size: int) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    client.send_data(peer.endpoint, bytes(size))
    peer.gets(bytes(size), relayed)


@pytest.mark.parametrize("without", ["data", "peer"])
def test_p4_send_needs_peer_and_data(client: Client, peer: Peer, without: str) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    attributes = [to_peer(peer.endpoint)] if without == "data" else [data(b"x")]
    client.stays_silent(indication(Method.SEND, *attributes))
    client.send_data(peer.endpoint, b"whole")
    peer.gets(b"whole", relayed)


def test_p4_send_needs_a_permission_and_installs_none(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    client.stays_silent(indication(Method.SEND, to_peer(peer.endpoint), data(b"x")))
    nothing_at(peer, client, "there is no permission")
    peer.send(b"back", relayed)
    nothing_from(client, "Send installs no permission")


def test_p4_dont_fragment_is_obeyed_or_the_data_dropped(connect: Connect, peer: Peer) -> None:
    supported = supports_dont_fragment(connect())
    client = connect()
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    client.send_data(peer.endpoint, b"whole", DONT_FRAGMENT)
    client.send_data(peer.endpoint, b"behind it")
    if supported:
        peer.gets(b"whole", relayed)
    peer.gets(b"behind it", relayed)


# P5


@pytest.mark.parametrize("size", [0, 1, 3, 1200])
def test_p5_data_of_peers_comes_in_data_indications(client: Client, peer: Peer, size: int) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    peer.send(bytes(size), relayed)
    client.gets(bytes(size), peer.endpoint)


def test_p5_and_on_the_channel_once_one_is_bound(client: Client, open_peer: OpenPeer) -> None:
    """To that port; other ports of the same IP have no channel."""
    peer, other = open_peer(), open_peer()
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    peer.send(b"before", relayed)
    client.gets(b"before", peer.endpoint)
    expect_success(client.bind(CHANNEL, peer.endpoint))
    peer.send(b"bound", relayed)
    client.gets(b"bound", peer.endpoint, CHANNEL)
    other.send(b"not bound", relayed)
    client.gets(b"not bound", other.endpoint)


def test_p5_send_works_beside_a_channel(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    client.send_data(peer.endpoint, b"by Send")
    peer.gets(b"by Send", relayed)


@pytest.mark.parametrize("family", ["ipv6", "additional"])
def test_p5_the_same_over_ipv6(target: Target, client: Client, open_peer: OpenPeer, family: str) -> None:
    peer = open_peer(ipv6_peer(target))
    allocation = ipv6_allocation(client, additional=family == "additional")
    relayed = allocation.of_family(AddressFamily.IPV6)
    expect_success(client.permit(peer.endpoint))
    client.send_data(peer.endpoint, b"there")
    peer.gets(b"there", relayed)
    peer.send(b"back", relayed)
    client.gets(b"back", peer.endpoint)
    expect_success(client.bind(CHANNEL, peer.endpoint))
    client.send_channel(CHANNEL, b"there")
    peer.gets(b"there", relayed)
    peer.send(b"back", relayed)
    client.gets(b"back", peer.endpoint, CHANNEL)


# P6


@pytest.mark.parametrize("family", AddressFamily, ids=lambda family: family.name.lower())
@pytest.mark.parametrize("way", ["send", "channel"])
def test_p6_an_unreachable_port_is_told(
    target: Target, client: Client, open_peer: OpenPeer, way: str, family: AddressFamily
) -> None:
    """In a Data indication even where a channel is bound; the port of the peer may be left out as 0."""
    gone = open_peer(ipv6_peer(target) if family is AddressFamily.IPV6 else "")
    if family is AddressFamily.IPV6:
        ipv6_allocation(client)
    else:
        client.allocate()
    expect_success(client.permit(gone.endpoint))
    if way == "channel":
        expect_success(client.bind(CHANNEL, gone.endpoint))
    gone.close()
    if way == "channel":
        client.send_channel(CHANNEL, b"x")
    else:
        client.send_data(gone.endpoint, b"x")
    got = client.relayed()
    icmp = Icmp(*UNREACHABLE_PORT[family], 0)
    wanted = [
        Relayed(None, gone.endpoint._replace(port=port), None, icmp) for port in (gone.endpoint.port, 0)
    ]
    expect(got in wanted, f"a Data indication with {icmp}", got)
