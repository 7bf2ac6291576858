"""The header of a proxy, against an encoder that knows nothing of the reader."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.wire.proxy_protocol import (
    HEAD_BYTES,
    Proxied,
    ProxyFault,
    ProxyHeaderError,
    crc32c,
    header_size,
    read_header,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
ADDRESSES = st.ip_addresses(v=4), st.ip_addresses(v=6)
PORTS = st.integers(0, 65535)
TLVS = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != 3), st.binary(max_size=40)), max_size=4
)


def encoded(
    command: int, kind: int, block: bytes, tlvs: Sequence[tuple[int, bytes]] = (), *, checked: bool = False
) -> bytes:
    """A header, with a checksum in its midst where it is to be `checked`."""
    rest = block + b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)
    at = len(rest)
    if checked:
        rest += struct.pack("!BHI", 3, 4, 0) + struct.pack("!BH", 4, 1) + b"\0"
    header = SIGNATURE + bytes([0x20 | command, kind]) + struct.pack("!H", len(rest)) + rest
    if not checked:
        return header
    at += HEAD_BYTES + 3
    return header[:at] + struct.pack("!I", plain_crc32c(header)) + header[at + 4 :]


def plain_crc32c(data: bytes) -> int:
    """Bit by bit, as RFC 9260 has the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tcp(client: str, port: int, server: str, server_port: int) -> tuple[int, bytes]:
    """Kind and address block of a connection over TCP."""
    ends = ip_address(client), ip_address(server)
    kind = 0x11 if isinstance(ends[0], IPv4Address) else 0x21
    return kind, ends[0].packed + ends[1].packed + struct.pack("!HH", port, server_port)


@st.composite
def headers(draw: st.DrawFn) -> tuple[Proxied, bytes]:
    """What a header is to say, and the header."""
    addresses = draw(st.sampled_from(ADDRESSES))
    client, server = draw(addresses), draw(addresses)
    ports = draw(PORTS), draw(PORTS)
    said = Proxied(plain(client), ports[0], plain(server), ports[1])
    kind, block = tcp(str(client), ports[0], str(server), ports[1])
    return said, encoded(1, kind, block, draw(TLVS), checked=draw(st.booleans()))


def plain(address: IPv4Address | IPv6Address) -> bytes:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).packed


@given(headers(), st.binary(max_size=64))
def test_what_a_proxy_says_is_read_whatever_follows_and_however_it_comes(
    given: tuple[Proxied, bytes], more: bytes
) -> None:
    said, header = given
    stream = header + more
    wanted = [header_size(stream[:have]) for have in range(len(header) + 1)]
    assert wanted == [HEAD_BYTES] * HEAD_BYTES + [len(header)] * (len(header) - HEAD_BYTES + 1)
    assert read_header(stream[: wanted[-1]]) == said


@given(st.binary(max_size=80) | headers().map(lambda made: made[1]), st.data())
def test_any_bytes_are_read_or_refused_and_no_change_of_a_checked_header_goes_unseen(
    start: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(start)))
    changed = start[:at] + data.draw(st.binary(max_size=3)) + start[at + data.draw(st.integers(0, 3)) :]
    try:
        size = header_size(changed)
        assert size >= HEAD_BYTES
        said = read_header(changed)
    except ProxyHeaderError:
        return
    assert size == len(changed)
    if said is not None:
        assert len(said.client_ip) in (4, 16)


@given(headers(), st.integers(0, 10_000))
def test_a_header_with_a_wrong_bit_is_refused_by_its_checksum(given: tuple[Proxied, bytes], bit: int) -> None:
    said, header = given
    kind, block = header[13], header[16 : 16 + (12 if header[13] == 0x11 else 36)]
    checked = bytearray(encoded(1, kind, block, checked=True))
    at = 16 * 8 + bit % (len(block) * 8)  # of the addresses: elsewhere other faults come first
    checked[at // 8] ^= 1 << at % 8
    with pytest.raises(ProxyHeaderError) as refused:
        read_header(bytes(checked))
    assert refused.value.fault is ProxyFault.CHECKSUM
    assert said is not None


def test_an_ipv4_client_in_ipv6_clothes_is_an_ipv4_client() -> None:
    said = read_header(encoded(1, *tcp("::ffff:198.51.100.7", 50000, "::ffff:192.0.2.1", 443)))
    assert said == Proxied(IPv4Address("198.51.100.7").packed, 50000, IPv4Address("192.0.2.1").packed, 443)


@pytest.mark.parametrize(
    "header",
    [
        encoded(0, 0x00, b""),  # a check of health
        encoded(0, *tcp("192.0.2.9", 1, "192.0.2.1", 2)),  # what stands there is not the connection's
        encoded(0, 0xFF, bytes(7)),
        encoded(1, 0x00, bytes(9)),  # a client that the proxy can't name
    ],
)
def test_a_proxys_own_connection_has_no_other_client(header: bytes) -> None:
    assert header_size(header) == len(header)
    assert read_header(header) is None


@pytest.mark.parametrize(
    ("start", "fault"),
    [
        (b"\x16", ProxyFault.NO_HEADER),  # TLS
        (b"P", ProxyFault.NO_HEADER),  # version 1
        (SIGNATURE[:5] + b"\x0a", ProxyFault.NO_HEADER),
        (SIGNATURE + b"\x11", ProxyFault.MALFORMED),  # version 1 of the second form
        (SIGNATURE + b"\x22", ProxyFault.MALFORMED),  # neither LOCAL nor PROXY
        (SIGNATURE + b"\x21\x11\x10\x00", ProxyFault.TOO_LONG),
    ],
)
def test_what_is_no_header_is_told_as_soon_as_its_byte_is_there(start: bytes, fault: ProxyFault) -> None:
    assert header_size(start[:-1], 4096) == HEAD_BYTES
    with pytest.raises(ProxyHeaderError) as refused:
        header_size(start, 4096)
    assert refused.value.fault is fault
    assert header_size(SIGNATURE + b"\x21\x11\x0f\xf0", 4096) == 4096


@pytest.mark.parametrize(
    "header",
    [
        encoded(1, 0x11, bytes(11)),  # half an address
        encoded(1, 0x21, bytes(35)),
        encoded(1, 0x12, bytes(12)),  # UDP
        encoded(1, 0x31, bytes(216)),  # a UNIX socket
        encoded(1, 0x11, bytes(12) + b"\x04\x00"),  # half a TLV
        encoded(1, 0x11, bytes(12) + b"\x04\x00\x02\x00"),  # one that runs over
        encoded(1, 0x11, bytes(12), [(3, b"\0\0\0")]),  # a checksum of three bytes
        encoded(1, 0x11, bytes(12)) + b"\0",  # more than it says
        SIGNATURE,
    ],
)
def test_a_header_that_its_parts_do_not_fill_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError) as refused:
        read_header(header)
    assert refused.value.fault is ProxyFault.MALFORMED


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 B.4
