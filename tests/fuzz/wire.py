"""The parsers of what strangers send to the TURN server, under mutations guided by the lines that they reach.

`python -m tests.fuzz.wire SECONDS [SEED]` runs each target for its part of the time. A target is what must
hold for any bytes; it raises when it does not, and the input is shown in hex. What it finds becomes a test of
its own. The seeds are what real browsers said, and what no browser says yet.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sfu.net.address import Address, packed_host
from sfu.wire import proxy_protocol, stun, turn
from sfu.wire.proxy_protocol import ProxyHeaderError, crc32c
from sfu.wire.stun import Attribute, Message, MessageClass, PasswordAlgorithm, StunError
from sfu.wire.turn import Framer, Method, TurnAttribute
from tests.turn.world import PEER, Client, World
from turn import auth, credentials, nonce, policy, tcp_allocation
from turn.allocation import Peer
from turn.auth import Authenticated, Authenticator, Refused
from turn.connections import ConnectionBounds
from turn.credentials import Credentials, Keys
from turn.nonce import Nonces
from turn.policy import Verdict
from turn.tuples import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    Target = Callable[[bytes], None]
    TraceFunction = Callable[[FrameType, str, object], "TraceFunction | None"]

RECORDED = Path(__file__).parents[1] / "fixtures" / "turn"
TRACED = tuple(
    str(module.__file__)
    for module in (stun, turn, proxy_protocol, auth, credentials, nonce, policy, tcp_allocation)
)
MAX_INPUT = 4096
LIMIT = 2048

NOW = 1_800_000_000
CLIENT = Address("192.0.2.1", 50000)
REALM = "orchard"
USERNAME = "1800003600:alice"
TRANSACTION = bytes(range(12))
_NAMES = Credentials(REALM, Keys(shared=(bytes(16),)))
_NONCES = Nonces(bytes(16))
_AUTHENTICATOR = Authenticator(_NONCES, _NAMES)
_OFFER = bytes.fromhex("0002000000010000")
_CHOICES = {
    bytes.fromhex("00020000"): PasswordAlgorithm.SHA256,
    bytes.fromhex("00010000"): PasswordAlgorithm.MD5,
}
_VALUES: dict[int, Callable[[bytes], object]] = {
    Attribute.ERROR_CODE: stun.decode_error_code,
    Attribute.PASSWORD_ALGORITHM: stun.decode_password_algorithm,
    TurnAttribute.CHANNEL_NUMBER: turn.decode_channel_number,
    TurnAttribute.LIFETIME: turn.decode_lifetime,
    TurnAttribute.REQUESTED_ADDRESS_FAMILY: turn.decode_address_family,
    TurnAttribute.EVEN_PORT: turn.decode_even_port,
    TurnAttribute.REQUESTED_TRANSPORT: turn.decode_requested_transport,
    TurnAttribute.DONT_FRAGMENT: turn.decode_dont_fragment,
    TurnAttribute.RESERVATION_TOKEN: turn.decode_reservation_token,
    TurnAttribute.CONNECTION_ID: turn.decode_connection_id,
    TurnAttribute.ADDRESS_ERROR_CODE: turn.decode_address_error_code,
    TurnAttribute.ICMP: turn.decode_icmp,
}
_ADDRESSES = (Attribute.XOR_MAPPED_ADDRESS, TurnAttribute.XOR_PEER_ADDRESS, TurnAttribute.XOR_RELAYED_ADDRESS)
_ENDS = (Attribute.MESSAGE_INTEGRITY, Attribute.MESSAGE_INTEGRITY_SHA256, Attribute.FINGERPRINT)
_NAMED = (Attribute.USERNAME, Attribute.USERHASH, Attribute.REALM, Attribute.NONCE)
_INTERESTING = (0, 1, 2, 4, 8, 16, 20, 32, 64, 127, 128, 255)


class Broken(AssertionError):
    """What must hold does not."""


def hold(true: bool, what: str) -> None:
    """Raise Broken unless it is true."""
    if not true:
        raise Broken(what)


# targets


def message(data: bytes) -> None:
    """A message is read or refused; what is read is built again, and its values are read or refused."""
    try:
        parsed = stun.parse(data)
    except StunError:
        return
    hold(parsed.data == data and 20 + data[2] * 256 + data[3] == len(data), "the length")
    hold(list(parsed.attributes) == plainly_read(data), "the attributes")
    for kind, value in parsed.attributes:
        try:
            if kind in _ADDRESSES:
                ip, port = stun.decode_xor_address(value, parsed.transaction_id)
                hold(len(ip) in (4, 16), "the size of an address")
                hold(stun.encode_xor_address(ip, port, parsed.transaction_id)[1:] == value[1:], "an address")
            elif kind == Attribute.PASSWORD_ALGORITHMS:
                entries = stun.decode_password_algorithms(value)
                hold(not value or stun.encode_attribute(*entries[0])[:4] == value[:4], "an algorithm")
            elif kind in _VALUES:
                _VALUES[kind](value)
        except StunError:
            continue
    again = stun.parse(rebuilt(parsed))
    hold(again.attributes == parsed.attributes, "the attributes of what was built")
    hold(
        (again.method, again.message_class, again.transaction_id, again.has_fingerprint)
        == (parsed.method, parsed.message_class, parsed.transaction_id, parsed.has_fingerprint),
        "the header",
    )
    hold(parsed.integrity_at is not None or not stun.verify_integrity(parsed, b""), "no integrity is right")


def plainly_read(data: bytes) -> list[tuple[int, bytes]] | None:
    """The attributes that count; None: one does not fit."""
    attributes: list[tuple[int, bytes]] = []
    while len(data) > 20:
        kind, size = data[20] * 256 + data[21], data[22] * 256 + data[23]
        if len(data) < 24 + size:
            return None
        if kind in _ENDS:
            return attributes
        attributes.append((kind, data[24 : 24 + size]))
        data = data[:20] + data[24 + size + -size % 4 :]
    return attributes


def channel(data: bytes) -> None:
    """ChannelData is read or refused, and never more of it than came."""
    try:
        number, payload = turn.parse_channel_data(data)
    except StunError:
        return
    hold(number in turn.CHANNELS_RFC5766, "the channel")
    hold(data.startswith(turn.build_channel_data(number, payload)), "the payload")


def stream(data: bytes) -> None:
    """A stream gives the same messages and the same fault however it is cut, and little of it is held."""
    if not data:
        return
    whole = list(framed([data[1:]]))
    size = data[0] % 32 + 1
    hold(list(framed(data[at : at + size] for at in range(1, len(data), size))) == whole, "the cuts")
    hold(whole == plainly_cut(data[1:]), "the messages")


def plainly_cut(data: bytes) -> list[bytes | None]:
    """The messages of a stream that is there as a whole; None stands for its fault."""
    found: list[bytes | None] = []
    while data:
        if not (data[0] < 4 or 64 <= data[0] < 128):
            return [*found, None]
        if len(data) < 4:
            return found
        size = data[2] * 256 + data[3] + (20 if data[0] < 4 else 4)
        odd = data[0] < 4 and (size % 4 or not b"\x21\x12\xa4\x42".startswith(data[4:8]))
        if odd or size + -size % 4 > LIMIT:
            return [*found, None]
        if len(data) < size + -size % 4:
            return found
        found.append(data[:size])
        data = data[size + -size % 4 :]
    return found


def framed(chunks: Iterable[bytes]) -> Iterable[bytes | None]:
    """The messages of a stream; None stands for its fault."""
    framer = Framer(LIMIT)
    for chunk in chunks:
        framer.feed(chunk)
        while True:
            try:
                taken = framer.take()
            except StunError:
                yield None
                return
            if taken is None:
                break
            yield taken
        hold(framer.held_bytes < LIMIT, "a stream holds more than a message")


def request(data: bytes) -> None:
    """Nobody is taken for whom they are not, and whoever has the password is, by the letter of the RFC."""
    try:
        parsed = stun.parse(data)
    except StunError:
        return
    refused = _AUTHENTICATOR.check(parsed, CLIENT, NOW)
    hold(isinstance(refused, Refused) or has_password(parsed, refused.key), "taken without the password")
    if isinstance(refused, Refused) and refused.code != 400:
        fresh = dict(refused.attributes)[Attribute.NONCE]
        hold(_NONCES.is_valid(fresh, CLIENT, NOW), "the nonce of a challenge")
    right = right_algorithm(parsed)
    for algorithm in PasswordAlgorithm:
        key = stun.long_term_key(USERNAME, REALM, password(), algorithm)
        checked = _AUTHENTICATOR.check(stun.parse(rebuilt(parsed, key=key)), CLIENT, NOW)
        hold(
            isinstance(checked, Authenticated) == (algorithm is right),
            f"whoever has the {algorithm.name} key",
        )
        if isinstance(checked, Authenticated):
            hold(checked.is_sha256 == (parsed.get(Attribute.PASSWORD_ALGORITHM) is not None), "the signature")


class Relayed:
    """A server with a client that has a TCP allocation, and one pending connection of it."""

    def __init__(self) -> None:
        bounds = ConnectionBounds(peer_ports=(1, 65535))
        self.world = World(tcp=bounds, peers_per_s=1e5, peers_burst=10**5)
        self.control = self.world.client(transport=Transport.TCP, ttl_s=86_400)
        self.data = Client(self.world, self.control.minted, Transport.TCP)
        self.thief = self.world.client(transport=Transport.TCP, ttl_s=86_400)
        asked = (TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(turn.PROTOCOL_TCP))
        hold(self.control.code(Method.ALLOCATE, asked) == 200, "a TCP allocation")
        hold(self.control.permit(PEER) == 200, "a permission")
        (self.allocation,) = self.world.relay.allocations
        peer = Peer(packed_host(PEER.host), PEER.port)
        pending = self.world.server.peer_connected(self.allocation, peer, self.world.now)
        assert pending is not None
        self.pending = turn.encode_connection_id(pending)
        self.runs = 0


_relayed: list[Relayed] = []


def relayed() -> Relayed:
    """One that is used for a while, since it costs more than what it is used for."""
    if not _relayed or _relayed[0].runs >= 1000:
        _relayed[:] = [Relayed()]
    _relayed[0].runs += 1
    return _relayed[0]


def connections(data: bytes) -> None:
    """Whatever Connect and ConnectionBind carry: each has one answer, nobody is connected to whom the policy
    does not let clients reach, and a connection goes to nobody but whose it is."""
    try:
        parsed = stun.parse(data)
    except StunError:
        return
    there = relayed()
    names = (*_NAMED, Attribute.PASSWORD_ALGORITHM, Attribute.PASSWORD_ALGORITHMS)
    attributes = tuple((kind, value) for kind, value in parsed.attributes if kind not in names)
    there.world.peers.dialled.clear()
    before = len(there.control.notes.told)
    transaction = parsed.transaction_id
    answer = there.control.raw(there.control.signed(Method.CONNECT, attributes, transaction))
    dialled = there.world.peers.dialled
    hold((answer is None) == (len(dialled) == 1), "an answer, or a connection")
    for connection, _, peer in dialled:
        hold(there.world.policy.allows(peer.ip) is Verdict.ANY_PORT, "whom nobody may reach")
        there.world.server.dialled(connection, made=False, now=there.world.now)
        answer = stun.parse(there.control.notes.told[-1])
    hold(len(there.control.notes.told) == before + len(dialled), "one answer")
    hold(answer is not None and answer.transaction_id == transaction, "the answer's transaction")
    for client in (there.thief, there.data):
        answer = client.raw(client.signed(Method.CONNECTION_BIND, attributes, transaction))
        hold(answer is not None, "an answer")
        if there.world.peers.bound:
            _relayed.clear()
            found = dict(reversed(attributes)).get(TurnAttribute.CONNECTION_ID)
            hold(client is there.data and found == there.pending, "another's connection")


def right_algorithm(parsed: Message) -> PasswordAlgorithm | None:
    """The algorithm of the key that a request is to be signed with, if all else in it is right."""
    offer, choice = parsed.get(Attribute.PASSWORD_ALGORITHMS), parsed.get(Attribute.PASSWORD_ALGORITHM)
    if (
        parsed.get(Attribute.USERNAME) != USERNAME.encode()
        or parsed.get(Attribute.REALM) != REALM.encode()
        or not _NONCES.is_valid(parsed.get(Attribute.NONCE) or b"", CLIENT, NOW)
    ):
        return None
    if offer is None and choice is None:
        return PasswordAlgorithm.MD5
    return _CHOICES.get(choice or b"") if offer == _OFFER else None


def has_password(parsed: Message, key: bytes) -> bool:
    """Whether the integrity that is there was made by the key of the only user."""
    keys = [stun.long_term_key(USERNAME, REALM, password(), algorithm) for algorithm in PasswordAlgorithm]
    return key in keys and (stun.verify_integrity(parsed, key) or stun.verify_integrity_sha256(parsed, key))


def password() -> str:
    """The only user's password."""
    found = _NAMES.find(USERNAME, NOW)
    assert found is not None
    return next(_NAMES.passwords(found))


