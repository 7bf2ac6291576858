"""Certificates that we make ourselves, and the renewal of those for DTLS.

Browsers check a DTLS certificate by the fingerprint in the SDP alone, so it is self-signed. A session
names one certificate for its whole life: renewal adds a new one for new sessions and keeps the old
ones until no session names them.
"""

from __future__ import annotations

import datetime
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sfu.base.log import get_logger
from sfu.directory.interface import StoredCertificate
from sfu.transport.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Collection

    from sfu.directory.interface import Directory

log = get_logger("directory")

DAY_S = 86_400.0
DTLS_LIFETIME_S = 365 * DAY_S  # chosen; browsers' own live 30 days
RENEWAL_S = 90 * DAY_S  # this long before its end a certificate gets a successor
HTTPS_LIFETIME_S = 397 * DAY_S  # the most that browsers take from public authorities
_BACKDATED_S = DAY_S  # clients' clocks run late


def make_dtls_certificate(wall_now: float, lifetime_s: float = DTLS_LIFETIME_S) -> StoredCertificate:
    """A self-signed ECDSA P-256 certificate with a random serial, valid from yesterday."""
    return _stored(Certificate.make(wall_now, days=int(lifetime_s / DAY_S)))


def make_https_certificate(hosts: Collection[str], wall_now: float) -> StoredCertificate:
    """A self-signed certificate for `hosts` (names and literal addresses) and for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Orchard (self-made)")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(wall_now - _BACKDATED_S))
        .not_valid_after(_moment(wall_now + HTTPS_LIFETIME_S))
        .add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _stored(Certificate(certificate, key))


def read_certificate(pem: bytes) -> StoredCertificate:
    """Certificate and key out of one PEM file. Raises ValueError for anything else."""
    return _stored(Certificate.from_pem(pem, pem))


def covers(certificate: StoredCertificate, hosts: Collection[str]) -> bool:
    """Whether an HTTPS certificate names each of `hosts`."""
    loaded = x509.load_pem_x509_certificate(certificate.certificate_pem)
    try:
        named = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return all(name in named for name in _alternative_names(hosts))


async def renew_certificates(directory: Directory, wall_now: float) -> StoredCertificate:
    """The certificate to name in new sessions, made if there is none or its end is near.

    To be called at start and once a day. Certificates that have ended and that no session names are
    deleted.
    """
    certificates = await directory.list_certificates()
    if certificates and certificates[0].not_after - wall_now > RENEWAL_S:
        newest = certificates[0]
    else:
        newest = make_dtls_certificate(wall_now)
        await directory.put_certificate(newest)
        log.info("directory.certificate_made", fingerprint=newest.fingerprint)
    ended = {stored.fingerprint for stored in certificates if stored.not_after < wall_now}
    if ended:
        named = {record.fingerprint.value for record in await directory.list_sessions()}
        for fingerprint in sorted(ended - named):
            await directory.delete_certificate(fingerprint)
            log.info("directory.certificate_deleted", fingerprint=fingerprint)
    return newest


def _alternative_names(hosts: Collection[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(("localhost", "127.0.0.1", "::1", *hosts)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _moment(wall_s: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(wall_s), datetime.UTC)


def _stored(certificate: Certificate) -> StoredCertificate:
    return StoredCertificate(
        fingerprint=certificate.fingerprint,
        certificate_pem=certificate.certificate_pem,
        key_pem=certificate.key_pem,
        not_after=certificate.not_after,
    )
