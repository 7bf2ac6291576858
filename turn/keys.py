"""TURN keys: who may have credentials made, and with which secrets these are signed.

    TurnKey   id          names the key in the HTTP API and in each username
              tokens      what the callers of the HTTP API show; only their digests are kept
              secrets     what passwords are made with; kept as they are, since each check needs them

Both are exchanged in two steps, so that no caller is locked out: `rotate` adds a token and a secret before
those in use, then `finish_rotation` drops all but the newest. All functions are pure; a document of keys is
JSON, and whoever stores it must keep it from others.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from turn.credentials import MIN_SECRET_LENGTH, Keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HELD_AT_ONCE: Final = 2  # the one in use and, while it is being exchanged, its successor
_ID_BYTES: Final = 16
_TOKEN_BYTES: Final = 32
_SECRET_BYTES: Final = 32
_ID = re.compile(r"[0-9a-f]{32}")


class KeysError(ValueError):
    """A document that is none of TURN keys; the text repeats nothing of it that is secret."""


@dataclass(frozen=True, slots=True)
class TurnKey:
    """One key. Newest first: `token_digests` are SHA-256, `secrets` what credentials are signed with.

    `created_at` is wall-clock seconds.
    """

    id: str
    name: str
    token_digests: tuple[bytes, ...]
    secrets: tuple[bytes, ...] = field(repr=False)
    created_at: float

    def accepts(self, token: str) -> bool:
        """Whether `token` is valid, in a time that does not tell how much of it is right."""
        digest = _digest(token)
        matches = [hmac.compare_digest(digest, valid) for valid in self.token_digests]
        return any(matches)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and the token just made for it: the one moment at which the token is known."""

    key: TurnKey
    token: str = field(repr=False)


def new_key(name: str, wall_now: float) -> IssuedKey:
    """A key with an id of 32 hex digits, a token of 64 (256 random bits) and a secret."""
    token = secrets.token_hex(_TOKEN_BYTES)
    key = TurnKey(secrets.token_hex(_ID_BYTES), name, (_digest(token),), (_new_secret(),), wall_now)
    return IssuedKey(key, token)


def rotate(key: TurnKey) -> IssuedKey:
    """The key with a new token and a new secret beside the newest that it had; older ones end."""
    token = secrets.token_hex(_TOKEN_BYTES)
    changed = replace(
        key,
        token_digests=(_digest(token), *key.token_digests)[:HELD_AT_ONCE],
        secrets=(_new_secret(), *key.secrets)[:HELD_AT_ONCE],
    )
    return IssuedKey(changed, token)


def finish_rotation(key: TurnKey) -> TurnKey:
    """The key with its newest token and secret alone: what was signed with an older one holds no longer."""
    return replace(key, token_digests=key.token_digests[:1], secrets=key.secrets[:1])


def signing_keys(keys: Iterable[TurnKey], shared: tuple[bytes, ...] = ()) -> Keys:
    """What credentials are made and checked with; `shared` are secrets without a key."""
    return Keys({key.id: key.secrets for key in keys}, shared)


def write_keys(keys: Mapping[str, TurnKey]) -> bytes:
    """The document of `keys`."""
    entries = [
        {
            "id": key.id,
            "name": key.name,
            "token_sha256": [digest.hex() for digest in key.token_digests],
            "secrets": [secret.decode() for secret in key.secrets],
            "created_at": key.created_at,
        }
        for key in keys.values()
    ]
    return json.dumps({"keys": entries}, indent=2).encode()


def read_keys(document: bytes | None) -> dict[str, TurnKey]:
    """The keys of a document by id; none if there is no document. Raises KeysError."""
    if document is None:
        return {}
    try:
        keys = [_key(entry) for entry in json.loads(document)["keys"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeysError(f"is no document of TURN keys ({_said(error)})") from None
    return {key.id: key for key in keys}


def _said(error: Exception) -> str:
    """What is wrong, without what stood there: an error of a value may repeat it."""
    return str(error) if isinstance(error, KeysError | KeyError | json.JSONDecodeError) else "a wrong type"


def _key(entry: Any) -> TurnKey:
    id_ = entry["id"]
    if not isinstance(id_, str) or _ID.fullmatch(id_) is None:
        raise KeysError("a key's id has 32 hex digits")
    digests = tuple(bytes.fromhex(text) for text in entry["token_sha256"])
    if not 0 < len(digests) <= HELD_AT_ONCE or any(len(digest) != 32 for digest in digests):
        raise KeysError("a key has 1 or 2 digests of tokens, of 64 hex digits")
    signers = tuple(text.encode() for text in entry["secrets"])
    if not 0 < len(signers) <= HELD_AT_ONCE or any(len(secret) < MIN_SECRET_LENGTH for secret in signers):
        raise KeysError(f"a key has 1 or 2 secrets, of {MIN_SECRET_LENGTH} characters or more")
    return TurnKey(id_, str(entry["name"]), digests, signers, float(entry["created_at"]))


def _digest(token: str) -> bytes:
    """What is kept of a token. No salt or stretching: it has 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _new_secret() -> bytes:
    return secrets.token_hex(_SECRET_BYTES).encode()
