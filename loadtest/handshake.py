"""The DTLS 1.2 client of one light client, without I/O, and its SRTP keys (RFC 5764).

All clients of a process share one `Identity`: one certificate, one OpenSSL context. Datagrams go in by
`receive_datagram`, come out by `take_datagrams`; time is passed in. OpenSSL's own DTLS timer reads its own
clock, so the last flight is kept and sent again, byte for byte, on ours.
"""

from __future__ import annotations

import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from sfu.wire import dtls_record
from sfu.wire.srtp import SrtpKeys, SrtpProfile

MTU: Final = 1200
FIRST_WAIT_S: Final = 0.2  # chosen: many times a loopback, less than OpenSSL's 1 s
PATIENCE_S: Final = 10.0
_LABEL: Final = b"EXTRACTOR-dtls_srtp"
_PROFILES: Final = {f"SRTP_{p.name}": p for p in (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM)}


class HandshakeError(Exception):
    """The handshake can't succeed; the text says why."""


class Identity:
    """A certificate (ECDSA P-256, self-made) and the OpenSSL context that all handshakes share."""

    def __init__(self, profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loadtest")])
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .sign(self.key, hashes.SHA256())
        )
        self.fingerprint = self.certificate.fingerprint(hashes.SHA256()).hex()
        self.context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        self.context.use_certificate(self.certificate)
        self.context.use_privatekey(self.key)
        self.context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
        self.context.set_tlsext_use_srtp(f"SRTP_{profile.name}".encode())
        self.context.set_options(SSL.OP_NO_QUERY_MTU)
        # Certificates are self-made on both sides: the fingerprint in the SDP is what is checked.
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept)


def _accept(*_: object) -> bool:
    return True


class Handshake:
    """One handshake as client. Begun; then `keys` is set or HandshakeError was raised; then closed."""

    def __init__(self, identity: Identity, remote_fingerprint: str, now: float) -> None:
        self._fingerprint = remote_fingerprint
        self._ssl = SSL.Connection(identity.context, None)
        self._ssl.set_ciphertext_mtu(MTU)
        self._ssl.set_connect_state()
        self._flight: list[bytes] = []
        self._out: list[bytes] = []
        self._wait_s = FIRST_WAIT_S
        self._resend_at: float | None = now + FIRST_WAIT_S
        self._gives_up_at = now + PATIENCE_S
        self.keys: SrtpKeys | None = None
        self.closed = False  # the other side said goodbye, or we did
        self._step()

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take one datagram. Raises HandshakeError if it ends the handshake in failure."""
        if self.closed:
            return
        self._ssl.bio_write(data)
        if self.keys is not None:
            self._read()
            return
        before = self._flight
        self._step()
        if self._flight is not before:
            self._wait_s = FIRST_WAIT_S
            self._resend_at = now + self._wait_s
        if self.keys is not None:
            self._resend_at = None

    def timer_at(self) -> float | None:
        """When the last flight is sent again, or None."""
        return self._resend_at

    def handle_timer(self, now: float) -> None:
        """Send the last flight again if it is time. Raises HandshakeError when patience is at its end."""
        if self._resend_at is None or now < self._resend_at:
            return
        if now >= self._gives_up_at:
            raise HandshakeError(f"no DTLS answer within {PATIENCE_S:g} s")
        self._out += self._flight
        self._wait_s *= 2
        self._resend_at = now + self._wait_s

    def take_datagrams(self) -> list[bytes]:
        """What is to be sent now, in order."""
        out, self._out = self._out, []
        return out

    def close(self) -> None:
        """Say goodbye (close_notify), if there is anyone to say it to."""
        if self.keys is not None and not self.closed:
            try:
                self._ssl.shutdown()
            except SSL.Error as error:
                raise HandshakeError(f"close_notify: {error}") from error
            self._out += self._written()
        self.closed = True
        self._resend_at = None

    def _step(self) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._new_flight()
            return
        except SSL.Error as error:
            raise HandshakeError(f"DTLS handshake: {error}") from error
        self._new_flight()
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None or certificate.fingerprint(hashes.SHA256()).hex() != self._fingerprint:
            raise HandshakeError("the server's certificate is not the one that its SDP named")
        self.keys = self._export()

    def _export(self) -> SrtpKeys:
        name = self._ssl.get_selected_srtp_profile().decode()
        profile = _PROFILES.get(name)
        if profile is None:
            raise HandshakeError(f"the server chose no SRTP profile that was offered, but {name!r}")
        key, salt = profile.key_bytes, profile.salt_bytes
        secret = self._ssl.export_keying_material(_LABEL, 2 * (key + salt))
        salts = secret[2 * key :]
        return SrtpKeys(
            profile, local=secret[:key] + salts[:salt], remote=secret[key : 2 * key] + salts[salt:]
        )

    def _read(self) -> None:
        """After the handshake: answer a repeated Finished, notice a goodbye."""
        try:
            self._ssl.recv(MTU)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self.closed = True
            raise HandshakeError(f"DTLS: {error}") from error
        self._out += self._written()

    def _new_flight(self) -> None:
        written = self._written()
        if written:
            self._flight = written
            self._out += written

    def _written(self) -> list[bytes]:
        """What OpenSSL wrote, as datagrams: its memory BIO forgets where each ended."""
        data = b""
        while True:
            try:
                data += self._ssl.bio_read(65536)
            except SSL.WantReadError:
                break
        return dtls_record.pack(dtls_record.split(data), MTU) if data else []
