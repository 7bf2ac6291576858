"""ICE-lite: answering connectivity checks, and knowing where a client is (RFC 8445, RFC 7675)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfu.base.ids import SessionId
    from sfu.net.address import Path
    from sfu.transport.events import IceEvent


class Refusal(Enum):
    """Why a STUN datagram gets no answer. The value is the counter's label."""

    MALFORMED = "malformed"
    NOT_A_REQUEST = "not_a_request"  # an indication or a response: a lite agent awaits neither
    NO_FINGERPRINT = "no_fingerprint"
    NO_INTEGRITY = "no_integrity"
    UNKNOWN_USERNAME = "unknown_username"  # missing, too long, or no local ufrag of ours in it
    WRONG_INTEGRITY = "wrong_integrity"
    OLD_CREDENTIALS = "old_credentials"
    OTHER_REMOTE_UFRAG = "other_remote_ufrag"
    OVER = "over"  # the session's transport has ended


class CheckRefused(Exception):
    """A check that must be met with silence."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Check:
    """An authenticated Binding request."""

    session: SessionId
    generation: int
    remote_ufrag: str
    transaction_id: bytes
    priority: int | None
    use_candidate: bool
    nomination: int | None
    error: int | None
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class IceTimers:
    """Times of an agent, in seconds."""

    disconnected_s: float = 7.0
    consent_s: float = 30.0  # RFC 7675 5.1
    restart_s: float = 60.0  # after consent ended
    silent_s: float = 1.5  # a selected path without a check for so long gives way to any nominated one


def read_check(data: bytes, *, cluster_secret: bytes) -> Check:
    """The check in a datagram, once it has proved that it comes from the session's client.

    Needs no state: any node can read the checks of any session. Raises CheckRefused for all else.
    """
    raise NotImplementedError


def answer_check(check: Check, path: Path, *, cluster_secret: bytes) -> bytes:
    """The signed answer to a check that came on `path`: success, or 400, 420, 487 if `check.error`."""
    raise NotImplementedError


class IceAgent:
    """Which paths to one client are valid and which is selected; whether the client still consents."""

    def __init__(
        self, *, generation: int, remote_ufrag: str | None, now: float, timers: IceTimers, max_paths: int = 8
    ) -> None:
        raise NotImplementedError

    def receive_check(self, check: Check, path: Path, now: float) -> list[IceEvent]:
        """An authenticated check. Raises CheckRefused if its credentials hold no more."""
        raise NotImplementedError
