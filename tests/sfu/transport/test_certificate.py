from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sfu.transport.certificate import Certificate, CertificateError

WALL_NOW = 1_795_000_000.5


def test_a_certificate_is_p256_valid_from_yesterday_for_its_days() -> None:
    certificate = Certificate.make(WALL_NOW, days=30)
    day_s = 86_400
    now = int(WALL_NOW)
    assert isinstance(certificate.key.curve, ec.SECP256R1)
    assert certificate.x509.not_valid_before_utc == datetime.fromtimestamp(now - day_s, UTC)
    assert certificate.not_after == now + 30 * day_s
    certificate.x509.verify_directly_issued_by(certificate.x509)


def test_two_certificates_share_neither_key_nor_serial_number() -> None:
    first, second = Certificate.make(WALL_NOW), Certificate.make(WALL_NOW)
    assert first.x509.serial_number != second.x509.serial_number
    assert first.key_pem != second.key_pem


def test_the_fingerprint_is_as_the_sdp_writes_it() -> None:
    certificate = Certificate.make(WALL_NOW)
    der = certificate.x509.public_bytes(serialization.Encoding.DER)
    assert re.fullmatch("([0-9A-F]{2}:){31}[0-9A-F]{2}", certificate.fingerprint)
    assert bytes.fromhex(certificate.fingerprint.replace(":", "")) == hashlib.sha256(der).digest()


def test_a_certificate_comes_back_from_its_pem() -> None:
    certificate = Certificate.make(WALL_NOW)
    again = Certificate.from_pem(certificate.certificate_pem, certificate.key_pem)
    assert again.fingerprint == certificate.fingerprint
    assert again.not_after == certificate.not_after
    assert again.key_pem == certificate.key_pem


def _rsa_pem() -> bytes:
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_pems_that_do_not_belong_together_are_refused() -> None:
    first, second = Certificate.make(WALL_NOW), Certificate.make(WALL_NOW)
    for certificate_pem, key_pem in (
        (first.certificate_pem, second.key_pem),
        (first.certificate_pem, first.certificate_pem),
        (first.key_pem, first.key_pem),
        (first.certificate_pem, _rsa_pem()),
        (b"", b""),
        (b"\xff", first.key_pem),
    ):
        with pytest.raises(CertificateError):
            Certificate.from_pem(certificate_pem, key_pem)
