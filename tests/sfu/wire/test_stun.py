"""The STUN codec against RFC 8489, RFC 5769 and any bytes; ids are those of the requirement list."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass, PasswordAlgorithm, StunError

TRANSACTION = bytes(range(12))
KEY = b"VOkJxbRl1RmTxUk/WvJxBt"

RFC5769_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
RFC5769_IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RFC5769_IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
RFC5769_LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)

RFC8489_B1 = bytes.fromhex(
    "000100902112a44278ad3433c6ad72c029da412e001e00204a3cf38fef6992bda952c6780417da0f"
    "24819415569e60b205c46e41407f170400150029"
    "6f624d61744a6f7332414141"
    "43662f2f3439396b39353464364f4c33346f4c39465354767936347341000000"
    "0014000b6578616d706c652e6f726700"
    "001d000400020000"
    "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"
)


def request(*attributes: tuple[int, bytes], key: bytes | None = None, fingerprint: bool = True) -> bytes:
    return stun.build(
        stun.BINDING, MessageClass.REQUEST, TRANSACTION, attributes, key=key, fingerprint=fingerprint
    )


def with_length_of_all(data: bytes) -> bytes:
    """`data` with a header that counts all that follows it."""
    return data[:2] + struct.pack("!H", len(data) - stun.HEADER_LENGTH) + data[4:]


def test_rfc5769_request_is_read_and_verified() -> None:
    message = stun.parse(RFC5769_REQUEST)
    assert (message.method, message.message_class) == (stun.BINDING, MessageClass.REQUEST)
    assert message.get(Attribute.USERNAME) == b"evtj:h6vY"
    assert message.get(Attribute.PRIORITY) == bytes.fromhex("6e0001ff")
    assert message.has_fingerprint
    assert stun.verify_integrity(message, KEY)
    assert not stun.verify_integrity(message, KEY + b"x")


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (RFC5769_IPV4_RESPONSE, bytes((192, 0, 2, 1))),
        (RFC5769_IPV6_RESPONSE, bytes.fromhex("20010db8123456780011223344556677")),
    ],
)
def test_rfc5769_responses_are_read_and_verified(data: bytes, address: bytes) -> None:
    message = stun.parse(data)
    assert message.message_class is MessageClass.SUCCESS
    assert stun.verify_integrity(message, KEY)
    value = message.get(Attribute.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert stun.decode_xor_address(value, message.transaction_id) == (address, 32853)
    assert stun.encode_xor_address(address, 32853, message.transaction_id) == value


def test_rfc5769_long_term_request_is_verified_without_fingerprint() -> None:
    message = stun.parse(RFC5769_LONG_TERM)
    key = stun.long_term_key("マトリックス", "example.org", "TheMatrIX", PasswordAlgorithm.MD5)
    assert not message.has_fingerprint
    assert stun.verify_integrity(message, key)


@given(st.binary(max_size=200))
@example(b"")
@example(RFC5769_REQUEST)
def test_s1_w15_any_bytes_give_a_message_or_a_stun_error(data: bytes) -> None:
    try:
        message = stun.parse(data)
    except StunError:
        return
    assert message.data == data


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 30), st.binary(max_size=24))),
)
def test_s1_w15_lying_attributes_give_a_message_or_a_stun_error(
    kind: int, attributes: list[tuple[int, int, bytes]]
) -> None:
    """Widths that do not fit what follows, odd ones too (str0m #709)."""
    body = b"".join(struct.pack("!HH", attribute, size) + value for attribute, size, value in attributes)
    body += bytes(-len(body) % 4)
    data = struct.pack("!HHI", kind, len(body), stun.MAGIC_COOKIE) + TRANSACTION + body
    try:
        stun.parse(data)
    except StunError:
        return


@given(
    st.integers(0, 0xFFF),
    st.sampled_from(MessageClass),
    st.binary(min_size=12, max_size=12),
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF).filter(
                lambda kind: (
                    kind
                    not in (
                        Attribute.MESSAGE_INTEGRITY,
                        Attribute.MESSAGE_INTEGRITY_SHA256,
                        Attribute.FINGERPRINT,
                    )
                )
            ),
            st.binary(max_size=40),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_what_is_built_is_read_back(
    method: int,
    message_class: MessageClass,
    transaction_id: bytes,
    attributes: list[tuple[int, bytes]],
    fingerprint: bool,
) -> None:
    data = stun.build(
        method, message_class, transaction_id, attributes, key=b"k", key_sha256=b"l", fingerprint=fingerprint
    )
    message = stun.parse(data)
    assert (message.method, message.message_class) == (method, message_class)
    assert message.transaction_id == transaction_id
    assert message.attributes == tuple(attributes)
    assert message.has_fingerprint == fingerprint
    assert stun.verify_integrity(message, b"k")
    assert stun.verify_integrity_sha256(message, b"l")
    assert not stun.verify_integrity_sha256(message, b"k")


def test_no_flipped_bit_passes_for_a_message_with_fingerprint() -> None:
    for bit in range(len(RFC5769_REQUEST) * 8):
        sent = bytearray(RFC5769_REQUEST)
        sent[bit // 8] ^= 1 << bit % 8
        try:
            message = stun.parse(bytes(sent))
        except StunError:
            continue
        # The type of FINGERPRINT itself was hit: what is left has none.
        assert not message.has_fingerprint


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(RFC5769_REQUEST[:19], id="shorter-than-a-header"),
        pytest.param(b"\x40" + RFC5769_REQUEST[1:], id="first-two-bits"),
        pytest.param(RFC5769_REQUEST[:4] + b"\x21\x12\xa4\x43" + RFC5769_REQUEST[8:], id="cookie"),
        pytest.param(RFC5769_REQUEST + b"\0\0\0\0", id="longer-than-the-length"),
        pytest.param(RFC5769_REQUEST[:-4], id="shorter-than-the-length"),
        pytest.param(with_length_of_all(request(fingerprint=False) + b"\0\0"), id="length-not-of-4"),
    ],
)
def test_s1_a_datagram_that_is_no_stun_message_is_an_error(data: bytes) -> None:
    with pytest.raises(StunError):
        stun.parse(data)


