"""What a transport tells its driver. One list per call, in the order in which things happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfu.net.address import Path
    from sfu.wire.srtp import SrtpKeys


class FailReason(Enum):
    """Why a transport can never come up. The value is a word for logs, metrics and the API."""

    HANDSHAKE_TIMEOUT = "handshake_timeout"
    HANDSHAKE_ERROR = "handshake_error"
    NO_FINGERPRINT = "no_fingerprint"  # the SDP names none of a hash that is accepted
    WRONG_FINGERPRINT = "wrong_fingerprint"
    NO_SRTP_PROFILE = "no_srtp_profile"


@dataclass(frozen=True, slots=True)
class PathValid:
    """A check passed on a path that was not valid before: media may arrive on it from now on."""

    path: Path


@dataclass(frozen=True, slots=True)
class PathSelected:
    """Everything for the client leaves on this path from now on. It is a valid one."""

    path: Path


@dataclass(frozen=True, slots=True)
class PathDropped:
    """The path is valid no more: nothing may arrive or leave on it."""

    path: Path


@dataclass(frozen=True, slots=True)
class Connected:
    """The handshake has ended and the peer is who the SDP says: media may flow.

    Comes a second time, with other keys, only after a restart with other fingerprints.
    """

    keys: SrtpKeys


@dataclass(frozen=True, slots=True)
class Disconnected:
    """No valid check for a while (7 s). Media goes on; `Reconnected` or `ConsentExpired` follows."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """A valid check came after `Disconnected` or, with new credentials, after `ConsentExpired`."""


@dataclass(frozen=True, slots=True)
class ConsentExpired:
    """No valid check for 30 s (RFC 7675): media must stop. A `PathDropped` per path came before it.

    Keys stay: an ICE restart within the next 60 s brings the session back.
    """


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody restarted ICE in time: the session is over. The last event of a transport."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer said goodbye (close_notify): the session is over. The last event of a transport."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The transport can't come up; the session is over. The last event of a transport.

    `alert` is what the peer said in the clear, if anything: a hint for people, not to be believed.
    """

    reason: FailReason
    alert: str | None = None


IceEvent = PathValid | PathSelected | PathDropped | Disconnected | Reconnected | ConsentExpired | Expired
DtlsEvent = Connected | Closed | Failed
TransportEvent = IceEvent | DtlsEvent
