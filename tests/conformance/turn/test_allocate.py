"""Allocate and Refresh: rows T1 to T19 (RFC 8656 5 to 8)."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from sfu.wire import turn
from sfu.wire.stun import Attribute
from sfu.wire.turn import PROTOCOL_TCP, AddressFamily, Method, TurnAttribute
from tests.conformance.turn.client import (
    ASK_BOTH,
    ASK_EVEN,
    ASK_IPV4,
    ASK_IPV6,
    ASK_PAIR,
    ASK_UDP,
    DONT_FRAGMENT,
    Client,
    channel_number,
    data,
    indication,
    lifetime,
    mapped_of,
    plain,
    to_peer,
)
from tests.conformance.turn.needs import wait
from tests.conformance.turn.verdict import (
    attribute_of,
    code_of,
    decoded,
    expect,
    expect_error,
    expect_success,
)

if TYPE_CHECKING:
    from tests.conformance.turn.client import Allocation
    from tests.conformance.turn.conftest import Connect
    from tests.conformance.turn.links import Peer
    from tests.conformance.turn.target import Target

DEFAULT_LIFETIME_S = 600
MAX_LIFETIME_S = 3600
GIVEN_BACK_S = 5  # chosen: servers may clean up once in a while
TOKEN = (TurnAttribute.RESERVATION_TOKEN, b"no-token")
ADDITIONAL_IPV4 = (TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, turn.encode_address_family(AddressFamily.IPV4))


def transport(protocol: int) -> tuple[int, bytes]:
    return TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(protocol)


def token(allocation: Allocation) -> tuple[int, bytes]:
    """The token that an answer has to have."""
    value = attribute_of(allocation.reply, TurnAttribute.RESERVATION_TOKEN, "RESERVATION-TOKEN")
    expect(len(value) == turn.RESERVATION_TOKEN_LENGTH, "a token of 8 bytes", value.hex())
    return TurnAttribute.RESERVATION_TOKEN, value


def both_families(client: Client) -> Allocation:
    """An allocation of IPv4 and IPv6, where the server can give one."""
    if not client.target.peer6:
        pytest.skip("server and peers do not have IPv6")
    allocation = client.allocate(ASK_BOTH)
    if allocation.reply.get(TurnAttribute.ADDRESS_ERROR_CODE) is not None:
        pytest.skip("the server has one family alone")
    if len(allocation.relayed) < 2:
        pytest.skip("the server does not know ADDITIONAL-ADDRESS-FAMILY")
    return allocation


# T1


@pytest.mark.parametrize("how", ["no-credentials", "wrong-password"])
def test_t1_nothing_is_allocated_without_credentials(client: Client, how: str) -> None:
    if how == "no-credentials":
        request = plain(Method.ALLOCATE, ASK_UDP)
    else:
        request = client.signed(Method.ALLOCATE, ASK_UDP, key=b"wrong")
    expect_error(client.exchange(request), 401)
    expect_error(client.request(Method.REFRESH), 437, why="there is no allocation")


def test_t1_credentials_are_looked_at_before_all_else(client: Client) -> None:
    """RFC 8656 7.2: the order of checks."""
    expect_error(client.exchange(plain(Method.ALLOCATE, ASK_BOTH, ASK_IPV4, TOKEN)), 401)


# T2


def test_t2_the_same_request_again_gets_the_same_answer(client: Client) -> None:
    client.challenge()
    request = client.signed(Method.ALLOCATE, ASK_UDP, ASK_PAIR, lifetime(900))
    first = client.allocated_by(client.exchange(request))
    again = client.allocated_by(client.exchange(request))
    expect(again.relayed == first.relayed, f"the relayed address {first.relayed[0]}", again.relayed[0])
    expect(again.token == first.token, f"the token {first.token!r}", repr(again.token))
    expect(0 <= first.lifetime_s - again.lifetime_s <= 5, str(first.lifetime_s), again.lifetime_s)


def test_t2_another_request_on_the_same_5_tuple_is_refused(client: Client) -> None:
    client.allocate()
    expect_error(client.request(Method.ALLOCATE, ASK_UDP), 437)
    client.refresh(600)  # and changes nothing


def test_t2_that_is_checked_before_what_is_asked_for(client: Client) -> None:
    client.allocate()
    expect_error(client.request(Method.ALLOCATE), 437)


# T3


def test_t3_no_requested_transport_is_a_bad_request(client: Client) -> None:
    expect_error(client.request(Method.ALLOCATE), 400)


@pytest.mark.parametrize("value", [b"", b"\x11\0\0", b"\x11\0\0\0\0"], ids=len)
def test_t3_a_malformed_one_too(client: Client, value: bytes) -> None:
    expect_error(client.request(Method.ALLOCATE, (TurnAttribute.REQUESTED_TRANSPORT, value)), 400)


def test_t3_a_protocol_that_is_not_supported_is_refused(client: Client) -> None:
    expect_error(client.request(Method.ALLOCATE, transport(132)), 442)


def test_t3_tcp_over_udp_is_refused(client: Client) -> None:
    """442 where TCP is not supported at all, 400 where it needs another connection (RFC 6062 5.1)."""
    expect_error(client.request(Method.ALLOCATE, transport(PROTOCOL_TCP)), 442, 400)


# T4


def test_t4_dont_fragment_is_supported_or_unknown(client: Client) -> None:
    reply = client.request(Method.ALLOCATE, ASK_UDP, DONT_FRAGMENT)
    client.allocated = code_of(reply) == 0
    if not client.allocated:
        expect_error(reply, 420)
        unknown = attribute_of(reply, Attribute.UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")
        expect(unknown == b"\0\x1a", "DONT-FRAGMENT listed", unknown.hex())


# T5


@pytest.mark.parametrize(
    "beside", [ASK_EVEN, ASK_IPV4, ASK_BOTH], ids=["even-port", "requested", "additional"]
)
def test_t5_a_token_beside_what_it_excludes_is_a_bad_request(
    client: Client, beside: tuple[int, bytes]
) -> None:
    expect_error(client.request(Method.ALLOCATE, ASK_UDP, TOKEN, beside), 400)


def test_t5_an_unknown_token_is_refused(client: Client) -> None:
    expect_error(client.request(Method.ALLOCATE, ASK_UDP, TOKEN), 508)


def test_t5_a_token_is_used_once(connect: Connect) -> None:
    owner, first, second = connect(), connect(), connect()
    reserved = token(owner.allocate(ASK_PAIR))
    first.allocate(reserved)
    expect_error(second.request(Method.ALLOCATE, ASK_UDP, reserved), 508)


# T6


def test_t6_two_wishes_for_families_are_a_bad_request(client: Client) -> None:
    expect_error(client.request(Method.ALLOCATE, ASK_UDP, ASK_IPV4, ASK_BOTH), 400)


# T7


def test_t7_ipv4_where_nothing_is_asked(client: Client) -> None:
    reply = client.request(Method.ALLOCATE, ASK_UDP)
    if code_of(reply) == 440:
        return  # IPv4 is off
    relayed = client.allocated_by(reply).relayed
    expect([len(each.ip) for each in relayed] == [4], "one address of IPv4", ", ".join(map(str, relayed)))


@pytest.mark.parametrize("family", AddressFamily, ids=lambda family: family.name.lower())
def test_t7_the_family_that_is_asked_for(client: Client, family: AddressFamily) -> None:
    reply = client.request(Method.ALLOCATE, ASK_UDP, ASK_IPV4 if family is AddressFamily.IPV4 else ASK_IPV6)
    if code_of(reply) != 440:
        allocation = client.allocated_by(reply)
        allocation.of_family(family)
        expect(len(allocation.relayed) == 1, "one address", len(allocation.relayed))


def test_t7_a_family_that_there_is_not_is_refused(client: Client) -> None:
    unknown = (TurnAttribute.REQUESTED_ADDRESS_FAMILY, turn.encode_address_family(7))
    expect_error(client.request(Method.ALLOCATE, ASK_UDP, unknown), 440)


# T8


def test_t8_a_pair_of_two_families_is_a_bad_request(client: Client) -> None:
    expect_error(client.request(Method.ALLOCATE, ASK_UDP, ASK_PAIR, ASK_BOTH), 400)


# T9


def test_t9_additional_ipv4_is_a_bad_request(client: Client) -> None:
    expect_error(client.request(Method.ALLOCATE, ASK_UDP, ADDITIONAL_IPV4), 400)


def test_t9_an_additional_family_gives_two_addresses_or_says_why_not(client: Client) -> None:
    """508 where the server can give none of them."""
    reply = client.request(Method.ALLOCATE, ASK_UDP, ASK_BOTH)
    if code_of(reply) == 508:
        return
    allocation = client.allocated_by(reply)
    sizes = sorted(len(endpoint.ip) for endpoint in allocation.relayed)
    if sizes == [4, 16]:
        return
    expect(
        len(sizes) == 1,
        "two relayed addresses of two families, or one",
        ", ".join(map(str, allocation.relayed)),
    )
    value = attribute_of(
        reply, TurnAttribute.ADDRESS_ERROR_CODE, "a second relayed address or ADDRESS-ERROR-CODE"
    )
    family, code, _ = decoded(turn.decode_address_error_code, value, "ADDRESS-ERROR-CODE")
    missing = AddressFamily.IPV6 if sizes == [4] else AddressFamily.IPV4
    expect(
        (family, code in (440, 508)) == (missing, True),
        f"440 or 508 of {missing.name}",
        f"{code} of {family}",
    )


# T10


def test_t10_a_quota_is_the_users(target: Target, connect: Connect) -> None:
    if not target.quota:
        pytest.skip("no quota is given (--quota)")
    user = target.credential()
    for _ in range(target.quota):
        connect(user=user).allocate()
    one_more = connect(user=user)
    expect_error(one_more.request(Method.ALLOCATE, ASK_UDP), 486)
    other = target.other_credential()
    if other is not None:
        connect(user=other).allocate()


def test_t10_what_is_given_back_can_be_had_again(target: Target, connect: Connect) -> None:
    if not target.quota:
        pytest.skip("no quota is given (--quota)")
    user = target.credential()
    clients = [connect(user=user) for _ in range(target.quota)]
    for client in clients:
        client.allocate()
    clients[0].refresh(0)
    clients[0].allocated = False
    again = connect(user=user)
    deadline = time.monotonic() + GIVEN_BACK_S
    reply = again.request(Method.ALLOCATE, ASK_UDP)
    while code_of(reply) == 486 and time.monotonic() < deadline:
        clients[1].fence()
        reply = again.request(Method.ALLOCATE, ASK_UDP)
    again.allocated_by(reply)


# T11


def test_t11_even_ports_are_even(connect: Connect) -> None:
    """Eight times: chance would pass once in 256."""
    for _ in range(8):
        allocation = connect().allocate(ASK_EVEN)
        port = allocation.relayed[0].port
        expect(port % 2 == 0, "an even port", port)
        expect(allocation.token is None, "no RESERVATION-TOKEN without R", "one")


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
def test_t11_the_next_port_is_had_by_its_token(connect: Connect, way: str) -> None:
    """A reservation is the server's, not that of a 5-tuple or a transport."""
    client, other = connect(), connect(way)
    allocation = client.allocate(ASK_PAIR)
    relayed = allocation.relayed[0]
    expect(relayed.port % 2 == 0, "an even port", relayed.port)
    reserved = other.allocate(token(allocation)).relayed
    expected = relayed._replace(port=relayed.port + 1)
    expect(reserved == (expected,), str(expected), ", ".join(map(str, reserved)))


