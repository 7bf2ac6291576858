"""Reading what an authenticated request asks for, and answering it; what can't be read or granted is rejected
with a code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client import Counter

from sfu.wire import stun
from sfu.wire import turn as wire
from sfu.wire.stun import Attribute, MessageClass, StunError, decode_xor_address, encode_error_code
from sfu.wire.turn import Method, TurnAttribute
from turn.allocation import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.wire.stun import Message
    from turn.auth import Authenticated
    from turn.tuples import FiveTuple

T = TypeVar("T")

KNOWN: Final = frozenset(Attribute) | frozenset(TurnAttribute)

REASONS: Final = {
    400: "Bad Request",
    403: "Forbidden",
    420: "Unknown Attribute",
    437: "Allocation Mismatch",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    446: "Connection Already Exists",
    447: "Connection Timeout or Failure",
    486: "Allocation Quota Reached",
    508: "Insufficient Capacity",
}
"""What each code says (RFC 8489 14.8, 8656 19, 6062 6.3), in signed answers; a stranger's are short."""


_answered = Counter(
    "orchard_turn_requests_total", "Requests that were answered, by their outcome", ["method", "code"]
)
_METHODS = {stun.BINDING: "binding", **{int(method): method.name.lower() for method in Method}}


def count_answer(method: int, code: int) -> None:
    """Count a request by what was answered; 200 for a success."""
    _answered.labels(_METHODS[method], str(code)).inc()


class Rejected(Exception):
    """A request gets this error code; `attributes` stand beside ERROR-CODE."""

    def __init__(self, code: int, *attributes: tuple[int, bytes]) -> None:
        super().__init__(f"{code} {REASONS[code]}")
        self.code = code
        self.attributes = attributes


@dataclass(frozen=True, slots=True)
class Request:
    """A request of an authenticated user, and when it came: on the loop's clock, and seconds since 1970."""

    message: Message
    client: FiveTuple
    user: Authenticated
    now: float
    wall_now: float

    def read(self, attribute: int, decode: Callable[[bytes], T]) -> T | None:
        """The value of an attribute, None where it is missing. Raises Rejected (400)."""
        value = self.message.get(attribute)
        if value is None:
            return None
        try:
            return decode(value)
        except StunError as error:
            raise Rejected(400) from error

    def has(self, attribute: int) -> bool:
        """Whether the attribute is there."""
        return self.message.get(attribute) is not None

    def peers(self) -> list[Peer]:
        """All XOR-PEER-ADDRESS, at least one. Raises Rejected (400)."""
        values = self.message.get_all(TurnAttribute.XOR_PEER_ADDRESS)
        if not values:
            raise Rejected(400)
        try:
            return [Peer(*decode_xor_address(value, self.message.transaction_id)) for value in values]
        except StunError as error:
            raise Rejected(400) from error

    def peer(self) -> Peer:
        """The first XOR-PEER-ADDRESS. Raises Rejected (400)."""
        return self.peers()[0]

    def success(self, *attributes: tuple[int, bytes]) -> bytes:
        """The answer to a request that was granted. Whatever is answered is signed (RFC 8489 9.2.4)."""
        return self._signed(MessageClass.SUCCESS, attributes)

    def failure(self, rejected: Rejected) -> bytes:
        """The answer to a request that was not."""
        reason = encode_error_code(rejected.code, REASONS[rejected.code])
        return self._signed(MessageClass.ERROR, ((Attribute.ERROR_CODE, reason), *rejected.attributes))

    def _signed(self, message_class: MessageClass, attributes: tuple[tuple[int, bytes], ...]) -> bytes:
        message = self.message
        return self.user.sign(message.method, message_class, message.transaction_id, attributes)

    def lifetime(self) -> int | None:
        """LIFETIME in seconds."""
        return self.read(TurnAttribute.LIFETIME, wire.decode_lifetime)
