"""Reading what an authenticated request asks for; what can't be read or granted is rejected with a code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from sfu.wire import turn as wire
from sfu.wire.stun import Attribute, StunError, decode_xor_address
from sfu.wire.turn import TurnAttribute
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
    486: "Allocation Quota Reached",
    508: "Insufficient Capacity",
}
"""What each code says (RFC 8489 14.8, 8656 19), in signed answers; a stranger's are short."""


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

    def lifetime(self) -> int | None:
        """LIFETIME in seconds."""
        return self.read(TurnAttribute.LIFETIME, wire.decode_lifetime)
