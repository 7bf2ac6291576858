"""What one client can take of the server: the settings, and who has had how much.

    allocations      in all, of a username, of an address                       486, in all 508
    new peers        of an allocation, so that it is no scanner                 508
    error replies    to an address, so that the server is no amplifier          silence
    wrong passwords  of a username at an address                                silence
    connections      that have not authenticated, in all and of an address      closed

An address is an IPv4 address or the /64 of an IPv6 one, since whoever has one address of a /64 has all.
Packets and bytes are counted by the relay, permissions and channels by each allocation; their bounds stand
here with the others. What is refused is counted by limit; no label names a user, of which there is no end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from secrets import token_bytes
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from sfu.base.settings import ByteSize, Setting
from sfu.wire.proxy_protocol import LONGEST_BYTES
from turn.rates import FULL, Rate, RateTable, Tally

if TYPE_CHECKING:
    from sfu.base.settings import Config

_LAST_CHANNEL: Final = 0x7FFF  # RFC 5766, and what clients of its time choose from
_LAST_STRICT_CHANNEL: Final = 0x4FFF  # RFC 8656 12

# Settings

ALLOCATIONS = Setting(
    "turn.allocations",
    int,
    5000,
    minimum=1,
    maximum=100_000,
    help="Allocations at a time; each takes a socket, a dual one two",
)
ALLOCATIONS_PER_USER = Setting(
    "turn.allocations_per_user",
    int,
    10,
    minimum=1,
    maximum=100_000,
    help="Allocations of one TURN username at a time; one more is answered 486",
)
ALLOCATIONS_PER_ADDRESS = Setting(
    "turn.allocations_per_address",
    int,
    100,
    minimum=1,
    maximum=100_000,
    help="Allocations at a time of one client address (of one /64 for IPv6); one more is answered 486",
)
LIFETIME_S = Setting(
    "turn.lifetime",
    int,
    3600,
    unit="s",
    minimum=600,
    maximum=86_400,
    help="Longest lifetime that an allocation is granted at a time, never beyond its credential's end",
)
PERMISSIONS = Setting(
    "turn.permissions",
    int,
    64,
    minimum=1,
    maximum=1024,
    help="Permissions of one allocation; one more is answered 508",
)
CHANNELS = Setting(
    "turn.channels",
    int,
    64,
    minimum=1,
    maximum=1024,
    help="Channels of one allocation; one more is answered 508",
)
STRICT_CHANNELS = Setting(
    "turn.strict_channels",
    bool,
    False,
    help="Take channel numbers to 0x4FFF alone (RFC 8656); many clients still choose from those to 0x7FFF",
)
PEERS_PER_SECOND = Setting(
    "turn.peers_per_second",
    float,
    10.0,
    minimum=0.1,
    maximum=100_000,
    help="New peer addresses of one allocation per second; more are answered 508",
)
PEERS_BURST = Setting(
    "turn.peers_burst",
    int,
    50,
    minimum=1,
    maximum=100_000,
    help="New peer addresses that an allocation may name at once after a pause",
)
PACKETS_PER_SECOND = Setting(
    "turn.packets_per_second",
    int,
    10_000,
    minimum=0,
    maximum=10_000_000,
    help="Packets of one allocation per second, each way; more are dropped; at once may come half a second's "
    "worth, and one in any case; 0: no bound",
)
BITS_PER_SECOND = Setting(
    "turn.bits_per_second",
    int,
    100_000_000,
    minimum=0,
    maximum=1_000_000_000_000,
    help="Bits of data of one allocation per second, each way; more are dropped; at once may come half a "
    "second's worth, and one packet in any case; 0: no bound",
)
REPLIES_PER_SECOND = Setting(
    "turn.replies_per_second",
    float,
    20.0,
    minimum=0.1,
    maximum=1_000_000,
    help="Error replies per second to one address that has not authenticated (one /64 for IPv6)",
)
FAILURES_PER_MINUTE = Setting(
    "turn.failures_per_minute",
    int,
    10,
    minimum=1,
    maximum=1_000_000,
    help="Wrong passwords of one username at one address that are answered in a minute",
)
RATE_SLOTS = Setting(
    "turn.rate_slots",
    int,
    16_384,
    minimum=256,
    maximum=1 << 22,
    help="Size of each table of rates by address, 8 bytes a slot; addresses that share a slot share its rate",
)
NONCE_S = Setting(
    "turn.nonce_life",
    int,
    600,
    unit="s",
    minimum=10,
    maximum=3600,
    help="How long a nonce is taken",
)
CREDENTIAL_S = Setting(
    "turn.credential_ttl",
    int,
    3600,
    unit="s",
    minimum=60,
    maximum=172_800,
    help="How long a TURN credential lasts if its maker asks for no other time",
)
CREDENTIAL_MOST_S = Setting(
    "turn.credential_ttl_limit",
    int,
    172_800,
    unit="s",
    minimum=60,
    maximum=172_800,
    help="How long a TURN credential may last",
)
HANDSHAKE_S = Setting(
    "turn.handshake_timeout",
    float,
    10.0,
    unit="s",
    minimum=0.1,
    maximum=600,
    help="Time for the TLS handshake of a TURN connection",
)
MESSAGE_S = Setting(
    "turn.message_timeout",
    float,
    10.0,
    unit="s",
    minimum=0.1,
    maximum=600,
    help="Time in which the first message of a TURN connection, and the rest of any message, must arrive",
)
UNALLOCATED_S = Setting(
    "turn.unallocated_timeout",
    float,
    30.0,
    unit="s",
    minimum=0.1,
    maximum=3600,
    help="How long a TURN connection may be without an allocation",
)
STRANGERS = Setting(
    "turn.strangers",
    int,
    1000,
    minimum=1,
    maximum=1_000_000,
    help="TURN connections over TCP and TLS that have not authenticated; more are closed",
)
STRANGERS_PER_ADDRESS = Setting(
    "turn.strangers_per_address",
    int,
    20,
    minimum=1,
    maximum=1_000_000,
    help="As turn.strangers, for one client address (one /64 for IPv6)",
)
STRANGERS_BYTES = Setting(
    "turn.stranger_message",
    ByteSize,
    ByteSize(2048),
    unit="B",
    minimum=1024,
    maximum=4096,
    help="Largest request of a TURN client without an allocation; over TCP and TLS of all that it sends",
)
CONTROL_BYTES = Setting(
    "turn.control_message",
    ByteSize,
    ByteSize(4096),
    unit="B",
    minimum=1024,
    maximum=4096,
    help="Largest request of a TURN client with an allocation; data may be as large as a datagram",
)
PROXY_HEADER_S = Setting(
    "turn.proxy_timeout",
    float,
    5.0,
    unit="s",
    minimum=0.1,
    maximum=600,
    help="Time in which a proxy's connection must bring its PROXY header",
)
PROXY_HEADER_BYTES = Setting(
    "turn.proxy_header",
    ByteSize,
    ByteSize(4096),
    unit="B",
    minimum=52,
    maximum=LONGEST_BYTES,
    help="Longest PROXY header that is taken; what proxies add to it is passed over",
)
WRITE_QUEUE_BYTES = Setting(
    "turn.write_queue",
    ByteSize,
    ByteSize(256 << 10),
    unit="B",
    minimum=65_536,
    maximum=64 << 20,
    help="Bytes that wait for a slow TCP or TLS client; then its datagrams are dropped",
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """All values of the settings above. Times are seconds, sizes bytes."""

    allocations: int = ALLOCATIONS.default
    allocations_per_user: int = ALLOCATIONS_PER_USER.default
    allocations_per_address: int = ALLOCATIONS_PER_ADDRESS.default
    lifetime_s: int = LIFETIME_S.default
    """The longest that is granted."""
    permissions: int = PERMISSIONS.default
    channels: int = CHANNELS.default
    last_channel: int = _LAST_CHANNEL
    """The highest channel number that is taken."""
    peers_per_s: float = PEERS_PER_SECOND.default
    peers_burst: int = PEERS_BURST.default
    packets_per_s: int = PACKETS_PER_SECOND.default
    """Of one allocation, each way; 0: no bound."""
    bytes_per_s: int = BITS_PER_SECOND.default // 8
    """As `packets_per_s`."""
    replies_per_s: float = REPLIES_PER_SECOND.default
    failures_per_min: int = FAILURES_PER_MINUTE.default
    rate_slots: int = RATE_SLOTS.default
    nonce_s: int = NONCE_S.default
    credential_s: int = CREDENTIAL_S.default
    credential_most_s: int = CREDENTIAL_MOST_S.default
    handshake_s: float = HANDSHAKE_S.default
    message_s: float = MESSAGE_S.default
    unallocated_s: float = UNALLOCATED_S.default
    strangers: int = STRANGERS.default
    strangers_per_address: int = STRANGERS_PER_ADDRESS.default
    stranger_bytes: int = STRANGERS_BYTES.default
    control_bytes: int = CONTROL_BYTES.default
    write_queue_bytes: int = WRITE_QUEUE_BYTES.default
    proxy_header_s: float = PROXY_HEADER_S.default
    proxy_header_bytes: int = PROXY_HEADER_BYTES.default


def bounds_of(config: Config) -> Bounds:
    """As the settings say."""
    return Bounds(
        allocations=config[ALLOCATIONS],
        allocations_per_user=config[ALLOCATIONS_PER_USER],
        allocations_per_address=config[ALLOCATIONS_PER_ADDRESS],
        lifetime_s=config[LIFETIME_S],
        permissions=config[PERMISSIONS],
        channels=config[CHANNELS],
        last_channel=_LAST_STRICT_CHANNEL if config[STRICT_CHANNELS] else _LAST_CHANNEL,
        peers_per_s=config[PEERS_PER_SECOND],
        peers_burst=config[PEERS_BURST],
        packets_per_s=config[PACKETS_PER_SECOND],
        bytes_per_s=-(-config[BITS_PER_SECOND] // 8),  # rounded up, since 0 is no bound
        replies_per_s=config[REPLIES_PER_SECOND],
        failures_per_min=config[FAILURES_PER_MINUTE],
        rate_slots=config[RATE_SLOTS],
        nonce_s=config[NONCE_S],
        credential_s=min(config[CREDENTIAL_S], config[CREDENTIAL_MOST_S]),
        credential_most_s=config[CREDENTIAL_MOST_S],
        handshake_s=config[HANDSHAKE_S],
        message_s=config[MESSAGE_S],
        unallocated_s=config[UNALLOCATED_S],
        strangers=config[STRANGERS],
        strangers_per_address=config[STRANGERS_PER_ADDRESS],
        stranger_bytes=config[STRANGERS_BYTES],
        control_bytes=config[CONTROL_BYTES],
        write_queue_bytes=config[WRITE_QUEUE_BYTES],
        proxy_header_s=config[PROXY_HEADER_S],
        proxy_header_bytes=config[PROXY_HEADER_BYTES],
    )


# Counting


class Limit(Enum):
    """What was reached. The value is the label of the metric."""

    ALLOCATIONS = "allocations"
    USER = "allocations_per_user"
    ADDRESS = "allocations_per_address"
    PERMISSIONS = "permissions"
    CHANNELS = "channels"
    PEERS_IN_ALL = "peers_in_all"  # permissions and channels of all allocations, which have tables
    PEERS = "peers"
    REPLIES = "replies"
    FAILURES = "failures"
    STRANGERS = "strangers"
    STRANGERS_PER_ADDRESS = "strangers_per_address"
    PEER_CONNECTIONS = "peer_connections"
    PEER_CONNECTIONS_EACH = "peer_connections_per_allocation"
    PEER_CONNECTIONS_PENDING = "peer_connections_pending"


_refused = Counter("orchard_turn_refused_total", "What clients asked for beyond a limit", ["limit"])


def refuse(limit: Limit) -> bool:
    """Count that a limit was reached; False, for the caller to return."""
    _refused.labels(limit.value).inc()
    return False


def network_of(ip: bytes) -> bytes:
    """What counts as one address: all of an IPv4 address, the /64 of an IPv6 one."""
    return ip if len(ip) == 4 else ip[:8]


class Limits:
    """What the clients of one process have had. `may_...` counts a refusal; only what is granted costs.

    `ip` is a client's address, packed; `allocation` is whatever the caller knows an allocation by. `secret`
    (16 bytes, made here if None) decides which addresses share a slot in the tables of rates.
    """

    def __init__(self, bounds: Bounds, secret: bytes | None = None) -> None:
        secret = secret or token_bytes(16)
        self.bounds = bounds
        self._count = 0
        self._users = Tally(bounds.allocations_per_user)
        self._addresses = Tally(bounds.allocations_per_address)
        self._peer_rate = Rate(bounds.peers_per_s, bounds.peers_burst)
        self._peers: dict[int, float] = {}  # an allocation's bucket, from its first peer to its end
        replies = Rate(bounds.replies_per_s, max(1, round(bounds.replies_per_s)))
        failures = Rate(bounds.failures_per_min / 60, bounds.failures_per_min)
        self._replies = RateTable(replies, bounds.rate_slots, secret)
        self._failures = RateTable(failures, bounds.rate_slots, secret)

    def __len__(self) -> int:
        """How many allocations are charged."""
        return self._count

    # allocations: charged from `allocated` to `ended`, which is as long as a port is held

    def has_room(self) -> bool:
        """Whether the process may have one more allocation (508 if not)."""
        return self._count < self.bounds.allocations or refuse(Limit.ALLOCATIONS)

    def may_allocate(self, user: str, ip: bytes) -> bool:
        """Whether a user, and an address, may have one more allocation (486 if not)."""
        if not self._users.has_room(user):
            return refuse(Limit.USER)
        return self._addresses.has_room(network_of(ip)) or refuse(Limit.ADDRESS)

    def allocated(self, user: str, ip: bytes) -> None:
        """Charge an allocation to its user and address."""
        self._count += 1
        self._users.add(user)
        self._addresses.add(network_of(ip))

    def ended(self, user: str, ip: bytes, allocation: int) -> None:
        """An allocation that was charged is gone. Raises KeyError if none was."""
        self._users.remove(user)
        self._addresses.remove(network_of(ip))
        self._count -= 1
        self._peers.pop(allocation, None)

    def may_add_peers(self, allocation: int, count: int, now: float) -> bool:
        """Whether an allocation may name so many new peer addresses now (508 if not: all or none)."""
        full_at = self._peer_rate.take(self._peers.get(allocation, FULL), now, count)
        if full_at is None:
            return refuse(Limit.PEERS)
        self._peers[allocation] = full_at
        return True

    # strangers: who has not authenticated, and may not be who sends

    def may_reply(self, ip: bytes, now: float) -> bool:
        """Whether an error may go to an address that is not proved: on UDP it may be a victim's."""
        return self._replies.allow(network_of(ip), now) or refuse(Limit.REPLIES)

    def may_fail(self, ip: bytes, user: bytes, now: float) -> bool:
        """Whether a wrong MESSAGE-INTEGRITY is answered; `user` is the USERNAME or USERHASH.

        Only requests that are wrong are met with silence: whoever shares a client's address and knows its
        username can't have its right ones ignored.
        """
        network = network_of(ip)
        return self._failures.allow(bytes([len(network)]) + network + user, now) or refuse(Limit.FAILURES)


class Strangers:
    """The connections that have not authenticated."""

    def __init__(self, bounds: Bounds) -> None:
        self._limit = bounds.strangers
        self._count = 0
        self._addresses = Tally(bounds.strangers_per_address)

    def __len__(self) -> int:
        return self._count

    def admit(self, ip: bytes | None) -> bool:
        """Count a new connection; False if it is one too many, which is not counted. One whose address is yet
        to be told (None) counts in all alone."""
        if self._count >= self._limit:
            return refuse(Limit.STRANGERS)
        if ip is not None:
            if not self._addresses.has_room(network_of(ip)):
                return refuse(Limit.STRANGERS_PER_ADDRESS)
            self._addresses.add(network_of(ip))
        self._count += 1
        return True

    def leave(self, ip: bytes | None) -> None:
        """A connection that was admitted is closed, has authenticated or, by None, has had its address told.
        Raises KeyError if none was."""
        if ip is not None:
            self._addresses.remove(network_of(ip))
        self._count -= 1