def test_s3_padding_is_ignored_and_the_first_duplicate_wins() -> None:
    data = bytearray(request((Attribute.USERNAME, b"a"), (Attribute.USERNAME, b"b"), fingerprint=False))
    data[25:28] = b"xyz"
    message = stun.parse(bytes(data))
    assert message.get(Attribute.USERNAME) == b"a"
    assert message.get_all(Attribute.USERNAME) == [b"a", b"b"]


def test_s4_what_follows_message_integrity_is_ignored() -> None:
    signed = request((Attribute.USERNAME, b"a"), key=KEY, fingerprint=False)
    more = stun.encode_attribute(Attribute.USE_CANDIDATE, b"") + stun.encode_attribute(0x0777, b"")
    message = stun.parse(with_length_of_all(signed + more))
    assert stun.verify_integrity(message, KEY)
    assert message.get(Attribute.USE_CANDIDATE) is None
    assert message.unknown_required(frozenset(Attribute)) == ()


def test_s4_message_integrity_after_its_sha256_form_is_ignored() -> None:
    strong = stun.build(stun.BINDING, MessageClass.REQUEST, TRANSACTION, key_sha256=KEY, fingerprint=False)
    message = stun.parse(
        with_length_of_all(strong + stun.encode_attribute(Attribute.MESSAGE_INTEGRITY, bytes(20)))
    )
    assert message.integrity_at is None
    assert stun.verify_integrity_sha256(message, KEY)


def test_s5_unknown_required_attributes_are_listed_once_in_order() -> None:
    message = stun.parse(request((0x7002, b""), (0x7001, b""), (0x7002, b""), (0x9001, b""), (0xFFFF, b"")))
    assert message.unknown_required(frozenset(Attribute)) == (0x7002, 0x7001)
    assert stun.encode_unknown_attributes((0x7002, 0x7001)) == bytes.fromhex("70027001")


@pytest.mark.parametrize(("code", "value"), [(300, "00000300"), (487, "00000457"), (699, "00000663")])
def test_s6_error_codes_have_class_and_number(code: int, value: str) -> None:
    encoded = stun.encode_error_code(code, "why")
    assert encoded == bytes.fromhex(value) + b"why"
    assert stun.decode_error_code(encoded) == (code, "why")


@pytest.mark.parametrize("value", ["", "000003", "00000200", "00000700", "00000464"])
def test_s6_other_error_codes_are_errors(value: str) -> None:
    with pytest.raises(StunError):
        stun.decode_error_code(bytes.fromhex(value))


def test_s9_a_fingerprint_that_is_not_last_is_an_error() -> None:
    data = request() + stun.encode_attribute(Attribute.SOFTWARE, b"x")
    with pytest.raises(StunError):
        stun.parse(with_length_of_all(data))


@pytest.mark.parametrize("size", [0, 2, 3, 5, 8])
def test_s9_a_fingerprint_of_another_width_is_an_error(size: int) -> None:
    data = request(fingerprint=False) + stun.encode_attribute(Attribute.FINGERPRINT, bytes(size))
    with pytest.raises(StunError):
        stun.parse(with_length_of_all(data))


