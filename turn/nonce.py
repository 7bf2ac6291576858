"""Nonces that nobody has to remember (RFC 8489 9.2, RFC 8656 5).

A nonce says itself when and for whom it was made, under a MAC:

    obMatJos2   features   time   MAC
    9           4          11                 characters, the last two together in base64

`features` are the 24 bits of RFC 8489 18.1, so an attacker who takes a feature out of a challenge makes a
nonce that is refused. `time` is the low 16 bits of the second; the MAC is over all of the time, the
features and the client's address and port. All who hold the secret take each other's nonces.

The length is chosen: with it, a challenge to an Allocate request is less than twice the request's size.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfu.net.address import Address

NONCE_LENGTH = 24
MAX_LIFE_S = 3600  # RFC 8656 5: at least once every hour
MIN_SECRET_LENGTH = 16

_COOKIE = b"obMatJos2"
_COOKIE_LENGTH = 13  # with the features
_TIME_LENGTH = 2
_TIMES = 1 << 8 * _TIME_LENGTH
_MAC_LENGTH = 6  # chosen: a forged nonce wins its maker nothing but a look at the integrity that he lacks
_TAIL_LENGTH = 11


class SecurityFeature(IntFlag):
    """Features that a nonce protects from being taken away (RFC 8489 18.1).

    Bit 0 is the least significant one: erratum 6290, and appendix B.1. The text says the most significant.
    """

    PASSWORD_ALGORITHMS = 1
    USERNAME_ANONYMITY = 2


class Nonces:
    """Makes nonces and tells its own."""

    def __init__(self, secret: bytes, *, life_s: int = 600) -> None:
        """`secret` is at least 16 random bytes, the same for all who are to take these nonces."""
        if len(secret) < MIN_SECRET_LENGTH:
            raise ValueError(f"a secret for nonces has at least {MIN_SECRET_LENGTH} bytes")
        if not 0 < life_s <= MAX_LIFE_S:
            raise ValueError(f"a nonce lives 1 to {MAX_LIFE_S} s, not {life_s}")
        self._secret = secret
        self._life_s = life_s

    def make(
        self,
        client: Address,
        wall_now: float,
        features: SecurityFeature = SecurityFeature.PASSWORD_ALGORITHMS,
    ) -> bytes:
        """A nonce for this client alone, that says what features it is offered."""
        cookie = _COOKIE + base64.b64encode(int(features).to_bytes(3, "big"))
        return self._made(cookie, client, int(wall_now))

    def is_valid(self, nonce: bytes, client: Address, wall_now: float) -> bool:
        """Whether we made `nonce` for this client, and not too long ago."""
        if len(nonce) != NONCE_LENGTH:
            return False
        try:
            tail = base64.b64decode(nonce[_COOKIE_LENGTH:] + b"=", validate=True)
        except binascii.Error:
            return False
        now_s = int(wall_now)
        age_s = (now_s - int.from_bytes(tail[:_TIME_LENGTH], "big")) % _TIMES
        if age_s > self._life_s:
            return False
        return hmac.compare_digest(nonce, self._made(nonce[:_COOKIE_LENGTH], client, now_s - age_s))

    def _made(self, cookie: bytes, client: Address, made_s: int) -> bytes:
        covered = cookie + made_s.to_bytes(8, "big") + client.port.to_bytes(2, "big") + client.host.encode()
        mac = hmac.digest(self._secret, covered, "sha256")[:_MAC_LENGTH]
        time = (made_s % _TIMES).to_bytes(_TIME_LENGTH, "big")
        return cookie + base64.b64encode(time + mac)[:_TAIL_LENGTH]
