"""What a test says when a server does something else than its row asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

from sfu.wire import stun
from sfu.wire.stun import Attribute, Message, MessageClass, StunError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Deviation(AssertionError):
    """The server did something else than is asked: what was expected, and what came."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected = expected
        self.got = got


class Closed(Deviation):
    """The server closed a connection that was to go on."""

    def __init__(self, expected: str = "an open connection") -> None:
        super().__init__(expected, "a closed connection")


def deviates(expected: str, got: str) -> NoReturn:
    """Raise a Deviation."""
    raise Deviation(expected, got)


def expect(holds: bool, expected: str, got: object) -> None:
    """Raise a Deviation unless it `holds`."""
    if not holds:
        raise Deviation(expected, str(got))


def code_of(reply: Message) -> int:
    """The code of an error, 0 of a success. A reply that is neither deviates."""
    if reply.message_class is MessageClass.SUCCESS:
        return 0
    value = reply.get(Attribute.ERROR_CODE)
    if reply.message_class is not MessageClass.ERROR or value is None:
        deviates("a success or an error with ERROR-CODE", told(reply))
    return decoded(stun.decode_error_code, value, "ERROR-CODE")[0]


def told(reply: Message) -> str:
    """A reply in a few words."""
    if reply.message_class is MessageClass.SUCCESS:
        return "a success"
    value = reply.get(Attribute.ERROR_CODE)
    if value is None:
        return f"a message of class {reply.message_class.name} without ERROR-CODE"
    try:
        code, reason = stun.decode_error_code(value)
    except StunError:
        return f"an ERROR-CODE that can't be read ({value.hex()})"
    reason = reason.rstrip("\0 ")  # which some servers fill up with
    return f"error {code} ({reason})" if reason else f"error {code}"


def expect_success(reply: Message, why: str = "") -> Message:
    """The reply, which has to be a success."""
    expect(code_of(reply) == 0, "a success" + (f" ({why})" if why else ""), told(reply))
    return reply


def expect_error(reply: Message, *codes: int, why: str = "") -> Message:
    """The reply, which has to be an error of one of these codes."""
    expected = "error " + " or ".join(map(str, codes)) + (f" ({why})" if why else "")
    expect(code_of(reply) in codes, expected, told(reply))
    return reply


def attribute_of(reply: Message, attribute: int, name: str) -> bytes:
    """The value of an attribute that has to be there."""
    value = reply.get(attribute)
    if value is None:
        deviates(f"{name} in {told(reply)}", "none")
    return value


def decoded(decode: Callable[[bytes], T], value: bytes, name: str) -> T:
    """What a value tells; one that can't be read deviates."""
    try:
        return decode(value)
    except StunError as error:
        deviates(f"a well-formed {name}", f"{value.hex()} ({error})")