def rebuilt(parsed: Message, key: bytes | None = None) -> bytes:
    """What a message says, built anew and signed by another key."""
    return stun.build(
        parsed.method,
        parsed.message_class,
        parsed.transaction_id,
        parsed.attributes,
        key=key,
        fingerprint=parsed.has_fingerprint,
    )


def proxied(data: bytes) -> None:
    """A proxy's header is read or refused, and it ends where it says, whatever follows."""
    try:
        size = proxy_protocol.header_size(data, LIMIT)
        for end in range(min(len(data), 20)):
            hold(proxy_protocol.header_size(data[:end], LIMIT) in (16, size), "the size of a beginning")
    except ProxyHeaderError:
        return
    if len(data) < size:
        return
    hold(size == 16 + data[14] * 256 + data[15] <= LIMIT, "the size")
    try:
        said = proxy_protocol.read_header(data[:size])
    except ProxyHeaderError:
        return
    if said is None:
        hold(data[12] == 0x20 or data[13] == 0, "nobody's address")
        return
    length = {0x11: 4, 0x21: 16}[data[13]]
    hold(data[12] == 0x21, "a client of a proxy's own connection")
    for ip, at in ((said.client_ip, 16), (said.server_ip, 16 + length)):
        hold(data[at : at + length] in (ip, bytes(10) + b"\xff\xff" + ip), "an address")
        hold(len(ip) == 4 or ip[:12] != bytes(10) + b"\xff\xff", "IPv4 as IPv6")
    ports = said.client_port.to_bytes(2, "big") + said.server_port.to_bytes(2, "big")
    hold(data[16 + 2 * length : 20 + 2 * length] == ports, "the ports")


