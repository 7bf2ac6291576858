"""Long-term credentials: rows A1 to A16 (RFC 8489 9.2)."""

from __future__ import annotations

import base64
import binascii
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from sfu.wire import stun, turn
from sfu.wire.stun import Attribute, Message, PasswordAlgorithm
from sfu.wire.turn import Method, TurnAttribute
from tests.conformance.turn.client import (
    ASK_UDP,
    NONCE_COOKIE,
    Client,
    challenge_of,
    channel_number,
    lifetime,
    plain,
    to_peer,
)
from tests.conformance.turn.target import Target
from tests.conformance.turn.verdict import (
    attribute_of,
    code_of,
    expect,
    expect_error,
    expect_success,
    told,
)

if TYPE_CHECKING:
    from tests.conformance.turn.conftest import Connect
    from tests.conformance.turn.links import Peer

ACCESS_TOKEN = 0x001B  # RFC 7635
THIRD_PARTY_AUTHORIZATION = 0x802E
SIGNATURES = {
    Attribute.USERNAME: "USERNAME",
    Attribute.USERHASH: "USERHASH",
}
REQUESTS = (Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND)
SHA256 = stun.encode_password_algorithm(PasswordAlgorithm.SHA256)
MD5 = stun.encode_password_algorithm(PasswordAlgorithm.MD5)


def unsigned(reply: Message) -> Message:
    """The reply, which may neither be signed nor name the user."""
    signed = reply.integrity_at is not None or reply.integrity_sha256_at is not None
    expect(not signed, "an answer without MESSAGE-INTEGRITY", "a signed one")
    for attribute, name in SIGNATURES.items():
        expect(reply.get(attribute) is None, f"an answer without {name}", f"one with {name}")
    return reply


def signed(reply: Message, client: Client, *, sha256: PasswordAlgorithm | None = None) -> Message:
    """The reply, which has to be signed with the user's key."""
    if sha256 is not None:
        good = stun.verify_integrity_sha256(reply, client.key(sha256))
        expect(good, f"{told(reply)} with a right MESSAGE-INTEGRITY-SHA256", "another signature or none")
    else:
        good = stun.verify_integrity(reply, client.key())
        expect(good, f"{told(reply)} with a right MESSAGE-INTEGRITY", "another signature or none")
    return reply


def named(
    client: Client, algorithms: bytes | None = None, chosen: bytes | None = None
) -> list[tuple[int, bytes]]:
    """What a client names, in this order: itself, realm, nonce, and what it knows of algorithms."""
    challenge = client.challenge()
    names = [
        (int(Attribute.USERNAME), client.user.username.encode()),
        (int(Attribute.REALM), challenge.realm),
        (int(Attribute.NONCE), challenge.nonce),
    ]
    if algorithms is not None:
        names.append((int(Attribute.PASSWORD_ALGORITHMS), algorithms))
    if chosen is not None:
        names.append((int(Attribute.PASSWORD_ALGORITHM), chosen))
    return names


def offered(client: Client) -> bytes:
    """PASSWORD-ALGORITHMS of the server; a test of what it does not offer is skipped."""
    challenge = client.challenge()
    if challenge.algorithms is None:
        pytest.skip("the server does not offer PASSWORD-ALGORITHMS")
    return challenge.algorithms


# A1


@pytest.mark.parametrize("method", REQUESTS, ids=lambda method: method.name.lower())
def test_a1_who_shows_no_credentials_is_asked_for_them(client: Client, method: Method) -> None:
    reply = client.exchange(plain(method, ASK_UDP))
    challenge_of(expect_error(unsigned(reply), 401))


# A2


@pytest.mark.parametrize(
    "missing",
    [Attribute.USERNAME, Attribute.REALM, Attribute.NONCE],
    ids=lambda missing: missing.name.lower(),
)
def test_a2_a_signed_request_without_all_names_is_a_bad_one(client: Client, missing: Attribute) -> None:
    reply = client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, without=(missing,)))
    unsigned(expect_error(reply, 400))


# A3


def test_a3_the_nonce_begins_with_the_cookie_and_the_features(client: Client) -> None:
    nonce = client.challenge().nonce
    expect(nonce.startswith(NONCE_COOKIE), f"a nonce that begins with {NONCE_COOKIE.decode()}", repr(nonce))
    try:
        features = base64.b64decode(nonce[9:13], validate=True)
    except binascii.Error:
        features = b""
    expect(len(features) == 3, "4 characters of base64 behind the cookie", nonce[9:13])


# A4


def test_a4_two_ports_get_two_nonces(connect: Connect) -> None:
    nonces = [connect().challenge().nonce for _ in range(8)]
    expect(
        len(set(nonces)) == len(nonces), "a nonce for each source", f"{len(set(nonces))} for {len(nonces)}"
    )


# A5


def test_a5_algorithms_are_offered_together_with_their_feature_bit(client: Client) -> None:
    challenge = client.challenge()
    offered(client)
    expect(
        challenge.offers_algorithms, "the bit of password algorithms in the nonce", repr(challenge.nonce[:13])
    )


