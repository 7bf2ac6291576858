"""The messages of a room's WebSocket, both ways: the one schema of server and page.

Each message is a JSON object with a `type`, in a text frame of its own. The page's types are written from
this module by `python -m meeting.typescript`; what happens when is in docs/protocols/meeting.md. Bounds
here are part of the protocol; those that an operator may change are settings.
"""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

VERSION: Final = 1
"""Of the protocol; a page of another one is told to load itself anew."""
SUBPROTOCOL: Final = "orchard-room"

NAME_CHARS: Final = 60
TEXT_CHARS: Final = 2000
TRACKS: Final = 8  # a camera and a screen, each with sound, and as many again while they are exchanged
PLACES: Final = 50
SILENT: Final = 127

# They turn the direction of what is written around them: a name could pose as another, or as the page's text.
_BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _one_line(text: str) -> str:
    kept = "".join(char for char in text if char not in _BIDI_CONTROLS)
    line = " ".join("".join(" " if unicodedata.category(char) == "Cc" else char for char in kept).split())
    if not line:
        raise ValueError("nothing is left of it but space")
    return line


def _lines(text: str) -> str:
    kept = "".join(char for char in text if char == "\n" or unicodedata.category(char) != "Cc").strip()
    if not kept:
        raise ValueError("nothing is left of it but space")
    return kept


Name = Annotated[str, Field(max_length=NAME_CHARS), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=TEXT_CHARS), AfterValidator(_lines)]
RoomId = Annotated[str, Field(pattern=r"^[a-z2-7]{16}$")]
MemberId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
TrackName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
PlaceId = Annotated[str, Field(pattern=r"^(main|[1-9][0-9]?)$")]
Secret = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9._-]+$")]
RequestId = Annotated[int, Field(ge=0, le=2**53 - 1)]
Loudness = Annotated[int, Field(ge=0, le=SILENT)]

Role = Literal["host", "guest"]
Entry = Literal["open", "lobby", "locked"]
Source = Literal["microphone", "camera", "screen", "screenAudio"]
Emoji = Literal["thumbsUp", "heart", "applause", "laugh", "surprise", "party", "thinking", "thumbsDown"]
Scope = Literal["place", "everyone"]
GoneReason = Literal["left", "expired", "removed"]
RefusalCode = Literal["notAllowed", "notFound", "invalid", "full", "unavailable"]

MAIN: Final = "main"


class CloseCode(IntEnum):
    """Why the server closes a socket; the reason of the close frame says it in words."""

    LEFT = 1000
    TOO_LARGE = 1009
    RESTART = 1012
    OVERLOAD = 1013
    MALFORMED = 4000
    VERSION = 4001
    FLOODING = 4002
    SLOW = 4003
    SILENT = 4004
    NOT_JOINED = 4005
    REPLACED = 4006
    WRONG_KEY = 4010
    FULL = 4011
    LOCKED = 4012
    DENIED = 4013
    REMOVED = 4014
    ENDED = 4015
    EXPIRED = 4016
    TOO_MANY = 4020


RETRIED: Final = frozenset(
    {CloseCode.RESTART, CloseCode.OVERLOAD, CloseCode.SLOW, CloseCode.SILENT, CloseCode.TOO_MANY}
)
"""The codes after which a page connects again by itself; a loss without a close frame (1006) is another."""


class _Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True
    )


class Track(_Wire):
    """A track that a member publishes in its session. `simulcast` has the rids f, h and q, best first."""

    name: TrackName
    source: Source
    simulcast: bool = False


class Member(_Wire):
    """Somebody in the room, as all others see it.

    `away` is a seat whose connection is lost and which is kept for a while. `hand` is when it was raised,
    or None: the least goes first. `microphone` and `camera` say whether they are on, `encrypted` whether
    the media is sealed end to end. Tracks of another `place` can't be pulled.
    """

    id: MemberId
    name: Name
    role: Role
    place: PlaceId = MAIN
    away: bool = False
    hand: float | None = None
    microphone: bool = False
    camera: bool = False
    encrypted: bool = False
    session_id: SessionId | None = None
    tracks: Annotated[tuple[Track, ...], Field(max_length=TRACKS)] = ()


class Waiting(_Wire):
    """Somebody in the lobby."""

    id: MemberId
    name: Name


class Place(_Wire):
    """A breakout room. The room itself is the place `main`, which is not listed."""

    id: PlaceId
    name: Name


