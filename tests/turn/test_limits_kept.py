"""Each limit from its setting to what clients meet: the whole server, on loopback, with a setting so low that
a few messages reach it. How exactly it counts is tested beside the code (docs/reference/turn-limits.md)."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from sfu.wire.stun import BINDING, PasswordAlgorithm, long_term_key
from sfu.wire.turn import PROTOCOL_TCP, Method, TurnAttribute, encode_requested_transport
from tests.conformance.turn.client import ASK_PAIR, ASK_UDP, Client, lifetime, plain, to_peer
from tests.conformance.turn.links import Closed, Endpoint, Peer, UdpLink, tcp_link
from tests.conformance.turn.target import Credential, Target
from tests.conformance.turn.verdict import code_of
from tests.turn.rest import SECRET, credential_until
from tests.turn.test_node import config
from turn.node import TurnNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.wire.stun import Message

ASK_TCP = (TurnAttribute.REQUESTED_TRANSPORT, encode_requested_transport(PROTOCOL_TCP))
CHANNEL = 0x4001
QUIET_S = 0.3  # in which what is dropped does not come


class Server:
    """A server with one limit lowered, and its clients. What a test opens is closed with it."""

    def __init__(self, node: TurnNode) -> None:
        self.node = node
        self.target = Target(
            name="limited",
            host="127.0.0.1",
            port=node.listens[0].port,
            tcp_port=node.tcp_listens[0].port,
            tls_port=node.tls_listens[0].port,
            secret=SECRET,
            peer="127.0.0.1",
        )
        self.open: list[Client | Peer | socket.socket] = []

    def client(self, *, user: Credential | None = None, tcp: bool = False) -> Client:
        link = tcp_link(self.target) if tcp else UdpLink(self.target.host, self.target.port)
        client = Client(self.target, link, user or self.target.credential())
        self.open.append(client)
        return client

    def allocated(self, *, user: Credential | None = None, tcp: bool = False) -> Client:
        client = self.client(user=user, tcp=tcp)
        client.allocate()
        return client

    def peer(self, host: str = "127.0.0.1") -> Peer:
        peer = Peer(host, self.target.answer_s)
        self.open.append(peer)
        return peer

    def connection(self, port: int) -> socket.socket:
        sock = socket.create_connection((self.target.host, port), timeout=10)
        self.open.append(sock)
        return sock

    def listener(self) -> socket.socket:
        sock = socket.create_server((self.target.host, 0))
        sock.settimeout(10)
        self.open.append(sock)
        return sock

    def close(self) -> None:
        for opened in self.open:
            opened.close()


def code(client: Client, *attributes: tuple[int, bytes]) -> int:
    """The code of the answer to an Allocate; 0 for a success."""
    return code_of(client.request(Method.ALLOCATE, ASK_UDP, *attributes))


def is_closed(sock: socket.socket) -> bool:
    """Whether the server closes a connection."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


# What a client does, and what it meets, at each limit.


def allocations(server: Server) -> None:
    server.allocated()
    assert code(server.client()) == 508


def allocations_per_user(server: Server) -> None:
    user = server.target.credential()
    server.allocated(user=user)
    assert code(server.client(user=user)) == 486
    assert code(server.client()) == 0


def allocations_per_address(server: Server) -> None:
    server.allocated()
    assert code(server.client()) == 486


def reservations(server: Server) -> None:
    assert code(server.client(), ASK_PAIR) == 0
    assert code(server.client(), ASK_PAIR) == 508


def reservations_per_user(server: Server) -> None:
    user = server.target.credential()
    assert code(server.client(user=user), ASK_PAIR) == 0
    assert code(server.client(user=user), ASK_PAIR) == 508
    assert code(server.client(), ASK_PAIR) == 0


def longest_lifetime(server: Server) -> None:
    assert server.client().allocate(lifetime(3600)).lifetime_s == 700


def permissions(server: Server) -> None:
    client = server.allocated()
    first, second = server.peer(), server.peer("127.0.0.2")
    assert code_of(client.permit(first.endpoint)) == 0
    assert code_of(client.permit(second.endpoint)) == 508


def channels(server: Server) -> None:
    client = server.allocated()
    assert code_of(client.bind(CHANNEL, server.peer().endpoint)) == 0
    assert code_of(client.bind(CHANNEL + 1, server.peer().endpoint)) == 508


def new_peers(server: Server) -> None:
    permissions(server)


def datagrams(server: Server) -> None:
    """Of three at once one passes, each way."""
    client, peer = server.client(), server.peer()
    (relayed,) = client.allocate().relayed
    client.bind(CHANNEL, peer.endpoint)
    for _ in range(3):
        client.send_channel(CHANNEL, bytes(800))
        peer.send(bytes(800), relayed)
    assert peer.receive(5) is not None
    assert peer.receive(QUIET_S) is None
    assert client.relayed() is not None
    assert client.relayed(QUIET_S) is None


def error_replies(server: Server) -> None:
    link = server.client().link
    for _ in range(3):
        link.send(plain(Method.ALLOCATE, ASK_UDP))
    assert link.receive(5) is not None
    assert link.receive(QUIET_S) is None
    link.send(plain(BINDING))
    assert link.receive(5) is not None


