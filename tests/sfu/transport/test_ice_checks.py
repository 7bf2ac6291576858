"""Reading and answering connectivity checks without state (sfu.md 5.2 rules 2 and 3)."""

from __future__ import annotations

import binascii
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.base.ids import SessionId, ice_pwd, ice_ufrag
from sfu.net.address import Address, make_path
from sfu.transport.ice import CheckRefused, Refusal, answer_check, read_check
from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass
from tests.scenarios.checks import SECRET, SESSION, TRANSACTION, binding, path_from, username_of

KEY = ice_pwd(SECRET, ice_ufrag(SESSION, 0)).encode()


def refusal_of(data: bytes) -> Refusal:
    """Why `data` gets no answer."""
    with pytest.raises(CheckRefused) as refused:
        read_check(data, cluster_secret=SECRET)
    return refused.value.reason


def answer_to(data: bytes) -> stun.Message:
    """The answer to a check that is answered, which must be signed and have a fingerprint."""
    check = read_check(data, cluster_secret=SECRET)
    answer = stun.parse(answer_check(check, path_from("198.51.100.7", 61_000), cluster_secret=SECRET))
    assert answer.has_fingerprint
    assert answer.transaction_id == TRANSACTION
    assert stun.verify_integrity(answer, KEY)
    return answer


def error_of(message: stun.Message) -> int:
    """The code of an error answer."""
    assert message.message_class is MessageClass.ERROR
    return stun.decode_error_code(message.get(Attribute.ERROR_CODE) or b"")[0]


def test_a_check_says_whose_it_is_and_what_the_client_wants() -> None:
    check = read_check(
        binding(generation=7, remote_ufrag="ab+/", priority=77, use_candidate=True, nomination=3),
        cluster_secret=SECRET,
    )
    assert (check.session, check.generation, check.remote_ufrag) == (SESSION, 7, "ab+/")
    assert (check.priority, check.use_candidate, check.nomination) == (77, True, 3)
    assert check.error is None


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        ("198.51.100.7", bytes((198, 51, 100, 7))),
        ("2001:db8::7", bytes.fromhex("20010db8" + "00" * 11 + "07")),
    ],
)
def test_the_answer_says_where_the_client_was_seen(host: str, packed: bytes) -> None:
    path = make_path(Address(host, 61_000), "192.0.2.1")
    check = read_check(binding(), cluster_secret=SECRET)
    answer = stun.parse(answer_check(check, path, cluster_secret=SECRET))
    value = answer.get(Attribute.XOR_MAPPED_ADDRESS)
    assert value is not None
    assert stun.decode_xor_address(value, TRANSACTION) == (packed, 61_000)


def test_s7_a_repeated_request_has_the_same_answer() -> None:
    check = read_check(binding(), cluster_secret=SECRET)
    path = path_from("198.51.100.7")
    assert answer_check(check, path, cluster_secret=SECRET) == answer_check(
        check, path, cluster_secret=SECRET
    )


