"""One client and one endpoint on a simulated network: set-up, hostile neighbours, moves, the end."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from sfu.transport.certificate import Certificate
from sfu.transport.dtls import DtlsContext, DtlsRole
from sfu.transport.events import (
    Closed,
    Connected,
    ConsentExpired,
    Disconnected,
    Expired,
    PathDropped,
    PathSelected,
    PathValid,
    Reconnected,
)
from sfu.wire import dtls_record
from tests.scenarios import clients
from tests.scenarios.checks import REMOTE_UFRAG
from tests.scenarios.clients import SERVER, ClientNode, ServerNode, path_of
from tests.scenarios.dtls_nodes import THEIR_FINGERPRINT, WALL_NOW, OpenSslNode
from tests.scenarios.net import Link, Network

HOME = "198.51.100.1:40000"
MOBILE = "203.0.113.9:50000"
STRANGER = "198.51.100.66:6666"


def network_of(server: ServerNode, client: ClientNode, *, seed: int = 1, link: Link | None = None) -> Network:
    """Both on a network; the client may be at home or abroad."""
    network = Network(seed, link)
    network.attach(server, SERVER)
    network.attach(client, HOME, MOBILE)
    return network


def connected(server: ServerNode, client: ClientNode, times: int = 1) -> bool:
    """Whether both have the same keys for the so-manieth time."""
    if min(len(server.keys), len(client.keys)) < times:
        return False
    assert server.keys[-1].local == client.keys[-1].remote
    return True


def call(*, role: DtlsRole = DtlsRole.CLIENT) -> tuple[ServerNode, ClientNode, Network]:
    """A client that is connected; `role` is the client's."""
    server = ServerNode(DtlsRole.SERVER if role is DtlsRole.CLIENT else DtlsRole.CLIENT)
    client = ClientNode(HOME, role)
    network = network_of(server, client)
    network.run(until=5.0, done=lambda: connected(server, client))
    assert connected(server, client)
    return server, client, network


def hellos_of_a_stranger() -> list[bytes]:
    """A valid ClientHello of somebody else."""
    return [data for _, _, data in OpenSslNode("client", "server", is_client=True).take()]


def unchecked() -> float:
    """DTLS datagrams dropped for want of a check."""
    reason = {"reason": "unchecked_path"}
    return REGISTRY.get_sample_value("orchard_dtls_records_dropped_total", reason) or 0.0


# Set-up


@pytest.mark.parametrize("role", list(DtlsRole))
def test_a_client_is_connected_whatever_its_role(role: DtlsRole) -> None:
    server, _, network = call(role=role)
    assert network.now <= 0.16
    assert server.kinds()[:2] in (["PathValid", "PathSelected"], ["PathValid"])
    assert server.kinds().count("Connected") == 1


def test_dtls_starts_without_waiting_for_use_candidate() -> None:
    server, client = ServerNode(), ClientNode(HOME, check_s=1000.0)
    network = network_of(server, client)
    network.lose = lambda count, _source, _destination, data: data[0] < 20 and count > 1
    network.run(until=5.0, done=lambda: connected(server, client))
    assert connected(server, client)
    assert server.endpoint.selected_path == path_of(HOME)


@pytest.mark.parametrize("role", list(DtlsRole))
@pytest.mark.parametrize("seed", range(15))
def test_a_client_is_connected_over_a_bad_network(role: DtlsRole, seed: int) -> None:
    server = ServerNode(DtlsRole.SERVER if role is DtlsRole.CLIENT else DtlsRole.CLIENT)
    client = ClientNode(HOME, role)
    link = Link(latency_s=0.05, jitter_s=0.04, loss=0.25, duplicate=0.1, reorder=0.2)
    network = network_of(server, client, seed=seed, link=link)
    network.run(until=30.0, done=lambda: connected(server, client))
    assert connected(server, client), f"seed {seed}"


# Hostile neighbours


