"""The header with which a proxy says whose connection it passes on: PROXY protocol, version 2.

    signature  version, command  family, transport  length   addresses      TLVs
    12         1                 1                  2        0, 12 or 36    to the length's end

It stands before all else on a connection. Its length is known after 16 bytes, so a reader need take nothing
of what follows it. Addresses are packed: 4 bytes, or 16 of IPv6, where an IPv4 address in IPv6's clothes is
given as IPv4.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

HEAD_BYTES: Final = 16
LONGEST_BYTES: Final = HEAD_BYTES + 0xFFFF

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_VERSION: Final = 2
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED: Final = 0x00
_SIZES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4 and over IPv6: bytes of an address
_CRC32C_TLV: Final = 0x03
_CRC32C: Final = 0x82F63B78  # Castagnoli's polynomial, lowest bit first (RFC 9260 appendix A)
_MAPPED: Final = bytes(10) + b"\xff\xff"


class ProxyFault(Enum):
    """What is wrong with a header."""

    NO_HEADER = "no_header"  # something else stands there
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    CHECKSUM = "checksum"


class ProxyHeaderError(ValueError):
    """Bytes that are no header, or none that is taken."""

    def __init__(self, fault: ProxyFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Proxied(NamedTuple):
    """Whose connection it is and where it arrived, as the proxy saw it."""

    client_ip: bytes
    client_port: int
    server_ip: bytes
    server_port: int


def header_size(start: bytes | bytearray, longest: int = LONGEST_BYTES) -> int:
    """How many bytes the header has that begins so; 16, which it has at least, until its length is there.

    Raises ProxyHeaderError as soon as a byte is there that no header has, and for one of more than `longest`.
    """
    if start[:12] != _SIGNATURE[: len(start)]:
        raise ProxyHeaderError(ProxyFault.NO_HEADER)
    if len(start) > 12 and (start[12] >> 4 != _VERSION or start[12] & 15 not in (_LOCAL, _PROXY)):
        raise ProxyHeaderError(ProxyFault.MALFORMED)
    if len(start) < HEAD_BYTES:
        return HEAD_BYTES
    size = HEAD_BYTES + int.from_bytes(start[14:16], "big")
    if size > longest:
        raise ProxyHeaderError(ProxyFault.TOO_LONG)
    return size


def read_header(header: bytes) -> Proxied | None:
    """What a whole header says; None where the connection is the proxy's own, such as a check of health, or
    of a client that it can't name. Raises ProxyHeaderError."""
    if len(header) < HEAD_BYTES or header_size(header) != len(header):
        raise ProxyHeaderError(ProxyFault.MALFORMED)
    kind = header[13]
    if header[12] & 15 == _LOCAL or kind == _UNSPECIFIED:
        return None
    size = _SIZES.get(kind)
    if size is None:
        raise ProxyHeaderError(ProxyFault.MALFORMED)
    tlvs_at = HEAD_BYTES + 2 * size + 4
    if len(header) < tlvs_at:
        raise ProxyHeaderError(ProxyFault.MALFORMED)
    _check_tlvs(header, tlvs_at)
    client, server = header[16 : 16 + size], header[16 + size : 16 + 2 * size]
    ports = header[tlvs_at - 4 : tlvs_at]
    return Proxied(
        _unmapped(client),
        int.from_bytes(ports[:2], "big"),
        _unmapped(server),
        int.from_bytes(ports[2:], "big"),
    )


def _check_tlvs(header: bytes, at: int) -> None:
    """Pass over the TLVs from `at` on; a checksum among them must be right."""
    while at < len(header):
        value_at = at + 3
        end = value_at + int.from_bytes(header[at + 1 : value_at], "big")
        if value_at > len(header) or end > len(header):
            raise ProxyHeaderError(ProxyFault.MALFORMED)
        if header[at] == _CRC32C_TLV:
            if end - value_at != 4:
                raise ProxyHeaderError(ProxyFault.MALFORMED)
            if crc32c(header[:value_at] + bytes(4) + header[end:]) != int.from_bytes(
                header[value_at:end], "big"
            ):
                raise ProxyHeaderError(ProxyFault.CHECKSUM)
        at = end


def _unmapped(ip: bytes) -> bytes:
    return ip[12:] if ip.startswith(_MAPPED) and len(ip) == 16 else ip


def _crc_table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC32C if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of a header (RFC 9260 appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
