"""Time-limited credentials; ids are those of the requirement list."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.base.settings import SettingsError
from sfu.wire.stun import userhash
from turn.credentials import (
    CLOCK_SKEW_S,
    MAX_IDENTIFIER_BYTES,
    MAX_SECRETS,
    MAX_TTL_S,
    SECRETS,
    CredentialError,
    Credentials,
    Keys,
    RevocationsFullError,
)
from turn.credentials import REALM as REALM_SETTING

REALM = "example.org"
KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = "ffffffffffffffffffffffffffffffff"
NEW, OLD, OTHER, SHARED, SHARED_OLD = (bytes([letter]) * 16 for letter in b"nopqr")
NOW = 1_800_000_000.5
KEYS = Keys(by_id={KEY: (NEW, OLD), OTHER_KEY: (OTHER,)}, shared=(SHARED, SHARED_OLD))


def rest_password(secret: bytes, username: str) -> str:
    """As an application server computes it."""
    return base64.b64encode(hmac.new(secret, username.encode(), hashlib.sha1).digest()).decode()


def credentials(
    keys: Keys = KEYS, *, max_ttl_s: int = MAX_TTL_S, max_revoked: int = 100, max_hashes: int = 100
) -> Credentials:
    return Credentials(REALM, keys, max_ttl_s=max_ttl_s, max_revoked=max_revoked, max_hashes=max_hashes)


def test_a14_a_name_that_an_application_server_made_is_found_with_its_password() -> None:
    names = credentials()
    for username, identifier in [
        ("1800003600:alice", "alice"),
        ("1800003600", ""),
        ("1800003600:a:b", "a:b"),
    ]:
        found = names.find(username, NOW)
        assert found is not None
        assert (found.username, found.key_id, found.identifier) == (username, None, identifier)
        assert found.expires_at == 1_800_003_600
        assert rest_password(SHARED, username) in names.passwords(found)


def test_a14_a_name_that_an_application_server_signed_with_a_turn_key_is_found() -> None:
    names = credentials()
    username = f"1800003600:{KEY}:alice"
    found = names.find(username, NOW)
    assert found is not None
    assert (found.key_id, found.identifier) == (KEY, "alice")
    assert next(names.passwords(found)) == rest_password(NEW, username)


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.integers(1, MAX_TTL_S))
@example("", 1)
@example("a:b\0", 3600)
def test_a14_what_is_minted_is_found_with_its_password_and_identifier(identifier: str, ttl_s: int) -> None:
    names = credentials()
    minted = names.mint(KEY, ttl_s, identifier, NOW)
    found = names.find(minted.username, NOW)
    assert found is not None
    assert (found.key_id, found.identifier, found.expires_at) == (KEY, identifier, minted.expires_at)
    assert minted.expires_at == int(NOW) + ttl_s
    assert next(names.passwords(found)) == minted.password == rest_password(NEW, minted.username)


def test_a_minted_name_needs_no_escaping_and_fits_the_attribute() -> None:
    minted = credentials().mint(KEY, 3600, "\N{SNOWMAN}" * (MAX_IDENTIFIER_BYTES // 3), NOW)
    assert minted.username.replace(":", "").replace("-", "").replace("_", "").isalnum()
    assert minted.username.isascii()
    assert len(minted.username) < 509


def test_no_two_minted_names_are_the_same() -> None:
    """Quotas and revocation are by name."""
    names = credentials(max_hashes=0)
    assert len({names.mint(KEY, 3600, "alice", NOW).username for _ in range(1000)}) == 1000


def test_another_server_with_the_key_takes_a_minted_name() -> None:
    minted = credentials().mint(KEY, 3600, "alice", NOW)
    other = credentials()
    found = other.find(minted.username, NOW)
    assert found is not None
    assert minted.password in other.passwords(found)


def test_a15_every_secret_of_a_kind_makes_a_password_the_newest_first() -> None:
    names = credentials()
    by_key = names.find(f"1800003600:{KEY}", NOW)
    shared = names.find("1800003600:alice", NOW)
    assert by_key is not None
    assert shared is not None
    assert list(names.passwords(by_key)) == [rest_password(secret, by_key.username) for secret in (NEW, OLD)]
    assert list(names.passwords(shared)) == [
        rest_password(secret, shared.username) for secret in (SHARED, SHARED_OLD)
    ]


def test_a15_a_secret_that_was_taken_away_makes_no_password() -> None:
    names = credentials()
    minted = names.mint(KEY, 3600, "", NOW)
    names.keys = Keys(by_id={KEY: (OLD,)})
    found = names.find(minted.username, NOW)
    assert found is not None
    assert minted.password not in names.passwords(found)


def test_a_name_of_a_key_that_is_gone_holds_no_longer() -> None:
    names = credentials(Keys(by_id={KEY: (NEW,)}))
    found = names.find(names.mint(KEY, 3600, "", NOW).username, NOW)
    assert found is not None
    names.keys = Keys(by_id={OTHER_KEY: (OTHER,)})
    assert names.find(found.username, NOW) is None
    assert not names.is_live(found, NOW)
    assert list(names.passwords(found)) == []


def test_a_key_does_not_make_passwords_for_names_of_another() -> None:
    names = credentials()
    found = names.find(f"1800003600:{OTHER_KEY}", NOW)
    assert found is not None
    assert list(names.passwords(found)) == [rest_password(OTHER, found.username)]


@pytest.mark.parametrize("username", ["1800003600:alice", f"1800003600:{KEY}"])
def test_a_name_holds_until_its_last_second(username: str) -> None:
    names = credentials()
    found = names.find(username, 1_800_003_599.9)
    assert found is not None
    assert names.find(username, 1_800_003_600) is None
    assert names.is_live(found, 1_800_003_599.9)
    assert not names.is_live(found, 1_800_003_600)


def test_a_name_that_claims_more_than_the_longest_time_does_not_hold() -> None:
    names = credentials(max_ttl_s=3600)
    assert names.find("1800003600:alice", NOW) is not None
    assert names.find(f"{1_800_003_600 + CLOCK_SKEW_S + 1}:alice", NOW) is None
    assert names.find("999999999999:alice", NOW) is None


def test_a_name_for_the_longest_time_holds_where_the_clock_is_behind() -> None:
    minted = credentials(max_ttl_s=3600).mint(KEY, 3600, "", NOW)
    assert credentials(max_ttl_s=3600).find(minted.username, NOW - CLOCK_SKEW_S) is not None


@pytest.mark.parametrize(
    "username",
    [
        "",
        ":",
        "alice",
        "alice:1800003600",
        "-1800003600:a",
        "1800003600 :a",
        "\N{FULLWIDTH DIGIT ONE}800003600:a",
        "9" * 13,
        "\0",
    ],
)
def test_what_is_no_timed_name_is_found_by_nobody(username: str) -> None:
    names = credentials()
    assert names.find(username, NOW) is None
    assert not names.revoke(username, NOW)


@given(st.text(max_size=80))
@example(f"1800003600:{KEY}:abcdefghijkl:_")
@example(f"1800003600:{KEY}:abcdefghijkl:__8")
def test_any_name_is_read_or_not(username: str) -> None:
    found = credentials().find(username, NOW)
    assert found is None or found.username == username


def test_without_shared_secrets_only_names_of_keys_are_found() -> None:
    names = credentials(Keys(by_id={KEY: (NEW,)}))
    assert names.find("1800003600:alice", NOW) is None
    assert names.find(f"1800003600:{OTHER_KEY}", NOW) is None
    assert names.find(f"1800003600:{KEY}", NOW) is not None


def test_without_keys_nobody_is_found() -> None:
    assert credentials(Keys()).find("1800003600:alice", NOW) is None


@pytest.mark.parametrize("ttl_s", [-1, 0, 3601])
def test_a_ttl_outside_its_bounds_is_refused(ttl_s: int) -> None:
    with pytest.raises(CredentialError, match="1 to 3600"):
        credentials(max_ttl_s=3600).mint(KEY, ttl_s, "", NOW)


@pytest.mark.parametrize(
    ("key_id", "identifier"),
    [("nobody", ""), (KEY, "x" * (MAX_IDENTIFIER_BYTES + 1)), (KEY, "\ud800")],
)
def test_nothing_is_minted_for_an_unknown_key_or_an_impossible_identifier(
    key_id: str, identifier: str
) -> None:
    with pytest.raises(CredentialError):
        credentials().mint(key_id, 3600, identifier, NOW)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Keys(by_id={KEY: ()}), id="no-secret"),
        pytest.param(lambda: Keys(by_id={"a:b": (NEW,)}), id="colon-in-id"),
        pytest.param(lambda: Keys(by_id={"": (NEW,)}), id="empty-id"),
        pytest.param(lambda: Keys(by_id={KEY: (NEW, bytes(15))}), id="short-secret"),
        pytest.param(lambda: Keys(shared=(bytes(15),)), id="short-shared-secret"),
        pytest.param(lambda: Keys(shared=(NEW,) * (MAX_SECRETS + 1)), id="too-many"),
    ],
)
def test_keys_that_would_not_protect_are_refused(make: type[Keys]) -> None:
    with pytest.raises(CredentialError):
        make()


@pytest.mark.parametrize(
    "realm", ["", "x" * 128, 'a"b', "a\\b", "a\0", "a\N{NO-BREAK SPACE}b", "e\N{COMBINING ACUTE ACCENT}"]
)
def test_a9_a_realm_that_clients_would_not_hash_as_it_stands_is_refused(realm: str) -> None:
    with pytest.raises(CredentialError, match="realm"):
        Credentials(realm, KEYS)


@pytest.mark.parametrize("realm", ["x" * 127, "example.org", "b\u00fccher.example", "two words"])
def test_a9_other_realms_are_taken(realm: str) -> None:
    assert Credentials(realm, KEYS).realm == realm


def test_secrets_and_passwords_are_not_shown() -> None:
    keys = Keys(by_id={KEY: (NEW,)}, shared=(SHARED,))
    minted = credentials(keys).mint(KEY, 3600, "", NOW)
    assert NEW.decode() not in repr(keys)
    assert SHARED.decode() not in repr(keys)
    assert minted.password not in repr(minted)


def test_a_revoked_name_holds_no_longer_and_others_do() -> None:
    names = credentials()
    one, two = (names.mint(KEY, 3600, "alice", NOW).username for _ in range(2))
    found = names.find(one, NOW)
    assert found is not None
    assert names.revoke(one, NOW)
    assert names.find(one, NOW) is None
    assert names.find_hash(userhash(one, REALM), NOW) is None
    assert not names.is_live(found, NOW)
    assert names.find(two, NOW) is not None
    assert names.revoked() == [one]


def test_a_name_may_be_revoked_again_and_after_its_end() -> None:
    names = credentials()
    username = names.mint(KEY, 3600, "", NOW).username
    assert names.revoke(username, NOW)
    assert names.revoke(username, NOW)
    assert names.revoked() == [username]
    assert names.revoke(username, NOW + 3600)
    assert names.revoked() == []


def test_a_name_is_revoked_only_under_its_own_key() -> None:
    names = credentials()
    username = names.mint(KEY, 3600, "", NOW).username
    assert not names.revoke(username, NOW, key_id=OTHER_KEY)
    assert not names.revoke("1800003600:alice", NOW, key_id=KEY)
    assert names.find(username, NOW) is not None
    assert names.revoke(username, NOW, key_id=KEY)
    assert names.find(username, NOW) is None


def test_revoked_names_are_kept_until_their_end_and_no_longer() -> None:
    names = credentials(max_revoked=2)
    first = names.mint(KEY, 10, "", NOW).username
    second = names.mint(KEY, 20, "", NOW).username
    third = names.mint(KEY, 30, "", NOW).username
    names.revoke(second, NOW)
    names.revoke(first, NOW)
    with pytest.raises(RevocationsFullError):
        names.revoke(third, NOW + 9)
    assert names.find(third, NOW + 9) is not None
    assert names.find(first, NOW + 9) is None
    assert names.revoke(third, NOW + 10)
    assert sorted(names.revoked()) == sorted([second, third])
    assert names.find(second, NOW + 19) is None


def test_revoked_names_are_handed_to_another_process() -> None:
    names, other = credentials(), credentials()
    username = names.mint(KEY, 3600, "", NOW).username
    names.revoke(username, NOW)
    for revoked in names.revoked():
        other.revoke(revoked, NOW)
    assert other.find(username, NOW) is None


def test_a10_a_minted_name_is_found_by_its_hash_and_no_other_is() -> None:
    names = credentials()
    username = names.mint(KEY, 3600, "alice", NOW).username
    found = names.find_hash(userhash(username, REALM), NOW)
    assert found == names.find(username, NOW)
    assert names.find_hash(userhash(username, "elsewhere"), NOW) is None
    assert names.find_hash(userhash("1800003600:alice", REALM), NOW) is None
    assert names.find_hash(userhash(username, REALM), NOW + 3600) is None


def test_a10_as_many_hashes_are_kept_as_is_set_those_that_end_last() -> None:
    names = credentials(max_hashes=2)
    usernames = [names.mint(KEY, ttl_s, "", NOW).username for ttl_s in (300, 100, 200, 400)]
    known = [names.find_hash(userhash(username, REALM), NOW) is not None for username in usernames]
    assert known == [True, False, False, True]
    none = credentials(max_hashes=0)
    assert none.find_hash(userhash(none.mint(KEY, 100, "", NOW).username, REALM), NOW) is None


def test_settings_say_what_is_wrong_with_them() -> None:
    for setting, value, wrong in [
        (REALM_SETTING, "", "1 to 127"),
        (REALM_SETTING, 'a"b', "without quotes"),
        (SECRETS, "short", "at least 16 bytes"),
        (SECRETS, ",".join(["0123456789abcdef"] * (MAX_SECRETS + 1)), "8 secrets at once"),
    ]:
        with pytest.raises(SettingsError, match=wrong) as error:
            setting.parse(value, setting.flag)
        assert not value or setting is REALM_SETTING or value not in str(error.value)
    assert SECRETS.parse("0123456789abcdef", "--turn-secrets") == ("0123456789abcdef",)