TARGETS: dict[str, Target] = {
    "message": message,
    "channel": channel,
    "stream": stream,
    "request": request,
    "proxied": proxied,
    "connections": connections,
}


# inputs


def seeds(name: str) -> list[bytes]:
    """What a target's mutations begin with."""
    return headers() if name == "proxied" else messages()


def headers() -> list[bytes]:
    """What proxies say, with all that there may be in it."""
    blocks = bytes(range(12)), bytes(10) + b"\xff\xff" + bytes(range(24))
    rest = b"\x04\0\x02\0\0" + b"\x20\0\x03tls"
    made = [
        b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, kind, len(block + more)) + block + more
        for kind, block in zip((0x11, 0x21, 0), (*blocks, b""), strict=True)
        for command in (0x20, 0x21)
        for more in (b"", rest, rest + b"\x03\0\x04\0\0\0\0")
    ]
    return [header[:-4] + crc32c(header).to_bytes(4, "big") if header[-7] == 3 else header for header in made]


def messages() -> list[bytes]:
    """What browsers said, and requests with all that there is in TURN."""
    recorded = [
        bytes.fromhex(line) for path in sorted(RECORDED.glob("*.txt")) for line in path.read_text().split()
    ]
    challenge = [
        (Attribute.USERNAME, USERNAME.encode()),
        (Attribute.REALM, REALM.encode()),
        (Attribute.NONCE, _NONCES.make(CLIENT, NOW)),
    ]
    algorithms = [(Attribute.PASSWORD_ALGORITHMS, _OFFER), (Attribute.PASSWORD_ALGORITHM, _OFFER[:4])]
    everything = [
        (TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(turn.PROTOCOL_UDP)),
        (TurnAttribute.LIFETIME, turn.encode_lifetime(600)),
        (TurnAttribute.EVEN_PORT, turn.encode_even_port(reserves_next=True)),
        (TurnAttribute.DONT_FRAGMENT, b""),
        (TurnAttribute.RESERVATION_TOKEN, bytes(8)),
        (TurnAttribute.REQUESTED_ADDRESS_FAMILY, turn.encode_address_family(2)),
        (TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, turn.encode_address_family(2)),
        (TurnAttribute.CHANNEL_NUMBER, turn.encode_channel_number(0x4000)),
        (TurnAttribute.XOR_PEER_ADDRESS, stun.encode_xor_address(bytes(16), 9, TRANSACTION)),
        (TurnAttribute.CONNECTION_ID, turn.encode_connection_id(1)),
        (TurnAttribute.ADDRESS_ERROR_CODE, turn.encode_address_error_code(2, 440)),
        (TurnAttribute.ICMP, turn.encode_icmp(turn.Icmp(3, 4, 1400))),
    ]
    key = stun.long_term_key(USERNAME, REALM, password(), PasswordAlgorithm.SHA256)
    made = [
        stun.build(Method.ALLOCATE, MessageClass.REQUEST, TRANSACTION, [*challenge, *more], key_sha256=key)
        for more in ([], algorithms, [*algorithms, *everything])
    ]
    padded = b"".join(data + bytes(-len(data) % 4) for data in recorded if len(data) < 200)
    # half of the choices fall on what reaches deepest
    return [*recorded, *made * (len(recorded) // len(made)), b"\x05" + padded[:MAX_INPUT]]


def mutated(rng: random.Random, corpus: list[bytes]) -> bytes:
    """An input out of others: bytes changed, or attributes; mostly with a header that fits again."""
    data = bytearray(rng.choice(corpus))
    if rng.random() < 0.4:
        data = bytearray(shuffled(rng, bytes(data), corpus))
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        change(rng, data, corpus)
    if rng.random() < 0.6:
        mend(data)
    return bytes(data[:MAX_INPUT])


def change(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    """One change of some bytes."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 2, 4, 8, 32)))
    match rng.randrange(7):
        case 0 if data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        case 1 if data:
            data[at % len(data)] = rng.choice(_INTERESTING)
        case 2 if data:
            data[at % len(data)] = rng.randrange(256)
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end]
        case 5:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 8)))
        case _:
            other = rng.choice(corpus)
            data[at:] = other[rng.randrange(len(other) + 1) :]


def shuffled(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """A message with attributes dropped, doubled, renamed, of another size or from elsewhere."""
    try:
        parsed = stun.parse(data)
    except StunError:
        return data
    attributes = list(parsed.attributes)
    for _ in range(rng.choice((1, 2, 3))):
        at = rng.randrange(len(attributes) + 1)
        kind = rng.choice((*_VALUES, *_ADDRESSES, *Attribute))
        match rng.randrange(5):
            case 0:
                del attributes[at : at + 1]
            case 1 if attributes:
                attributes.insert(at, rng.choice(attributes))
            case 2 if attributes:
                attributes[at % len(attributes)] = kind, attributes[at % len(attributes)][1]
            case 3:
                attributes.insert(at, (kind, rng.randbytes(rng.choice((0, 1, 2, 4, 8, 20)))))
            case _ if attributes:
                kind, value = attributes[at % len(attributes)]
                changed = bytearray(value)
                change(rng, changed, corpus)
                attributes[at % len(attributes)] = kind, bytes(changed[:MAX_INPUT])
            case _:
                pass
    fingerprint = rng.random() < 0.5
    key = b"another" if rng.random() < 0.3 else None
    return stun.build(
        parsed.method, parsed.message_class, TRANSACTION, attributes, key=key, fingerprint=fingerprint
    )


def mend(data: bytearray) -> None:
    """Make the header and the padding such that the rest is looked at."""
    if data.startswith(b"\r") and len(data) >= proxy_protocol.HEAD_BYTES:
        struct.pack_into("!H", data, 14, min(0xFFFF, len(data) - proxy_protocol.HEAD_BYTES))
        return
    if len(data) < stun.HEADER_LENGTH or turn.is_channel_data(data[0]):
        return
    data.extend(bytes(-len(data) % 4))
    struct.pack_into("!BxHI", data, 0, data[0] & 3, len(data) - stun.HEADER_LENGTH, stun.MAGIC_COOKIE)


# the driver


class Steps:
    """The steps from line to line in the files that are looked at, while in its context."""

    def __init__(self, files: Iterable[str]) -> None:
        self.new: set[tuple[int, int, int]] = set()
        self._files = {name: number for number, name in enumerate(files)}
        self._last = 0

    def __enter__(self) -> Steps:
        self._before = sys.gettrace()
        self._last = 0
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, _event: str, _arg: object) -> TraceFunction | None:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, _event: str, _arg: object) -> TraceFunction:
        self.new.add((self._files[frame.f_code.co_filename], self._last, frame.f_lineno))
        self._last = frame.f_lineno
        return self._line


class Found(Exception):
    """An input for which a target does not hold."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(f"{name}: {data.hex()}")
        self.data = data


def fuzz(
    target: Target,
    given: list[bytes],
    rng: random.Random,
    *,
    runs: int,
    until: float = float("inf"),
    files: Iterable[str] = TRACED,
) -> tuple[int, int]:
    """How many inputs were tried and how many steps they reached. Raises Found."""
    corpus = list(given)
    reached: set[tuple[int, int, int]] = set()
    steps = Steps(files)
    for run in range(runs):
        if run % 64 == 0 and time.monotonic() > until:
            return run, len(reached)
        data = given[run] if run < len(given) else mutated(rng, corpus)
        steps.new = set()
        try:
            with steps:
                target(data)
        except Exception as error:
            raise Found(target.__name__, data) from error
        if not steps.new <= reached:
            reached |= steps.new
            corpus.append(data)
    return runs, len(reached)


def main(seconds: float, seed: int) -> None:
    """Each target for its part of the time."""
    console = Console(stderr=True)
    for name, target in TARGETS.items():
        until = time.monotonic() + seconds / len(TARGETS)
        runs, reached = fuzz(target, seeds(name), random.Random(seed), runs=sys.maxsize, until=until)
        console.print(f"{name:8} {runs} runs, {reached} steps, seed {seed}", highlight=False)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
