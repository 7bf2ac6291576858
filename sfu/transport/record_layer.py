"""DTLS records after the handshake: AES-GCM with the keys that OpenSSL agreed on (RFC 5288, RFC 6347 4.1).

OpenSSL's object costs some 80 KiB for each session and is let go as soon as the handshake has ended.
What may still come is a repeated last flight, answered from a copy, and an alert: with the two keys and
two salts kept here, a few hundred bytes, the goodbye of a client is still proved and ours still sealed.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sfu.wire import dtls_record

if TYPE_CHECKING:
    from sfu.wire.dtls_record import ContentType, Record

EPOCH = 1  # the first and only one with keys: renegotiation is off
NONCE_LENGTH = 8  # the explicit part, in front of the sealed payload

_SALT_LENGTH = 4
_TAG_LENGTH = 16
_VERSION = b"\xfe\xfd"

# The cipher suites that we speak: length of the key, hash of the PRF.
SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": (16, "sha256"),
    "ECDHE-RSA-AES128-GCM-SHA256": (16, "sha256"),
    "ECDHE-ECDSA-AES256-GCM-SHA384": (32, "sha384"),
    "ECDHE-RSA-AES256-GCM-SHA384": (32, "sha384"),
}


class RecordRefused(ValueError):
    """A record that the peer did not seal."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a handshake agreed on."""

    suite: str
    master: bytes = field(repr=False)
    client_random: bytes
    server_random: bytes


@dataclass(slots=True)
class RecordLayer:
    """Seals and opens records of epoch 1.

    `next_sequence` goes on where OpenSSL's records ended. The explicit nonce is epoch and sequence;
    OpenSSL begins at a random number and counts, so those that it used are skipped: one nonce under one
    key is used once.
    """

    _local_key: bytes
    _local_salt: bytes
    _remote_key: bytes
    _remote_salt: bytes
    _next_sequence: int
    _used_nonces: frozenset[int]

    @classmethod
    def derive(
        cls, secrets: Secrets, *, is_client: bool, next_sequence: int, used_nonces: frozenset[int]
    ) -> RecordLayer:
        """The layer of one end (RFC 5246 6.3). `secrets.suite` is one of SUITES."""
        key_length, algorithm = SUITES[secrets.suite]
        block = _prf(
            secrets.master,
            b"key expansion" + secrets.server_random + secrets.client_random,
            2 * (key_length + _SALT_LENGTH),
            algorithm,
        )
        salts = block[2 * key_length :]
        client = (block[:key_length], salts[:_SALT_LENGTH])
        server = (block[key_length : 2 * key_length], salts[_SALT_LENGTH:])
        local, remote = (client, server) if is_client else (server, client)
        return cls(*local, *remote, next_sequence, used_nonces)

    def seal(self, content_type: ContentType, payload: bytes) -> bytes:
        """A record with `payload`."""
        while (number := EPOCH << 48 | self._next_sequence) in self._used_nonces:
            self._next_sequence += 1
        nonce = number.to_bytes(NONCE_LENGTH, "big")
        sealed = AESGCM(self._local_key).encrypt(
            self._local_salt + nonce, payload, _aad(content_type, self._next_sequence, len(payload))
        )
        record = dtls_record.encode(content_type, EPOCH, self._next_sequence, nonce + sealed)
        self._next_sequence += 1
        return record

    def open(self, record: Record) -> bytes:
        """What the peer sealed. Raises RecordRefused.

        There is no window against replay: all that is read here is a goodbye, and one is enough.
        """
        sealed = record.payload
        length = len(sealed) - NONCE_LENGTH - _TAG_LENGTH
        if record.epoch != EPOCH or length < 0:
            raise RecordRefused("not sealed")
        aad = _aad(record.content_type, record.sequence, length)
        try:
            return AESGCM(self._remote_key).decrypt(
                self._remote_salt + sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], aad
            )
        except InvalidTag as error:
            raise RecordRefused("the tag is wrong") from error


def _aad(content_type: ContentType, sequence: int, length: int) -> bytes:
    number = EPOCH << 48 | sequence
    return number.to_bytes(8, "big") + bytes((content_type,)) + _VERSION + length.to_bytes(2, "big")


def _prf(secret: bytes, seed: bytes, length: int, algorithm: str) -> bytes:
    """P_hash of RFC 5246 5; `seed` begins with the label."""
    out = b""
    chain = seed
    while len(out) < length:
        chain = hmac.digest(secret, chain, algorithm)
        out += hmac.digest(secret, chain + seed, algorithm)
    return out[:length]