def wrong_passwords(server: Server) -> None:
    client = server.client()
    key = long_term_key(client.user.username, "orchard", "a guess", PasswordAlgorithm.MD5)
    wrong = client.signed(Method.ALLOCATE, ASK_UDP, key=key)
    for _ in range(3):
        client.link.send(wrong)
    assert client.link.receive(5) is not None
    assert client.link.receive(QUIET_S) is None
    assert code(client) == 0


def lives_of_credentials(server: Server) -> None:
    too_long = credential_until(time.time() + 900)
    assert code(server.client(user=Credential(*too_long))) == 401
    assert code(server.client(user=Credential(*credential_until(time.time() + 50)))) == 0


def handshakes(server: Server) -> None:
    assert is_closed(server.connection(server.target.tls_port))


def messages(server: Server) -> None:
    sock = server.connection(server.target.tcp_port)
    sock.send(plain(BINDING)[:10])
    assert is_closed(sock)


def unallocated(server: Server) -> None:
    client = server.client(tcp=True)
    client.binding()
    with pytest.raises(Closed):
        client.link.receive(10)


def strangers(server: Server) -> None:
    first = server.client(tcp=True)
    first.binding()
    assert is_closed(server.connection(server.target.tcp_port))
    first.allocate()  # it is no stranger any more
    server.client(tcp=True).binding()


def long_messages_of_strangers(server: Server) -> None:
    sock = server.connection(server.target.tcp_port)
    sock.send(plain(BINDING, (0x8022, bytes(1100))))
    assert is_closed(sock)
    client = server.client()
    client.stays_silent(plain(BINDING, (0x8022, bytes(1100))))


def long_requests(server: Server) -> None:
    client = server.allocated()
    client.stays_silent(plain(BINDING, (0x8022, bytes(1100))))
    over_tcp = server.allocated(tcp=True)
    over_tcp.link.send(plain(BINDING, (0x8022, bytes(1100))))
    with pytest.raises(Closed):
        over_tcp.link.receive(10)
    over_tcp.allocated = False


def write_queues(server: Server) -> None:
    client, peer = server.client(tcp=True), server.peer()
    client.link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    (relayed,) = client.allocate().relayed
    client.bind(CHANNEL, peer.endpoint)
    for number in range(20_000):
        peer.send(bytes(1200), relayed)
        if number % 50 == 0:
            time.sleep(0.001)  # so that the server's socket is not what overflows
            if server.node.relay_counters()["drop_write_queue"]:
                break
    assert client.relayed() is not None


def connected(server: Server) -> tuple[Client, socket.socket, Message]:
    """A client with a TCP allocation, the peer's end of a connection that it asked for, and the answer."""
    client, listener = tcp_allocated(server), server.listener()
    reply = client.request(Method.CONNECT, to_peer(Endpoint.of(listener.getsockname())))
    assert code_of(reply) == 0
    sock, _ = listener.accept()
    sock.settimeout(10)
    server.open.append(sock)
    return client, sock, reply


def tcp_allocated(server: Server) -> Client:
    client = server.client(tcp=True)
    client.allocated_by(client.request(Method.ALLOCATE, ASK_TCP))
    return client


def peer_connections(server: Server) -> None:
    client, _, _ = connected(server)
    other = server.listener()
    refused = client.request(Method.CONNECT, to_peer(Endpoint.of(other.getsockname())))
    assert code_of(refused) == 508


def pending_peers(server: Server) -> None:
    client = server.client(tcp=True)
    (relayed,) = client.allocated_by(client.request(Method.ALLOCATE, ASK_TCP)).relayed
    assert code_of(client.permit(Endpoint.of(("127.0.0.1", 1)))) == 0
    first, second = (server.connection(relayed.port) for _ in range(2))
    assert is_closed(second)
    first.settimeout(QUIET_S)
    with pytest.raises(TimeoutError):
        first.recv(1)


def unbound_connections(server: Server) -> None:
    _, peer, _ = connected(server)
    assert is_closed(peer)


def half_closed_connections(server: Server) -> None:
    client, peer, reply = connected(server)
    identity = TurnAttribute.CONNECTION_ID, reply.get(TurnAttribute.CONNECTION_ID) or b""
    data = server.client(user=client.user, tcp=True)
    assert code_of(data.request(Method.CONNECTION_BIND, identity)) == 0
    data.link.socket.shutdown(socket.SHUT_WR)
    assert peer.recv(1) == b""
    assert is_closed(data.link.socket)


def proxies(server: Server) -> None:
    sock = server.connection(server.node.tcp_proxied_listens[0].port)
    sock.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\x00")  # version 2, IPv4, 256 bytes to come
    assert is_closed(sock)


Kept = tuple["Callable[[Server], None]", dict[str, "str | list[str]"], str, dict[str, str]]
"""What a client does, other settings beside the limit (which is 1 unless it is among them), the metric."""

TCP_RELAY: dict[str, str | list[str]] = {"tcp_relay": "true"}
PROXIED: dict[str, str | list[str]] = {"tcp_proxied": ["127.0.0.1:0"], "proxies": ["127.0.0.1"]}

