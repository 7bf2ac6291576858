"""DTLS handshakes over networks that lose, repeat and reorder. Times are the simulation's."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from sfu.transport.dtls import DtlsEndpoint, DtlsRole, DtlsTimers
from sfu.transport.events import Closed, FailReason
from sfu.wire import dtls_record
from tests.scenarios.dtls_nodes import (
    OUR_CONTEXT,
    THEIR_FINGERPRINT,
    OpenSslNode,
    OurNode,
    server_and_client,
)
from tests.scenarios.net import Link, Network, Node

# Both ends, over 20 ms each way: hello, flight of the server, flight of the client, finished.
DATAGRAMS = 4


def connected(server: OurNode, client: OurNode) -> bool:
    """Whether both have the keys of each other."""
    if server.keys is None or client.keys is None:
        return False
    assert server.keys.profile == client.keys.profile
    assert server.keys.local == client.keys.remote
    assert server.keys.remote == client.keys.local
    return True


def network_of(server: Node, client: Node, *, seed: int = 1, link: Link | None = None) -> Network:
    """The two on a network."""
    network = Network(seed, link)
    network.attach(server, "server")
    network.attach(client, "client")
    return network


def test_without_loss_a_handshake_takes_two_round_trips() -> None:
    server, client = server_and_client()
    network = network_of(server, client)
    client.endpoint.start(0.0)
    network.run(until=10.0, done=lambda: connected(server, client))
    assert network.now == pytest.approx(0.08)
    assert network.sent == DATAGRAMS


@pytest.mark.parametrize("mtu", [256, 1200])
def test_every_single_datagram_may_be_lost(mtu: int) -> None:
    server, client = server_and_client(mtu=mtu)
    network = network_of(server, client)
    client.endpoint.start(0.0)
    network.run(until=10.0, done=lambda: connected(server, client))
    datagrams = network.sent
    for lost in range(datagrams):
        server, client = server_and_client(mtu=mtu)
        network = network_of(server, client)
        network.lose = lambda count, _source, _destination, _data, lost=lost: count == lost
        client.endpoint.start(0.0)
        network.run(until=10.0, done=lambda s=server, c=client: connected(s, c))
        assert connected(server, client), f"datagram {lost} of {datagrams}"
        assert network.now < 0.5


@pytest.mark.parametrize("times", [1, 2, 3, 5])
@pytest.mark.parametrize("flight", range(4))
def test_every_flight_may_be_lost_several_times(flight: int, times: int) -> None:
    """Flights are told apart by who speaks and how often the two have taken turns."""
    server, client = server_and_client()
    network = network_of(server, client)
    speakers: list[str] = []
    lost = 0

    def lose(_count: int, source: str, _destination: str, _data: bytes) -> bool:
        nonlocal lost
        if not speakers or speakers[-1] != source:
            speakers.append(source)
        if len(speakers) - 1 >= flight and source == ("client", "server")[flight % 2] and lost < times:
            lost += 1
            return True
        return False

    network.lose = lose
    client.endpoint.start(0.0)
    network.run(until=30.0, done=lambda: connected(server, client))
    assert connected(server, client)
    assert lost == times


@pytest.mark.parametrize("seed", range(60))
def test_a_bad_network_is_crossed(seed: int) -> None:
    """A third of all is lost, a fifth comes twice, a third late; small datagrams."""
    server, client = server_and_client(mtu=400)
    link = Link(latency_s=0.05, jitter_s=0.05, loss=0.33, duplicate=0.2, reorder=0.33, reorder_s=0.2)
    network = network_of(server, client, seed=seed, link=link)
    client.endpoint.start(0.0)
    network.run(until=31.0, done=lambda: connected(server, client))
    assert connected(server, client), f"seed {seed}"


def test_an_end_that_hears_nothing_fails_after_its_time_and_no_timer_is_left() -> None:
    server, client = server_and_client(timers=DtlsTimers(total_s=30.0))
    network = network_of(server, client, link=Link(loss=1.0))
    client.endpoint.start(0.0)
    network.run(until=100.0)
    assert client.failure is not None
    assert client.failure.reason is FailReason.HANDSHAKE_TIMEOUT
    assert client.timer_at() is None
    assert server.timer_at() is None


def test_resends_double_up_to_a_cap() -> None:
    server, client = server_and_client(timers=DtlsTimers(first_s=0.15, cap_s=3.0, total_s=30.0))
    network = network_of(server, client)
    times: list[float] = []

    def lose(_count: int, _source: str, _destination: str, _data: bytes) -> bool:
        times.append(network.now)
        return True

    network.lose = lose
    client.endpoint.start(0.0)
    network.run(until=100.0)
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert gaps[:6] == pytest.approx([0.15, 0.3, 0.6, 1.2, 2.4, 3.0])
    assert set(map(round, gaps[6:])) == {3}


def test_a_resend_is_the_same_but_for_the_numbers_of_its_records() -> None:
    server, client = server_and_client()
    network = network_of(server, client)
    sent: list[bytes] = []
    numbers: list[int] = []

    def lose(_count: int, source: str, _destination: str, data: bytes) -> bool:
        if source == "server":
            sent.append(b"".join(record.payload for record in dtls_record.split(data)))
            numbers.extend(record.sequence for record in dtls_record.split(data))
        return source == "server"

    network.lose = lose
    client.endpoint.start(0.0)
    network.run(until=5.0)
    assert len(sent) > 3
    assert len(set(sent)) == 1
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("seed", range(20))
def test_a_plain_openssl_client_gets_through_a_bad_network(seed: int) -> None:
    server = OurNode(
        DtlsEndpoint(OUR_CONTEXT, DtlsRole.SERVER, [THEIR_FINGERPRINT], mtu=600), "server", "client"
    )
    client = OpenSslNode("client", "server", is_client=True, mtu=600)
    link = Link(latency_s=0.04, jitter_s=0.02, loss=0.2, duplicate=0.1, reorder=0.2)
    network = network_of(server, client, seed=seed, link=link)
    network.run(until=30.0, done=lambda: client.is_done and server.keys is not None)
    assert server.keys is not None, f"seed {seed}"
    assert client.is_done, f"seed {seed}"
    assert server.keys.remote[:16] == client.material[:16]


@pytest.mark.parametrize("lost", range(2))
def test_a_plain_openssl_server_that_loses_a_flight_of_ours_hears_it_again(lost: int) -> None:
    client = OurNode(DtlsEndpoint(OUR_CONTEXT, DtlsRole.CLIENT, [THEIR_FINGERPRINT]), "client", "server")
    server = OpenSslNode("server", "client", is_client=False)
    network = network_of(server, client)
    ours = 0

    def lose(_count: int, source: str, _destination: str, _data: bytes) -> bool:
        nonlocal ours
        ours += source == "client"
        return source == "client" and ours == lost + 1

    network.lose = lose
    client.endpoint.start(0.0)
    network.run(until=30.0, done=lambda: server.is_done and client.keys is not None)
    assert client.keys is not None
    assert client.keys.local[:16] == server.material[:16]


def test_a_plain_openssl_server_whose_last_flight_was_lost_hears_a_finished_sealed_afresh() -> None:
    """The same bytes would be a replay to it. OpenSSL seals anew by its own clock, after 1 s of it."""
    client = OurNode(DtlsEndpoint(OUR_CONTEXT, DtlsRole.CLIENT, [THEIR_FINGERPRINT]), "client", "server")
    server = OpenSslNode("server", "client", is_client=False)
    network = network_of(server, client)
    network.lose = lambda _count, source, _destination, _data: source == "server" and server.is_done
    client.endpoint.start(0.0)
    network.run(until=0.1)
    assert server.is_done
    assert client.keys is None
    network.lose = lambda _count, _source, _destination, _data: False
    deadline = time.monotonic() + 10.0
    while client.keys is None and time.monotonic() < deadline:
        # The simulation's time keeps step with OpenSSL's clock.
        network.run(until=network.now + 0.02)
        threading.Event().wait(0.02)
    assert client.keys is not None
    assert client.keys.local[:16] == server.material[:16]


@pytest.mark.parametrize("who", ["server", "client"])
def test_goodbye_is_heard_on_both_sides(who: str) -> None:
    server, client = server_and_client()
    network = network_of(server, client)
    client.endpoint.start(0.0)
    network.run(until=10.0, done=lambda: connected(server, client))
    leaver, other = (server, client) if who == "server" else (client, server)
    leaver.endpoint.close()
    network.run(until=20.0)
    assert other.events[-1] == Closed()


def test_openssl_and_we_hear_each_others_goodbye() -> None:
    for we_leave in (True, False):
        server = OurNode(DtlsEndpoint(OUR_CONTEXT, DtlsRole.SERVER, [THEIR_FINGERPRINT]), "server", "client")
        client = OpenSslNode("client", "server", is_client=True)
        network = network_of(server, client)
        network.run(until=5.0, done=lambda c=client: c.is_done)
        if we_leave:
            server.endpoint.close()
        else:
            client.goodbye()
        network.run(until=10.0)
        assert client.said_goodbye if we_leave else server.events[-1] == Closed()
