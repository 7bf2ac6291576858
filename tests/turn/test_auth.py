"""Long-term credentials, the server's side; ids are those of the requirement list."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest
from aioice.stun import parse_message
from hypothesis import given
from hypothesis import strategies as st

from sfu.net.address import Address
from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass, PasswordAlgorithm, userhash
from sfu.wire.turn import PROTOCOL_UDP, Method, TurnAttribute, encode_requested_transport
from turn.auth import Authenticated, Authenticator, Refused
from turn.credentials import Credentials, Keys
from turn.nonce import Nonces

if TYPE_CHECKING:
    from turn.credentials import Minted

REALM = "orchard"
KEY = "0123456789abcdef0123456789abcdef"
NEW, OLD, SHARED = (bytes([letter]) * 16 for letter in b"nos")
CLIENT = Address("192.0.2.1", 50000)
NOW = 1_800_000_000.5
TRANSACTION = bytes(range(12))
ALLOCATE = (TurnAttribute.REQUESTED_TRANSPORT, encode_requested_transport(PROTOCOL_UDP))
OFFER = stun.encode_password_algorithms((PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5))
SHA256 = stun.encode_password_algorithm(PasswordAlgorithm.SHA256)
MD5 = stun.encode_password_algorithm(PasswordAlgorithm.MD5)

Attributes = list[tuple[int, bytes]]


class Service:
    """A server's part in all this, with a name that was minted there."""

    def __init__(self, *, shared: tuple[bytes, ...] = (SHARED,)) -> None:
        self.credentials = Credentials(REALM, Keys({KEY: (NEW, OLD)}, shared), max_hashes=10)
        self.nonces = Nonces(bytes(range(16)))
        self.authenticator = Authenticator(self.nonces, self.credentials)
        self.minted = self.credentials.mint(KEY, 3600, "alice", NOW)

    def check(
        self, data: bytes, *, client: Address = CLIENT, wall_now: float = NOW
    ) -> Authenticated | Refused:
        return self.authenticator.check(stun.parse(data), client, wall_now)

    def challenge(self) -> Attributes:
        """REALM and NONCE as a client copies them from a 401."""
        refused = self.check(request())
        assert isinstance(refused, Refused)
        return [entry for entry in refused.attributes if entry[0] in (Attribute.REALM, Attribute.NONCE)]

    def named(self, *more: tuple[int, bytes]) -> Attributes:
        """What a client puts into a request for the minted name."""
        return [(Attribute.USERNAME, self.minted.username.encode()), *self.challenge(), *more]


def request(
    *attributes: tuple[int, bytes], key: bytes | None = None, key_sha256: bytes | None = None
) -> bytes:
    return stun.build(
        Method.ALLOCATE,
        MessageClass.REQUEST,
        TRANSACTION,
        [ALLOCATE, *attributes],
        key=key,
        key_sha256=key_sha256,
        fingerprint=False,
    )


def long_term(minted: Minted, algorithm: PasswordAlgorithm) -> bytes:
    return stun.long_term_key(minted.username, REALM, minted.password, algorithm)


def assert_challenged(refused: Authenticated | Refused, code: int, service: Service) -> None:
    """A refusal with all that a client needs to try again, and nothing else."""
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert [kind for kind, _ in refused.attributes] == [
        Attribute.REALM,
        Attribute.NONCE,
        Attribute.PASSWORD_ALGORITHMS,
    ]
    values = dict(refused.attributes)
    assert values[Attribute.REALM] == REALM.encode()
    assert service.nonces.is_valid(values[Attribute.NONCE], CLIENT, NOW)
    assert values[Attribute.PASSWORD_ALGORITHMS] == OFFER


def test_a1_a_request_without_integrity_is_challenged() -> None:
    service = Service()
    assert_challenged(service.check(request()), 401, service)
    assert_challenged(service.check(request(*service.named())), 401, service)


@pytest.mark.parametrize("missing", [Attribute.USERNAME, Attribute.REALM, Attribute.NONCE])
@pytest.mark.parametrize("strong", [False, True])
def test_a2_integrity_without_username_realm_or_nonce_is_a_bad_request(
    missing: Attribute, strong: bool
) -> None:
    service = Service()
    key = long_term(service.minted, PasswordAlgorithm.MD5)
    left = [entry for entry in service.named() if entry[0] != missing]
    data = request(*left, key_sha256=key) if strong else request(*left, key=key)
    assert service.check(data) == Refused(400)


def test_a3_challenges_say_that_there_are_password_algorithms() -> None:
    assert dict(Service().challenge())[Attribute.NONCE].startswith(b"obMatJos2AAAB")


