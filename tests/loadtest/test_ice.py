"""The client's checks, without a network."""

from __future__ import annotations

import pytest

from loadtest.ice import (
    CONSENT_EVERY_S,
    CONSENT_LOST_S,
    PATIENCE_S,
    Checks,
    Credentials,
    IceError,
    State,
    new_credentials,
)
from sfu.net.address import Address
from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass

LOCAL, REMOTE = Credentials("local", "l" * 24), Credentials("remote", "r" * 24)
SERVER = Address("127.0.0.1", 40000)


def begun() -> tuple[Checks, stun.Message]:
    checks = Checks(LOCAL, REMOTE, 0.0)
    checks.handle_timer(0.0)
    [datagram] = checks.take_datagrams()
    return checks, stun.parse(datagram)


def answer_to(
    request: stun.Message, *, kind: MessageClass = MessageClass.SUCCESS, key: str = REMOTE.pwd
) -> bytes:
    attributes = (
        [(Attribute.ERROR_CODE, stun.encode_error_code(401, "no"))] if kind is MessageClass.ERROR else []
    )
    return stun.build(stun.BINDING, kind, request.transaction_id, attributes, key=key.encode())


def test_a_check_is_signed_names_both_and_nominates() -> None:
    _, request = begun()
    assert request.message_class is MessageClass.REQUEST
    assert request.get(Attribute.USERNAME) == b"remote:local"
    assert request.get(Attribute.USE_CANDIDATE) == b""
    assert request.get(Attribute.ICE_CONTROLLING) is not None
    assert stun.verify_integrity(request, REMOTE.pwd.encode())
    assert request.has_fingerprint


def test_an_answer_makes_the_pair_valid() -> None:
    checks, request = begun()
    checks.receive_datagram(answer_to(request), SERVER, 0.02)
    assert checks.state is State.VALID
    assert checks.rtt_s == 0.02
    assert checks.timer_at() == 0.02 + CONSENT_EVERY_S


@pytest.mark.parametrize("key", ["x" * 24, LOCAL.pwd])
def test_an_answer_with_a_wrong_signature_is_dropped(key: str) -> None:
    checks, request = begun()
    checks.receive_datagram(answer_to(request, key=key), SERVER, 0.02)
    assert checks.state is State.CHECKING


def test_an_answer_to_another_question_is_dropped() -> None:
    checks, _ = begun()
    _, other = begun()
    checks.receive_datagram(answer_to(other), SERVER, 0.02)
    assert checks.state is State.CHECKING


def test_a_refusal_raises_with_its_code() -> None:
    checks, request = begun()
    with pytest.raises(IceError, match="401 no"):
        checks.receive_datagram(answer_to(request, kind=MessageClass.ERROR), SERVER, 0.02)


def test_a_silent_server_is_asked_again_then_given_up() -> None:
    checks, _ = begun()
    asked = 1
    while (at := checks.timer_at()) is not None:
        checks.handle_timer(at)
        asked += len(checks.take_datagrams())
    assert checks.state is State.LOST
    assert 8 <= asked <= PATIENCE_S + 4


def test_consent_is_asked_for_until_it_runs_out() -> None:
    checks, request = begun()
    checks.receive_datagram(answer_to(request), SERVER, 0.0)
    asked_at: list[float] = []
    while (at := checks.timer_at()) is not None:
        checks.handle_timer(at)
        asked_at += [at] * len(checks.take_datagrams())
    assert asked_at == [5.0, 10.0, 15.0, 20.0, 25.0]
    assert checks.state is State.LOST


def test_consent_that_is_given_goes_on() -> None:
    checks, request = begun()
    checks.receive_datagram(answer_to(request), SERVER, 0.0)
    while (at := checks.timer_at()) is not None and at < 3 * CONSENT_LOST_S:
        checks.handle_timer(at)
        for datagram in checks.take_datagrams():
            checks.receive_datagram(answer_to(stun.parse(datagram)), SERVER, at)
    assert checks.state is State.VALID


def test_a_full_agents_check_is_answered() -> None:
    checks, _ = begun()
    request = stun.build(stun.BINDING, MessageClass.REQUEST, b"t" * 12, key=LOCAL.pwd.encode())
    checks.receive_datagram(request, SERVER, 0.0)
    [answer] = map(stun.parse, checks.take_datagrams())
    assert answer.message_class is MessageClass.SUCCESS
    assert stun.verify_integrity(answer, LOCAL.pwd.encode())
    mapped = answer.get(Attribute.XOR_MAPPED_ADDRESS)
    assert mapped is not None
    assert stun.decode_xor_address(mapped, answer.transaction_id) == (bytes([127, 0, 0, 1]), 40000)


@pytest.mark.parametrize("data", [b"", b"\x00\x01", bytes(20)])
def test_what_is_no_stun_is_dropped(data: bytes) -> None:
    checks, _ = begun()
    checks.receive_datagram(data, SERVER, 0.0)
    assert checks.take_datagrams() == []


def test_credentials_are_long_enough_and_differ() -> None:
    made = [new_credentials() for _ in range(10)]
    assert len({c.ufrag for c in made}) == len({c.pwd for c in made}) == 10
    assert all(len(c.ufrag) >= 4 and len(c.pwd) >= 22 for c in made)
