"""The STUN layer over UDP: rows S1 to S12, S16 (RFC 8489)."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import struct
from typing import TYPE_CHECKING

import pytest

from sfu.wire import stun
from sfu.wire.stun import BINDING, HEADER_LENGTH, MAGIC_COOKIE, Attribute, MessageClass, PasswordAlgorithm
from sfu.wire.turn import Method, TurnAttribute
from tests.conformance.turn.client import (
    ASK_UDP,
    Client,
    appended,
    build,
    challenge_of,
    data,
    indication,
    lifetime,
    lifetime_of,
    mapped_of,
    plain,
    to_peer,
)
from tests.conformance.turn.links import Endpoint, UdpLink
from tests.conformance.turn.verdict import (
    attribute_of,
    code_of,
    deviates,
    expect,
    expect_error,
    expect_success,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.turn.conftest import Connect
    from tests.conformance.turn.links import Peer
    from tests.conformance.turn.target import Target

UNKNOWN_REQUIRED = 0x7F00
UNKNOWN_OPTIONAL = 0xFF05  # which libwebrtc sends
SAFE_SIZE = 548  # bytes of STUN over IPv4 where the path's MTU is not known (RFC 8489 6.1)


def header(kind: int = 0x0001, length: int = 0, cookie: int = MAGIC_COOKIE) -> bytes:
    return struct.pack("!HHI12s", kind, length, cookie, secrets.token_bytes(12))


# S1


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(lambda: header(0x8001), id="first-bit"),
        pytest.param(lambda: header(0xC001), id="first-two-bits"),
        pytest.param(lambda: header(0x0003, cookie=0x2112A443), id="cookie"),
        pytest.param(lambda: header()[:19], id="cut-header"),
        pytest.param(lambda: header(length=4), id="longer-than-the-datagram"),
        pytest.param(lambda: header() + b"\x80\x22\0\0", id="shorter-than-the-datagram"),
        pytest.param(lambda: header(length=3) + bytes(3), id="no-multiple-of-4"),
        pytest.param(lambda: plain(0x0FF), id="unknown-method"),
        pytest.param(lambda: build(BINDING, message_class=MessageClass.SUCCESS), id="a-response"),
        pytest.param(lambda: build(Method.ALLOCATE, message_class=MessageClass.ERROR), id="an-error"),
        pytest.param(lambda: indication(Method.ALLOCATE, ASK_UDP), id="an-indication-of-a-request"),
        pytest.param(lambda: plain(Method.SEND), id="a-request-of-an-indication"),
    ],
)
def test_s1_what_is_no_message_for_a_server_gets_no_answer(
    client: Client, message: Callable[[], bytes]
) -> None:
    client.stays_silent(message())


# S2


def test_s2_the_answer_comes_from_the_address_that_was_hit(target: Target, connect: Connect) -> None:
    client = connect()
    expect_success(client.binding())
    links = [(target.host, client.link)]
    if target.also_host:
        links.append((target.also_host, UdpLink(target.also_host, target.port)))
    for host, link in links:
        assert isinstance(link, UdpLink)
        request = plain(BINDING)
        link.send(request)
        got = link.receive(target.answer_s)
        if got is None:
            came = f"answers from {link.strays[0]}" if link.strays else "no answer"
            deviates(f"an answer from {host}:{target.port}", came)
        expect(got[8:20] == request[8:20], "the transaction id of the request", got[8:20].hex())
    if target.also_host:
        links[1][1].close()


def test_s2_the_transaction_id_is_echoed_in_errors_too(client: Client) -> None:
    request = plain(Method.ALLOCATE, ASK_UDP)
    expect(client.exchange(request).transaction_id == request[8:20], "the id of the request", "another")


# S3


def test_s3_what_stands_in_padding_is_ignored(client: Client) -> None:
    body = struct.pack("!HH", Attribute.SOFTWARE, 5) + b"tests" + b"\xff\xff\xff"
    expect_success(client.exchange(header(length=len(body)) + body))


def test_s3_the_first_of_two_attributes_counts(client: Client) -> None:
    client.allocate()
    reply = expect_success(client.request(Method.REFRESH, lifetime(720), lifetime(0)))
    expect(lifetime_of(reply) == 720, "LIFETIME 720, of the first LIFETIME", lifetime_of(reply))


# S4


def test_s4_an_attribute_after_message_integrity_is_not_obeyed(client: Client) -> None:
    """Whoever can change what passes could else end allocations: LIFETIME 0 behind what is signed."""
    client.allocate()
    reply = client.exchange(appended(client.signed(Method.REFRESH), lifetime(0)))
    expect_success(reply, "the Refresh without what follows MESSAGE-INTEGRITY")
    expect(lifetime_of(reply) != 0, "an allocation that goes on", "LIFETIME 0")


def test_s4_an_unknown_attribute_after_message_integrity_is_ignored(client: Client) -> None:
    client.allocate()
    expect_success(client.exchange(appended(client.signed(Method.REFRESH), (UNKNOWN_REQUIRED, b""))))


# S5


def test_s5_an_unknown_required_attribute_is_refused_by_420(client: Client) -> None:
    reply = client.request(Method.ALLOCATE, ASK_UDP, (UNKNOWN_REQUIRED, b"1234"))
    expect_error(reply, 420)
    value = attribute_of(reply, Attribute.UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")
    expect(UNKNOWN_REQUIRED.to_bytes(2, "big") in value, f"{UNKNOWN_REQUIRED:#x} listed", value.hex())


def test_s5_it_is_refused_in_a_binding_request_too(client: Client) -> None:
    expect_error(client.binding((UNKNOWN_REQUIRED, b"")), 420)


def test_s5_who_one_is_is_asked_first(client: Client) -> None:
    expect_error(client.exchange(plain(Method.ALLOCATE, ASK_UDP, (UNKNOWN_REQUIRED, b""))), 401)


def test_s5_an_indication_with_one_is_dropped(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.permit(peer.endpoint))
    unknown = (UNKNOWN_REQUIRED, b"")
    client.link.send(indication(Method.SEND, to_peer(peer.endpoint), unknown, data(b"unknown")))
    client.send_data(peer.endpoint, b"known")
    peer.gets(b"known", relayed)


def test_s5_unknown_optional_attributes_are_ignored(client: Client) -> None:
    expect_success(client.request(Method.ALLOCATE, ASK_UDP, (UNKNOWN_OPTIONAL, b"x"), (0xC0DE, b"")))
    client.allocated = True


def test_s5_known_attributes_that_are_not_expected_are_ignored(client: Client) -> None:
    client.allocate()
    anyone = to_peer(Endpoint(bytes((192, 0, 2, 9)), 9))
    expect_success(client.request(Method.REFRESH, anyone, data(b"x")))


# S6


@pytest.mark.parametrize("count", [1, 3])
def test_s6_the_list_of_unknown_attributes_is_padded_as_others_are(client: Client, count: int) -> None:
    """RFC 3489 filled it up by naming one twice."""
    unknown = [(UNKNOWN_REQUIRED + number, b"") for number in range(count)]
    reply = expect_error(client.request(Method.ALLOCATE, ASK_UDP, *unknown), 420)
    value = attribute_of(reply, Attribute.UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")
    expect(len(value) == 2 * count, f"{2 * count} bytes", f"{len(value)}: {value.hex()}")


def test_s6_error_codes_are_well_formed(client: Client) -> None:
    refused = [
        client.exchange(plain(Method.ALLOCATE, ASK_UDP)),
        client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, without=(Attribute.NONCE,))),
        client.request(Method.ALLOCATE),
        client.request(Method.REFRESH),
    ]
    for reply in refused:
        value = attribute_of(reply, Attribute.ERROR_CODE, "ERROR-CODE")
        expect(len(value) >= 4 and value[:2] == b"\0\0" and value[2] in range(3, 7) and value[3] < 100,
               "a class of 3 to 6 and a number below 100 behind zeros", value.hex())  # fmt: skip
        try:
            reason = value[4:].decode()
        except UnicodeDecodeError:
            deviates("a reason in UTF-8", value.hex())
        expect(len(reason) < 128, "a reason of less than 128 characters", len(reason))


# S7


def test_s7_a_request_that_comes_twice_is_as_one(client: Client, peer: Peer) -> None:
    client.allocate()
    requests = [
        client.signed(Method.CREATE_PERMISSION, to_peer(peer.endpoint)),
        client.signed(
            Method.CHANNEL_BIND,
            (TurnAttribute.CHANNEL_NUMBER, b"\x40\0\0\0"),
            to_peer(peer.endpoint),
        ),
        client.signed(Method.REFRESH, lifetime(660)),
    ]
    for request in requests:
        first = expect_success(client.exchange(request))
        again = expect_success(client.exchange(request), "the same request again")
        expect(first.attributes == again.attributes, "the same answer", "another")


def test_s7_the_end_of_an_allocation_comes_twice(client: Client) -> None:
    """RFC 8656 8.2: a success again, or 437, which the client takes for one."""
    client.allocate()
    request = client.signed(Method.REFRESH, lifetime(0))
    expect_success(client.exchange(request))
    expect(code_of(client.exchange(request)) in (0, 437), "a success or error 437", "another answer")


# S8; over TCP and TLS in test_streams


def test_s8_binding_tells_the_clients_address(client: Client) -> None:
    reply = expect_success(client.binding())
    expect(mapped_of(reply) == client.link.local, str(client.link.local), mapped_of(reply))


def test_s8_fingerprint_is_allowed(client: Client) -> None:
    expect_success(client.binding(fingerprint=True))


# S9; a wrong one in an answer makes every test fail


def test_s9_a_message_with_a_wrong_fingerprint_is_dropped(client: Client) -> None:
    message = plain(BINDING, fingerprint=True)
    client.stays_silent(message[:-1] + bytes((message[-1] ^ 1,)))


# S10


def test_s10_integrity_covers_a_length_that_ends_with_it(client: Client) -> None:
    """FINGERPRINT behind MESSAGE-INTEGRITY is counted in the header, but not in what was signed."""
    client.allocated_by(client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, fingerprint=True)))


def test_s10_message_integrity_sha256_is_verified(client: Client) -> None:
    """RFC 8489 9.2.4: it is what counts where it is present, whatever algorithm the password has."""
    client.allocated_by(client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, sha256=True)))


def test_s10_message_integrity_sha256_that_is_wrong_is_refused(client: Client) -> None:
    wrong = client.signed(Method.ALLOCATE, ASK_UDP, key=bytes(16), sha256=True)
    expect_error(client.exchange(wrong), 401)


def test_s10_a_shortened_sha256_is_not_taken(client: Client) -> None:
    """TURN does not allow it; dropped or refused, but no allocation."""
    if not client.challenge().offers_algorithms:
        pytest.skip("the server does not say that it knows MESSAGE-INTEGRITY-SHA256")
    whole = client.signed(Method.ALLOCATE, ASK_UDP, sha256=True)
    before = whole[: -(4 + 32)]
    length = len(before) - HEADER_LENGTH + 4 + 16
    before = before[:2] + length.to_bytes(2, "big") + before[4:]
    short = hmac.digest(client.key(PasswordAlgorithm.MD5), before, "sha256")[:16]
    client.link.send(before + stun.encode_attribute(Attribute.MESSAGE_INTEGRITY_SHA256, short))
    client.fence()
    answers = [stun.parse(message) for message in client.inbox]
    expect(all(code_of(answer) in (400, 401) for answer in answers), "a refusal or no answer", answers)


# S11


def test_s11_a_name_of_763_bytes_is_read(client: Client) -> None:
    client.challenge()
    names = [
        (Attribute.USERNAME, b"n" * 763),
        (Attribute.REALM, client.challenge().realm),
        (Attribute.NONCE, client.challenge().nonce),
    ]
    reply = client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, names=names))
    expect_error(reply, 401, why="an unknown name, not a bad request")


def test_s11_what_the_server_sends_is_below_128_characters(target: Target, client: Client) -> None:
    reply = client.exchange(plain(Method.ALLOCATE, ASK_UDP))
    challenge = challenge_of(expect_error(reply, 401))
    texts = {
        "REALM": challenge.realm,
        "NONCE": challenge.nonce,
        "SOFTWARE": reply.get(Attribute.SOFTWARE) or b"",
    }
    for name, value in texts.items():
        text = value.decode(errors="replace")
        expect(len(text) < 128 and "\ufffd" not in text, f"{name} in UTF-8 of less than 128 characters", text)
    if target.realm:
        expect(
            challenge.realm.decode() == target.realm, f"the realm {target.realm}", challenge.realm.decode()
        )


# S12


def test_s12_answers_fit_into_548_bytes(client: Client) -> None:
    unknown = [(UNKNOWN_REQUIRED + number, b"") for number in range(40)]
    answers = [
        client.binding(),
        client.exchange(plain(Method.ALLOCATE, ASK_UDP)),
        client.request(Method.ALLOCATE, ASK_UDP, *unknown),
        client.allocate().reply,
        client.request(Method.ALLOCATE, ASK_UDP),
    ]
    for answer in answers:
        expect(len(answer.data) <= SAFE_SIZE, f"{SAFE_SIZE} bytes at most", len(answer.data))


# S16


def test_s16_a_client_of_rfc_3489_gets_no_answer_or_one_that_it_can_read(client: Client) -> None:
    """Without the cookie an address can't be mixed with it: MAPPED-ADDRESS, under the 128 bits of the id."""
    request = struct.pack("!HHI12s", 0x0001, 0, 0x01020304, secrets.token_bytes(12))
    client.link.send(request)
    client.fence()
    for answer in client.inbox:
        expect(
            answer[:2] == b"\x01\x01" and answer[4:20] == request[4:20], "the id of the request", answer.hex()
        )
        ip, port = client.link.local
        value = struct.pack("!BBH", 0, 1 if len(ip) == 4 else 2, port) + ip
        mapped = struct.pack("!HH", Attribute.MAPPED_ADDRESS, len(value)) + value
        expect(mapped in answer, f"MAPPED-ADDRESS {ipaddress.ip_address(ip)}:{port}", answer.hex())