def test_s12_answers_are_small() -> None:
    unknown = [(0x7000 + i, b"") for i in range(8)]
    for data in (binding(), binding(*unknown)):
        check = read_check(data, cluster_secret=SECRET)
        answer = answer_check(check, path_from("2001:db8::7", local="2001:db8::1"), cluster_secret=SECRET)
        assert len(answer) <= len(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", Refusal.MALFORMED, id="empty"),
        pytest.param(binding()[:-1], Refusal.MALFORMED, id="cut"),
        pytest.param(
            binding(message_class=MessageClass.INDICATION), Refusal.NOT_A_REQUEST, id="w15-signed-indication"
        ),
        pytest.param(
            stun.build(stun.BINDING, MessageClass.INDICATION, TRANSACTION),
            Refusal.NOT_A_REQUEST,
            id="w15-keepalive-indication",
        ),
        pytest.param(binding(message_class=MessageClass.SUCCESS), Refusal.NOT_A_REQUEST, id="success"),
        pytest.param(binding(message_class=MessageClass.ERROR), Refusal.NOT_A_REQUEST, id="error"),
        pytest.param(
            stun.build(0x003, MessageClass.REQUEST, TRANSACTION, key=KEY),
            Refusal.NOT_A_REQUEST,
            id="allocate",
        ),
        pytest.param(binding(fingerprint=False), Refusal.NO_FINGERPRINT, id="without-fingerprint"),
        pytest.param(binding(signed=False), Refusal.NO_INTEGRITY, id="unsigned"),
        pytest.param(
            stun.build(
                stun.BINDING,
                MessageClass.REQUEST,
                TRANSACTION,
                [(Attribute.USERNAME, username_of())],
                key_sha256=KEY,
            ),
            Refusal.NO_INTEGRITY,
            id="signed-by-sha256-alone",
        ),
        pytest.param(binding(secret=b"other"), Refusal.WRONG_INTEGRITY, id="wrong-password"),
        pytest.param(binding(username=b""), Refusal.UNKNOWN_USERNAME, id="empty-username"),
        pytest.param(binding(username=b"x" * 600), Refusal.UNKNOWN_USERNAME, id="long-username"),
        pytest.param(binding(username=b"\xff\xfe:a"), Refusal.UNKNOWN_USERNAME, id="username-not-text"),
        pytest.param(binding(username=b"clnt:" + username_of()), Refusal.UNKNOWN_USERNAME, id="turned-round"),
        pytest.param(binding(username=SESSION.encode()), Refusal.UNKNOWN_USERNAME, id="no-generation"),
        pytest.param(
            binding(username=username_of(SessionId("f" * 32))), Refusal.WRONG_INTEGRITY, id="another-session"
        ),
        pytest.param(
            binding(username=username_of(generation=1)), Refusal.WRONG_INTEGRITY, id="w37-generation"
        ),
    ],
)
def test_the_unauthenticated_get_no_answer(data: bytes, reason: Refusal) -> None:
    assert refusal_of(data) is reason


def test_s5_unknown_required_attributes_get_a_signed_420_that_lists_them() -> None:
    answer = answer_to(binding((0x7002, b"x"), (0x7001, b"")))
    assert error_of(answer) == 420
    assert answer.get(Attribute.UNKNOWN_ATTRIBUTES) == bytes.fromhex("70027001")


def test_s5_unknown_attributes_of_a_stranger_get_nothing() -> None:
    assert refusal_of(binding((0x7002, b"x"), secret=b"other")) is Refusal.WRONG_INTEGRITY


def test_unknown_optional_attributes_are_ignored() -> None:
    assert answer_to(binding((0xC057, bytes(4)), (0x8FFF, b"xyz"))).message_class is MessageClass.SUCCESS


def test_a_client_that_takes_the_controlled_role_is_told_487() -> None:
    assert error_of(answer_to(binding(controlled=True))) == 487


@pytest.mark.parametrize("priority", [None, b"", b"abc", b"abcde"])
def test_w15_a_check_without_a_priority_of_4_bytes_is_told_400(priority: bytes | None) -> None:
    attributes = [] if priority is None else [(Attribute.PRIORITY, priority)]
    assert error_of(answer_to(binding(*attributes, priority=None))) == 400


@pytest.mark.parametrize("width", [0, 1, 3, 5, 8])
def test_w15_w37_a_nomination_of_odd_width_is_as_none(width: int) -> None:
    check = read_check(
        binding((Attribute.NOMINATION, bytes(width)), use_candidate=True), cluster_secret=SECRET
    )
    assert check.nomination is None
    assert check.use_candidate


def test_s4_use_candidate_after_the_integrity_is_not_believed() -> None:
    signed = binding(fingerprint=False) + stun.encode_attribute(Attribute.USE_CANDIDATE, b"")
    counted = signed[:2] + struct.pack("!H", len(signed) - 20 + 8) + signed[4:]
    crc = struct.pack("!I", binascii.crc32(counted) ^ 0x5354554E)
    data = counted + stun.encode_attribute(Attribute.FINGERPRINT, crc)
    assert not read_check(data, cluster_secret=SECRET).use_candidate


@given(st.binary(max_size=120))
@example(binding())
def test_s1_w15_any_bytes_are_a_check_or_refused(data: bytes) -> None:
    try:
        check = read_check(data, cluster_secret=SECRET)
    except CheckRefused:
        return
    assert check.session == SESSION


@given(st.data())
def test_a_check_with_a_flipped_bit_is_refused_or_the_same(data: st.DataObject) -> None:
    sent = bytearray(binding(use_candidate=True))
    bit = data.draw(st.integers(0, len(sent) * 8 - 1))
    sent[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CheckRefused):
        read_check(bytes(sent), cluster_secret=SECRET)
