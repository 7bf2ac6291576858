"""The long-term credential mechanism, the server's side (RFC 8489 9.2.4), without a word remembered.

The checks are in the order of the RFC but for one: a nonce is looked at before anything that costs more
than one MAC, so a flood of forged requests buys no search for names and no integrity checks. A correct
client sees no difference.

    no integrity attribute        401   REALM, NONCE and, but for a bare header, PASSWORD-ALGORITHMS
    username, realm, nonce short  400
    nonce not ours, or too old    438   as 401
    algorithms not as offered     400
    nobody's name or realm        401   as above, as if the integrity were wrong
    integrity wrong               401   as above
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sfu.wire import stun
from sfu.wire.stun import Attribute, PasswordAlgorithm, StunError
from turn.nonce import SecurityFeature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sfu.net.address import Address
    from sfu.wire.stun import Message, MessageClass
    from turn.credentials import Credential, Credentials
    from turn.nonce import Nonces

MAX_USERNAME_BYTES = 763  # RFC 8489 14.3
_SHORTEST_ALLOCATE = 28  # bytes: a header and REQUESTED-TRANSPORT, without which there is none (RFC 8656 7.1)
_FINGERPRINT_BYTES = 8  # that the answer will have too

_OFFERED = (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5)
_ALGORITHMS = stun.encode_password_algorithms(_OFFERED)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Who sent a request, and what its answer is signed with."""

    credential: Credential
    key: bytes = field(repr=False)
    is_sha256: bool  # the answer has MESSAGE-INTEGRITY-SHA256 in place of MESSAGE-INTEGRITY

    def sign(
        self,
        method: int,
        message_class: MessageClass,
        transaction_id: bytes,
        attributes: Iterable[tuple[int, bytes]],
        *,
        fingerprint: bool = False,
    ) -> bytes:
        """An answer with integrity; errors have it as well as successes."""
        return stun.build(
            method,
            message_class,
            transaction_id,
            attributes,
            key=None if self.is_sha256 else self.key,
            key_sha256=self.key if self.is_sha256 else None,
            fingerprint=fingerprint,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is not to be carried out, with what its unsigned error has beside ERROR-CODE."""

    code: int
    attributes: tuple[tuple[int, bytes], ...] = ()
    wrong_integrity: bool = False  # the name holds and the password was wrong: perhaps a guess


class Authenticator:
    """Tells whose a request is. Nothing of strangers is kept."""

    def __init__(self, nonces: Nonces, credentials: Credentials) -> None:
        self._nonces = nonces
        self._credentials = credentials
        self._realm = credentials.realm.encode()

    def check(self, message: Message, client: Address, wall_now: float) -> Authenticated | Refused:
        """Whose request this is, or the error to answer with. `wall_now` is seconds since 1970."""
        if message.integrity_at is None and message.integrity_sha256_at is None:
            # Shorter is no client's request, but may be sent in the name of a victim: it gets less back.
            size = len(message.data) - (_FINGERPRINT_BYTES if message.has_fingerprint else 0)
            return self._challenge(401, client, wall_now, offers_algorithms=size >= _SHORTEST_ALLOCATE)
        nonce, realm = message.get(Attribute.NONCE), message.get(Attribute.REALM)
        username, userhash = message.get(Attribute.USERNAME), message.get(Attribute.USERHASH)
        if nonce is None or realm is None or (username is None and userhash is None):
            return Refused(400)
        if not self._nonces.is_valid(nonce, client, wall_now):
            return self._challenge(438, client, wall_now)
        try:
            algorithm = _chosen(message)
        except StunError:
            return Refused(400)
        credential = self._find(username, userhash, wall_now) if realm == self._realm else None
        if credential is None:
            return self._challenge(401, client, wall_now, by_name=username is None)
        for password in self._credentials.passwords(credential):
            key = stun.long_term_key(
                credential.username, self._credentials.realm, password, algorithm or PasswordAlgorithm.MD5
            )
            if _verify(message, key):
                return Authenticated(credential, key, is_sha256=algorithm is not None)
        return self._challenge(401, client, wall_now, wrong_integrity=True)

    def _find(self, username: bytes | None, userhash: bytes | None, wall_now: float) -> Credential | None:
        if username is None:
            return None if userhash is None else self._credentials.find_hash(userhash, wall_now)
        if len(username) > MAX_USERNAME_BYTES:
            return None
        try:
            return self._credentials.find(username.decode(), wall_now)
        except UnicodeDecodeError:
            return None

    def _challenge(
        self,
        code: int,
        client: Address,
        wall_now: float,
        *,
        by_name: bool = False,
        wrong_integrity: bool = False,
        offers_algorithms: bool = True,
    ) -> Refused:
        """What a client needs to try again; `by_name`, as its USERHASH told nothing, with a USERNAME.

        The nonce says in any case that there are algorithms to choose from: so a client that knows them does
        not take a challenge without them (RFC 8489 9.2.5), which may be one from which they were taken away.
        """
        features = SecurityFeature.PASSWORD_ALGORITHMS
        if self._credentials.offers_userhash and not by_name:
            features |= SecurityFeature.USERNAME_ANONYMITY
        attributes = [
            (Attribute.REALM, self._realm),
            (Attribute.NONCE, self._nonces.make(client, wall_now, features)),
        ]
        if offers_algorithms:
            attributes.append((Attribute.PASSWORD_ALGORITHMS, _ALGORITHMS))
        return Refused(code, tuple(attributes), wrong_integrity)


def _chosen(message: Message) -> PasswordAlgorithm | None:
    """The algorithm that the client took of those offered; None: it knows of none. Raises StunError."""
    offered, chosen = message.get(Attribute.PASSWORD_ALGORITHMS), message.get(Attribute.PASSWORD_ALGORITHM)
    if offered is None and chosen is None:
        return None
    if offered != _ALGORITHMS or chosen is None:
        raise StunError("the password algorithms are not those that were offered")
    number, parameters = stun.decode_password_algorithm(chosen)
    if number not in _OFFERED or parameters:
        raise StunError("the password algorithm is none of those offered")
    return PasswordAlgorithm(number)


def _verify(message: Message, key: bytes) -> bool:
    if message.integrity_sha256_at is not None:
        return stun.verify_integrity_sha256(message, key)
    return stun.verify_integrity(message, key)