def test_a4_two_clients_get_two_nonces_and_cannot_use_each_others() -> None:
    service = Service()
    data = request(*service.named(), key=long_term(service.minted, PasswordAlgorithm.MD5))
    assert isinstance(service.check(data), Authenticated)
    other = service.check(data, client=Address(CLIENT.host, CLIENT.port + 1))
    assert isinstance(other, Refused)
    assert other.code == 438
    assert dict(other.attributes)[Attribute.NONCE] not in data


def test_a5_a_client_that_knows_no_algorithms_is_taken_with_md5() -> None:
    service = Service()
    key = long_term(service.minted, PasswordAlgorithm.MD5)
    checked = service.check(request(*service.named(), key=key))
    assert isinstance(checked, Authenticated)
    assert checked.credential == service.credentials.find(service.minted.username, NOW)
    assert (checked.key, checked.is_sha256) == (key, False)


@pytest.mark.parametrize("algorithm", PasswordAlgorithm)
@pytest.mark.parametrize("strong", [False, True])
def test_a5_each_algorithm_goes_with_each_integrity(algorithm: PasswordAlgorithm, strong: bool) -> None:
    service = Service()
    key = long_term(service.minted, algorithm)
    attributes = service.named(
        (Attribute.PASSWORD_ALGORITHMS, OFFER),
        (Attribute.PASSWORD_ALGORITHM, stun.encode_password_algorithm(algorithm)),
    )
    data = request(*attributes, key_sha256=key) if strong else request(*attributes, key=key)
    checked = service.check(data)
    assert isinstance(checked, Authenticated)
    assert (checked.key, checked.is_sha256) == (key, True)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([(Attribute.PASSWORD_ALGORITHM, SHA256)], id="no-list"),
        pytest.param([(Attribute.PASSWORD_ALGORITHMS, OFFER)], id="no-choice"),
        pytest.param(
            [(Attribute.PASSWORD_ALGORITHMS, MD5), (Attribute.PASSWORD_ALGORITHM, MD5)], id="bid-down"
        ),
        pytest.param(
            [(Attribute.PASSWORD_ALGORITHMS, MD5 + SHA256), (Attribute.PASSWORD_ALGORITHM, MD5)],
            id="another-order",
        ),
        pytest.param(
            [(Attribute.PASSWORD_ALGORITHMS, OFFER), (Attribute.PASSWORD_ALGORITHM, b"\0\3\0\0")],
            id="a-choice-not-offered",
        ),
        pytest.param(
            [(Attribute.PASSWORD_ALGORITHMS, OFFER), (Attribute.PASSWORD_ALGORITHM, b"\0\2\0\4abcd")],
            id="parameters-that-there-are-not",
        ),
        pytest.param(
            [(Attribute.PASSWORD_ALGORITHMS, OFFER), (Attribute.PASSWORD_ALGORITHM, b"\0\2")],
            id="cut-short",
        ),
    ],
)
def test_a5_algorithms_that_are_not_as_offered_are_a_bad_request(more: Attributes) -> None:
    service = Service()
    key = long_term(service.minted, PasswordAlgorithm.MD5)
    assert service.check(request(*service.named(*more), key=key)) == Refused(400)


def unknown_names(service: Service) -> list[tuple[int, bytes]]:
    ended = f"{int(NOW)}:{KEY}".encode()
    return [
        (Attribute.USERNAME, b"alice"),
        (Attribute.USERNAME, ended),
        (Attribute.USERNAME, b"\xff\xfe"),
        (Attribute.USERNAME, b"1800003600:" + bytes(800)),
        (Attribute.USERHASH, bytes(32)),
        (Attribute.USERHASH, b""),
        (Attribute.USERHASH, userhash(service.minted.username, "elsewhere")),
    ]


def test_a6_an_unknown_name_is_challenged_as_one_with_a_wrong_password_is() -> None:
    """So a stranger learns of no name whether it holds; the server's log does."""
    service = Service()
    wrong = service.check(request(*service.named(), key=bytes(16)))
    assert_challenged(wrong, 401, service)
    assert isinstance(wrong, Refused)
    assert wrong.wrong_integrity
    for name in unknown_names(service):
        refused = service.check(request(name, *service.challenge(), key=bytes(16)))
        assert_challenged(refused, 401, service)
        assert isinstance(refused, Refused)
        assert refused.attributes == wrong.attributes
        assert not refused.wrong_integrity


