"""Time-limited credentials: names that say when they end, and passwords that nobody keeps.

A name and the secret that it was signed with make the password, as in the REST API that coturn and others
share (draft-uberti-behave-turn-rest-00), so any number of servers take a name of which they never heard:

    1800003600:alice                             a name by a shared secret, made by whoever has it
    1800003600:<key id>:<tag>[:<identifier>]     a name by a TURN key; the tag makes it one of a kind
    password = base64(HMAC-SHA1(secret, name))

What is kept is small and bounded: the revoked names until they end, and the USERHASH of names that were
minted here, if anonymous names are wanted. Passwords and keys are made anew for every request.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Generic, TypeVar

from sfu.base.settings import Setting
from sfu.wire.stun import userhash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Settings


def _wrong_realm(realm: str) -> str | None:
    if 0 < len(realm) < 128 and _is_opaque(realm):
        return None
    return "a realm is 1 to 127 printable characters without quotes, such as a domain name"


def _wrong_secrets(group: Sequence[str]) -> str | None:
    if len(group) > MAX_SECRETS:
        return f"{MAX_SECRETS} secrets at once are the most"
    if any(len(secret.encode()) < MIN_SECRET_LENGTH for secret in group):
        return f"a secret has at least {MIN_SECRET_LENGTH} bytes, such as those of `openssl rand -hex 32`"
    return None


REALM = Setting(
    "turn.realm",
    str,
    "orchard",
    check=_wrong_realm,
    help="Realm of TURN credentials: by custom the domain name of who provides the server",
)
SECRETS = Setting(
    "turn.secrets",
    tuple[str, ...],
    (),
    secret=True,
    check=_wrong_secrets,
    help="Secrets of application servers that make TURN credentials themselves (coturn's static-auth-secret)",
)
REVOKED = Setting(
    "turn.revoked",
    int,
    100_000,
    minimum=1,
    maximum=10_000_000,
    help="Revoked TURN usernames that are kept until they end; one more can't be revoked until some do",
)
USERHASHES = Setting(
    "turn.userhashes",
    int,
    0,
    minimum=0,
    maximum=10_000_000,
    help="Minted TURN usernames that clients may hide (USERHASH) if there are no `turn.secrets`; 0: none",
)

K = TypeVar("K", str, bytes)
V = TypeVar("V")

MAX_TTL_S = 48 * 3600  # chosen: a name that leaked or can't be revoked any more ends by itself
CLOCK_SKEW_S = 300  # chosen: how far ahead the clock of who made a name may be
MAX_SECRETS = 8  # of one kind; chosen: as many integrity checks may a request cost
MIN_SECRET_LENGTH = 16  # 128 bits, RFC 8489 9.2: too many to guess offline
MAX_IDENTIFIER_BYTES = 256  # chosen: the name stays under the 509 bytes of RFC 8489 14.3

_TAG_BYTES = 9
_TAG_LENGTH = 12
_NAME = re.compile(r"([0-9]{1,12})(?::(.*))?", re.DOTALL)
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CredentialError(ValueError):
    """A credential that can't be made or revoked; the text says why and what may be asked for."""