class RoomState(_Wire):
    """What is true of the whole room.

    `epoch` grows whenever somebody is gone: with end-to-end encryption the next key is then due. With
    `choose` guests go to breakout rooms by themselves. `since` is when the meeting began, seconds since 1970.
    """

    id: RoomId
    since: float
    entry: Entry = "open"
    epoch: Annotated[int, Field(ge=0)] = 0
    places: Annotated[tuple[Place, ...], Field(max_length=PLACES)] = ()
    choose: bool = False


class ChatEntry(_Wire):
    """One line of chat. `seq` grows along the room's chat; `at` is seconds since 1970.

    `place` is where it can be read; None is everywhere.
    """

    seq: Annotated[int, Field(ge=1)]
    at: float
    sender: MemberId
    name: Name
    text: Text
    place: PlaceId | None = None


class Speaker(_Wire):
    """One who speaks now; `level` is in -dBov (RFC 6464): 0 is loudest, 127 silence."""

    member: MemberId
    level: Loudness


class Rules(_Wire):
    """What the server asks of a page, and how often it pings: silent for thrice as long, it is lost."""

    level_every_s: float
    ping_every_s: float
    messages_per_second: int


# What the page sends


class _Request(_Wire):
    id: RequestId | None = None
    """Answered with `done` or `refused`, if it is given."""


class Join(_Request):
    """The first message. `key` is the invite's, `token` of a seat held before, `host_key` the maker's."""

    type: Literal["join"] = "join"
    version: int
    room: RoomId
    name: Name
    key: Secret | None = Field(default=None, repr=False)
    token: Secret | None = Field(default=None, repr=False)
    host_key: Secret | None = Field(default=None, repr=False)


class Pong(_Wire):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"


class Leave(_Request):
    """Give up the seat now."""

    type: Literal["leave"] = "leave"


class Rename(_Request):
    """Be called otherwise."""

    type: Literal["rename"] = "rename"
    name: Name


class Publish(_Request):
    """All that the member publishes now, in one session of its own; None and nothing to stop."""

    type: Literal["publish"] = "publish"
    session_id: SessionId | None
    tracks: Annotated[tuple[Track, ...], Field(max_length=TRACKS)] = ()


class Media(_Request):
    """What is on and what is muted, as others are to see it."""

    type: Literal["media"] = "media"
    microphone: bool
    camera: bool
    encrypted: bool = False


class Hand(_Request):
    """Raise or lower a hand: the own one, or another's, which only hosts lower."""

    type: Literal["hand"] = "hand"
    raised: bool
    member: MemberId | None = None


class React(_Request):
    """Show a reaction to all in the same place, once."""

    type: Literal["react"] = "react"
    emoji: Emoji


class Say(_Request):
    """Write into the chat of the place. `everyone` is a host's word to all breakout rooms."""

    type: Literal["say"] = "say"
    text: Text
    scope: Scope = "place"


class Level(_Wire):
    """How loud the member is now, in -dBov: while it speaks, at most every `level_every_s`, then once 127."""

    type: Literal["level"] = "level"
    level: Loudness


class SetEntry(_Request):
    """Host: who comes in by the link: all, those whom a host admits, nobody."""

    type: Literal["entry"] = "entry"
    entry: Entry


class Admit(_Request):
    """Host: let in somebody from the lobby; None is all."""

    type: Literal["admit"] = "admit"
    member: MemberId | None = None


class Deny(_Request):
    """Host: send somebody in the lobby away."""

    type: Literal["deny"] = "deny"
    member: MemberId


class Remove(_Request):
    """Host: take somebody's seat. Newcomers wait in the lobby from then on: that one knows the link."""

    type: Literal["remove"] = "remove"
    member: MemberId


class Mute(_Request):
    """Host: ask somebody's page to switch something off; None is all others."""

    type: Literal["mute"] = "mute"
    source: Source
    member: MemberId | None = None


class SetRole(_Request):
    """Host: make somebody a host, or a guest."""

    type: Literal["role"] = "role"
    member: MemberId
    role: Role


class Split(_Request):
    """Host: open breakout rooms of these names, in place of those that are open.

    `assigned` says who goes to which, by its index in `names`; who is not in it goes to, or stays in, `main`.
    """

    type: Literal["split"] = "split"
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=PLACES)]
    assigned: Annotated[dict[MemberId, Annotated[int, Field(ge=0, lt=PLACES)]], Field(max_length=1000)] = {}
    choose: bool = False


class Move(_Request):
    """Go to another place, or send somebody there, as hosts do."""

    type: Literal["move"] = "move"
    place: PlaceId
    member: MemberId | None = None


