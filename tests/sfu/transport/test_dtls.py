"""The DTLS endpoint: who it believes, what it agrees on, what it bears."""

from __future__ import annotations

import gc
import random
import weakref
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from prometheus_client import REGISTRY

from sfu.transport.dtls import DtlsContext, DtlsEndpoint, DtlsLimits, DtlsRole
from sfu.transport.events import Closed, Failed, FailReason
from sfu.wire import dtls_record
from sfu.wire.dtls_record import ContentType
from sfu.wire.srtp import SrtpKeys, SrtpProfile
from tests.scenarios.dtls_nodes import (
    OUR_CONTEXT,
    OUR_FINGERPRINT,
    OURS,
    THEIR_FINGERPRINT,
    THEIRS,
    OpenSslNode,
    OurNode,
    digest,
    server_and_client,
)
from tests.scenarios.net import Network, Node

ALL_PROFILES = b"SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"


def dropped(reason: str) -> float:
    """How many records were dropped for a reason so far."""
    value = REGISTRY.get_sample_value("orchard_dtls_records_dropped_total", {"reason": reason})
    return value or 0.0


def our_server(*fingerprints: str, limits: DtlsLimits | None = None, mtu: int = 1200) -> OurNode:
    """A server of ours that awaits a client with one of these certificates."""
    endpoint = DtlsEndpoint(OUR_CONTEXT, DtlsRole.SERVER, fingerprints, limits=limits, mtu=mtu)
    return OurNode(endpoint, "server", "client")


def our_client(*fingerprints: str) -> OurNode:
    """A client of ours that awaits a server with one of these certificates."""
    client = OurNode(DtlsEndpoint(OUR_CONTEXT, DtlsRole.CLIENT, fingerprints), "client", "server")
    client.endpoint.start(0.0)
    return client


def run(server: Node, client: Node, *, until: float = 5.0) -> Network:
    """Let the two talk over a network without loss."""
    network = Network(seed=1)
    network.attach(server, "server")
    network.attach(client, "client")
    network.run(until=until)
    return network


def connected_pair() -> tuple[OurNode, OurNode]:
    """Two ends of ours after their handshake."""
    server, client = server_and_client()
    client.endpoint.start(0.0)
    run(server, client)
    assert server.keys is not None
    assert client.keys is not None
    return server, client


# What is agreed on


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (b"SRTP_AEAD_AES_128_GCM", SrtpProfile.AEAD_AES_128_GCM),
        (b"SRTP_AEAD_AES_256_GCM", SrtpProfile.AEAD_AES_256_GCM),
        (b"SRTP_AES128_CM_SHA1_80", SrtpProfile.AES128_CM_SHA1_80),
        (b"SRTP_AES128_CM_SHA1_32", SrtpProfile.AES128_CM_SHA1_32),
        (ALL_PROFILES, SrtpProfile.AEAD_AES_128_GCM),
        (b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", SrtpProfile.AEAD_AES_256_GCM),
        (b"SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80", SrtpProfile.AES128_CM_SHA1_80),
    ],
)
def test_our_order_decides_the_profile_and_both_ends_have_its_keys(
    offered: bytes, chosen: SrtpProfile
) -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True, profiles=offered)
    run(server, client)
    assert server.keys is not None
    assert server.keys.profile is chosen
    material = client.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", chosen.exported_bytes)
    assert server.keys == SrtpKeys.from_exporter(chosen, material, is_client=False)


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_as_the_client_we_take_each_profile(profile: SrtpProfile) -> None:
    client = our_client(THEIR_FINGERPRINT)
    server = OpenSslNode("server", "client", is_client=False, profiles=profile.value.encode())
    run(server, client)
    assert client.keys is not None
    assert client.keys.profile is profile
    assert client.keys.local[: profile.key_bytes] == server.material[: profile.key_bytes]


def test_without_a_common_profile_it_fails_with_a_goodbye() -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True, profiles=b"")
    run(server, client)
    assert server.events == [Failed(FailReason.NO_SRTP_PROFILE)]
    assert client.said_goodbye


@pytest.mark.parametrize(
    "suite",
    [b"ECDHE-ECDSA-AES128-GCM-SHA256", b"ECDHE-ECDSA-AES256-GCM-SHA384"],
)
def test_goodbyes_are_sealed_and_opened_under_every_suite(suite: bytes) -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True, ciphers=suite)
    network = run(server, client)
    client.goodbye()
    network.run(until=10.0)
    assert server.events[-1] == Closed()


