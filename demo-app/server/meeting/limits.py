"""Bounds of the meeting app, and the settings that give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.base.settings import ByteSize, Setting

if TYPE_CHECKING:
    from sfu.base.settings import Config

ROOMS = Setting(
    "meeting.rooms",
    int,
    10_000,
    minimum=1,
    help="Rooms that are known at once, those included that were left",
)
ROOMS_BYTES = Setting(
    "meeting.rooms_size",
    ByteSize,
    ByteSize(256 << 20),
    unit="B",
    minimum=1 << 20,
    help="Memory of all rooms together; what makes one larger is refused then",
)
ROOM_LIFE_S = Setting(
    "meeting.room_life",
    float,
    86_400.0,
    unit="s",
    minimum=60,
    help="How long a room that was left is known: who was removed, whether it is locked or ended",
)
TOKEN_LIFE_S = Setting(
    "meeting.token_life",
    float,
    86_400.0,
    unit="s",
    minimum=60,
    help="How long a member may stay, or come back without the link",
)
MEMBERS = Setting("meeting.members", int, 100, minimum=1, maximum=1000, help="Members of one room")
WAITING = Setting("meeting.waiting", int, 50, minimum=1, maximum=1000, help="People in the lobby of one room")
LOBBY_WAIT_S = Setting(
    "meeting.lobby_wait", float, 900.0, unit="s", minimum=1, help="Longest time in the lobby"
)
GRACE_S = Setting(
    "meeting.grace",
    float,
    45.0,
    unit="s",
    minimum=0,
    maximum=3600,
    help="How long a seat is kept for a member whose connection is lost",
)
CHAT = Setting(
    "meeting.chat", int, 200, minimum=1, maximum=1000, help="Lines of chat that are kept for late joiners"
)
PING_S = Setting(
    "meeting.ping",
    float,
    10.0,
    unit="s",
    minimum=0.1,
    maximum=300,
    help="Time between pings of a room's socket; silent for three times as long, it is closed",
)
JOIN_S = Setting(
    "meeting.join",
    float,
    10.0,
    unit="s",
    minimum=0.1,
    help="Time in which a room's socket must say who joins",
)
MESSAGE_BYTES = Setting(
    "meeting.message_limit",
    ByteSize,
    ByteSize(16 * 1024),
    unit="B",
    minimum=4096,
    maximum=1 << 20,
    help="Largest message on a room's socket",
)
MESSAGES_PER_SECOND = Setting(
    "meeting.messages_per_second",
    int,
    20,
    minimum=1,
    maximum=200,
    help="Messages of one room's socket, on the average of five seconds; with more it is closed",
)
UNSENT = Setting(
    "meeting.unsent",
    int,
    1000,
    minimum=10,
    help="Messages that wait to be sent on one room's socket; with more it reads too slowly and is closed",
)
SOCKETS = Setting("meeting.sockets", int, 4000, minimum=1, help="Room sockets at once")
SOCKETS_PER_ADDRESS = Setting(
    "meeting.sockets_per_address",
    int,
    200,
    minimum=1,
    help="Room sockets at once of one address (IPv6: one /64); behind a proxy all clients have its address",
)
JOINS_PER_MINUTE = Setting(
    "meeting.joins_per_minute",
    int,
    240,
    minimum=1,
    help="Room sockets that one address may open in a minute",
)
ROOMS_PER_MINUTE = Setting(
    "meeting.rooms_per_minute", int, 30, minimum=1, help="Rooms that one address may make in a minute"
)
CALLS_PER_SECOND = Setting(
    "meeting.calls_per_second",
    int,
    20,
    minimum=1,
    help="Calls of one member to the session API, on the average of five seconds; more are answered 429",
)


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Bounds of one room."""

    members: int = MEMBERS.default
    waiting: int = WAITING.default
    """People in the lobby."""
    lobby_wait_s: float = LOBBY_WAIT_S.default
    """Longest time in the lobby."""
    grace_s: float = GRACE_S.default
    """How long a seat is kept for a member whose connection is lost."""
    chat: int = CHAT.default
    """Lines of chat that are kept for late joiners."""
    sessions_per_member: int = 2
    """One session more ends the oldest."""
    remembered_gone: int = 64
    """Departures whose reason is known to nodes that hear of them together."""
    remembered_removed: int = 200
    """Removed members that are known by name; with one more, no token of before lets anybody in."""
    life_s: float = ROOM_LIFE_S.default
    """How long what is known of a room outlives its last change."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of room sockets; see the settings above."""

    ping_s: float = PING_S.default
    join_s: float = JOIN_S.default
    message_bytes: int = MESSAGE_BYTES.default
    messages_per_second: int = MESSAGES_PER_SECOND.default
    unsent: int = UNSENT.default
    sockets: int = SOCKETS.default
    sockets_per_address: int = SOCKETS_PER_ADDRESS.default
    joins_per_minute: int = JOINS_PER_MINUTE.default
    rooms_per_minute: int = ROOMS_PER_MINUTE.default
    level_every_s: float = 0.3
    """How often a page may report its level; part of the rules that it is told."""
    speakers: int = 5
    """The loudest that are told."""


@dataclass(frozen=True, slots=True)
class MeetingLimits:
    """All bounds of the meeting app but those of the proxy (`meeting.upstream`)."""

    room: RoomLimits = RoomLimits()
    socket: SocketLimits = SocketLimits()
    token_life_s: float = TOKEN_LIFE_S.default
    calls_per_second: int = CALLS_PER_SECOND.default

    @classmethod
    def of(cls, config: Config) -> MeetingLimits:
        """The bounds that the settings give."""
        return cls(
            RoomLimits(
                members=config[MEMBERS],
                waiting=config[WAITING],
                lobby_wait_s=config[LOBBY_WAIT_S],
                grace_s=config[GRACE_S],
                chat=config[CHAT],
                life_s=config[ROOM_LIFE_S],
            ),
            SocketLimits(
                ping_s=config[PING_S],
                join_s=config[JOIN_S],
                message_bytes=config[MESSAGE_BYTES],
                messages_per_second=config[MESSAGES_PER_SECOND],
                unsent=config[UNSENT],
                sockets=config[SOCKETS],
                sockets_per_address=config[SOCKETS_PER_ADDRESS],
                joins_per_minute=config[JOINS_PER_MINUTE],
                rooms_per_minute=config[ROOMS_PER_MINUTE],
            ),
            config[TOKEN_LIFE_S],
            config[CALLS_PER_SECOND],
        )
