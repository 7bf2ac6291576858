"""STUN messages (RFC 8489) to values and back: ICE checks and TURN use the same codec.

Parsing is strict and total: any bytes give a `Message` or a `StunError`. It judges form alone (the
header, the attributes' lengths, FINGERPRINT where present); which methods and attributes a server
knows is for the server, and nothing in a message is to be believed before `verify_integrity`.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAGIC_COOKIE = 0x2112A442
HEADER_LENGTH = 20
TRANSACTION_ID_LENGTH = 12
BINDING = 0x001
MAX_ATTRIBUTES = 64  # chosen: checks and TURN's messages have under 20; a stranger's may cost no more

_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_FINGERPRINT_XOR = 0x5354554E
_FINGERPRINT_SIZE = 8  # header and value
_SHA1_LENGTH = 20
_SHA256_LENGTH = 32
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_IPV4 = 1
_IPV6 = 2


class MessageClass(IntEnum):
    """The two class bits of a message type (RFC 8489 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Attribute(IntEnum):
    """Types of attributes. Those below 0x8000 must be understood, the others may be ignored."""

    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    REALM = 0x0014
    NONCE = 0x0015
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PASSWORD_ALGORITHMS = 0x8002
    ALTERNATE_DOMAIN = 0x8003
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    NOMINATION = 0xC001  # libwebrtc, draft-thatcher-ice-renomination


class PasswordAlgorithm(IntEnum):
    """How a long-term password becomes a key (RFC 8489 18.5)."""

    MD5 = 1
    SHA256 = 2


class StunError(ValueError):
    """Bytes that are no STUN message, or an attribute's value that can't be read."""


@dataclass(frozen=True, slots=True)
class Message:
    """A well-formed message.

    `attributes` keeps order and duplicates and ends where MESSAGE-INTEGRITY stands (RFC 8489 9: what
    follows it is ignored); neither integrity attribute nor FINGERPRINT is among them.
    """

    method: int
    message_class: MessageClass
    transaction_id: bytes
    attributes: tuple[tuple[int, bytes], ...]
    has_fingerprint: bool  # it was there and right
    integrity_at: int | None  # offset of MESSAGE-INTEGRITY in `data`
    integrity_sha256_at: int | None
    data: bytes

    def get(self, attribute: int) -> bytes | None:
        """The first value of an attribute, or None (RFC 8489 14: later ones are ignored)."""
        for kind, value in self.attributes:
            if kind == attribute:
                return value
        return None

    def get_all(self, attribute: int) -> list[bytes]:
        """All values of an attribute that a method allows more than once."""
        return [value for kind, value in self.attributes if kind == attribute]

    def unknown_required(self, known: Collection[int]) -> tuple[int, ...]:
        """Types below 0x8000 that are not in `known`, each once, in order (for a 420)."""
        return tuple(
            dict.fromkeys(kind for kind, _ in self.attributes if kind < 0x8000 and kind not in known)
        )


def parse(data: bytes) -> Message:
    """Read one datagram as a message. Raises StunError (RFC 8489 6.3)."""
    if len(data) < HEADER_LENGTH:
        raise StunError("shorter than a header")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if kind & 0xC000:
        raise StunError("the first two bits are not 0")
    if cookie != MAGIC_COOKIE:
        raise StunError("no magic cookie")
    if length % 4 or length != len(data) - HEADER_LENGTH:
        raise StunError("the length is not that of the datagram")

    attributes: list[tuple[int, bytes]] = []
    integrity_at = integrity_sha256_at = None
    has_fingerprint = False
    at = HEADER_LENGTH
    while at < len(data):
        if has_fingerprint:
            raise StunError("FINGERPRINT is not last")
        if len(attributes) > MAX_ATTRIBUTES:
            raise StunError(f"more than {MAX_ATTRIBUTES} attributes")
        # `at` and the length are multiples of 4, so the 4 bytes of an attribute's header are there.
        attribute, size = _ATTRIBUTE.unpack_from(data, at)
        value_at = at + _ATTRIBUTE.size
        end = value_at + size
        if end > len(data):
            raise StunError("an attribute runs past the end")
        if attribute == Attribute.FINGERPRINT:
            if size != 4 or int.from_bytes(data[value_at:end], "big") != _fingerprint(data[:at]):
                raise StunError("FINGERPRINT is wrong")
            has_fingerprint = True
        elif integrity_sha256_at is not None:
            pass
        elif attribute == Attribute.MESSAGE_INTEGRITY_SHA256:
            if size % 4 or not 16 <= size <= _SHA256_LENGTH:
                raise StunError("MESSAGE-INTEGRITY-SHA256 has a wrong length")
            integrity_sha256_at = at
        elif integrity_at is not None:
            pass
        elif attribute == Attribute.MESSAGE_INTEGRITY:
            if size != _SHA1_LENGTH:
                raise StunError("MESSAGE-INTEGRITY has a wrong length")
            integrity_at = at
        else:
            attributes.append((attribute, data[value_at:end]))
        at = end + -size % 4

    return Message(
        method=(kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2,
        message_class=MessageClass((kind & 0x0010) >> 4 | (kind & 0x0100) >> 7),
        transaction_id=transaction_id,
        attributes=tuple(attributes),
        has_fingerprint=has_fingerprint,
        integrity_at=integrity_at,
        integrity_sha256_at=integrity_sha256_at,
        data=data,
    )


def verify_integrity(message: Message, key: bytes) -> bool:
    """Whether MESSAGE-INTEGRITY is there and made with `key` (RFC 8489 14.5), in constant time."""
    at = message.integrity_at
    if at is None:
        return False
    value_at = at + _ATTRIBUTE.size
    return hmac.compare_digest(
        _integrity(message.data[:at], key, "sha1", _SHA1_LENGTH),
        message.data[value_at : value_at + _SHA1_LENGTH],
    )


def verify_integrity_sha256(message: Message, key: bytes) -> bool:
    """As `verify_integrity`, for MESSAGE-INTEGRITY-SHA256 of full length (RFC 8489 14.6)."""
    at = message.integrity_sha256_at
    if at is None:
        return False
    size = int.from_bytes(message.data[at + 2 : at + 4], "big")
    value_at = at + _ATTRIBUTE.size
    return size == _SHA256_LENGTH and hmac.compare_digest(
        _integrity(message.data[:at], key, "sha256", _SHA256_LENGTH), message.data[value_at : value_at + size]
    )


def build(
    method: int,
    message_class: MessageClass,
    transaction_id: bytes,
    attributes: Iterable[tuple[int, bytes]] = (),
    *,
    key: bytes | None = None,
    key_sha256: bytes | None = None,
    fingerprint: bool = True,
) -> bytes:
    """A message: `attributes`, then the integrity attributes whose key is given, then FINGERPRINT."""
    kind = (
        (method & 0x000F) | (method & 0x0070) << 1 | (method & 0x0F80) << 2
        | (message_class & 1) << 4 | (message_class & 2) << 7
    )  # fmt: skip
    body = b"".join(encode_attribute(attribute, value) for attribute, value in attributes)
    data = _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction_id) + body
    if key is not None:
        data += encode_attribute(Attribute.MESSAGE_INTEGRITY, _integrity(data, key, "sha1", _SHA1_LENGTH))
    if key_sha256 is not None:
        data += encode_attribute(
            Attribute.MESSAGE_INTEGRITY_SHA256, _integrity(data, key_sha256, "sha256", _SHA256_LENGTH)
        )
    if fingerprint:
        data = _with_length(data, _FINGERPRINT_SIZE)
        data += encode_attribute(Attribute.FINGERPRINT, _fingerprint(data).to_bytes(4, "big"))
        return data
    return _with_length(data, 0)


def encode_attribute(attribute: int, value: bytes) -> bytes:
    """One attribute with its padding."""
    return _ATTRIBUTE.pack(attribute, len(value)) + value + bytes(-len(value) % 4)


def encode_xor_address(ip: bytes, port: int, transaction_id: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS and its like; `ip` is 4 or 16 bytes (RFC 8489 14.2)."""
    family = _IPV4 if len(ip) == 4 else _IPV6
    pad = _COOKIE + transaction_id
    mixed = bytes(a ^ b for a, b in zip(ip, pad, strict=False))
    return struct.pack("!BBH", 0, family, port ^ (MAGIC_COOKIE >> 16)) + mixed


def decode_xor_address(value: bytes, transaction_id: bytes) -> tuple[bytes, int]:
    """The address (4 or 16 bytes) and port in a value. Raises StunError."""
    family = value[1] if len(value) > 1 else 0
    if (family, len(value)) not in ((_IPV4, 8), (_IPV6, 20)):
        raise StunError("no address of a known family")
    pad = _COOKIE + transaction_id
    port = int.from_bytes(value[2:4], "big") ^ (MAGIC_COOKIE >> 16)
    return bytes(a ^ b for a, b in zip(value[4:], pad, strict=False)), port


def encode_error_code(code: int, reason: str) -> bytes:
    """The value of ERROR-CODE; `code` is 300..699 (RFC 8489 14.8)."""
    return bytes((0, 0, code // 100, code % 100)) + reason.encode()


def decode_error_code(value: bytes) -> tuple[int, str]:
    """Code and reason of an ERROR-CODE. Raises StunError."""
    if len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        raise StunError("no error code")
    return (value[2] & 7) * 100 + value[3], value[4:].decode(errors="replace")


def encode_unknown_attributes(attributes: Iterable[int]) -> bytes:
    """The value of UNKNOWN-ATTRIBUTES (RFC 8489 14.13)."""
    return b"".join(attribute.to_bytes(2, "big") for attribute in attributes)


def encode_password_algorithm(algorithm: PasswordAlgorithm) -> bytes:
    """The value of PASSWORD-ALGORITHM (RFC 8489 14.12); those there are take no parameters."""
    return _ATTRIBUTE.pack(algorithm, 0)


def encode_password_algorithms(algorithms: Iterable[PasswordAlgorithm]) -> bytes:
    """The value of PASSWORD-ALGORITHMS, the best first (RFC 8489 14.11)."""
    return b"".join(map(encode_password_algorithm, algorithms))


def decode_password_algorithms(value: bytes) -> tuple[tuple[int, bytes], ...]:
    """The algorithms' numbers and parameters. Raises StunError.

    PASSWORD-ALGORITHM has the same form with one entry.
    """
    entries: list[tuple[int, bytes]] = []
    at = 0
    while at < len(value):
        if at + _ATTRIBUTE.size > len(value):
            raise StunError("an algorithm is cut short")
        number, size = _ATTRIBUTE.unpack_from(value, at)
        start = at + _ATTRIBUTE.size
        if start + size > len(value):
            raise StunError("an algorithm's parameters run past the end")
        entries.append((number, value[start : start + size]))
        at = start + size + -size % 4
    return tuple(entries)


def decode_password_algorithm(value: bytes) -> tuple[int, bytes]:
    """The one algorithm's number and parameters. Raises StunError."""
    entries = decode_password_algorithms(value)
    if len(entries) != 1:
        raise StunError("not one algorithm")
    return entries[0]


def long_term_key(username: str, realm: str, password: str, algorithm: PasswordAlgorithm) -> bytes:
    """The HMAC key of a long-term credential (RFC 8489 9.2.2, 18.5.1).

    All three are taken as they are: OpaqueString (RFC 8265 4.2) was applied to them before.
    """
    text = f"{username}:{realm}:{password}".encode()
    if algorithm is PasswordAlgorithm.SHA256:
        return hashlib.sha256(text).digest()
    return hashlib.md5(text, usedforsecurity=False).digest()


def userhash(username: str, realm: str) -> bytes:
    """The value of USERHASH, which stands for a username that is not to be seen (RFC 8489 14.4)."""
    return hashlib.sha256(f"{username}:{realm}".encode()).digest()


def _with_length(data: bytes, more: int) -> bytes:
    """`data` with a header that says `more` bytes than there are follow it."""
    return data[:2] + (len(data) - HEADER_LENGTH + more).to_bytes(2, "big") + data[4:]


def _integrity(before: bytes, key: bytes, algorithm: str, size: int) -> bytes:
    """The HMAC over all that stands before it, under a length that ends with it."""
    return hmac.digest(key, _with_length(before, _ATTRIBUTE.size + size), algorithm)


def _fingerprint(before: bytes) -> int:
    """The CRC over all that stands before it; the length in the header already counts it."""
    return binascii.crc32(before) ^ _FINGERPRINT_XOR