def test_a_client_hello_in_several_datagrams_is_put_together() -> None:
    """A post-quantum key share makes it longer than a datagram."""
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode(
        "client", "server", is_client=True, alpn=[bytes((97 + i,)) * 200 for i in range(12)], mtu=600
    )
    hello = client.take()
    assert len(hello) > 3
    for source, _, data in reversed(hello):
        server.receive(data, source, "server", 0.0)
    run(server, client)
    assert server.keys is not None


@pytest.mark.parametrize("mtu", [300, 512, 1200])
def test_no_datagram_is_larger_than_the_mtu_and_none_smaller_than_it_must_be(mtu: int) -> None:
    server, client = server_and_client(mtu=mtu)
    network = Network(seed=1)
    network.attach(server, "server")
    network.attach(client, "client")
    sizes: list[int] = []

    def lose(_count: int, _source: str, _destination: str, data: bytes) -> bool:
        sizes.append(len(data))
        return False

    network.lose = lose
    client.endpoint.start(0.0)
    network.run(until=5.0)
    assert server.keys is not None
    assert max(sizes) <= mtu
    if mtu == 1200:
        assert len(sizes) == 4


# Who is believed (W3)


@pytest.mark.parametrize("name", ["sha-256", "sha-384", "sha-512", "SHA-256"])
def test_w3_the_certificate_that_the_sdp_names_is_believed(name: str) -> None:
    _, digits = digest(THEIRS, name.lower()).split(" ")
    server = our_server(digest(OURS, "sha-256"), f"{name} {digits}")
    run(server, OpenSslNode("client", "server", is_client=True))
    assert server.keys is not None


def test_w3_the_case_of_the_digits_does_not_matter() -> None:
    server = our_server(THEIR_FINGERPRINT.lower())
    run(server, OpenSslNode("client", "server", is_client=True))
    assert server.keys is not None


@pytest.mark.parametrize(
    "fingerprints",
    [
        pytest.param([], id="none"),
        pytest.param(["sha-1 " + THEIRS.fingerprint], id="sha-1"),
        pytest.param(["sha-256"], id="no-digits"),
        pytest.param([THEIR_FINGERPRINT[:-3]], id="too-short"),
        pytest.param(["md5 00:11", "nonsense", ""], id="unknown"),
        pytest.param(["sha-256 XY:ZZ"], id="no-hex"),
    ],
)
def test_w3_without_an_acceptable_fingerprint_nobody_is_believed(fingerprints: list[str]) -> None:
    server = our_server(*fingerprints)
    client = OpenSslNode("client", "server", is_client=True)
    run(server, client)
    assert server.events == [Failed(FailReason.NO_FINGERPRINT)]
    assert not client.is_done


@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
def test_w3_another_certificate_fails_before_a_key_is_exported(name: str) -> None:
    server = our_server(digest(OURS, name), OUR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True)
    run(server, client)
    assert server.events == [Failed(FailReason.WRONG_FINGERPRINT)]
    assert isinstance(client.error, SSL.Error)
    assert not client.is_done


def test_w3_as_the_client_we_refuse_another_certificate_too() -> None:
    client = our_client(OUR_FINGERPRINT)
    server = OpenSslNode("server", "client", is_client=False)
    run(server, client)
    assert client.events == [Failed(FailReason.WRONG_FINGERPRINT)]
    assert not server.is_done


def test_w3_a_client_without_a_certificate_is_refused() -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True, certificate=None)
    run(server, client)
    assert server.events == [Failed(FailReason.HANDSHAKE_ERROR)]


class SwapsCertificate(OurNode):
    """A server on whose way a client's certificate becomes another one."""

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """Put the stolen certificate in."""
        super().receive(b"".join(map(self._swap, dtls_record.split(data))), source, destination, now)

    def _swap(self, record: dtls_record.Record) -> bytes:
        if record.epoch or record.payload[:1] != b"\x0b":
            return record.data
        der = THEIRS.x509.public_bytes(Encoding.DER)
        length = len(der).to_bytes(3, "big")
        body = (len(der) + 3).to_bytes(3, "big") + length + der
        size = len(body).to_bytes(3, "big")
        message = b"\x0b" + size + record.payload[4:6] + bytes(3) + size + body
        return dtls_record.encode(ContentType.HANDSHAKE, 0, record.sequence, message)


def test_w3_a_certificate_without_its_key_is_refused() -> None:
    """A stolen certificate, its proof of possession (CertificateVerify) made by another key."""
    endpoint = DtlsEndpoint(OUR_CONTEXT, DtlsRole.SERVER, [THEIR_FINGERPRINT])
    server = SwapsCertificate(endpoint, "server", "client")
    run(server, OpenSslNode("client", "server", is_client=True, certificate=OURS))
    assert server.events == [Failed(FailReason.HANDSHAKE_ERROR)]