def test_w1_a_hundred_thousand_forged_hellos_fail_no_call_and_get_no_answer() -> None:
    hellos = hellos_of_a_stranger()
    before = unchecked()
    to_strangers: list[bytes] = []
    calls, forged = 20, 5_000
    for _ in range(calls):
        server, client = ServerNode(), ClientNode(HOME)
        network = network_of(server, client)

        def watch(_count: int, source: str, destination: str, data: bytes) -> bool:
            if source == SERVER and destination != HOME:
                to_strangers.append(data)
            return False

        network.lose = watch
        for _ in range(forged // 50):
            for _ in range(50):
                server.receive(hellos[0], STRANGER, SERVER, network.now)
            network.run(until=network.now + 0.004, done=lambda s=server, c=client: connected(s, c))
        network.run(until=5.0, done=lambda s=server, c=client: connected(s, c))
        assert connected(server, client)
    assert unchecked() - before == calls * forged
    assert to_strangers == []


def test_w1_dtls_of_a_client_that_has_not_checked_yet_waits_for_its_check() -> None:
    server, client = ServerNode(), ClientNode(HOME)
    hello = hellos_of_a_stranger()[0]
    server.receive(hello, HOME, SERVER, 0.0)
    assert server.take() == []
    network = network_of(server, client)
    network.run(until=5.0, done=lambda: connected(server, client))
    assert connected(server, client)


def test_w2_a_hello_on_a_set_up_session_changes_nothing() -> None:
    server, client, network = call()
    for source in (HOME, STRANGER):
        for hello in hellos_of_a_stranger():
            server.receive(hello, source, SERVER, network.now)
    assert [data for _, _, data in server.take() if data[0] >= 20] == []
    network.run(until=20.0)
    assert server.kinds().count("Connected") == 1
    client.dtls.close()
    network.run(until=25.0)
    assert server.kinds()[-1] == "Closed"


def test_w36_nothing_is_sent_to_an_address_that_passed_no_check() -> None:
    """A small hello would otherwise bring a large flight upon whose address was forged."""
    server = ServerNode()
    for hello in hellos_of_a_stranger():
        server.receive(hello, STRANGER, SERVER, 0.0)
    assert server.take() == []
    assert server.endpoint.timer_at() == 7.0


def test_w36_w37_a_check_with_anothers_password_opens_no_path() -> None:
    server = ServerNode()
    server.receive(clients.binding(secret=b"guessed"), STRANGER, SERVER, 0.0)
    for hello in hellos_of_a_stranger():
        server.receive(hello, STRANGER, SERVER, 0.0)
    assert server.take() == []
    assert server.refused == 1


def test_junk_from_everywhere_changes_nothing() -> None:
    server, client, network = call()
    before = server.kinds()
    for first in range(64):
        for source in (HOME, STRANGER):
            for length in (1, 13, 40):
                server.receive(bytes((first,)) + bytes(length), source, SERVER, network.now)
    assert server.kinds() == before
    network.run(until=network.now + 20)
    assert server.kinds().count("Disconnected") == 0
    assert connected(server, client)


# Moves and restarts


def test_a_client_that_moves_is_followed_within_one_check() -> None:
    server, client, network = call()
    network.run(until=10.0)
    client.move(MOBILE, network.now)
    network.run(until=10.05)
    assert server.endpoint.selected_path == path_of(MOBILE)
    assert server.kinds().count("Connected") == 1
    network.run(until=60.0)
    assert (40.0, PathDropped(path_of(HOME))) in [(round(at), event) for at, event in server.events]
    assert "Disconnected" not in server.kinds()


def test_an_ice_restart_moves_the_session_and_keeps_dtls() -> None:
    server, client, network = call()
    server.endpoint.restart_ice(1, "new+", [THEIR_FINGERPRINT], network.now)
    client.move(MOBILE, network.now)
    client.restart_ice(1, "new+", network.now)
    network.run(until=network.now + 1.0)
    assert server.endpoint.selected_path == path_of(MOBILE)
    assert server.kinds().count("Connected") == 1


def test_w37_after_a_restart_the_old_credentials_get_no_answer() -> None:
    server, client, network = call()
    server.endpoint.restart_ice(1, "new+", [THEIR_FINGERPRINT], network.now)
    client.restart_ice(1, "new+", network.now)
    network.run(until=network.now + 1.0)
    answered = client.answered
    client.restart_ice(0, REMOTE_UFRAG, network.now)
    network.run(until=network.now + 5.0)
    assert client.answered == answered
    assert server.refused > 0


def test_w2_a_restart_with_another_fingerprint_starts_dtls_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    server, client, network = call()
    other = Certificate.make(WALL_NOW, days=36_500)
    monkeypatch.setattr(clients, "THEIR_CONTEXT", DtlsContext(other))
    server.endpoint.restart_ice(1, "new+", [f"sha-256 {other.fingerprint}"], network.now)
    client.start_dtls()
    client.restart_ice(1, "new+", network.now)
    network.run(until=network.now + 5.0, done=lambda: connected(server, client, times=2))
    assert connected(server, client, times=2)
    assert server.keys[0] != server.keys[1]


def test_a_client_whose_leading_section_went_makes_a_new_transport_under_the_same_credentials() -> None:
    """What Chromium and Firefox do: a goodbye on the old path, then checks and a ClientHello on a new one."""
    server, client, network = call()
    server.endpoint.begin_anew(DtlsRole.SERVER)
    client.dtls.close()
    network.run(until=network.now + 0.05)
    client.start_dtls()
    client.move(MOBILE, network.now)
    client.restart_ice(0, REMOTE_UFRAG, network.now)
    network.run(until=network.now + 5.0, done=lambda: connected(server, client, times=2))
    assert connected(server, client, times=2)
    assert server.keys[0] != server.keys[1]
    assert server.endpoint.selected_path == path_of(MOBILE)
    network.run(until=network.now + 5.0)
    assert "Closed" not in server.kinds()


def test_the_roles_may_turn_round_in_a_new_association() -> None:
    """RFC 8842 5.5: they are negotiated anew for each."""
    server, client, network = call()
    server.endpoint.begin_anew(DtlsRole.CLIENT)
    client.role = DtlsRole.SERVER
    client.start_dtls()
    client.move(MOBILE, network.now)
    network.run(until=network.now + 5.0, done=lambda: connected(server, client, times=2))
    assert connected(server, client, times=2)


def test_a_client_that_keeps_its_transport_after_all_goes_on() -> None:
    server, _, network = call()
    server.endpoint.begin_anew(DtlsRole.SERVER)
    network.run(until=network.now + 5.0)
    assert server.endpoint.selected_path == path_of(HOME)
    assert server.kinds().count("Connected") == 1


def test_a_restart_with_the_same_fingerprints_in_another_order_keeps_dtls() -> None:
    server = ServerNode(fingerprints=(THEIR_FINGERPRINT, "sha-1 00"))
    client = ClientNode(HOME)
    network = network_of(server, client)
    network.run(until=5.0, done=lambda: connected(server, client))
    server.endpoint.restart_ice(1, "new+", ["sha-1 00", THEIR_FINGERPRINT], network.now)
    client.dtls.close()
    network.run(until=network.now + 3.0)
    assert server.kinds()[-1] == "Closed"


# The end


def test_a_client_that_falls_silent_is_missed_at_7_s_loses_media_at_30_and_all_at_90() -> None:
    server, client, network = call()
    network.run(until=10.0)
    client.is_silent = True
    network.run(until=200.0)
    after = [(at, type(event)) for at, event in server.events if at > 10.0]
    assert [kind for _, kind in after] == [Disconnected, PathDropped, ConsentExpired, Expired]
    last_check_at = after[0][0] - 7.0
    assert last_check_at == pytest.approx(10.0, abs=0.5)
    assert [at - last_check_at for at, _ in after] == pytest.approx([7.0, 30.0, 30.0, 90.0])
    assert server.endpoint.is_over
    assert server.endpoint.timer_at() is None


def test_a_session_whose_consent_ended_comes_back_by_an_ice_restart_within_a_minute() -> None:
    server, client, network = call()
    client.is_silent = True
    network.run(until=80.0)
    assert isinstance(server.events[-1][1], ConsentExpired)
    client.is_silent = False
    server.endpoint.restart_ice(1, "new+", [THEIR_FINGERPRINT], network.now)
    client.restart_ice(1, "new+", network.now)
    network.run(until=82.0)
    came_back = [event for at, event in server.events if at > 79.0]
    assert came_back == [Reconnected(), PathValid(path_of(HOME)), PathSelected(path_of(HOME))]
    network.run(until=200.0)
    assert not server.endpoint.is_over


def test_a_client_that_says_goodbye_is_gone_after_the_grace_of_2_s() -> None:
    server, client, network = call()
    network.run(until=10.0)
    client.dtls.close()
    client.is_silent = True
    network.run(until=30.0)
    at, event = server.events[-1]
    assert event == Closed()
    assert at == pytest.approx(12.02)
    assert server.endpoint.is_over


def test_our_goodbye_reaches_the_client() -> None:
    server, client, network = call()
    server.endpoint.close()
    assert server.endpoint.is_over
    network.run(until=network.now + 1.0)
    assert isinstance(client.events[-1], Closed)
    assert not any(isinstance(event, Closed) for _, event in server.events)


def test_the_alert_that_says_why_reaches_the_client_before_the_end() -> None:
    server = ServerNode(fingerprints=(f"sha-256 {Certificate.make(WALL_NOW).fingerprint}",))
    client = ClientNode(HOME)
    network = network_of(server, client)
    alerts: list[bytes] = []

    def watch(_count: int, source: str, _destination: str, data: bytes) -> bool:
        if source == SERVER and data[0] == dtls_record.ContentType.ALERT:
            alerts.append(data)
        return False

    network.lose = watch
    network.run(until=5.0)
    assert server.kinds()[-1] == "Failed"
    assert server.endpoint.is_over
    assert len(alerts) == 1
    answered = client.answered
    network.run(until=10.0)
    assert client.answered == answered


def test_an_endpoint_that_is_over_takes_and_gives_nothing() -> None:
    server, _, network = call()
    server.endpoint.close()
    server.endpoint.close()
    network.run(until=network.now + 0.01)
    events = len(server.events)
    server.endpoint.restart_ice(5, None, [], network.now)
    network.run(until=network.now + 100.0)
    assert len(server.events) == events
    assert server.endpoint.handle_timer(1e9) == []
    assert not any(isinstance(event, Connected) for _, event in server.events[events:])