def test_a5_who_names_no_algorithm_uses_md5(client: Client) -> None:
    offered(client)
    client.allocate()


@pytest.mark.parametrize("wrong", ["no-list", "no-choice", "another-list", "a-choice-not-offered"])
def test_a5_algorithms_that_are_not_as_offered_are_a_bad_request(client: Client, wrong: str) -> None:
    offer = offered(client)
    if offer == MD5:
        pytest.skip("the server offers MD5 alone")
    algorithms, chosen = {
        "no-list": (None, SHA256),
        "no-choice": (offer, None),
        "another-list": (MD5, MD5),
        "a-choice-not-offered": (offer, b"\x7f\x00\0\0"),
    }[wrong]
    request = client.signed(Method.ALLOCATE, ASK_UDP, names=named(client, algorithms, chosen))
    expect_error(client.exchange(request), 400)


# A6


def test_a6_an_unknown_name_is_asked_again(client: Client) -> None:
    names = named(client)
    names[0] = (Attribute.USERNAME, b"nobody")
    reply = expect_error(client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, names=names)), 401)
    challenge_of(reply)
    if client.challenge().algorithms is not None:
        attribute_of(reply, Attribute.PASSWORD_ALGORITHMS, "PASSWORD-ALGORITHMS")


def test_a6_a_wrong_password_is_asked_again(client: Client) -> None:
    reply = client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, key=bytes(16)))
    challenge_of(expect_error(unsigned(reply), 401))


def test_a6_a_changed_request_is_not_taken(client: Client) -> None:
    client.allocate()
    request = bytearray(client.signed(Method.REFRESH, lifetime(600)))
    request[27] ^= 1  # in the value of LIFETIME
    expect_error(client.exchange(bytes(request)), 401)


# A7


@pytest.mark.parametrize("name", ["nobody", ""], ids=["unknown-user", "known-user"])
def test_a7_a_wrong_nonce_is_replaced(client: Client, name: str) -> None:
    """RFC 8489 checks the nonce last; servers that check it first keep floods cheap, so 401 is also right
    for a user that there is not."""
    names = named(client)
    names[2] = (Attribute.NONCE, b"obMatJos2AAAA0123456789abcdef")
    if name:
        names[0] = (Attribute.USERNAME, name.encode())
    reply = client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, names=names))
    challenge = challenge_of(expect_error(reply, *((438, 401) if name else (438,))))
    if client.challenge().algorithms is not None:
        attribute_of(reply, Attribute.PASSWORD_ALGORITHMS, "PASSWORD-ALGORITHMS")
    if name:
        return
    names[2] = (Attribute.NONCE, challenge.nonce)
    client.allocated_by(client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, names=names)))


def test_a7_a_nonce_can_be_used_again(client: Client) -> None:
    """No rule, but what all clients do: one nonce for many requests, as long as it holds."""
    client.allocate()
    for _ in range(3):
        expect_success(client.exchange(client.signed(Method.REFRESH, lifetime(600))))


# A8


def test_a8_successes_are_signed(client: Client, peer: Peer) -> None:
    signed(client.allocate().reply, client)
    signed(client.refreshed(), client)
    signed(expect_success(client.permit(peer.endpoint)), client)
    signed(expect_success(client.bind(0x4000, peer.endpoint)), client)


@pytest.mark.parametrize("code", [400, 420, 437, 442])
def test_a8_errors_after_the_credentials_were_right_are_signed(client: Client, code: int) -> None:
    """Clients that have a key drop what is not signed: aioice does. Which error it is other rows ask."""
    other_transport = (TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(200))
    method, attributes = {
        400: (Method.ALLOCATE, ()),
        420: (Method.ALLOCATE, (ASK_UDP, (0x7F00, b""))),
        437: (Method.REFRESH, ()),
        442: (Method.ALLOCATE, (other_transport,)),
    }[code]
    reply = client.request(method, *attributes)
    expect(code_of(reply) != 0, f"an error such as {code}", told(reply))
    signed(reply, client)


@pytest.mark.parametrize("algorithm", PasswordAlgorithm, ids=lambda algorithm: algorithm.name.lower())
def test_a8_who_names_an_algorithm_gets_sha256(client: Client, algorithm: PasswordAlgorithm) -> None:
    offer = offered(client)
    chosen = stun.encode_password_algorithm(algorithm)
    if chosen not in (offer[:4], offer[4:]):
        pytest.skip(f"the server does not offer {algorithm.name}")
    request = client.signed(
        Method.ALLOCATE,
        ASK_UDP,
        names=named(client, offer, chosen),
        key=client.key(algorithm),
        sha256=True,
    )
    signed(client.allocated_by(client.exchange(request)).reply, client, sha256=algorithm)


# A9


def test_a9_the_key_is_md5_of_name_realm_and_password(client: Client) -> None:
    client.allocate()