@pytest.mark.parametrize(
    ("attribute", "size"),
    [
        (Attribute.MESSAGE_INTEGRITY, 16),
        (Attribute.MESSAGE_INTEGRITY, 24),
        (Attribute.MESSAGE_INTEGRITY_SHA256, 12),
        (Attribute.MESSAGE_INTEGRITY_SHA256, 18),
        (Attribute.MESSAGE_INTEGRITY_SHA256, 36),
    ],
)
def test_s10_integrity_of_another_width_is_an_error(attribute: Attribute, size: int) -> None:
    data = request(fingerprint=False) + stun.encode_attribute(attribute, bytes(size))
    with pytest.raises(StunError):
        stun.parse(with_length_of_all(data))


def test_s10_a_shortened_sha256_is_read_but_never_verifies() -> None:
    whole = stun.build(stun.BINDING, MessageClass.REQUEST, TRANSACTION, key_sha256=KEY, fingerprint=False)
    short = whole[:20] + stun.encode_attribute(Attribute.MESSAGE_INTEGRITY_SHA256, whole[24:40])
    message = stun.parse(with_length_of_all(short))
    assert message.integrity_sha256_at == 20
    assert not stun.verify_integrity_sha256(message, KEY)


def test_s11_a_username_of_763_bytes_is_read() -> None:
    message = stun.parse(request((Attribute.USERNAME, b"u" * 763)))
    assert message.get(Attribute.USERNAME) == b"u" * 763


@pytest.mark.parametrize(
    "value", ["", "00", "0001a147", "0003a147e112a643", "0001a147e112a64300", "0002a147e112a643"]
)
def test_a_malformed_address_is_an_error(value: str) -> None:
    with pytest.raises(StunError):
        stun.decode_xor_address(bytes.fromhex(value), TRANSACTION)


def test_nothing_verifies_without_an_integrity_attribute() -> None:
    message = stun.parse(request())
    assert not stun.verify_integrity(message, b"")
    assert not stun.verify_integrity_sha256(message, b"")


def test_rfc8489_b1_request_is_verified_as_corrected_by_erratum_6268() -> None:
    """The text's own bytes have a wrong length and lack PASSWORD-ALGORITHM."""
    message = stun.parse(RFC8489_B1)
    username, password = "マトリックス", "TheMatrIX"
    assert message.get(Attribute.USERHASH) == stun.userhash(username, "example.org")
    assert message.get(Attribute.NONCE) == b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"
    assert message.get(Attribute.PASSWORD_ALGORITHM) == stun.encode_password_algorithm(
        PasswordAlgorithm.SHA256
    )
    key = stun.long_term_key(username, "example.org", password, PasswordAlgorithm.SHA256)
    assert stun.verify_integrity_sha256(message, key)
    rebuilt = stun.build(
        message.method,
        message.message_class,
        message.transaction_id,
        message.attributes,
        key_sha256=key,
        fingerprint=False,
    )
    assert rebuilt == RFC8489_B1


def test_a9_keys_of_both_algorithms() -> None:
    """The MD5 key is the example of RFC 8489 9.2.2."""
    md5 = stun.long_term_key("user", "realm", "pass", PasswordAlgorithm.MD5)
    assert md5.hex() == "8493fbc53ba582fb4c044c456bdc40eb"
    sha256 = stun.long_term_key("user", "realm", "pass", PasswordAlgorithm.SHA256)
    assert sha256 == hashlib.sha256(b"user:realm:pass").digest()


def test_password_algorithms_are_read_with_their_parameters_and_padding() -> None:
    assert stun.encode_password_algorithms(
        (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5)
    ) == bytes.fromhex("0002000000010000")
    value = bytes.fromhex("00020000" + "7777000361626300" + "00010000")
    assert stun.decode_password_algorithms(value) == ((2, b""), (0x7777, b"abc"), (1, b""))
    assert stun.decode_password_algorithm(bytes.fromhex("00020000")) == (2, b"")


@pytest.mark.parametrize("value", ["00", "000200", "00020001", "000200000001", "0002000561626364"])
def test_password_algorithms_that_are_cut_short_are_an_error(value: str) -> None:
    with pytest.raises(StunError):
        stun.decode_password_algorithms(bytes.fromhex(value))


@pytest.mark.parametrize("value", ["", "0002000000010000"])
def test_none_or_two_password_algorithms_are_not_one(value: str) -> None:
    with pytest.raises(StunError):
        stun.decode_password_algorithm(bytes.fromhex(value))


@given(st.binary(max_size=40))
def test_password_algorithms_of_any_bytes_are_read_or_a_stun_error(value: bytes) -> None:
    try:
        entries = stun.decode_password_algorithms(value)
    except StunError:
        return
    assert sum(4 + len(parameters) for _, parameters in entries) <= len(value)
