"""A TURN client that can also do wrong: it builds each message itself and shows what came back."""

from __future__ import annotations

import base64
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sfu.wire import stun, turn
from sfu.wire.stun import BINDING, Attribute, Message, MessageClass, PasswordAlgorithm, StunError
from sfu.wire.turn import PROTOCOL_UDP, AddressFamily, Icmp, Method, TurnAttribute
from tests.conformance.turn.links import Endpoint, Link
from tests.conformance.turn.verdict import (
    Deviation,
    attribute_of,
    code_of,
    decoded,
    deviates,
    expect,
    expect_error,
    expect_success,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tests.conformance.turn.target import Credential, Target

RETRANSMIT_S = 0.5  # RFC 8489 6.2.1
NONCE_COOKIE = b"obMatJos2"
# Bits of the security features: from the least significant one (erratum 6290), or from the other end.
_PASSWORD_ALGORITHMS = 0x000001 | 0x800000
_USERNAME_ANONYMITY = 0x000002 | 0x400000

ASK_UDP = (TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(PROTOCOL_UDP))
ASK_IPV4 = (TurnAttribute.REQUESTED_ADDRESS_FAMILY, turn.encode_address_family(AddressFamily.IPV4))
ASK_IPV6 = (TurnAttribute.REQUESTED_ADDRESS_FAMILY, turn.encode_address_family(AddressFamily.IPV6))
ASK_BOTH = (TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, turn.encode_address_family(AddressFamily.IPV6))
ASK_EVEN = (TurnAttribute.EVEN_PORT, turn.encode_even_port(reserves_next=False))
ASK_PAIR = (TurnAttribute.EVEN_PORT, turn.encode_even_port(reserves_next=True))
DONT_FRAGMENT = (TurnAttribute.DONT_FRAGMENT, b"")


def lifetime(seconds: int) -> tuple[int, bytes]:
    """LIFETIME."""
    return TurnAttribute.LIFETIME, turn.encode_lifetime(seconds)


def channel_number(channel: int) -> tuple[int, bytes]:
    """CHANNEL-NUMBER."""
    return TurnAttribute.CHANNEL_NUMBER, turn.encode_channel_number(channel)


def to_peer(peer: Endpoint) -> tuple[int, Endpoint]:
    """XOR-PEER-ADDRESS."""
    return TurnAttribute.XOR_PEER_ADDRESS, peer


def data(content: bytes) -> tuple[int, bytes]:
    """DATA."""
    return TurnAttribute.DATA, content


class Challenge(NamedTuple):
    """What a 401 or 438 told."""

    realm: bytes
    nonce: bytes
    algorithms: bytes | None  # PASSWORD-ALGORITHMS

    @property
    def features(self) -> int:
        """The 24 bits behind the nonce cookie, 0 where there is none."""
        if not self.nonce.startswith(NONCE_COOKIE):
            return 0
        try:
            return int.from_bytes(base64.b64decode(self.nonce[9:13], validate=True), "big")
        except ValueError:
            return 0

    @property
    def offers_algorithms(self) -> bool:
        """Whether the server says that it knows PASSWORD-ALGORITHMS."""
        return bool(self.features & _PASSWORD_ALGORITHMS)

    @property
    def offers_userhash(self) -> bool:
        """Whether the server says that it knows USERHASH."""
        return bool(self.features & _USERNAME_ANONYMITY)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a successful Allocate told."""

    relayed: tuple[Endpoint, ...]
    lifetime_s: int
    token: bytes | None
    reply: Message

    def of_family(self, family: AddressFamily) -> Endpoint:
        """The relayed address of that family."""
        size = 4 if family is AddressFamily.IPV4 else 16
        for endpoint in self.relayed:
            if len(endpoint.ip) == size:
                return endpoint
        raise Deviation(f"a relayed address of {family.name}", ", ".join(map(str, self.relayed)))


class Relayed(NamedTuple):
    """What the server passed on from a peer; `channel` is None for a Data indication."""

    channel: int | None
    peer: Endpoint | None
    data: bytes | None
    icmp: Icmp | None = None


class Client:
    """A client on one link. What comes unasked waits in `inbox`."""

    def __init__(
        self, target: Target, link: Link, user: Credential, challenge: Challenge | None = None
    ) -> None:
        self.target = target
        self.link = link
        self.user = user
        self.inbox: deque[bytes] = deque()
        self.allocated = False
        self._challenge = challenge

    # messages

    def exchange(self, message: bytes, *, expected: str = "an answer") -> Message:
        """Send a request and wait for its answer; over UDP it is sent again after 0.5 s."""
        deadline = time.monotonic() + self.target.answer_s
        transaction_id = message[8:20]
        sent = False
        while (now := time.monotonic()) < deadline:
            if not (sent and self.link.is_stream):
                self.link.send(message)
                sent = True
            again = min(deadline, now + RETRANSMIT_S)
            while (got := self.link.receive(again - time.monotonic())) is not None:
                reply = _reply(got, transaction_id)
                if reply is not None:
                    return reply
                self.inbox.append(got)
        raise Deviation(expected, f"no answer within {self.target.answer_s:g} s")

    def binding(self, *attributes: tuple[int, bytes], fingerprint: bool = False) -> Message:
        """A Binding request and its answer."""
        return self.exchange(plain(BINDING, *attributes, fingerprint=fingerprint))

    def stays_silent(self, *messages: bytes) -> None:
        """Send these; nothing may come back before the answer to a later request, nor shortly after."""
        for message in messages:
            self.link.send(message)
        self.fence()
        if self.inbox:
            got = self.inbox.popleft()
            deviates("no answer", f"{_described(got)} to one of {len(messages)} message(s)")

    def fence(self) -> None:
        """When this returns the server has dealt with all that was sent before."""
        expect_success(self.binding(), "Binding")
        late = self.link.receive(self.target.quiet_s)
        if late is not None:
            self.inbox.append(late)

    # credentials

    def challenge(self) -> Challenge:
        """What the server asks of who has not said who it is; kept for all that follows."""
        if self._challenge is None:
            reply = self.exchange(plain(Method.ALLOCATE, ASK_UDP))
            self._challenge = challenge_of(expect_error(reply, 401, why="no credentials"))
        return self._challenge

    def key(self, algorithm: PasswordAlgorithm = PasswordAlgorithm.MD5) -> bytes:
        """The key of the user in the server's realm."""
        return stun.long_term_key(*self._named(), self.user.password, algorithm)

    def userhash(self) -> bytes:
        """What stands for the user's name."""
        return stun.userhash(*self._named())

    def _named(self) -> tuple[str, str]:
        return self.user.username, self.challenge().realm.decode()

    def signed(
        self,
        method: int,
        *attributes: tuple[int, bytes | Endpoint],
        names: Iterable[tuple[int, bytes]] | None = None,
        without: Collection[int] = (),
        key: bytes | None = None,
        sha256: bool = False,
        fingerprint: bool = False,
    ) -> bytes:
        """A signed request; `names` stands for USERNAME, REALM and NONCE, `without` leaves some out."""
        if names is None:
            challenge = self.challenge()
            names = [
                (Attribute.USERNAME, self.user.username.encode()),
                (Attribute.REALM, challenge.realm),
                (Attribute.NONCE, challenge.nonce),
            ]
        named = [entry for entry in names if entry[0] not in without]
        key = self.key() if key is None else key
        return build(
            method,
            *attributes,
            *named,
            key=None if sha256 else key,
            key_sha256=key if sha256 else None,
            fingerprint=fingerprint,
        )

    def request(self, method: int, *attributes: tuple[int, bytes | Endpoint]) -> Message:
        """A signed request and its answer; a stale nonce is replaced once."""
        reply = self.exchange(self.signed(method, *attributes))
        if reply.message_class is MessageClass.ERROR and code_of(reply) == 438:
            self._challenge = challenge_of(reply)
            reply = self.exchange(self.signed(method, *attributes))
        return reply

    # TURN

    def allocate(self, *attributes: tuple[int, bytes | Endpoint]) -> Allocation:
        """Allocate with success."""
        return self.allocated_by(self.request(Method.ALLOCATE, ASK_UDP, *attributes))

    def allocated_by(self, reply: Message) -> Allocation:
        """What an answer to Allocate, which has to be a success, tells."""
        expect_success(reply, "Allocate")
        self.allocated = True
        relayed = reply.get_all(TurnAttribute.XOR_RELAYED_ADDRESS)
        expect(bool(relayed), "XOR-RELAYED-ADDRESS", "none")
        value = attribute_of(reply, TurnAttribute.LIFETIME, "LIFETIME")
        return Allocation(
            relayed=tuple(endpoint_of(entry, reply.transaction_id) for entry in relayed),
            lifetime_s=decoded(turn.decode_lifetime, value, "LIFETIME"),
            token=reply.get(TurnAttribute.RESERVATION_TOKEN),
            reply=reply,
        )

    def refresh(self, seconds: int, *attributes: tuple[int, bytes | Endpoint]) -> int:
        """Refresh with success; what LIFETIME says in the answer."""
        return lifetime_of(self.refreshed(lifetime(seconds), *attributes))

    def refreshed(self, *attributes: tuple[int, bytes | Endpoint]) -> Message:
        """The answer to a Refresh, which has to be a success."""
        return expect_success(self.request(Method.REFRESH, *attributes), "Refresh")

    def permit(self, *peers: Endpoint) -> Message:
        """The answer to CreatePermission."""
        return self.request(Method.CREATE_PERMISSION, *map(to_peer, peers))

    def bind(self, channel: int, peer: Endpoint) -> Message:
        """The answer to ChannelBind."""
        return self.request(Method.CHANNEL_BIND, channel_number(channel), to_peer(peer))

    def send_data(self, peer: Endpoint, content: bytes, *attributes: tuple[int, bytes]) -> None:
        """A Send indication."""
        self.link.send(indication(Method.SEND, to_peer(peer), *attributes, data(content)))

    def send_channel(self, channel: int, content: bytes) -> None:
        """ChannelData, padded on a stream."""
        self.link.send(turn.build_channel_data(channel, content, padded=self.link.is_stream))

    def relayed(self, wait_s: float | None = None) -> Relayed | None:
        """The next that was passed on from a peer, or None if nothing comes."""
        message = self.inbox.popleft() if self.inbox else None
        if message is None:
            message = self.link.receive(self.target.answer_s if wait_s is None else wait_s)
        return None if message is None else relayed_of(message)

    def gets(self, content: bytes, peer: Endpoint, channel: int | None = None) -> None:
        """The next from a peer has to be this: on that channel, or in a Data indication that names it."""
        expected = f"{content!r} " + (f"on channel {channel:#x}" if channel else "in a Data indication")
        got = self.relayed()
        if got is None:
            deviates(expected, f"nothing within {self.target.answer_s:g} s")
        if got != Relayed(channel, None if channel else peer, content):
            deviates(f"{expected} from {peer}", repr(got))

    def close(self) -> None:
        """Give back what was allocated, and close."""
        try:
            if self.allocated:
                self.request(Method.REFRESH, lifetime(0))
        except Deviation:
            pass  # the server may have closed, or not answer: what is left ends with its lifetime
        finally:
            self.link.close()


def build(
    method: int,
    *attributes: tuple[int, bytes | Endpoint],
    message_class: MessageClass = MessageClass.REQUEST,
    key: bytes | None = None,
    key_sha256: bytes | None = None,
    fingerprint: bool = False,
) -> bytes:
    """A message with a new transaction id; endpoints are encoded as XOR addresses."""
    transaction_id = secrets.token_bytes(12)
    encoded = [
        (kind, stun.encode_xor_address(*value, transaction_id) if isinstance(value, Endpoint) else value)
        for kind, value in attributes
    ]
    return stun.build(
        method,
        message_class,
        transaction_id,
        encoded,
        key=key,
        key_sha256=key_sha256,
        fingerprint=fingerprint,
    )


def plain(method: int, *attributes: tuple[int, bytes | Endpoint], fingerprint: bool = False) -> bytes:
    """A request without credentials."""
    return build(method, *attributes, fingerprint=fingerprint)


def indication(method: int, *attributes: tuple[int, bytes | Endpoint]) -> bytes:
    """An indication."""
    return build(method, *attributes, message_class=MessageClass.INDICATION)


def appended(message: bytes, *attributes: tuple[int, bytes]) -> bytes:
    """The message with attributes behind its last one, and a header that counts them."""
    message += b"".join(stun.encode_attribute(kind, value) for kind, value in attributes)
    return message[:2] + (len(message) - stun.HEADER_LENGTH).to_bytes(2, "big") + message[4:]


def challenge_of(reply: Message) -> Challenge:
    """What a 401 or a 438 tells; both need REALM and NONCE."""
    return Challenge(
        attribute_of(reply, Attribute.REALM, "REALM"),
        attribute_of(reply, Attribute.NONCE, "NONCE"),
        reply.get(Attribute.PASSWORD_ALGORITHMS),
    )


def endpoint_of(value: bytes, transaction_id: bytes) -> Endpoint:
    """The address in a value."""
    return decoded(
        lambda value: Endpoint(*stun.decode_xor_address(value, transaction_id)), value, "XOR address"
    )


def mapped_of(reply: Message) -> Endpoint:
    """What the server says the client's address is."""
    value = attribute_of(reply, Attribute.XOR_MAPPED_ADDRESS, "XOR-MAPPED-ADDRESS")
    return endpoint_of(value, reply.transaction_id)


def lifetime_of(reply: Message) -> int:
    """The seconds in LIFETIME."""
    value = attribute_of(reply, TurnAttribute.LIFETIME, "LIFETIME")
    return decoded(turn.decode_lifetime, value, "LIFETIME")


def relayed_of(message: bytes) -> Relayed:
    """ChannelData or a Data indication, the only things that come unasked."""
    if turn.is_channel_data(message[0]):
        channel, content = decoded(turn.parse_channel_data, message, "ChannelData")
        return Relayed(channel, None, content)
    parsed = decoded(stun.parse, message, "message")
    if (parsed.method, parsed.message_class) != (Method.DATA, MessageClass.INDICATION):
        deviates("ChannelData or a Data indication", _described(message))
    peer = attribute_of(parsed, TurnAttribute.XOR_PEER_ADDRESS, "XOR-PEER-ADDRESS")
    icmp = parsed.get(TurnAttribute.ICMP)
    return Relayed(
        None,
        endpoint_of(peer, parsed.transaction_id),
        parsed.get(TurnAttribute.DATA),
        None if icmp is None else decoded(turn.decode_icmp, icmp, "ICMP"),
    )


def _reply(message: bytes, transaction_id: bytes) -> Message | None:
    """The answer to a transaction, None if it is something else."""
    if not turn.is_stun(message[0]) or message[8:20] != transaction_id:
        return None
    try:
        return stun.parse(message)
    except StunError as error:
        raise Deviation("a well-formed answer", f"{message.hex()} ({error})") from error


def _described(message: bytes) -> str:
    try:
        parsed = stun.parse(message)
    except StunError:
        return f"{len(message)} bytes ({message[:16].hex()}...)"
    return f"{told(parsed)} of method {parsed.method:#x}"
