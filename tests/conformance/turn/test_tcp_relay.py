"""TCP allocations: rows 6062 5.1 to 5.5 (RFC 6062), all optional."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from sfu.wire import stun, turn
from sfu.wire.stun import Message, MessageClass
from sfu.wire.turn import PROTOCOL_TCP, Method, TurnAttribute
from tests.conformance.turn.client import (
    ASK_EVEN,
    DONT_FRAGMENT,
    Client,
    endpoint_of,
    to_peer,
)
from tests.conformance.turn.links import Endpoint, StreamLink
from tests.conformance.turn.verdict import (
    attribute_of,
    code_of,
    decoded,
    deviates,
    expect,
    expect_error,
    expect_success,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.conformance.turn.conftest import Connect
    from tests.conformance.turn.target import Target

ASK_TCP = (TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(PROTOCOL_TCP))
TOKEN = (TurnAttribute.RESERVATION_TOKEN, b"no-token")
CLEANED_UP_S = 5  # chosen: servers may clean up once in a while
MUCH = 1 << 18  # bytes: more than a socket takes at once


class Listener:
    """A peer that waits for connections."""

    def __init__(self, host: str, answer_s: float) -> None:
        self.socket = socket.create_server((host, 0))
        self.endpoint = Endpoint.of(self.socket.getsockname()[:2])
        self._answer_s = answer_s
        self._held = contextlib.ExitStack()
        self._held.enter_context(self.socket)

    def accept(self) -> StreamLink:
        """The server's connection, which has to come."""
        self.socket.settimeout(self._answer_s)
        try:
            connection, _ = self.socket.accept()
        except TimeoutError:
            deviates("a connection at the peer", f"none within {self._answer_s:g} s")
        return StreamLink(self._held.enter_context(connection))

    def connect(self, relayed: Endpoint) -> StreamLink:
        """Connect to a relayed address."""
        try:
            connection = socket.create_connection(
                relayed.address, timeout=self._answer_s, source_address=(self.endpoint.address[0], 0)
            )
        except ConnectionResetError:
            raise
        except OSError as error:
            deviates("a relayed address that accepts connections", str(error))
        return StreamLink(self._held.enter_context(connection))

    def close(self) -> None:
        """Close the listener and its connections."""
        self._held.close()


@pytest.fixture
def listener(target: Target) -> Generator[Listener]:
    """A peer of IPv4."""
    if not target.peer:
        pytest.skip("no address for a peer is given (--peer)")
    listener = Listener(target.peer, target.answer_s)
    yield listener
    listener.close()


@pytest.fixture
def control(connect: Connect) -> Client:
    """A client over TCP of a server that offers TCP allocations; not allocated yet."""
    probe = connect("tcp")
    reply = probe.request(Method.ALLOCATE, ASK_TCP)
    if code_of(reply) == 442:
        pytest.skip("the server does not offer TCP allocations")
    probe.allocated = code_of(reply) == 0
    return connect("tcp")


def allocate(client: Client) -> Endpoint:
    return client.allocated_by(client.request(Method.ALLOCATE, ASK_TCP)).relayed[0]


def connection_id(value: bytes) -> tuple[int, bytes]:
    decoded(turn.decode_connection_id, value, "CONNECTION-ID")
    return TurnAttribute.CONNECTION_ID, value


def connected(client: Client, listener: Listener) -> tuple[tuple[int, bytes], StreamLink]:
    """Connect to a peer; the connection's id, and the peer's end of it."""
    reply = expect_success(client.request(Method.CONNECT, to_peer(listener.endpoint)), "Connect")
    value = attribute_of(reply, TurnAttribute.CONNECTION_ID, "CONNECTION-ID")
    return connection_id(value), listener.accept()


def bound(connect: Connect, client: Client, identity: tuple[int, bytes]) -> StreamLink:
    """A new connection of the client, bound to a peer's."""
    reply, link = bind(client, connect, identity)
    expect_success(reply, "ConnectionBind")
    return link


def bind(control: Client, connect: Connect, *identity: tuple[int, bytes]) -> tuple[Message, StreamLink]:
    """A new connection of the client, and the answer to the ConnectionBind on it.

    It is signed as on the control connection; a server that wants another nonce says so by 438.
    """
    client = connect("tcp", control.user, control.challenge())
    reply = client.request(Method.CONNECTION_BIND, *identity)
    assert isinstance(client.link, StreamLink)
    return reply, client.link


def attempt(client: Client) -> tuple[tuple[int, bytes], Endpoint]:
    """The next ConnectionAttempt: the connection's id, and its peer."""
    got = client.inbox.popleft() if client.inbox else client.link.receive(client.target.answer_s)
    if got is None:
        deviates("a ConnectionAttempt", "nothing")
    message = decoded(stun.parse, got, "message")
    kind = (message.method, message.message_class)
    expect(kind == (Method.CONNECTION_ATTEMPT, MessageClass.INDICATION), "a ConnectionAttempt", kind)
    peer = attribute_of(message, TurnAttribute.XOR_PEER_ADDRESS, "XOR-PEER-ADDRESS")
    value = attribute_of(message, TurnAttribute.CONNECTION_ID, "CONNECTION-ID")
    return connection_id(value), endpoint_of(peer, message.transaction_id)


def reads(link: StreamLink, expected: bytes, wait_s: float) -> None:
    """The next bytes of a data connection have to be these."""
    got = link.rest()
    while len(got) < len(expected):
        more = link.read(wait_s)
        if not more:
            deviates(
                f"{len(expected)} bytes", f"{len(got)} and {'a close' if more == b'' else 'nothing more'}"
            )
        got += more
    expect(got == expected, f"{expected[:20]!r}...", repr(got[:20]))


