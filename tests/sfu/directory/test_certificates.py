"""What peers and browsers see of the certificates that we make."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sfu.directory.certificates import (
    covers,
    make_dtls_certificate,
    make_https_certificate,
    read_certificate,
)

NOW = 1_800_000_000.0


def test_a_dtls_certificate_is_p256_with_a_random_serial_and_valid_since_yesterday() -> None:
    first, second = (
        x509.load_pem_x509_certificate(make_dtls_certificate(NOW).certificate_pem) for _ in range(2)
    )
    key = first.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert first.serial_number != second.serial_number
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    assert first.not_valid_before_utc == moment - datetime.timedelta(days=1)
    assert first.not_valid_after_utc == moment + datetime.timedelta(days=365)


def test_the_fingerprint_is_that_of_rfc_8122() -> None:
    stored = make_dtls_certificate(NOW)
    der = x509.load_pem_x509_certificate(stored.certificate_pem).public_bytes(Encoding.DER)
    assert bytes.fromhex(stored.fingerprint.replace(":", "")) == hashlib.sha256(der).digest()
    assert stored.fingerprint == stored.fingerprint.upper()
    assert stored.fingerprint.count(":") == 31


def test_one_pem_file_holds_certificate_and_key() -> None:
    stored = make_dtls_certificate(NOW)
    assert read_certificate(stored.key_pem + stored.certificate_pem) == stored
    assert read_certificate(stored.certificate_pem + stored.key_pem) == stored


def test_a_certificate_with_the_key_of_another_is_refused() -> None:
    one, other = make_dtls_certificate(NOW), make_dtls_certificate(NOW)
    with pytest.raises(ValueError, match="key is not"):
        read_certificate(one.certificate_pem + other.key_pem)


def test_an_https_certificate_names_localhost_and_the_hosts() -> None:
    stored = make_https_certificate(["192.0.2.1", "2001:db8::1", "sfu.example"], NOW)
    names = x509.load_pem_x509_certificate(stored.certificate_pem).extensions
    alternative = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(alternative.get_values_for_type(x509.DNSName)) == {"localhost", "sfu.example"}
    addresses = ("127.0.0.1", "::1", "192.0.2.1", "2001:db8::1")
    assert set(alternative.get_values_for_type(x509.IPAddress)) == set(map(ipaddress.ip_address, addresses))
    assert covers(stored, ["sfu.example", "192.0.2.1"])
    assert not covers(stored, ["192.0.2.2"])
    assert not covers(make_dtls_certificate(NOW), [])
