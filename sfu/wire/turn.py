"""What TURN adds to STUN (RFC 8656, RFC 6062): methods, attributes' values, ChannelData, framing of streams.

As in `stun`, parsers judge form alone and are total: any bytes give a value or a `StunError`. Whether a
family, a transport or a channel is one that the server serves is for the server, which has codes for each.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from sfu.wire.stun import HEADER_LENGTH, MAGIC_COOKIE, StunError, decode_error_code, encode_error_code

CHANNEL_HEADER_LENGTH = 4
CHANNELS = range(0x4000, 0x5000)  # RFC 8656 12
CHANNELS_RFC5766 = range(0x4000, 0x8000)  # what older clients choose from
RESERVATION_TOKEN_LENGTH = 8
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17

_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_CHANNEL_HEADER = struct.Struct("!HH")
_ICMP = struct.Struct("!HBBI")
_RESERVES_NEXT = 0x80


class Method(IntEnum):
    """Methods of RFC 8656 17 and RFC 6062 6.1; Binding is `stun.BINDING`."""

    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    CONNECT = 0x00A
    CONNECTION_BIND = 0x00B
    CONNECTION_ATTEMPT = 0x00C


class TurnAttribute(IntEnum):
    """Types of attributes of RFC 8656 18 and RFC 6062 6.2."""

    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    RESERVATION_TOKEN = 0x0022
    CONNECTION_ID = 0x002A
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    ICMP = 0x8004


class AddressFamily(IntEnum):
    """Families as attributes number them (RFC 8489 14.1)."""

    IPV4 = 1
    IPV6 = 2


class Icmp(NamedTuple):
    """What an ICMP packet told of a datagram to a peer; `data` is the MTU if it was too big, else 0."""

    type: int
    code: int
    data: int


class ChannelData(NamedTuple):
    """Application data on a channel (RFC 8656 12.4)."""

    channel: int
    data: bytes


def encode_lifetime(lifetime_s: int) -> bytes:
    """The value of LIFETIME (RFC 8656 18.2)."""
    return lifetime_s.to_bytes(4, "big")


def decode_lifetime(value: bytes) -> int:
    """Seconds in a LIFETIME. Raises StunError."""
    return int.from_bytes(_exactly(4, value, "LIFETIME"), "big")


def encode_channel_number(channel: int) -> bytes:
    """The value of CHANNEL-NUMBER (RFC 8656 18.1)."""
    return channel.to_bytes(2, "big") + b"\0\0"


def decode_channel_number(value: bytes) -> int:
    """The 16 bits of a CHANNEL-NUMBER, in any range. Raises StunError."""
    return int.from_bytes(_exactly(4, value, "CHANNEL-NUMBER")[:2], "big")


def encode_requested_transport(protocol: int) -> bytes:
    """The value of REQUESTED-TRANSPORT (RFC 8656 18.8)."""
    return bytes((protocol, 0, 0, 0))


def decode_requested_transport(value: bytes) -> int:
    """The IP protocol number that is asked for, any of the 256. Raises StunError."""
    return _exactly(4, value, "REQUESTED-TRANSPORT")[0]


def encode_address_family(family: int) -> bytes:
    """The value of REQUESTED- and ADDITIONAL-ADDRESS-FAMILY (RFC 8656 18.6)."""
    return bytes((family, 0, 0, 0))


def decode_address_family(value: bytes) -> int:
    """The family that is asked for, of `AddressFamily` or not. Raises StunError."""
    return _exactly(4, value, "an address family")[0]


def encode_even_port(*, reserves_next: bool) -> bytes:
    """The value of EVEN-PORT (RFC 8656 18.7)."""
    return bytes((_RESERVES_NEXT if reserves_next else 0,))


def decode_even_port(value: bytes) -> bool:
    """Whether EVEN-PORT asks for the next port to be held (R). Raises StunError."""
    return _exactly(1, value, "EVEN-PORT")[0] & _RESERVES_NEXT != 0


def decode_dont_fragment(value: bytes) -> None:
    """DONT-FRAGMENT has no value (RFC 8656 18.9). Raises StunError."""
    _exactly(0, value, "DONT-FRAGMENT")


def decode_reservation_token(value: bytes) -> bytes:
    """The 8 bytes of a RESERVATION-TOKEN (RFC 8656 18.10). Raises StunError."""
    return _exactly(RESERVATION_TOKEN_LENGTH, value, "RESERVATION-TOKEN")


def encode_connection_id(connection_id: int) -> bytes:
    """The value of CONNECTION-ID (RFC 6062 6.2.1)."""
    return connection_id.to_bytes(4, "big")


def decode_connection_id(value: bytes) -> int:
    """The 32 bits of a CONNECTION-ID. Raises StunError."""
    return int.from_bytes(_exactly(4, value, "CONNECTION-ID"), "big")


def encode_address_error_code(family: int, code: int, reason: str = "") -> bytes:
    """The value of ADDRESS-ERROR-CODE (RFC 8656 18.12): an ERROR-CODE with a family in its first byte."""
    return bytes((family,)) + encode_error_code(code, reason)[1:]


def decode_address_error_code(value: bytes) -> tuple[int, int, str]:
    """Family, code and reason of an ADDRESS-ERROR-CODE. Raises StunError."""
    code, reason = decode_error_code(value)
    return value[0], code, reason


def encode_icmp(icmp: Icmp) -> bytes:
    """The value of ICMP (RFC 8656 18.13).

    Type and code have a byte each, as in ICMP. The RFC's figure draws them 7 and 9 bits wide, too few for
    a type.
    """
    return _ICMP.pack(0, icmp.type, icmp.code, icmp.data)


def decode_icmp(value: bytes) -> Icmp:
    """What an ICMP attribute tells. Raises StunError."""
    _, kind, code, data = _ICMP.unpack(_exactly(_ICMP.size, value, "ICMP"))
    return Icmp(kind, code, data)


def is_stun(first: int) -> bool:
    """Whether a message that begins with this byte is STUN's (RFC 8656 12, table 3)."""
    return first < 4