# What is borne (W2, W4)


def test_w2_a_client_hello_after_the_handshake_is_ignored() -> None:
    server, _ = connected_pair()
    hello = OpenSslNode("client", "server", is_client=True).take()
    before = dropped("after_handshake")
    for source, _, data in hello:
        server.receive(data, source, "server", 10.0)
    assert server.take() == []
    assert server.endpoint.is_connected
    assert dropped("after_handshake") == before + 1


def test_w2_another_client_hello_in_the_handshake_never_starts_afresh() -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True)
    for source, _, data in client.take():
        server.receive(data, source, "server", 0.0)
    flight = server.take()
    for source, _, data in OpenSslNode("client", "server", is_client=True).take():
        server.receive(data, source, "server", 0.1)
    for _, _, data in flight:
        client.receive(data, "server", "client", 0.1)
    run(server, client)
    assert server.keys is not None


def test_a_repeated_last_flight_is_answered_but_not_for_each_datagram() -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True)
    network = Network(seed=1)
    network.attach(server, "server")
    network.attach(client, "client")
    last: list[bytes] = []

    def lose(_count: int, source: str, _destination: str, data: bytes) -> bool:
        if source == "client":
            last.append(data)
        return False

    network.lose = lose
    network.run(until=5.0)
    for now in (10.0, 10.01, 10.02, 11.0):
        for data in last:
            server.receive(data, "client", "server", now)
    answers = server.take()
    assert len(answers) == 2
    assert {answer[2][0] for answer in answers} == {ContentType.CHANGE_CIPHER_SPEC}


def test_w4_a_handshake_holds_at_most_32_pieces() -> None:
    server = our_server(THEIR_FINGERPRINT)
    before = dropped("limit")
    for i in range(100):
        header = (
            bytes((1,)) + (5000).to_bytes(3, "big") + bytes(2) + (i * 40).to_bytes(3, "big") + b"\0\0\x14"
        )
        server.receive(
            dtls_record.encode(ContentType.HANDSHAKE, 0, i, header + bytes(20)), "client", "server", 0.0
        )
    assert dropped("limit") == before + 100 - 32


def test_w4_a_handshake_holds_at_most_64_kib() -> None:
    server = our_server(THEIR_FINGERPRINT, limits=DtlsLimits(max_fragments=1000))
    before = dropped("limit")
    claims = bytes((1,)) + (1 << 20).to_bytes(3, "big") + bytes(2) + bytes(3) + b"\0\0\x14" + bytes(20)
    server.receive(dtls_record.encode(ContentType.HANDSHAKE, 0, 0, claims), "client", "server", 0.0)
    assert dropped("limit") == before + 1
    for i in range(100):
        header = (
            bytes((1,))
            + b"\x00\xff\xff"
            + bytes(2)
            + (i * 600).to_bytes(3, "big")
            + (1000).to_bytes(3, "big")
        )
        record = dtls_record.encode(ContentType.HANDSHAKE, 0, i, header + bytes(1000))
        server.receive(record, "client", "server", 0.0)
    assert dropped("limit") == before + 1 + 100 - 65


def test_w1_an_alert_in_the_clear_does_not_end_a_handshake() -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True)
    alert = dtls_record.encode(ContentType.ALERT, 0, 99, b"\x02\x28")
    server.receive(alert, "client", "server", 0.0)
    for source, _, data in client.take():
        server.receive(data, source, "server", 0.0)
    server.receive(alert, "client", "server", 0.0)
    run(server, client)
    assert server.keys is not None


def test_an_alert_in_the_clear_is_told_to_people_when_the_handshake_has_failed() -> None:
    server = our_server(THEIR_FINGERPRINT)
    for source, _, data in OpenSslNode("client", "server", is_client=True).take():
        server.receive(data, source, "server", 0.0)
    server.receive(dtls_record.encode(ContentType.ALERT, 0, 99, b"\x02\x2a"), "client", "server", 0.0)
    assert server.endpoint.handle_timer(31.0) == [Failed(FailReason.HANDSHAKE_TIMEOUT, "bad_certificate")]


def test_w1_a_forged_record_number_does_not_make_us_deaf() -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True)
    for source, _, data in client.take():
        server.receive(data, source, "server", 0.0)
    forged = dtls_record.encode(ContentType.CHANGE_CIPHER_SPEC, 0, (1 << 48) - 1, b"\x01")
    server.receive(forged, "client", "server", 0.0)
    run(server, client)
    assert server.keys is not None