def test_a6_a_name_of_763_bytes_is_looked_up() -> None:
    service = Service()
    username = "1800003600:" + "u" * (763 - 11)
    found = service.credentials.find(username, NOW)
    assert found is not None
    password = next(service.credentials.passwords(found))
    key = stun.long_term_key(username, REALM, password, PasswordAlgorithm.MD5)
    data = request((Attribute.USERNAME, username.encode()), *service.challenge(), key=key)
    assert isinstance(service.check(data), Authenticated)


@pytest.mark.parametrize("realm", [b"elsewhere", b"", b"orchard\0", b"\xff"])
def test_a6_another_realm_is_challenged(realm: bytes) -> None:
    service = Service()
    attributes = [(kind, realm if kind == Attribute.REALM else value) for kind, value in service.named()]
    key = long_term(service.minted, PasswordAlgorithm.MD5)
    assert_challenged(service.check(request(*attributes, key=key)), 401, service)


def test_a6_every_wrong_integrity_is_challenged_and_told() -> None:
    service = Service()
    md5, sha256 = (long_term(service.minted, algorithm) for algorithm in PasswordAlgorithm)
    with_sha256 = ((Attribute.PASSWORD_ALGORITHMS, OFFER), (Attribute.PASSWORD_ALGORITHM, SHA256))
    for data in [
        request(*service.named(), key=sha256),
        request(*service.named(), key_sha256=sha256),
        request(*service.named(*with_sha256), key=md5),
        request(*service.named(*with_sha256), key_sha256=md5),
        # both attributes: the stronger one decides
        request(*service.named(), key=md5, key_sha256=sha256),
    ]:
        refused = service.check(data)
        assert_challenged(refused, 401, service)
        assert isinstance(refused, Refused)
        assert refused.wrong_integrity
    assert isinstance(service.check(request(*service.named(), key=sha256, key_sha256=md5)), Authenticated)


def test_a6_a_changed_request_is_not_taken() -> None:
    service = Service()
    data = bytearray(request(*service.named(), key=long_term(service.minted, PasswordAlgorithm.MD5)))
    data[24] ^= 1  # in REQUESTED-TRANSPORT
    refused = service.check(bytes(data))
    assert isinstance(refused, Refused)
    assert refused.wrong_integrity


def test_a7_a_nonce_that_is_over_is_stale_and_the_fresh_one_is_taken() -> None:
    service = Service()
    key = long_term(service.minted, PasswordAlgorithm.MD5)
    data = request(*service.named(), key=key)
    later = NOW + 601
    stale = service.check(data, wall_now=later)
    assert isinstance(stale, Refused)
    assert stale.code == 438
    assert [kind for kind, _ in stale.attributes] == [
        Attribute.REALM,
        Attribute.NONCE,
        Attribute.PASSWORD_ALGORITHMS,
    ]
    again = [
        (Attribute.USERNAME, service.minted.username.encode()),
        *(entry for entry in stale.attributes if entry[0] != Attribute.PASSWORD_ALGORITHMS),
    ]
    assert isinstance(service.check(request(*again, key=key), wall_now=later), Authenticated)


def test_a7_a_forged_nonce_costs_no_look_at_names_and_integrity() -> None:
    service = Service()
    attributes = [
        (Attribute.USERNAME, b"nobody"),
        (Attribute.REALM, b"elsewhere"),
        (Attribute.NONCE, b"obMatJos2AAAB" + bytes(11)),
        (Attribute.PASSWORD_ALGORITHM, b""),
    ]
    assert_challenged(service.check(request(*attributes, key=bytes(16))), 438, service)


@pytest.mark.parametrize("message_class", [MessageClass.SUCCESS, MessageClass.ERROR])
@pytest.mark.parametrize("strong", [False, True])
def test_a8_answers_are_signed_with_sha256_unless_the_client_named_no_algorithm(
    message_class: MessageClass, strong: bool
) -> None:
    service = Service()
    algorithm = PasswordAlgorithm.SHA256 if strong else PasswordAlgorithm.MD5
    key = long_term(service.minted, algorithm)
    more = ((Attribute.PASSWORD_ALGORITHMS, OFFER), (Attribute.PASSWORD_ALGORITHM, SHA256)) if strong else ()
    # a client that names no algorithm may use MESSAGE-INTEGRITY-SHA256 all the same
    checked = service.check(request(*service.named(*more), key_sha256=key))
    assert isinstance(checked, Authenticated)
    answer = stun.parse(
        checked.sign(Method.ALLOCATE, message_class, TRANSACTION, [(Attribute.SOFTWARE, b"x")])
    )
    assert (answer.method, answer.message_class) == (Method.ALLOCATE, message_class)
    assert answer.attributes == ((Attribute.SOFTWARE, b"x"),)
    assert stun.verify_integrity_sha256(answer, key) == strong
    assert stun.verify_integrity(answer, key) != strong
    assert not answer.has_fingerprint
    fingerprinted = checked.sign(Method.ALLOCATE, message_class, TRANSACTION, [], fingerprint=True)
    assert stun.parse(fingerprinted).has_fingerprint