def ends(link: StreamLink, wait_s: float, why: str) -> None:
    """The connection has to be closed by the other side."""
    got = link.read(wait_s)
    expect(got == b"", f"a closed connection ({why})", "an open one" if got is None else repr(got[:20]))


# 5.1


def test_6062_5_1_a_relayed_address_of_tcp_is_allocated(control: Client, listener: Listener) -> None:
    relayed = allocate(control)
    expect_success(control.permit(listener.endpoint))
    listener.connect(relayed)


@pytest.mark.usefixtures("control")
def test_6062_5_1_over_udp_it_is_a_bad_request(client: Client) -> None:
    expect_error(client.request(Method.ALLOCATE, ASK_TCP), 400)


@pytest.mark.parametrize("beside", [DONT_FRAGMENT, ASK_EVEN, TOKEN], ids=["df", "even-port", "token"])
def test_6062_5_1_attributes_of_udp_are_a_bad_request(control: Client, beside: tuple[int, bytes]) -> None:
    expect_error(control.request(Method.ALLOCATE, ASK_TCP, beside), 400)


# 5.2


def test_6062_5_2_connect_needs_an_allocation(control: Client, listener: Listener) -> None:
    expect_error(control.request(Method.CONNECT, to_peer(listener.endpoint)), 437)


def test_6062_5_2_connect_needs_a_peer(control: Client) -> None:
    allocate(control)
    expect_error(control.request(Method.CONNECT), 400)


def test_6062_5_2_an_invalid_peer_is_a_bad_request(control: Client) -> None:
    allocate(control)
    expect_error(control.request(Method.CONNECT, (TurnAttribute.XOR_PEER_ADDRESS, bytes(3))), 400)


def test_6062_5_2_a_denied_peer_is_refused(target: Target, control: Client) -> None:
    allocate(control)
    expect_error(control.request(Method.CONNECT, to_peer(Endpoint.of((target.denied_peer, 9)))), 403)


def test_6062_5_2_one_connection_to_a_peer(control: Client, listener: Listener) -> None:
    allocate(control)
    connected(control, listener)
    expect_error(control.request(Method.CONNECT, to_peer(listener.endpoint)), 446)


def test_6062_5_2_a_peer_that_does_not_listen_is_told(control: Client, listener: Listener) -> None:
    allocate(control)
    listener.close()
    expect_error(control.request(Method.CONNECT, to_peer(listener.endpoint)), 447)


# 5.3


def test_6062_5_3_a_peer_without_permission_is_closed(control: Client, listener: Listener) -> None:
    try:
        connection = listener.connect(allocate(control))
    except ConnectionResetError:
        return
    ends(connection, control.target.answer_s, "there is no permission")
    expect_success(control.permit(listener.endpoint), "nothing was told of it")
    expect(not control.inbox, "no ConnectionAttempt", "one")


def test_6062_5_3_a_permitted_peer_is_told_of(control: Client, listener: Listener) -> None:
    relayed = allocate(control)
    expect_success(control.permit(listener.endpoint))
    connection = listener.connect(relayed)
    _, peer = attempt(control)
    expect(peer == connection.local, str(connection.local), peer)


# 5.4


def test_6062_5_4_an_unknown_connection_is_a_bad_request(control: Client, connect: Connect) -> None:
    allocate(control)
    unknown = (TurnAttribute.CONNECTION_ID, b"\xfe\xdc\xba\x98")
    expect_error(bind(control, connect, unknown)[0], 400)


def test_6062_5_4_so_is_none(control: Client, connect: Connect) -> None:
    allocate(control)
    expect_error(bind(control, connect)[0], 400)


def test_6062_5_4_so_is_a_connection_over_udp(control: Client, connect: Connect, listener: Listener) -> None:
    allocate(control)
    identity, _ = connected(control, listener)
    over_udp = connect("udp", control.user)
    expect_error(over_udp.request(Method.CONNECTION_BIND, identity), 400)


@pytest.mark.parametrize("by", ["client", "peer"])
def test_6062_5_4_bytes_pass_both_ways(
    control: Client, connect: Connect, listener: Listener, by: str
) -> None:
    """Those that the peer sent before the connection was bound come first."""
    relayed = allocate(control)
    if by == "client":
        identity, peer = connected(control, listener)
    else:
        expect_success(control.permit(listener.endpoint))
        peer = listener.connect(relayed)
        identity, _ = attempt(control)
    peer.send(b"early ")
    link = bound(connect, control, identity)
    peer.send(b"late")
    wait_s = control.target.answer_s
    reads(link, b"early late", wait_s)
    content = bytes(range(256)) * (MUCH // 256)
    link.send(content)
    reads(peer, content, wait_s)
    peer.send(content)
    reads(link, content, wait_s)


# 5.5


def test_6062_5_5_the_peers_end_is_the_clients(control: Client, connect: Connect, listener: Listener) -> None:
    allocate(control)
    identity, peer = connected(control, listener)
    link = bound(connect, control, identity)
    peer.close()
    ends(link, control.target.answer_s, "the peer closed")


def test_6062_5_5_the_clients_end_is_the_peers(control: Client, connect: Connect, listener: Listener) -> None:
    allocate(control)
    identity, peer = connected(control, listener)
    bound(connect, control, identity).close()
    ends(peer, control.target.answer_s, "the client closed")


def test_6062_5_5_the_allocations_end_is_that_of_both(
    control: Client, connect: Connect, listener: Listener
) -> None:
    allocate(control)
    identity, peer = connected(control, listener)
    link = bound(connect, control, identity)
    control.refresh(0)
    control.allocated = False
    for each in (link, peer):
        ends(each, CLEANED_UP_S, "the allocation was ended")