def test_a9_or_their_sha256(client: Client) -> None:
    offer = offered(client)
    if SHA256 not in (offer[:4], offer[4:]):
        pytest.skip("the server does not offer SHA-256")
    request = client.signed(
        Method.ALLOCATE,
        ASK_UDP,
        names=named(client, offer, SHA256),
        key=client.key(PasswordAlgorithm.SHA256),
    )
    client.allocated_by(client.exchange(request))


# A10


def test_a10_a_hash_stands_for_the_name(client: Client) -> None:
    if not client.challenge().offers_userhash:
        pytest.skip("the server does not offer USERHASH")
    names = named(client)
    names[0] = (Attribute.USERHASH, client.userhash())
    client.allocated_by(client.exchange(client.signed(Method.ALLOCATE, ASK_UDP, names=names)))


# A11


def test_a11_nonces_can_not_be_guessed_from_others(connect: Connect) -> None:
    """Behind the cookie at least 8 characters, and no two alike in all but a few of them."""
    nonces = [connect().challenge().nonce.removeprefix(NONCE_COOKIE) for _ in range(8)]
    for nonce in nonces:
        expect(len(nonce) >= 8, "8 characters or more", repr(nonce))
    for one, other in pairwise(nonces):
        differ = sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
        expect(differ >= 6, "nonces that differ in 6 characters or more", f"{one!r} and {other!r}")


def test_a11_a_nonce_ends_within_an_hour(target: Target, client: Client) -> None:
    if target.pass_time is None:
        pytest.skip("takes an hour")
    request = client.signed(Method.REFRESH)
    target.pass_time(3601)
    expect_error(client.exchange(request), 438)


# A12


@pytest.mark.parametrize("method", REQUESTS, ids=lambda method: method.name.lower())
def test_a12_another_user_may_not_use_an_allocation(
    target: Target, client: Client, peer: Peer, method: Method
) -> None:
    other = target.other_credential()
    if other is None:
        pytest.skip("no second user is given (--other-username, or --secret)")
    client.allocate()
    owner, client.user = client.user, other
    attributes = {
        Method.ALLOCATE: (ASK_UDP,),
        Method.REFRESH: (lifetime(0),),
        Method.CREATE_PERMISSION: (to_peer(peer.endpoint),),
        Method.CHANNEL_BIND: (channel_number(0x4000), to_peer(peer.endpoint)),
    }[method]
    reply = client.request(method, *attributes)
    client.user = owner
    # an Allocate on a 5-tuple in use is 437 whoever asks (RFC 8656 7.2)
    expect_error(reply, *((441, 437) if method is Method.ALLOCATE else (441,)))
    client.refresh(600)


# A14


def test_a14_names_of_the_rest_scheme_are_taken(target: Target, connect: Connect) -> None:
    if not target.secret:
        pytest.skip("no shared secret is given (--secret)")
    connect(user=Target.minted(target.secret, identifier="alice")).allocate()


def test_a14_a_name_whose_time_is_over_is_not(target: Target, connect: Connect) -> None:
    if not target.secret:
        pytest.skip("no shared secret is given (--secret)")
    client = connect(user=Target.minted(target.secret, life_s=-60))
    expect_error(client.request(Method.ALLOCATE, ASK_UDP), 401)


def test_a14_a_password_of_another_name_is_not(target: Target, connect: Connect) -> None:
    if not target.secret:
        pytest.skip("no shared secret is given (--secret)")
    one, other = Target.minted(target.secret, identifier="a"), Target.minted(target.secret, identifier="b")
    client = connect(user=one._replace(username=other.username))
    expect_error(client.request(Method.ALLOCATE, ASK_UDP), 401)


# A15


def test_a15_each_of_several_secrets_holds(target: Target, connect: Connect) -> None:
    if not target.other_secret:
        pytest.skip("no second secret is given (--other-secret)")
    for secret in (target.secret, target.other_secret):
        connect(user=Target.minted(secret)).allocate()
    stranger = connect(user=Target.minted(target.secret + "x"))
    expect_error(stranger.request(Method.ALLOCATE, ASK_UDP), 401)


# A16


def test_a16_an_access_token_that_was_not_asked_for_is_not_obeyed(client: Client) -> None:
    """It is unknown to most servers (420); to those that know it, it is unexpected and thus ignored."""
    reply = expect_error(client.exchange(plain(Method.ALLOCATE, ASK_UDP)), 401)
    if reply.get(THIRD_PARTY_AUTHORIZATION) is not None:
        pytest.skip("the server offers tokens of RFC 7635, which are not tested")
    token = (ACCESS_TOKEN, bytes(32))
    expect_error(client.exchange(plain(Method.ALLOCATE, ASK_UDP, token)), 401)
    reply = client.request(Method.ALLOCATE, ASK_UDP, token)
    client.allocated = code_of(reply) == 0
    if not client.allocated:
        expect_error(reply, 420)
        value = attribute_of(reply, Attribute.UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES")
        expect(value == b"\x00\x1b", "ACCESS-TOKEN listed", value.hex())