class Recall(_Request):
    """Host: call all back to `main` and close the breakout rooms."""

    type: Literal["recall"] = "recall"


class End(_Request):
    """Host: end the meeting for all. Only who has the host key opens it again."""

    type: Literal["end"] = "end"


Asked = (
    Leave
    | Rename
    | Publish
    | Media
    | Hand
    | Say
    | SetEntry
    | Admit
    | Deny
    | Remove
    | Mute
    | SetRole
    | Split
    | Move
    | Recall
    | End
)
"""What changes a room when a member asks for it; levels and reactions pass by without a trace."""

ClientMessage = Annotated[Join | Pong | Level | React | Asked, Field(discriminator="type")]

# What the server sends


class Ping(_Wire):
    """To be answered with `pong` at once. `at` is the server's time, seconds since 1970."""

    type: Literal["ping"] = "ping"
    at: float


class InLobby(_Wire):
    """You wait in the lobby; `welcome` or a close follows."""

    type: Literal["inLobby"] = "inLobby"
    you: MemberId


class Welcome(_Wire):
    """You have a seat; all that is true now.

    `token` is for the session API, and for this seat after a loss. `members` has all, you among them.
    `waiting` is for hosts. `chat` is what can still be read here, oldest first.
    """

    type: Literal["welcome"] = "welcome"
    you: MemberId
    token: Secret = Field(repr=False)
    room: RoomState
    members: tuple[Member, ...]
    waiting: tuple[Waiting, ...] = ()
    chat: tuple[ChatEntry, ...] = ()
    rules: Rules


class SeatToken(_Wire):
    """A token in place of the one before, which stays good: your role is another."""

    type: Literal["token"] = "token"
    token: Secret = Field(repr=False)


class MemberIs(_Wire):
    """A member that is new or has changed, whole."""

    type: Literal["member"] = "member"
    member: Member


class MemberGone(_Wire):
    """A member that has a seat no longer."""

    type: Literal["gone"] = "gone"
    member: MemberId
    reason: GoneReason


class RoomIs(_Wire):
    """The room has changed; whole."""

    type: Literal["room"] = "room"
    room: RoomState


class LobbyIs(_Wire):
    """For hosts: who waits now, longest first."""

    type: Literal["lobby"] = "lobby"
    waiting: tuple[Waiting, ...]


class Chat(_Wire):
    """Lines of chat, oldest first; after a move also older ones of the new place.

    `seq` tells apart those that are known.
    """

    type: Literal["chat"] = "chat"
    entries: tuple[ChatEntry, ...]


class Reaction(_Wire):
    """Somebody in your place reacts."""

    type: Literal["reaction"] = "reaction"
    member: MemberId
    emoji: Emoji


class Speakers(_Wire):
    """The loudest few of your place, loudest first; nobody where it is quiet."""

    type: Literal["speakers"] = "speakers"
    loudest: tuple[Speaker, ...]


class MuteAsked(_Wire):
    """A host asks you to switch this off; do so and say `media`."""

    type: Literal["muteAsked"] = "muteAsked"
    source: Source


class Done(_Wire):
    """The request of this id was carried out."""

    type: Literal["done"] = "done"
    id: RequestId


class Refused(_Wire):
    """A request was not carried out, and nothing has changed; `id` if it had one."""

    type: Literal["refused"] = "refused"
    id: RequestId | None = None
    code: RefusalCode
    text: str


ServerMessage = Annotated[
    Ping
    | InLobby
    | Welcome
    | SeatToken
    | MemberIs
    | MemberGone
    | RoomIs
    | LobbyIs
    | Chat
    | Reaction
    | Speakers
    | MuteAsked
    | Done
    | Refused,
    Field(discriminator="type"),
]


class Made(_Wire):
    """The answer to `POST /api/rooms`: what an invite holds, and the maker's own key."""

    room: RoomId
    key: Secret = Field(repr=False)
    host_key: Secret = Field(repr=False)


class MessageError(Exception):
    """The text is no message of the schema."""


CLIENT: Final[TypeAdapter[ClientMessage]] = TypeAdapter(ClientMessage)
SERVER: Final[TypeAdapter[ServerMessage]] = TypeAdapter(ServerMessage)


def read(text: str) -> ClientMessage:
    """What a page has sent. Raises MessageError, whose text names what is wrong and none of what was sent."""
    try:
        return CLIENT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MessageError(f"{where[:60]}: {first['type']}" if where else first["type"]) from None


def write(message: ServerMessage) -> str:
    """The text of a message to a page."""
    return message.model_dump_json(by_alias=True)
