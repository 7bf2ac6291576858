"""A certificate authority of the tests' own, and what makes a browser trust it and no stranger.

Both browsers keep what their user trusts in an NSS database: Chromium in `~/.pki/nssdb`, Firefox in its
profile. `certutil` writes both, so no setting of the machine is touched. WebRTC's TURN over TLS looks
into the same places as pages do; what a driver switches off for pages is another matter, so a browser
with a trust store takes no other certificates for pages either.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.browser.driver import BrowserMissing

if TYPE_CHECKING:
    from pathlib import Path

_DAY = timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates that are valid for a day; its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Orchard tests")
        self._certificate = self._sign(
            self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), alternatives=None
        )
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        constraints: x509.BasicConstraints,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(constraints, critical=True)
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for a host name or an address, and its key, as files."""
        try:
            alternative = x509.IPAddress(ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            _name("server"),
            key,
            x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName([alternative]),
        )
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key.pem"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def trusted_in(self, folder: Path) -> Path:
        """Make `folder` a home and a profile for one browser that trusts this authority; returns it.

        Raises BrowserMissing without `certutil`.
        """
        certutil = shutil.which("certutil")
        if certutil is None:
            raise BrowserMissing("certutil: not found; script/setup --test installs it")
        for database in (folder / ".pki" / "nssdb", folder / "profile"):
            database.mkdir(parents=True)
            where = ("-d", f"sql:{database}")
            trusted = ("-n", "Orchard tests", "-t", "C,,", "-i", str(self.certificate))
            for command in (("-N", "--empty-password"), ("-A", *trusted)):
                subprocess.run([certutil, *where, *command], check=True, capture_output=True)
        return folder