class RevocationsFullError(CredentialError):
    """There are as many revoked names as the server keeps; some end by themselves."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets that passwords are made with; several at once, the newest first, let them be changed.

    `by_id` are TURN keys, `shared` are secrets without a key, such as coturn's `static-auth-secret`.
    """

    by_id: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict[str, tuple[bytes, ...]], repr=False)
    shared: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for key_id, of_key in self.by_id.items():
            if _KEY_ID.fullmatch(key_id) is None:
                raise CredentialError(f"the key id {key_id!r} is not 1 to 64 letters, digits, - and _")
            if not of_key:
                raise CredentialError(f"the TURN key {key_id} has no secret")
        for group in (self.shared, *self.by_id.values()):
            if len(group) > MAX_SECRETS:
                raise CredentialError(f"{len(group)} secrets at once; {MAX_SECRETS} are the most")
            if any(len(secret) < MIN_SECRET_LENGTH for secret in group):
                raise CredentialError(f"a secret of TURN has at least {MIN_SECRET_LENGTH} bytes")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a name says. It holds no secret."""

    username: str
    key_id: str | None  # None: by a shared secret
    identifier: str  # whom it was made for, in the words of who asked; "" if they said nothing
    expires_at: int  # of the wall clock, in seconds


@dataclass(frozen=True, slots=True)
class Minted:
    """A fresh name and its password."""

    username: str
    password: str = field(repr=False)
    expires_at: int


class Credentials:
    """Knows which names hold, and makes new ones."""

    def __init__(
        self,
        realm: str,
        keys: Keys,
        *,
        max_ttl_s: int = MAX_TTL_S,
        max_revoked: int = 100_000,
        max_hashes: int = 0,
    ) -> None:
        """Keep at most `max_revoked` names that were revoked and `max_hashes` that were minted.

        `realm` is the domain name of who provides the server (RFC 8489 9.2.4). Raises CredentialError.
        """
        if (wrong := _wrong_realm(realm)) is not None:
            raise CredentialError(f"{realm!r}: {wrong}")
        self.keys = keys  # may be replaced at any time; names of a key that is gone hold no longer
        self.realm = realm
        self._max_ttl_s = max_ttl_s
        self._revoked: _Expiring[str, None] = _Expiring(max_revoked)
        self._hashes: _Expiring[bytes, str] = _Expiring(max_hashes)

    @property
    def offers_userhash(self) -> bool:
        """Whether clients may be told to hide their names: a client that is told so has no other choice.

        So all names must be minted ones, and remembered.
        """
        return self._hashes.limit > 0 and not self.keys.shared

    def mint(self, key_id: str, ttl_s: int, identifier: str, wall_now: float) -> Minted:
        """A name that holds for `ttl_s`, by the newest secret of a key. Raises CredentialError."""
        of_key = self.keys.by_id.get(key_id)
        if of_key is None:
            raise CredentialError("there is no such TURN key")
        if not 0 < ttl_s <= self._max_ttl_s:
            raise CredentialError(f"a ttl of {ttl_s} s; it may be 1 to {self._max_ttl_s}")
        try:
            encoded = identifier.encode()
        except UnicodeEncodeError:
            raise CredentialError("an identifier is Unicode text without lone surrogates") from None
        if len(encoded) > MAX_IDENTIFIER_BYTES:
            raise CredentialError(f"an identifier has at most {MAX_IDENTIFIER_BYTES} bytes")
        expires_at = int(wall_now) + ttl_s
        parts = [str(expires_at), key_id, secrets.token_urlsafe(_TAG_BYTES)]
        if encoded:
            parts.append(base64.urlsafe_b64encode(encoded).rstrip(b"=").decode())
        username = ":".join(parts)
        self._hashes.discard_ended(wall_now)
        self._hashes.put(userhash(username, self.realm), username, expires_at)
        return Minted(username, _password(of_key[0], username), expires_at)

    def find(self, username: str, wall_now: float) -> Credential | None:
        """What a name says, if it holds now: of a known key or a shared secret, not ended, not revoked."""
        credential = self._read(username)
        return credential if credential is not None and self.is_live(credential, wall_now) else None

    def find_hash(self, value: bytes, wall_now: float) -> Credential | None:
        """As `find`, for the USERHASH of a name that was minted here and is remembered."""
        username = self._hashes.get(value)
        return None if username is None else self.find(username, wall_now)

    def is_live(self, credential: Credential, wall_now: float) -> bool:
        """Whether a credential that held once still does: for what was allowed with it."""
        if not wall_now < credential.expires_at <= wall_now + self._max_ttl_s + CLOCK_SKEW_S:
            return False
        return bool(self._secrets(credential.key_id)) and credential.username not in self._revoked

    def passwords(self, credential: Credential) -> Iterator[str]:
        """The passwords that go with a name, by the newest secret first."""
        for secret in self._secrets(credential.key_id):
            yield _password(secret, credential.username)

    def revoke(self, username: str, wall_now: float, *, key_id: str | None = None) -> bool:
        """End a name before its time; False if it is none of ours, or not of the key `key_id`.

        To revoke again, or what has ended, is no fault. Raises RevocationsFullError.
        """
        credential = self._read(username)
        if credential is None or (key_id is not None and credential.key_id != key_id):
            return False
        self._revoked.discard_ended(wall_now)
        if self.is_live(credential, wall_now):
            if self._revoked.is_full:
                raise RevocationsFullError("as many names are revoked as are kept: wait for some to end")
            self._revoked.put(username, None, credential.expires_at)
        return True

    def revoked(self) -> list[str]:
        """The names to revoke again after a restart, or in another process."""
        return list(self._revoked)

    def _secrets(self, key_id: str | None) -> tuple[bytes, ...]:
        if key_id is None:
            return self.keys.shared
        return self.keys.by_id.get(key_id, ())

    def _read(self, username: str) -> Credential | None:
        match = _NAME.fullmatch(username)
        if match is None:
            return None
        expires_at, rest = int(match[1]), match[2] or ""
        key_id, _, of_key = rest.partition(":")
        if key_id in self.keys.by_id:
            return Credential(username, key_id, _identifier(of_key), expires_at)
        return Credential(username, None, rest, expires_at) if self.keys.shared else None


class _Expiring(Generic[K, V]):
    """At most `limit` keys, each until its time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._values: dict[K, V] = {}
        self._ends: list[tuple[int, K]] = []  # a heap: what ends first is first

    @property
    def is_full(self) -> bool:
        return len(self._values) >= self.limit

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def put(self, key: K, value: V, ends_at: int) -> None:
        """Keep a new key; in a full table the one that ends first makes room."""
        if self.limit == 0:
            return
        if self.is_full:
            del self._values[heappop(self._ends)[1]]
        self._values[key] = value
        heappush(self._ends, (ends_at, key))

    def discard_ended(self, wall_now: float) -> None:
        while self._ends and self._ends[0][0] <= wall_now:
            del self._values[heappop(self._ends)[1]]


def _is_opaque(text: str) -> bool:
    """Whether OpaqueString (RFC 8265 4.2) leaves a text as it is, and no client takes quotes out of it."""
    return text.isprintable() and unicodedata.normalize("NFC", text) == text and not set(text) & set('"\\')


def _password(secret: bytes, username: str) -> str:
    return base64.b64encode(hmac.digest(secret, username.encode(), "sha1")).decode()


def _identifier(of_key: str) -> str:
    """The identifier in what follows the key id; a name that was not minted here is its own."""
    tag, _, encoded = of_key.partition(":")
    if len(tag) != _TAG_LENGTH:
        return of_key
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True).decode()
    except ValueError:
        return of_key