def test_a9_keys_are_hashes_of_name_realm_and_password() -> None:
    service = Service()
    text = f"{service.minted.username}:{REALM}:{service.minted.password}".encode()
    md5 = hashlib.md5(text, usedforsecurity=False).digest()
    sha256 = hashlib.sha256(text).digest()
    checked = service.check(request(*service.named(), key=md5))
    assert isinstance(checked, Authenticated)
    assert checked.key == md5
    more = ((Attribute.PASSWORD_ALGORITHMS, OFFER), (Attribute.PASSWORD_ALGORITHM, SHA256))
    checked = service.check(request(*service.named(*more), key_sha256=sha256))
    assert isinstance(checked, Authenticated)
    assert checked.key == sha256
    assert repr(sha256) not in repr(checked)


def test_a10_a_minted_name_is_taken_by_its_hash() -> None:
    service = Service(shared=())
    assert dict(service.challenge())[Attribute.NONCE].startswith(b"obMatJos2AAAD")
    attributes = [
        (Attribute.USERHASH, userhash(service.minted.username, REALM)),
        *service.challenge(),
        (Attribute.PASSWORD_ALGORITHMS, OFFER),
        (Attribute.PASSWORD_ALGORITHM, SHA256),
    ]
    key = long_term(service.minted, PasswordAlgorithm.SHA256)
    checked = service.check(request(*attributes, key_sha256=key))
    assert isinstance(checked, Authenticated)
    assert checked.credential.username == service.minted.username


def test_a10_a_hash_that_tells_nothing_is_challenged_for_a_name() -> None:
    service = Service(shared=())
    refused = service.check(
        request((Attribute.USERHASH, userhash("1800003600:a", REALM)), *service.challenge(), key=bytes(16))
    )
    assert_challenged(refused, 401, service)
    assert isinstance(refused, Refused)
    assert dict(refused.attributes)[Attribute.NONCE].startswith(b"obMatJos2AAAB")


def test_a10_names_are_not_asked_to_hide_where_some_were_made_elsewhere() -> None:
    """Once USERHASH is offered a client that knows it sends nothing else; such names are not found by it."""
    assert dict(Service().challenge())[Attribute.NONCE].startswith(b"obMatJos2AAAB")
    nothing_kept = Credentials(REALM, Keys({KEY: (NEW,)}))
    assert not nothing_kept.offers_userhash


def test_a11_a_nonce_is_taken_for_ten_minutes() -> None:
    service = Service()
    data = request(*service.named(), key=long_term(service.minted, PasswordAlgorithm.MD5))
    assert isinstance(service.check(data, wall_now=NOW + 600), Authenticated)
    assert isinstance(service.check(data, wall_now=NOW + 601), Refused)


def test_a12_a_name_and_its_hash_are_the_same_user() -> None:
    """What an allocation compares before it answers 441."""
    service = Service()
    key = long_term(service.minted, PasswordAlgorithm.MD5)
    by_name = service.check(request(*service.named(), key=key))
    by_hash = service.check(
        request((Attribute.USERHASH, userhash(service.minted.username, REALM)), *service.challenge(), key=key)
    )
    assert isinstance(by_name, Authenticated)
    assert isinstance(by_hash, Authenticated)
    assert by_name.credential == by_hash.credential


