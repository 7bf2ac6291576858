"""The outside of DTLS 1.2 records: what can be read without keys (RFC 6347 4.1, 4.2.2).

record     type 1  version 2  epoch 2  sequence 6  length 2  payload
handshake  type 1  length 3  message_seq 2  fragment_offset 3  fragment_length 3  fragment
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER_LENGTH = 13
FRAGMENT_HEADER_LENGTH = 12
CLIENT_HELLO = 1

_HEADER = struct.Struct("!BHQH")  # the epoch and the sequence are read as one
_VERSIONS = (0xFEFF, 0xFEFD)  # a first ClientHello may say 1.0 on the outside
_SEQUENCE_BITS = 48


class ContentType(IntEnum):
    """What a record holds."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


class DtlsRecordError(ValueError):
    """A datagram that is not a row of DTLS 1.2 records."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `data` is all of it, header included."""

    content_type: ContentType
    version: int
    epoch: int
    sequence: int
    data: bytes

    @property
    def payload(self) -> bytes:
        """What follows the header, sealed if the epoch is not 0."""
        return self.data[HEADER_LENGTH:]


@dataclass(frozen=True, slots=True)
class Fragment:
    """The header of a piece of a handshake message."""

    message_type: int
    message_length: int
    message_seq: int
    offset: int
    length: int


def split(data: bytes) -> list[Record]:
    """The records of a datagram, at least one. Raises DtlsRecordError, for any other bytes."""
    records: list[Record] = []
    at = 0
    while at < len(data):
        if len(data) - at < HEADER_LENGTH:
            raise DtlsRecordError("shorter than a header")
        content_type, version, number, length = _HEADER.unpack_from(data, at)
        end = at + HEADER_LENGTH + length
        if not ContentType.CHANGE_CIPHER_SPEC <= content_type <= ContentType.APPLICATION_DATA:
            raise DtlsRecordError("unknown content type")
        if version not in _VERSIONS:
            raise DtlsRecordError("unknown version")
        if end > len(data):
            raise DtlsRecordError("a record runs past the end")
        records.append(
            Record(
                ContentType(content_type),
                version,
                number >> _SEQUENCE_BITS,
                number & (1 << _SEQUENCE_BITS) - 1,
                data[at:end],
            )
        )
        at = end
    if not records:
        raise DtlsRecordError("empty")
    return records


def fragments(record: Record) -> list[Fragment]:
    """The handshake fragments in a record of epoch 0 (senders may put several into one).

    Raises DtlsRecordError for what is none, or says nothing: an empty piece of a message with a body.
    """
    found: list[Fragment] = []
    payload = record.payload
    at = 0
    while at < len(payload):
        if len(payload) - at < FRAGMENT_HEADER_LENGTH:
            raise DtlsRecordError("shorter than a fragment's header")
        message_length = int.from_bytes(payload[at + 1 : at + 4], "big")
        offset = int.from_bytes(payload[at + 6 : at + 9], "big")
        length = int.from_bytes(payload[at + 9 : at + 12], "big")
        end = at + FRAGMENT_HEADER_LENGTH + length
        if end > len(payload) or offset + length > message_length or (message_length and not length):
            raise DtlsRecordError("a fragment is not part of its message")
        message_seq = int.from_bytes(payload[at + 4 : at + 6], "big")
        found.append(Fragment(payload[at], message_length, message_seq, offset, length))
        at = end
    if not found:
        raise DtlsRecordError("a handshake record without a message")
    return found


def encode(content_type: ContentType, epoch: int, sequence: int, payload: bytes) -> bytes:
    """A DTLS 1.2 record."""
    return (
        _HEADER.pack(content_type, _VERSIONS[-1], epoch << _SEQUENCE_BITS | sequence, len(payload)) + payload
    )


def renumber(record: Record, sequence: int) -> Record:
    """The record under another sequence number: sound for epoch 0 alone, where nothing covers it."""
    number = record.epoch << _SEQUENCE_BITS | sequence
    data = record.data[:3] + number.to_bytes(8, "big") + record.data[11:]
    return replace(record, sequence=sequence, data=data)


def pack(records: Iterable[Record], mtu: int) -> list[bytes]:
    """Datagrams of at most `mtu` bytes with the records in order; a longer record stands alone."""
    datagrams: list[bytes] = []
    current = b""
    for record in records:
        if current and len(current) + len(record.data) > mtu:
            datagrams.append(current)
            current = b""
        current += record.data
    return [*datagrams, current] if current else datagrams