def test_t11_a_reservation_is_held_for_30_seconds(target: Target, connect: Connect) -> None:
    wait(target, 0)
    client, other = connect(), connect()
    reserved = token(client.allocate(ASK_PAIR))
    wait(target, 28)
    other.allocate(reserved)


# T12


def test_t12_ports_are_dynamic_ones_and_random(connect: Connect) -> None:
    ports = [connect().allocate().relayed[0].port for _ in range(8)]
    expect(all(49152 <= port <= 65535 for port in ports), "ports of 49152 to 65535", ports)
    steps = {other - one for one, other in pairwise(ports)}
    expect(len(steps) > 2, "ports that do not follow from each other", ports)
    expect(max(ports) - min(ports) > 64, "ports from all over the range", ports)


# T13


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        (None, DEFAULT_LIFETIME_S, DEFAULT_LIFETIME_S),
        (1, DEFAULT_LIFETIME_S, DEFAULT_LIFETIME_S),
        (777, DEFAULT_LIFETIME_S, 777),
        (0xFFFFFFFF, DEFAULT_LIFETIME_S, MAX_LIFETIME_S),
    ],
    ids=["not-asked", "too-short", "between", "too-long"],
)
def test_t13_lifetimes_are_from_600_to_3600_seconds(
    client: Client, asked: int | None, low: int, high: int
) -> None:
    """Less than was asked for is right where the server's own maximum is lower."""
    got = client.allocate(*([] if asked is None else [lifetime(asked)])).lifetime_s
    expect(low <= got <= high, f"{low} to {high} s", got)
    if asked is not None:
        got = client.refresh(asked)
        expect(low <= got <= high, f"{low} to {high} s of a Refresh", got)


