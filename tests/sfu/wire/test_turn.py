"""TURN's values, ChannelData and framing against RFC 8656, RFC 6062 and any bytes.

Ids are those of the requirement list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.wire import stun, turn
from sfu.wire.stun import MessageClass, StunError
from sfu.wire.turn import ChannelData, Framer, Icmp, Method, TurnAttribute

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSACTION = bytes(range(12))
ALLOCATE = stun.build(
    Method.ALLOCATE,
    MessageClass.REQUEST,
    TRANSACTION,
    [(TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(turn.PROTOCOL_UDP))],
    fingerprint=False,
)
LIMIT = 2048


def taken(framer: Framer, *chunks: bytes) -> list[bytes]:
    """All messages that come of these chunks."""
    messages: list[bytes] = []
    for chunk in chunks:
        framer.feed(chunk)
        while (message := framer.take()) is not None:
            messages.append(message)
    return messages


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (turn.encode_lifetime(600), "00000258"),
        (turn.encode_channel_number(0x4001), "40010000"),
        (turn.encode_requested_transport(turn.PROTOCOL_UDP), "11000000"),
        (turn.encode_address_family(turn.AddressFamily.IPV6), "02000000"),
        (turn.encode_even_port(reserves_next=True), "80"),
        (turn.encode_even_port(reserves_next=False), "00"),
        (turn.encode_connection_id(0xDEADBEEF), "deadbeef"),
        (turn.encode_address_error_code(turn.AddressFamily.IPV6, 440, "no"), "020004286e6f"),
        (turn.encode_icmp(Icmp(type=3, code=4, data=1400)), "0000030400000578"),
    ],
)
def test_values_are_those_of_the_figures(value: bytes, encoded: str) -> None:
    assert value == bytes.fromhex(encoded)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.booleans())
def test_what_is_encoded_is_decoded(wide: int, half: int, byte: int, flag: bool) -> None:
    assert turn.decode_lifetime(turn.encode_lifetime(wide)) == wide
    assert turn.decode_connection_id(turn.encode_connection_id(wide)) == wide
    assert turn.decode_channel_number(turn.encode_channel_number(half)) == half
    assert turn.decode_requested_transport(turn.encode_requested_transport(byte)) == byte
    assert turn.decode_address_family(turn.encode_address_family(byte)) == byte
    assert turn.decode_even_port(turn.encode_even_port(reserves_next=flag)) == flag
    icmp = Icmp(byte, half & 0xFF, wide)
    assert turn.decode_icmp(turn.encode_icmp(icmp)) == icmp


@given(st.sampled_from(turn.AddressFamily), st.integers(300, 699), st.text(max_size=20))
def test_an_address_error_code_is_decoded_as_encoded(
    family: turn.AddressFamily, code: int, reason: str
) -> None:
    encoded = turn.encode_address_error_code(family, code, reason)
    assert turn.decode_address_error_code(encoded) == (family, code, reason)


DECODERS: list[tuple[Callable[[bytes], object], int]] = [
    (turn.decode_lifetime, 4),
    (turn.decode_channel_number, 4),
    (turn.decode_requested_transport, 4),
    (turn.decode_address_family, 4),
    (turn.decode_even_port, 1),
    (turn.decode_dont_fragment, 0),
    (turn.decode_reservation_token, 8),
    (turn.decode_connection_id, 4),
    (turn.decode_icmp, 8),
]


@pytest.mark.parametrize(("decode", "size"), DECODERS)
@given(value=st.binary(max_size=20))
def test_a_value_of_its_size_is_read_and_any_other_is_an_error(
    decode: Callable[[bytes], object], size: int, value: bytes
) -> None:
    if len(value) == size:
        decode(value)
    else:
        with pytest.raises(StunError):
            decode(value)


@given(st.binary(max_size=20))
def test_an_address_error_code_is_read_or_a_stun_error(value: bytes) -> None:
    try:
        _, code, _ = turn.decode_address_error_code(value)
    except StunError:
        return
    assert 300 <= code <= 699


@pytest.mark.parametrize("reserved", ["4001ffff", "40010001"])
def test_reserved_bits_are_ignored(reserved: str) -> None:
    assert turn.decode_channel_number(bytes.fromhex(reserved)) == 0x4001
    assert not turn.decode_even_port(b"\x7f")
    assert turn.decode_requested_transport(b"\x11\xff\xff\xff") == turn.PROTOCOL_UDP
    assert turn.decode_address_family(b"\x01\xff\xff\xff") == turn.AddressFamily.IPV4


@given(st.sampled_from([*turn.CHANNELS_RFC5766]), st.binary(max_size=100), st.booleans())
def test_channel_data_is_read_as_built(channel: int, data: bytes, padded: bool) -> None:
    message = turn.build_channel_data(channel, data, padded=padded)
    assert turn.parse_channel_data(message) == ChannelData(channel, data)
    assert not padded or len(message) % 4 == 0


def test_c3_channel_data_of_length_0_is_read() -> None:
    assert turn.parse_channel_data(bytes.fromhex("40000000")) == ChannelData(0x4000, b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("", id="empty"),
        pytest.param("400000", id="shorter-than-a-header"),
        pytest.param("4000000161"[:8], id="shorter-than-its-length"),
        pytest.param("4000000561626364", id="shorter-by-one"),
        pytest.param("8000000161", id="first-byte-128"),
        pytest.param("3fff000161", id="first-byte-63"),
    ],
)
def test_c3_c5_what_is_no_channel_data_is_an_error(data: str) -> None:
    with pytest.raises(StunError):
        turn.parse_channel_data(bytes.fromhex(data))


def test_c4_padding_of_a_datagram_is_tolerated() -> None:
    assert turn.parse_channel_data(bytes.fromhex("4000000161000000")) == ChannelData(0x4000, b"a")


@pytest.mark.parametrize("first", range(256))
def test_c5_the_first_byte_tells_stun_from_channel_data(first: int) -> None:
    assert turn.is_stun(first) == (first <= 3)
    assert turn.is_channel_data(first) == (64 <= first <= 127)


@given(
    st.lists(
        st.one_of(
            st.just(ALLOCATE),
            st.builds(turn.build_channel_data, st.sampled_from([0x4000, 0x7FFF]), st.binary(max_size=40)),
        ),
        max_size=8,
    ),
    st.lists(st.integers(1, 50), min_size=1),
)
def test_c4_a_stream_gives_its_messages_however_it_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(message + bytes(-len(message) % 4) for message in messages)
    chunks: list[bytes] = []
    at = 0
    while at < len(stream):
        size = cuts[len(chunks) % len(cuts)]
        chunks.append(stream[at : at + size])
        at += size
    framer = Framer(LIMIT)
    assert taken(framer, *chunks) == messages
    assert framer.held_bytes == 0


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=20))
@example([b"\0\1\0\0\x21\x12\xa4\x42", TRANSACTION, b"\xff"])
def test_a_stream_of_any_bytes_gives_messages_or_a_stun_error(chunks: list[bytes]) -> None:
    framer = Framer(64)
    try:
        messages = taken(framer, *chunks)
    except StunError:
        assert framer.held_bytes == 0
        return
    assert all(turn.is_stun(message[0]) or turn.is_channel_data(message[0]) for message in messages)
    assert framer.held_bytes < 64


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        pytest.param("", "04", id="first-byte-4"),
        pytest.param("", "16", id="tls-where-none-is"),
        pytest.param("", "80", id="first-byte-128"),
        pytest.param("000300", "02", id="length-not-of-4"),
        pytest.param("00030000", "20", id="cookie-1"),
        pytest.param("000300002112a4", "43", id="cookie-4"),
        pytest.param("000308", "00", id="a-claim-over-the-limit"),
        pytest.param("400007", "fd", id="channel-data-over-the-limit-with-its-padding"),
    ],
)
def test_a_fault_is_told_at_its_first_byte_and_ever_after(good: str, bad: str) -> None:
    framer = Framer(LIMIT)
    assert taken(framer, *(bytes((byte,)) for byte in bytes.fromhex(good))) == []
    framer.feed(bytes.fromhex(bad))
    for _ in range(2):
        with pytest.raises(StunError):
            framer.take()
    framer.feed(ALLOCATE)
    assert framer.held_bytes == 0
    with pytest.raises(StunError):
        framer.take()


@pytest.mark.parametrize(("limit", "claimed"), [(20 + 65532, 65532), (2048, 2028)])
def test_a_stun_message_of_just_the_limit_is_taken(limit: int, claimed: int) -> None:
    message = b"\0\3" + claimed.to_bytes(2, "big") + bytes.fromhex("2112a442") + bytes(12 + claimed)
    assert taken(Framer(limit), message) == [message]


def test_the_largest_channel_data_fits_a_limit_of_65540() -> None:
    message = turn.build_channel_data(0x4000, bytes(65535))
    assert taken(Framer(65540), message + b"\0") == [message]


def test_messages_before_a_fault_are_taken_first() -> None:
    framer = Framer(LIMIT)
    framer.feed(ALLOCATE + b"\xff")
    assert framer.take() == ALLOCATE
    with pytest.raises(StunError):
        framer.take()


def test_a_limit_that_is_raised_holds_for_the_next_message() -> None:
    framer = Framer(LIMIT)
    large = turn.build_channel_data(0x4000, bytes(4000))
    framer.feed(ALLOCATE + large)
    assert framer.take() == ALLOCATE
    framer.limit_bytes = 65540
    assert framer.take() == large


def test_the_rest_of_a_stream_is_handed_over() -> None:
    framer = Framer(LIMIT)
    framer.feed(ALLOCATE + b"\xffdata")
    framer.take()
    assert framer.rest() == b"\xffdata"
    assert framer.held_bytes == 0


def test_nothing_of_what_was_taken_is_kept() -> None:
    """What a stream leaves behind is less than a message, however many there were."""
    framer = Framer(LIMIT)
    for _ in range(1000):
        taken(framer, ALLOCATE + ALLOCATE[:7], ALLOCATE[7:])
        assert framer.held_bytes == 0
    framer.feed(ALLOCATE[:7])
    assert framer.take() is None
    assert framer.held_bytes == 7