def test_a13_nonces_and_integrity_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    data = request(*service.named(), key=long_term(service.minted, PasswordAlgorithm.MD5))
    compared: list[bytes] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.extend((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    assert isinstance(service.check(data), Authenticated)
    message = stun.parse(data)
    assert message.get(Attribute.NONCE) in compared
    assert message.integrity_at is not None
    assert data[message.integrity_at + 4 :] in compared


def test_a14_a_name_that_an_application_server_made_is_taken() -> None:
    service = Service()
    username = "1800003600:alice"
    found = service.credentials.find(username, NOW)
    assert found is not None
    password = next(service.credentials.passwords(found))
    key = stun.long_term_key(username, REALM, password, PasswordAlgorithm.MD5)
    checked = service.check(request((Attribute.USERNAME, username.encode()), *service.challenge(), key=key))
    assert isinstance(checked, Authenticated)
    assert checked.credential.identifier == "alice"


def test_a14_a_name_that_ends_between_two_requests_is_challenged() -> None:
    service = Service()
    minted = service.credentials.mint(KEY, 10, "", NOW)
    attributes = [(Attribute.USERNAME, minted.username.encode()), *service.challenge()]
    data = request(*attributes, key=long_term(minted, PasswordAlgorithm.MD5))
    assert isinstance(service.check(data, wall_now=NOW + 9), Authenticated)
    ended = service.check(data, wall_now=NOW + 10)
    assert isinstance(ended, Refused)
    assert ended.code == 401


def test_a15_passwords_by_any_secret_of_a_key_are_taken() -> None:
    service = Service()
    service.credentials.keys = Keys({KEY: (bytes(16), NEW, OLD)})
    data = request(*service.named(), key=long_term(service.minted, PasswordAlgorithm.MD5))
    assert isinstance(service.check(data), Authenticated)
    service.credentials.keys = Keys({KEY: (bytes(16), OLD)})
    refused = service.check(data)
    assert isinstance(refused, Refused)
    assert refused.wrong_integrity


def test_a_revoked_name_is_challenged() -> None:
    service = Service()
    data = request(*service.named(), key=long_term(service.minted, PasswordAlgorithm.MD5))
    service.credentials.revoke(service.minted.username, NOW)
    assert_challenged(service.check(data), 401, service)


def test_a_challenge_is_less_than_twice_the_allocate_that_it_answers() -> None:
    """With the headers of IP and UDP, so nobody gains by having the server answer to others."""
    asked = request()
    refused = Service().check(asked)
    assert isinstance(refused, Refused)
    answer = stun.build(
        Method.ALLOCATE,
        MessageClass.ERROR,
        TRANSACTION,
        [(Attribute.ERROR_CODE, stun.encode_error_code(refused.code, "")), *refused.attributes],
        fingerprint=False,
    )
    assert len(answer) == 80
    assert 28 + len(answer) < 2 * (28 + len(asked))


@pytest.mark.parametrize("method", [Method.ALLOCATE, Method.REFRESH])
@pytest.mark.parametrize("fingerprint", [False, True])
def test_a_header_alone_is_challenged_without_algorithms_but_for_what_the_nonce_says(
    method: int, fingerprint: bool
) -> None:
    service = Service()
    bare = stun.build(method, MessageClass.REQUEST, TRANSACTION, fingerprint=fingerprint)
    refused = service.check(bare)
    assert isinstance(refused, Refused)
    assert refused.code == 401
    (realm, said), (nonce, value) = refused.attributes
    assert (realm, said, nonce) == (Attribute.REALM, REALM.encode(), Attribute.NONCE)
    assert value == dict(service.challenge())[Attribute.NONCE]  # so nobody gets one that allows less


def test_another_codec_reads_challenges_and_signed_errors() -> None:
    """aioice drops every answer that is not signed, but for 401 and 438."""
    service = Service()
    refused = service.check(request())
    assert isinstance(refused, Refused)
    code = Attribute.ERROR_CODE, stun.encode_error_code(refused.code, "")
    entries = [code, *refused.attributes]
    challenge = parse_message(stun.build(Method.ALLOCATE, MessageClass.ERROR, TRANSACTION, entries))
    assert challenge.attributes["ERROR-CODE"] == (401, "")
    assert challenge.attributes["REALM"] == REALM
    assert service.nonces.is_valid(challenge.attributes["NONCE"], CLIENT, NOW)
    key = long_term(service.minted, PasswordAlgorithm.MD5)
    checked = service.check(request(*service.named(), key=key))
    assert isinstance(checked, Authenticated)
    error = [(Attribute.ERROR_CODE, stun.encode_error_code(437, "Allocation Mismatch"))]
    answer = checked.sign(Method.REFRESH, MessageClass.ERROR, TRANSACTION, error)
    read = parse_message(answer)
    assert read.attributes["ERROR-CODE"] == (437, "Allocation Mismatch")
    assert read.check_message_integrity(key)
    assert not read.check_message_integrity(key + b"x")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    Attribute.USERNAME,
                    Attribute.USERHASH,
                    Attribute.REALM,
                    Attribute.PASSWORD_ALGORITHM,
                    Attribute.PASSWORD_ALGORITHMS,
                ]
            ),
            st.sampled_from([b"", b"orchard", b"1800003600:a", OFFER, SHA256]) | st.binary(max_size=40),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_nobody_is_taken_without_a_password(attributes: Attributes, strong: bool) -> None:
    service = Service()
    entries = [*attributes, *service.challenge()]
    data = request(*entries, key_sha256=b"guess") if strong else request(*entries, key=b"guess")
    refused = service.check(data)
    assert isinstance(refused, Refused)
    assert refused.code in (400, 401)