LIMITS: dict[str, Kept] = {
    "allocations": (allocations, {}, "refused", {"limit": "allocations"}),
    "allocations_per_user": (allocations_per_user, {}, "refused", {"limit": "allocations_per_user"}),
    "allocations_per_address": (
        allocations_per_address,
        {},
        "refused",
        {"limit": "allocations_per_address"},
    ),
    "reservations": (reservations, {}, "requests", {"method": "allocate", "code": "508"}),
    "reservations_per_user": (reservations_per_user, {}, "requests", {"method": "allocate", "code": "508"}),
    "lifetime": (longest_lifetime, {"lifetime": "700"}, "requests", {"method": "allocate", "code": "200"}),
    "permissions": (permissions, {}, "refused", {"limit": "permissions"}),
    "channels": (channels, {}, "refused", {"limit": "channels"}),
    "peers_burst": (new_peers, {"peers_per_second": "0.1"}, "refused", {"limit": "peers"}),
    "packets_per_second": (datagrams, {}, "relay_dropped", {"reason": "peer_rate"}),
    "bits_per_second": (datagrams, {"bits_per_second": "8000"}, "relay_dropped", {"reason": "rate"}),
    "replies_per_second": (error_replies, {}, "ignored", {"reason": "too_many_replies"}),
    "failures_per_minute": (wrong_passwords, {}, "ignored", {"reason": "too_many_failures"}),
    "credential_ttl_limit": (
        lives_of_credentials,
        {"credential_ttl_limit": "60"},
        "requests",
        {"method": "allocate", "code": "401"},
    ),
    "handshake_timeout": (
        handshakes,
        {"handshake_timeout": "0.2"},
        "streams_ended",
        {"reason": "handshake_time"},
    ),
    "message_timeout": (messages, {"message_timeout": "0.2"}, "streams_ended", {"reason": "message_time"}),
    "unallocated_timeout": (
        unallocated,
        {"unallocated_timeout": "0.2"},
        "streams_ended",
        {"reason": "unallocated"},
    ),
    "strangers": (strangers, {}, "refused", {"limit": "strangers"}),
    "strangers_per_address": (strangers, {}, "refused", {"limit": "strangers_per_address"}),
    "stranger_message": (
        long_messages_of_strangers,
        {"stranger_message": "1024"},
        "relay_dropped",
        {"reason": "control_size"},
    ),
    "control_message": (
        long_requests,
        {"control_message": "1024"},
        "relay_dropped",
        {"reason": "control_size"},
    ),
    "peer_connections": (peer_connections, TCP_RELAY, "refused", {"limit": "peer_connections"}),
    "peer_connections_per_allocation": (
        peer_connections,
        TCP_RELAY,
        "refused",
        {"limit": "peer_connections_per_allocation"},
    ),
    "peer_connections_pending": (
        pending_peers,
        TCP_RELAY,
        "refused",
        {"limit": "peer_connections_pending"},
    ),
    "bind_timeout": (
        unbound_connections,
        TCP_RELAY | {"bind_timeout": "0.2"},
        "peer_connections_ended",
        {"reason": "unbound"},
    ),
    "half_closed_timeout": (
        half_closed_connections,
        TCP_RELAY | {"half_closed_timeout": "0.2"},
        "streams_ended",
        {"reason": "half_closed"},
    ),
    "proxy_timeout": (proxies, PROXIED | {"proxy_timeout": "0.2"}, "proxy_refused", {"reason": "time"}),
    "proxy_header": (proxies, PROXIED | {"proxy_header": "100"}, "proxy_refused", {"reason": "too_long"}),
    "write_queue": (write_queues, {"write_queue": "65536"}, "relay_dropped", {"reason": "write_queue"}),
}


@pytest.mark.parametrize("name", LIMITS)
async def test_a_limit_is_kept_as_it_is_set_and_counted(name: str) -> None:
    meet, settings, metric, labels = LIMITS[name]
    node = TurnNode(
        config(
            tls=["127.0.0.1:0"],
            certificate="self-made",
            allow=["127.0.0.1", "127.0.0.2"],
            **({"replies_per_second": "1000", name: "1"} | settings),
        )
    )
    node.start()
    server = Server(node)
    try:
        before = value_of(metric, labels)
        await asyncio.to_thread(meet, server)
        node.measure()
        assert value_of(metric, labels) > before
    finally:
        await asyncio.to_thread(server.close)
        node.stop()


def test_all_limits_that_a_client_can_reach_at_once_are_met() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "turn-limits.md").read_text()
    rows = set(re.findall(r"^\| [^|]+ \| `(\w+)` \|", page, re.M))
    # what is waited for longer than a test may last, and what the API of `orchard serve` asks for
    assert rows - LIMITS.keys() == {
        "peers_per_second",  # with peers_burst
        "nonce_life",
        "credential_ttl",
        "revoked",
        "connect_timeout",
    }


def value_of(metric: str, labels: dict[str, str]) -> float:
    return REGISTRY.get_sample_value(f"orchard_turn_{metric}_total", labels) or 0.0