def test_w1_what_is_no_client_hello_does_not_stand_in_the_way_of_one() -> None:
    server = our_server(THEIR_FINGERPRINT)
    nonsense = bytes((1,)) + b"\0\0\x14" + bytes(2) + bytes(3) + b"\0\0\x14" + b"\xff" * 20
    server.receive(dtls_record.encode(ContentType.HANDSHAKE, 0, 0, nonsense), "client", "server", 0.0)
    run(server, OpenSslNode("client", "server", is_client=True))
    assert server.keys is not None


def test_a_client_hello_that_openssl_cannot_serve_is_an_error_in_the_end() -> None:
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True, ciphers=b"ECDHE-ECDSA-CHACHA20-POLY1305")
    run(server, client, until=40.0)
    assert server.events == [Failed(FailReason.HANDSHAKE_ERROR)]


def test_a_forged_goodbye_is_not_believed() -> None:
    server, _ = connected_pair()
    before = dropped("forged"), dropped("after_handshake")
    for epoch, payload in ((0, b"\x01\x00"), (1, bytes(26)), (1, b""), (1, bytes(23))):
        alert = dtls_record.encode(ContentType.ALERT, epoch, 5, payload)
        assert server.endpoint.receive_datagram(alert, 10.0) == []
    assert (dropped("forged"), dropped("after_handshake")) == (before[0] + 3, before[1] + 1)
    assert server.endpoint.is_connected


def test_an_end_that_is_over_says_and_takes_nothing() -> None:
    server, client = connected_pair()
    client.endpoint.close()
    client.endpoint.close()
    assert len(client.take()) == 1
    before = dropped("over")
    assert client.endpoint.receive_datagram(dtls_record.encode(ContentType.ALERT, 1, 5, bytes(26)), 9.0) == []
    assert dropped("over") == before + 1
    assert client.endpoint.start(10.0) == []
    assert server.endpoint.is_connected


@pytest.mark.parametrize("seed", range(80))
def test_w4_bent_handshakes_raise_nothing(seed: int) -> None:
    """Datagrams are bent, cut and repeated on their way to a server of ours."""
    chance = random.Random(seed)
    server = our_server(THEIR_FINGERPRINT)
    client = OpenSslNode("client", "server", is_client=True)
    network = Network(seed)
    network.attach(server, "server")
    network.attach(client, "client")

    def bend(_count: int, source: str, _destination: str, sent: bytes) -> bool:
        if source == "server" or chance.random() < 0.4:
            return False
        bent = bytearray(sent)
        for _ in range(chance.randrange(4)):
            bent[chance.randrange(len(bent))] = chance.randrange(256)
        if chance.random() < 0.3:
            del bent[chance.randrange(len(bent)) :]
        server.receive(bytes(bent), "client", "server", network.now)
        return chance.random() < 0.5

    network.lose = bend
    network.run(until=40.0)
    assert len(server.events) <= 1
    if server.keys is not None:
        assert server.keys.remote[:16] == client.material[:16]


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_w4_noise_does_nothing(datagrams: list[bytes]) -> None:
    server = our_server(THEIR_FINGERPRINT)
    for data in datagrams:
        assert server.endpoint.receive_datagram(data, 0.0) == []
    assert server.take() == []


# Nonces (W5)


def test_w5_no_nonce_is_used_twice_and_ours_are_epoch_and_sequence() -> None:
    server, client = server_and_client()
    network = Network(seed=1)
    network.attach(server, "server")
    network.attach(client, "client")
    sealed: list[tuple[str, int, bytes]] = []

    def watch(_count: int, source: str, _destination: str, data: bytes) -> bool:
        records = [record for record in dtls_record.split(data) if record.epoch]
        sealed.extend((source, record.sequence, record.payload[:8]) for record in records)
        return False

    network.lose = watch
    client.endpoint.start(0.0)
    network.run(until=5.0)
    server.endpoint.close()
    client.endpoint.close()
    network.run(until=6.0)
    for source in ("server", "client"):
        finished, goodbye = (entry for entry in sealed if entry[0] == source)
        assert finished[2] != goodbye[2]
        assert goodbye[1] == finished[1] + 1
        assert goodbye[2] == (1 << 48 | goodbye[1]).to_bytes(8, "big")


# What it costs


def test_openssls_object_is_let_go_with_the_end_of_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[SSL.Connection]] = []
    connect = DtlsContext.connect

    def watch(*args: Any) -> SSL.Connection:
        connection = connect(*args)
        made.append(weakref.ref(connection))
        return connection

    monkeypatch.setattr(DtlsContext, "connect", watch)
    server = our_server(THEIR_FINGERPRINT)
    run(server, OpenSslNode("client", "server", is_client=True))
    assert server.keys is not None
    gc.collect()
    assert [reference() for reference in made] == [None]
