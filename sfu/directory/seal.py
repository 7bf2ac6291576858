"""Sealing what leaves the process: whoever reads the store, and lacks the cluster secret, learns nothing.

    sealed = 0x01 | format (2 bytes) | nonce (12 bytes) | AES-256-GCM of the value

The key is derived from the cluster secret and the value's name (HKDF-SHA256, RFC 5869): one key for each
name, so that random nonces never come near their bound (2^32 messages of one key, NIST SP 800-38D 8.3).
Name, version and header are associated data: a value that is put under another name, or an old one in
the place of a newer version, does not open.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from sfu.directory.interface import Unavailable

if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["session", "app", "certificate", "node"]

_SEAL = 1  # the first byte: how the rest is made
_HEADER = struct.Struct("!BH")
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 32
_CHECK_BYTES = 16
_SALT = b"orchard directory 1"


class Unreadable(Unavailable):
    """A value of the store can't be used; the text says why, and nothing of the value."""


class NewerFormat(Unreadable):
    """A newer version of Orchard has written the value."""

    def __init__(self, kind: str, name: str, found: int, known: int) -> None:
        super().__init__(
            f"{kind} {name}: written by a newer Orchard (format {found}, this one knows up to {known}); "
            "upgrade this node"
        )


class Sealer:
    """Seals and opens values with keys of one cluster secret."""

    def __init__(self, cluster_secret: bytes) -> None:
        self._root = HKDF(SHA256(), _KEY_BYTES, _SALT, b"values").derive(cluster_secret)
        self.check = HKDF(SHA256(), _CHECK_BYTES, _SALT, b"check").derive(cluster_secret)
        """Tells two secrets apart, and nothing about either: the store may hold it."""

    def is_of_this_secret(self, check: bytes) -> bool:
        """Whether `check` is that of the same secret."""
        return hmac.compare_digest(self.check, check)

    def seal(self, kind: Kind, name: str, value: bytes, *, form: int, version: int = 0) -> bytes:
        """`value` sealed, to be kept under `name`; `form` is the format that it is written in."""
        header = _HEADER.pack(_SEAL, form)
        nonce = os.urandom(_NONCE_BYTES)
        bound = _bound(header, kind, name, version)
        return header + nonce + AESGCM(self._key(kind, name)).encrypt(nonce, value, bound)

    def open(self, kind: Kind, name: str, sealed: bytes, *, form: int, version: int = 0) -> bytes:
        """The value that was sealed; `form` is the newest format that can be read.

        Raises NewerFormat, and Unreadable for whatever was not sealed for this name, version and secret.
        """
        if len(sealed) < _HEADER.size + _NONCE_BYTES + _TAG_BYTES:
            raise Unreadable(f"{kind} {name}: what is stored is none of Orchard's: too short")
        header, nonce = sealed[: _HEADER.size], sealed[_HEADER.size : _HEADER.size + _NONCE_BYTES]
        made, written = _HEADER.unpack(header)
        if made != _SEAL:
            raise Unreadable(f"{kind} {name}: sealed in a way that this version does not know ({made})")
        try:
            value = AESGCM(self._key(kind, name)).decrypt(
                nonce, sealed[len(header) + len(nonce) :], _bound(header, kind, name, version)
            )
        except InvalidTag:
            raise Unreadable(f"{kind} {name}: not sealed with this cluster's secret, or altered") from None
        if written > form:
            raise NewerFormat(kind, name, written, form)
        return value

    def _key(self, kind: str, name: str) -> bytes:
        return HKDFExpand(SHA256(), _KEY_BYTES, f"{kind} {name}".encode()).derive(self._root)


def _bound(header: bytes, kind: str, name: str, version: int) -> bytes:
    """Associated data; a name has no space in it, so no two names make the same."""
    return header + f"{kind} {name} {version}".encode()