def test_t13_the_answer_tells_the_clients_address(client: Client) -> None:
    mapped = mapped_of(client.allocate().reply)
    expect(mapped == client.link.local, str(client.link.local), mapped)


# T14


def test_t14_relayed_addresses_are_unique(connect: Connect) -> None:
    relayed = [connect().allocate().relayed[0] for _ in range(8)]
    expect(len(set(relayed)) == len(relayed), "8 addresses", len(set(relayed)))


# T15


@pytest.mark.parametrize(
    "method",
    [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND],
    ids=lambda method: method.name.lower(),
)
def test_t15_requests_need_an_allocation(client: Client, peer: Peer, method: Method) -> None:
    attributes = {
        Method.REFRESH: (lifetime(600),),
        Method.CREATE_PERMISSION: (to_peer(peer.endpoint),),
        Method.CHANNEL_BIND: (channel_number(0x4000), to_peer(peer.endpoint)),
    }[method]
    expect_error(client.request(method, *attributes), 437)


def test_t15_data_without_an_allocation_gets_no_answer(client: Client, peer: Peer) -> None:
    client.stays_silent(
        indication(Method.SEND, to_peer(peer.endpoint), data(b"x")), turn.build_channel_data(0x4000, b"x")
    )
    expect(peer.receive(client.target.quiet_s) is None, "nothing at the peer", "something")


