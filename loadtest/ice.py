"""The ICE half of one light client, without I/O: a controlling agent with one pair (RFC 8445, 7675).

The server is ICE-lite, so one check that names the pair (USE-CANDIDATE) is enough, as browsers do it with
such a peer; afterwards a check every five seconds asks for its consent. A peer that is no lite agent sends
checks of its own: those are answered.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass

if TYPE_CHECKING:
    from sfu.net.address import Address

FIRST_WAIT_S: Final = 0.1  # chosen: RFC 8489's 500 ms is for networks, this is a laboratory
LONGEST_WAIT_S: Final = 1.0
PATIENCE_S: Final = 10.0
CONSENT_EVERY_S: Final = 5.0  # RFC 7675 5.1, without its jitter: many clients start at many moments
CONSENT_LOST_S: Final = 30.0

_PRIORITY: Final = (110 << 24 | 65535 << 8 | 255).to_bytes(4, "big")  # of a peer-reflexive candidate


class State(Enum):
    """What is known about the pair."""

    CHECKING = "checking"
    VALID = "valid"
    LOST = "lost"  # never answered, or consent ran out


class IceError(Exception):
    """The server refused a check; the text has its error code."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A ufrag and the password that goes with it."""

    ufrag: str
    pwd: str


def new_credentials() -> Credentials:
    """Fresh ones for a client: 48 and 144 random bits (RFC 8839 5.4 wants 24 and 128)."""
    return Credentials(secrets.token_hex(6), secrets.token_hex(18))


class Checks:
    """The connectivity checks of one client over one pair."""

    def __init__(self, local: Credentials, remote: Credentials, now: float) -> None:
        self.state = State.CHECKING
        self._local = local
        self._remote = remote
        self._tie_breaker = os.urandom(8)
        self._began_at = now
        self._answered_at = now
        self._next_at = now
        self._wait_s = FIRST_WAIT_S
        self._asked: dict[bytes, float] = {}  # transaction -> when; emptied by an answer
        self._out: list[bytes] = []
        self.rtt_s: float | None = None  # of the latest check

    def timer_at(self) -> float | None:
        """When the next check is due, or None once lost."""
        return None if self.state is State.LOST else self._next_at

    def handle_timer(self, now: float) -> None:
        """Send the check that is due; notice that nobody answers any more."""
        if self.state is State.LOST or now < self._next_at:
            return
        patience = PATIENCE_S if self.state is State.CHECKING else CONSENT_LOST_S
        if now - self._answered_at >= patience:
            self.state = State.LOST
            return
        transaction = os.urandom(stun.TRANSACTION_ID_LENGTH)
        self._asked[transaction] = now
        self._out.append(self._check(transaction))
        if self.state is State.VALID:
            self._next_at = now + CONSENT_EVERY_S
        else:
            self._next_at = now + self._wait_s
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Take a STUN message. What is not of this pair or not signed is dropped; an error answer raises
        IceError while checking."""
        try:
            message = stun.parse(data)
        except stun.StunError:
            return
        if message.message_class is MessageClass.REQUEST:
            if stun.verify_integrity(message, self._local.pwd.encode()):
                self._out.append(_answer(message, source, self._local.pwd))
        elif message.message_class is not MessageClass.INDICATION:
            self._answered(message, now)

    def take_datagrams(self) -> list[bytes]:
        """What is to be sent now, in order."""
        out, self._out = self._out, []
        return out

    def _answered(self, message: stun.Message, now: float) -> None:
        asked_at = self._asked.get(message.transaction_id)
        if asked_at is None or not stun.verify_integrity(message, self._remote.pwd.encode()):
            return
        if message.message_class is MessageClass.ERROR:
            if self.state is State.CHECKING:
                code, reason = stun.decode_error_code(message.get(Attribute.ERROR_CODE) or b"")
                raise IceError(f"check refused: {code} {reason}")
            return
        self._answered_at = now
        self.rtt_s = now - asked_at
        self._asked.clear()
        if self.state is State.CHECKING:
            self.state = State.VALID
            self._next_at = now + CONSENT_EVERY_S

    def _check(self, transaction: bytes) -> bytes:
        attributes = [
            (Attribute.USERNAME, f"{self._remote.ufrag}:{self._local.ufrag}".encode()),
            (Attribute.PRIORITY, _PRIORITY),
            (Attribute.ICE_CONTROLLING, self._tie_breaker),
            (Attribute.USE_CANDIDATE, b""),
        ]
        key = self._remote.pwd.encode()
        return stun.build(stun.BINDING, MessageClass.REQUEST, transaction, attributes, key=key)


def _answer(request: stun.Message, source: Address, pwd: str) -> bytes:
    host = ipaddress.ip_address(source.host).packed
    mapped = stun.encode_xor_address(host, source.port, request.transaction_id)
    return stun.build(
        stun.BINDING,
        MessageClass.SUCCESS,
        request.transaction_id,
        [(Attribute.XOR_MAPPED_ADDRESS, mapped)],
        key=pwd.encode(),
    )