def is_channel_data(first: int) -> bool:
    """Whether a message that begins with this byte is ChannelData, of the older range too."""
    return 64 <= first < 128


def parse_channel_data(data: bytes) -> ChannelData:
    """Read a datagram, or a message out of a `Framer`. Raises StunError.

    What follows the length that it claims is padding and ignored (RFC 8656 12.5, 12.6).
    """
    if len(data) < CHANNEL_HEADER_LENGTH:
        raise StunError("shorter than a ChannelData header")
    channel, size = _CHANNEL_HEADER.unpack_from(data)
    if not is_channel_data(data[0]):
        raise StunError("no channel number")
    if size > len(data) - CHANNEL_HEADER_LENGTH:
        raise StunError("ChannelData is shorter than its length")
    return ChannelData(channel, data[CHANNEL_HEADER_LENGTH : CHANNEL_HEADER_LENGTH + size])


def build_channel_data(channel: int, data: bytes, *, padded: bool = False) -> bytes:
    """ChannelData, `padded` to 4 bytes on TCP and TLS (RFC 8656 12.5)."""
    message = _CHANNEL_HEADER.pack(channel, len(data)) + data
    return message + bytes(-len(message) % 4) if padded else message


class Framer:
    """Cuts a TCP or TLS stream into STUN messages and ChannelData (RFC 8489 6.2.2, RFC 8656 12.5).

    `feed` what was read, then `take` until there is None. `limit_bytes` is what a message may claim with
    header and padding; it can be raised between two messages, for a client that has proved who it is.
    What is held is less than one message and what was fed last. A fault is told at its first byte and
    again by every later `take`: such a stream can't be followed any more, and is to be closed.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._at = 0  # where the next message begins; what lies before it was taken
        self._fault: str | None = None

    @property
    def held_bytes(self) -> int:
        """How much was fed and not taken."""
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        """Take in what was read from the stream; after a fault it is thrown away."""
        if self._fault is None:
            self._buffer += data

    def take(self) -> bytes | None:
        """The next whole message without ChannelData's padding, or None. Raises StunError."""
        if self._fault is not None:
            raise StunError(self._fault)
        try:
            sizes = self._sizes()
        except StunError as error:
            self._fault = str(error)
            self._buffer.clear()
            self._at = 0
            raise
        if sizes is None or sizes[1] > self.held_bytes:
            # Once for each feed at most, and never more than the rest of one message.
            del self._buffer[: self._at]
            self._at = 0
            return None
        size, padded = sizes
        message = bytes(memoryview(self._buffer)[self._at : self._at + size])
        self._at += padded
        return message

    def rest(self) -> bytes:
        """All that was fed and not taken: of a stream that goes on as data (RFC 6062 5.4)."""
        rest = bytes(self._buffer[self._at :])
        self._buffer.clear()
        self._at = 0
        return rest

    def _sizes(self) -> tuple[int, int] | None:
        """The next message's size and that with padding; None as long as too little of it is there."""
        held = self.held_bytes
        if held == 0:
            return None
        stun = is_stun(self._buffer[self._at])
        if not stun and not is_channel_data(self._buffer[self._at]):
            raise StunError("neither STUN nor ChannelData")
        if held < CHANNEL_HEADER_LENGTH:
            return None
        _, length = _CHANNEL_HEADER.unpack_from(self._buffer, self._at)
        if stun:
            if length % 4:
                raise StunError("the length is not a multiple of 4")
            if not _COOKIE.startswith(bytes(self._buffer[self._at + 4 : self._at + 8])):
                raise StunError("no magic cookie")
        size = length + (HEADER_LENGTH if stun else CHANNEL_HEADER_LENGTH)
        padded = size + -size % 4
        if padded > self.limit_bytes:
            raise StunError(f"a message of more than {self.limit_bytes} bytes")
        return size, padded


def _exactly(size: int, value: bytes, name: str) -> bytes:
    if len(value) != size:
        raise StunError(f"{name} is not {size} bytes long")
    return value