# T16


def test_t16_a_lifetime_of_0_ends_an_allocation(connect: Connect, peer: Peer) -> None:
    client = connect()
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    client.send_data(peer.endpoint, b"before")
    peer.gets(b"before", relayed)
    expect(client.refresh(0) == 0, "LIFETIME 0", "another")
    client.allocated = False
    expect_error(client.request(Method.REFRESH), 437, why="it is gone")
    client.send_data(peer.endpoint, b"after")
    client.fence()
    expect(peer.receive(client.target.quiet_s) is None, "nothing at the peer any more", "data")


def test_t16_the_5_tuple_can_be_used_again(client: Client) -> None:
    client.allocate()
    client.refresh(0)
    client.allocate()


def test_t16_another_family_is_refused(client: Client) -> None:
    client.allocate()
    expect_error(client.request(Method.REFRESH, ASK_IPV6), 443)
    client.refreshed(ASK_IPV4)


def test_t16_of_two_families_one_is_ended_alone(client: Client, peer: Peer) -> None:
    allocation = both_families(client)
    expect_success(client.bind(0x4000, peer.endpoint))
    expect(client.refresh(0, ASK_IPV6) == 0, "LIFETIME 0 of IPv6", "another")
    expect_error(client.request(Method.REFRESH, ASK_IPV6), 443)
    client.refreshed(ASK_IPV4)
    client.send_channel(0x4000, b"still there")
    peer.gets(b"still there", allocation.of_family(AddressFamily.IPV4))


# T17


def test_t17_data_does_not_make_an_allocation_live_longer(target: Target, client: Client, peer: Peer) -> None:
    wait(target, 0)
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(0x4000, peer.endpoint))
    for _ in range(3):
        wait(target, 195)
        expect_success(client.bind(0x4000, peer.endpoint))
        client.send_channel(0x4000, b"x")
        peer.gets(b"x", relayed)
    wait(target, 20)
    expect_error(client.request(Method.REFRESH), 437, why="600 s are over")
    client.allocated = False


# T18


def test_t18_software_is_well_formed_or_left_out(client: Client) -> None:
    for reply in (client.allocate().reply, client.refreshed()):
        text = (reply.get(Attribute.SOFTWARE) or b"").decode(errors="replace")
        expect(len(text) < 128 and "\ufffd" not in text, "UTF-8 of less than 128 characters", repr(text))


# T19


def test_t19_data_above_the_rate_is_dropped(target: Target, client: Client, peer: Peer) -> None:
    """One datagram after the other, each waited for: what is missing was not lost to a full buffer."""
    if not target.rate:
        pytest.skip("no rate is given (--rate)")
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(0x4000, peer.endpoint))
    content = bytes(1000)
    limit = 4 * target.rate // len(content)
    arrived = missing = 0
    for _ in range(limit):
        client.send_channel(0x4000, content)
        got = peer.receive(target.quiet_s)
        arrived += got == (content, relayed)
        missing += got is None
        if missing == 3:
            break
    expect(missing == 3, f"drops within {limit} kB", f"{arrived} datagrams of 1000 bytes")
    expect(arrived > 0, "some data", "none")
    client.refresh(600)
