"""The certificate that we show in DTLS: self-signed ECDSA P-256, named in the SDP by its fingerprint."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_COMMON_NAME = "Orchard"  # browsers show it to nobody; it says nothing of the machine


class CertificateError(ValueError):
    """A PEM that holds no certificate and key that belong together."""


class Certificate:
    """A certificate with its key. Immutable."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.x509 = certificate
        self.key = key

    @classmethod
    def make(cls, wall_now: float, *, days: int = 90) -> Certificate:
        """A fresh one, valid from a day before `wall_now` (clocks of clients are wrong) for `days` from it.

        `wall_now` is seconds since 1970. The serial number is random.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _COMMON_NAME)])
        now = datetime.fromtimestamp(int(wall_now), UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def from_pem(cls, certificate_pem: bytes, key_pem: bytes) -> Certificate:
        """Read what `certificate_pem` and `key_pem` gave. Raises CertificateError."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
            raise CertificateError(f"not a PEM certificate and key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateError("the key is not an elliptic curve key")
        if certificate.public_key() != key.public_key():
            raise CertificateError("the key is not that of the certificate")
        return cls(certificate, key)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.x509.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS #8, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the DER form as the SDP writes it after `sha-256 `: upper-case hex pairs and colons."""
        return fingerprint(self.x509.public_bytes(serialization.Encoding.DER), "sha256")

    @property
    def not_after(self) -> float:
        """The end of validity, seconds since 1970."""
        return self.x509.not_valid_after_utc.timestamp()


def fingerprint(der: bytes, algorithm: str) -> str:
    """The digest of a certificate in the form of RFC 8122 5; `algorithm` is hashlib's name."""
    return hashlib.new(algorithm, der).digest().hex(":").upper()
