"""DTLS ends for the simulated network: ours, and one that is OpenSSL alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509

from sfu.transport.certificate import Certificate
from sfu.transport.dtls import DtlsContext, DtlsEndpoint, DtlsRole, DtlsTimers
from sfu.transport.events import Connected, DtlsEvent, Failed
from sfu.wire.srtp import SrtpKeys

WALL_NOW = 1_790_000_000.0  # in 2026: within the certificates' time for as long as they are valid
OURS = Certificate.make(WALL_NOW, days=36_500)
THEIRS = Certificate.make(WALL_NOW, days=36_500)
OUR_CONTEXT = DtlsContext(OURS)
THEIR_CONTEXT = DtlsContext(THEIRS)
OUR_FINGERPRINT = f"sha-256 {OURS.fingerprint}"
THEIR_FINGERPRINT = f"sha-256 {THEIRS.fingerprint}"


def digest(certificate: Certificate, name: str) -> str:
    """The fingerprint of a certificate by another hash, as the SDP writes it."""
    der = certificate.x509.public_bytes(Encoding.DER)
    return f"{name} {hashlib.new(name.replace('-', ''), der).digest().hex(':').upper()}"


def believe(_connection: SSL.Connection, _certificate: X509, _error: int, _depth: int, _ok: int) -> bool:
    """Take any certificate."""
    return True


@dataclass
class OurNode:
    """A `DtlsEndpoint` at one address that talks to one other."""

    endpoint: DtlsEndpoint
    address: str
    peer: str
    events: list[DtlsEvent] = field(default_factory=list[DtlsEvent])

    @property
    def keys(self) -> SrtpKeys | None:
        """The keys, once there are some."""
        return next((event.keys for event in self.events if isinstance(event, Connected)), None)

    @property
    def failure(self) -> Failed | None:
        """Why it failed, if it did."""
        return next((event for event in self.events if isinstance(event, Failed)), None)

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """Feed the endpoint."""
        assert (source, destination) == (self.peer, self.address)
        self.events += self.endpoint.receive_datagram(data, now)

    def timer_at(self) -> float | None:
        """As the endpoint says."""
        return self.endpoint.timer_at()

    def handle_timer(self, now: float) -> None:
        """Let the endpoint do what is due."""
        self.events += self.endpoint.handle_timer(now)

    def take(self) -> list[tuple[str, str, bytes]]:
        """What the endpoint sends."""
        return [(self.address, self.peer, data) for data in self.endpoint.take_datagrams()]


def server_and_client(
    *,
    timers: DtlsTimers | None = None,
    mtu: int = 1200,
    server_wants: str = THEIR_FINGERPRINT,
    client_wants: str = OUR_FINGERPRINT,
) -> tuple[OurNode, OurNode]:
    """Both ends ours, at "server" and "client"."""
    server = DtlsEndpoint(OUR_CONTEXT, DtlsRole.SERVER, [server_wants], timers=timers, mtu=mtu)
    client = DtlsEndpoint(THEIR_CONTEXT, DtlsRole.CLIENT, [client_wants], timers=timers, mtu=mtu)
    return OurNode(server, "server", "client"), OurNode(client, "client", "server")


class OpenSslNode:
    """pyOpenSSL as others use it: the peer of `OurNode` in the other role.

    It says again what it said last, by a timer of fixed length, until it has finished.
    """

    def __init__(
        self,
        address: str,
        peer: str,
        *,
        is_client: bool,
        certificate: Certificate | None = THEIRS,
        profiles: bytes = b"SRTP_AEAD_AES_128_GCM",
        ciphers: bytes = b"ECDHE-ECDSA-AES128-GCM-SHA256",
        alpn: list[bytes] | None = None,
        mtu: int = 1200,
        resend_s: float = 0.5,
    ) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, believe)
        context.set_cipher_list(ciphers)
        if profiles:
            context.set_tlsext_use_srtp(profiles)
        if certificate is not None:
            context.use_certificate(certificate.x509)
            context.use_privatekey(certificate.key)
        self.connection = SSL.Connection(context)
        self.connection.set_ciphertext_mtu(mtu)
        if alpn:
            self.connection.set_alpn_protos(alpn)
        if is_client:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()
        self.address = address
        self.peer = peer
        self.is_done = False
        self.error: SSL.Error | None = None
        self.said_goodbye = False
        self._mtu = mtu
        self._resend_s = resend_s
        self._resend_at: float | None = None
        self._last: list[bytes] = []
        self._outbox: list[bytes] = []
        if is_client:
            self._step(0.0)

    @property
    def material(self) -> bytes:
        """64 bytes of what both ends export."""
        return self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 64)

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """Feed OpenSSL a datagram."""
        assert (source, destination) == (self.peer, self.address)
        self.connection.bio_write(data)
        self._step(now)

    def timer_at(self) -> float | None:
        """When it says its last flight again."""
        return None if self.is_done or self.error else self._resend_at

    def handle_timer(self, now: float) -> None:
        """Say the last flight again."""
        self._outbox += self._last
        self._resend_at = now + self._resend_s

    def take(self) -> list[tuple[str, str, bytes]]:
        """What it sends."""
        datagrams, self._outbox = self._outbox, []
        return [(self.address, self.peer, data) for data in datagrams]

    def goodbye(self) -> None:
        """Send close_notify."""
        self.connection.shutdown()
        self._flush()

    def _step(self, now: float) -> None:
        try:
            if self.is_done:
                self.connection.recv(2048)
            else:
                self.connection.do_handshake()
                self.is_done = True
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.said_goodbye = True
        except SSL.Error as error:
            self.error = error
        if (sent := self._flush()) and not self.is_done:
            self._last = sent
            self._resend_at = now + self._resend_s

    def _flush(self) -> list[bytes]:
        try:
            data = self.connection.bio_read(1 << 16)
        except SSL.WantReadError:
            return []
        # As OpenSSL writes its records, one datagram each.
        sent: list[bytes] = []
        while data:
            end = 13 + int.from_bytes(data[11:13], "big")
            sent.append(data[:end])
            data = data[end:]
        self._outbox += sent
        return sent
