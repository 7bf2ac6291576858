"""The certificates that TLS clients are shown: of files, or self-made for a trial."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sfu.base.privileges import user_name
from sfu.base.settings import Setting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sfu.base.settings import Config

SELF_MADE: Final = "self-made"

MOST: Final = 64  # chosen: each is looked at for each client that wants a name

CERTIFICATE = Setting(
    "turn.certificate",
    tuple[str, ...],
    (),
    help="PEM files of certificates for TLS, each with its chain; clients are shown the first that has the "
    "name which they ask for, or the first of all; self-made makes one for a trial; empty: no TLS",
)
KEY = Setting(
    "turn.key",
    tuple[str, ...],
    (),
    help="PEM files of the keys of turn.certificate, one for each in its order, without a password",
)


class CertificateError(Exception):
    """There is no such certificate; the text names the setting, its value and the way out."""


class PemPair(NamedTuple):
    """A certificate, with those that vouch for it, and its key, as PEM texts."""

    chain: bytes
    key: bytes


def read_pairs(config: Config, hosts: Iterable[str], wall_now: float) -> list[PemPair]:
    """As the settings say; none for no TLS. `hosts` are those that a self-made one names. Raises
    CertificateError."""
    certificates, keys = config[CERTIFICATE], config[KEY]
    if certificates == (SELF_MADE,) and not keys:
        return [make_pair(hosts, wall_now)]
    if SELF_MADE in certificates:
        raise CertificateError(f"{CERTIFICATE.flag} {SELF_MADE}: stands alone, without files and {KEY.flag}")
    if len(certificates) != len(keys):
        raise CertificateError(
            f"{CERTIFICATE.flag} {', '.join(certificates)}: {_many(len(certificates), 'certificate')} and "
            f"{_many(len(keys), 'key')}; give a {KEY.flag} for each, in the same order"
        )
    if len(certificates) > MOST:
        raise CertificateError(f"{CERTIFICATE.flag}: {len(certificates)} of them; at most {MOST} are taken")
    return [
        PemPair(_read(CERTIFICATE, chain), _read(KEY, key))
        for chain, key in zip(certificates, keys, strict=True)
    ]


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def make_pair(hosts: Iterable[str], wall_now: float, *, days: int = 30) -> PemPair:
    """A self-signed certificate (ECDSA P-256), valid from yesterday. Clients trust it only where told to."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Orchard TURN (self-made)")])
    start = datetime.fromtimestamp(wall_now, UTC) - timedelta(days=1)
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ip_address(host)) for host in sorted(set(hosts)))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days + 1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return PemPair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def unnamed(chains: Iterable[bytes], hosts: Iterable[str]) -> list[str]:
    """Those of `hosts` (names or addresses) that no certificate names: clients speak no TLS with them there.

    Names match as RFC 9525 6.3 has it, addresses as 6.4. Raises ValueError for what is no certificate.
    """
    certificates = [x509.load_pem_x509_certificate(chain) for chain in chains]
    names, addresses = set[str](), set[str]()
    for certificate in certificates:
        try:
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            continue
        names.update(name.lower() for name in found.get_values_for_type(x509.DNSName))
        addresses.update(map(str, found.get_values_for_type(x509.IPAddress)))
    return [host for host in hosts if not _is_named(host.lower().removesuffix("."), names, addresses)]


def _is_named(host: str, names: set[str], addresses: set[str]) -> bool:
    try:
        return str(ip_address(host)) in addresses
    except ValueError:
        return host in names or f"*.{host.partition('.')[2]}" in names


def _read(setting: Setting[tuple[str, ...]], path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        who = f" for user {user_name()}" if isinstance(error, PermissionError) else ""
        raise CertificateError(f"{setting.flag} {path}: {error.strerror}{who}") from error
