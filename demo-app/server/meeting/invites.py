"""Room keys, host keys and seat tokens: made and checked with one secret, and nothing stored.

The keys of a room are HMACs of its id, so an invite is good as long as the secret lives, on every node that
has it. A token is what it says with an HMAC behind it.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any

from meeting.messages import Made
from meeting.rooms import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY_BYTES = 16  # 128 bits: nobody guesses that
_ROOM_BYTES = 10  # 16 characters of base32; an id may be known, but must not be met by chance


class Invites:
    """Makes rooms and tokens, and knows them again."""

    def __init__(
        self,
        secret: bytes,
        *,
        token_life_s: float,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._secret = secret
        self._token_life_s = token_life_s
        self._random_bytes = random_bytes

    def make(self) -> Made:
        """A new room with its keys."""
        room = base64.b32encode(self._random_bytes(_ROOM_BYTES)).decode().lower()
        return Made(room=room, key=self._key("room", room), host_key=self._key("host", room))

    def opens(self, room: str, key: str | None) -> bool:
        """Whether `key` is that of the room; how long this takes says nothing of how much is right."""
        return _same(key, self._key("room", room))

    def makes_host(self, room: str, host_key: str | None) -> bool:
        """Whether `host_key` is that of the room."""
        return _same(host_key, self._key("host", room))

    def token(self, claim: Claim) -> str:
        """A token that proves `claim`."""
        fields = [claim.room, claim.member, claim.host, claim.issued_at]
        body = _text(json.dumps(fields, separators=(",", ":")).encode())
        return f"{body}.{self._signature(body)}"

    def claim(self, token: str | None, now: float) -> Claim | None:
        """What a token proves; None if it was not made here, or too long ago."""
        body, _, signature = (token or "").partition(".")
        if not _same(signature, self._signature(body)):
            return None
        fields: list[Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        claim = Claim(*fields)
        return claim if now < claim.issued_at + self._token_life_s else None

    def _signature(self, body: str) -> str:
        return _text(hmac.digest(self._secret, b"token\n" + body.encode(), "sha256"))

    def _key(self, of: str, room: str) -> str:
        return _text(hmac.digest(self._secret, f"{of}\n{room}".encode(), "sha256")[:_KEY_BYTES])


def _same(given: str | None, right: str) -> bool:
    return hmac.compare_digest((given or "").encode(), right.encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
