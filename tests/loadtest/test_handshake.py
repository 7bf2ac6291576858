"""The DTLS client against OpenSSL as server, datagrams passed by hand."""

from __future__ import annotations

import contextlib

import pytest
from OpenSSL import SSL

from loadtest.handshake import FIRST_WAIT_S, PATIENCE_S, Handshake, HandshakeError, Identity
from sfu.wire.srtp import SrtpProfile


class Server:
    """A DTLS server of OpenSSL's; it answers a datagram with datagrams (records, one each)."""

    def __init__(
        self, identity: Identity, profiles: bytes = b"SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"
    ) -> None:
        context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        context.set_tlsext_use_srtp(profiles)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_verify(SSL.VERIFY_PEER, _accept)
        self.ssl = SSL.Connection(context, None)
        self.ssl.set_ciphertext_mtu(1200)
        self.ssl.set_accept_state()

    def answer(self, datagram: bytes) -> list[bytes]:
        self.ssl.bio_write(datagram)
        with contextlib.suppress(SSL.WantReadError):
            self.ssl.do_handshake()
        return self.written()

    def written(self) -> list[bytes]:
        try:
            data = self.ssl.bio_read(65536)
        except SSL.WantReadError:
            return []
        records: list[bytes] = []
        while data:
            end = 13 + int.from_bytes(data[11:13], "big")
            records.append(data[:end])
            data = data[end:]
        return records


def _accept(*_: object) -> bool:
    return True


def talk(client: Handshake, server: Server, now: float = 0.0) -> None:
    """Pass datagrams both ways until there are no more."""
    while datagrams := client.take_datagrams():
        for datagram in datagrams:
            for answer in server.answer(datagram):
                client.receive_datagram(answer, now)


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity()


def test_both_sides_get_the_same_keys(identity: Identity) -> None:
    client, server = Handshake(identity, identity.fingerprint, 0.0), Server(identity)
    talk(client, server)
    assert client.keys is not None
    assert client.keys.profile is SrtpProfile.AEAD_AES_128_GCM
    secret = server.ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 56)
    assert client.keys.local == secret[:16] + secret[32:44]
    assert client.keys.remote == secret[16:32] + secret[44:]
    assert client.timer_at() is None


def test_a_lost_flight_is_sent_again_byte_for_byte(identity: Identity) -> None:
    client, server = Handshake(identity, identity.fingerprint, 0.0), Server(identity)
    lost = client.take_datagrams()
    client.handle_timer(FIRST_WAIT_S - 0.01)
    assert client.take_datagrams() == []
    client.handle_timer(FIRST_WAIT_S)
    assert client.timer_at() == pytest.approx(3 * FIRST_WAIT_S)
    again = client.take_datagrams()
    assert again == lost
    for answer in server.answer(again[0]):
        client.receive_datagram(answer, FIRST_WAIT_S)
    talk(client, server)
    assert client.keys is not None


def test_a_silent_server_is_given_up(identity: Identity) -> None:
    client = Handshake(identity, identity.fingerprint, 0.0)
    while (at := client.timer_at()) is not None and at < PATIENCE_S:
        client.handle_timer(at)
    with pytest.raises(HandshakeError, match="no DTLS answer"):
        client.handle_timer(at or 0.0)


def test_another_certificate_than_the_sdp_named_is_refused(identity: Identity) -> None:
    client, server = Handshake(identity, "00" * 32, 0.0), Server(identity)
    with pytest.raises(HandshakeError, match="not the one that its SDP named"):
        talk(client, server)
    assert client.keys is None


def test_a_server_without_our_profile_is_an_error(identity: Identity) -> None:
    client, server = (
        Handshake(identity, identity.fingerprint, 0.0),
        Server(identity, b"SRTP_AES128_CM_SHA1_80"),
    )
    with pytest.raises(HandshakeError, match="no SRTP profile"):
        talk(client, server)


def test_goodbyes_are_said_and_heard(identity: Identity) -> None:
    client, server = Handshake(identity, identity.fingerprint, 0.0), Server(identity)
    talk(client, server)
    server.ssl.shutdown()
    for datagram in server.written():
        client.receive_datagram(datagram, 1.0)
    assert client.closed

    client, server = Handshake(identity, identity.fingerprint, 0.0), Server(identity)
    talk(client, server)
    client.close()
    [goodbye] = client.take_datagrams()
    server.ssl.bio_write(goodbye)
    with pytest.raises(SSL.ZeroReturnError):
        server.ssl.recv(100)
