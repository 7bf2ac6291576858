"""ICE-lite: answering connectivity checks, and knowing where a client is (RFC 8445, RFC 7675).

`read_check` and `answer_check` need no state: the local ufrag of a check names the session, and the
password derives from it, so any node answers the checks of any session. `IceAgent` is what the owner
of a session keeps. It never sends a check of its own; the client's checks make a path valid, keep the
client's consent alive and select the path that everything for it takes.

    checking --check--> live --7 s silent--> disconnected --23 s more--> consent ended --60 s--> expired
                         ^                        |                            |
                         +--------check-----------+-- check with new credentials +
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sfu.base.ids import GENERATIONS, SessionId, ice_pwd, ice_ufrag, parse_ice_ufrag
from sfu.net.address import local_host
from sfu.transport.events import (
    ConsentExpired,
    Disconnected,
    Expired,
    PathDropped,
    PathSelected,
    PathValid,
    Reconnected,
)
from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass

if TYPE_CHECKING:
    from sfu.net.address import Path
    from sfu.transport.events import IceEvent

_MAX_USERNAME_BYTES = 513  # RFC 8489 14.3
_REMEMBERED = 64  # checks by which a replay is told; minutes of a client that checks every few seconds
_KNOWN = frozenset(Attribute)
_V4_MAPPED = b"\0" * 10 + b"\xff\xff"

_BAD_REQUEST = 400
_UNKNOWN_ATTRIBUTE = 420
_ROLE_CONFLICT = 487
_REASONS = {
    _BAD_REQUEST: "Bad Request",
    _UNKNOWN_ATTRIBUTE: "Unknown Attribute",
    _ROLE_CONFLICT: "Role Conflict",
}


class Refusal(Enum):
    """Why a STUN datagram gets no answer. The value is the counter's label."""

    MALFORMED = "malformed"
    NOT_A_REQUEST = "not_a_request"  # another method, an indication, a response: a lite agent awaits none
    NO_FINGERPRINT = "no_fingerprint"
    NO_INTEGRITY = "no_integrity"
    UNKNOWN_USERNAME = "unknown_username"  # missing, too long, or no local ufrag of ours in it
    WRONG_INTEGRITY = "wrong_integrity"
    OLD_CREDENTIALS = "old_credentials"  # the client has used newer ones, or its consent has ended
    OTHER_REMOTE_UFRAG = "other_remote_ufrag"
    REPLAYED = "replayed"  # heard before, on another path
    OVER = "over"  # the session's transport has ended


class CheckRefused(Exception):
    """A datagram that must be met with silence; the driver counts it by `reason`."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Check:
    """An authenticated Binding request.

    `error` is None, or the code that `answer_check` says no with; such a check changes no state.
    """

    session: SessionId
    generation: int
    remote_ufrag: str
    transaction_id: bytes
    priority: int
    use_candidate: bool
    nomination: int | None  # libwebrtc's, where the client renominates
    error: int | None = None
    unknown: tuple[int, ...] = ()  # for a 420


@dataclass(frozen=True, slots=True)
class IceTimers:
    """Times of an agent, in seconds."""

    disconnected_s: float = 7.0  # clients check every 4 to 6 s (RFC 7675 5.1)
    consent_s: float = 30.0  # RFC 7675 5.1
    restart_s: float = 60.0  # after consent ended; chosen
    silent_s: float = 1.5  # a selected path without a check for so long gives way to any nominated one


def read_check(data: bytes, *, cluster_secret: bytes) -> Check:
    """The check in a datagram, once it has proved that it comes from the session's client.

    Raises CheckRefused for all else. Cheap tests come first; nothing is believed before
    MESSAGE-INTEGRITY has passed. Binding indications are refused too: they carry no integrity
    (RFC 8445 11), so they can't say that the client is there.
    """
    try:
        message = stun.parse(data)
    except stun.StunError as error:
        raise CheckRefused(Refusal.MALFORMED) from error
    if message.method != stun.BINDING or message.message_class is not MessageClass.REQUEST:
        raise CheckRefused(Refusal.NOT_A_REQUEST)
    if not message.has_fingerprint:
        raise CheckRefused(Refusal.NO_FINGERPRINT)
    if message.integrity_at is None:
        raise CheckRefused(Refusal.NO_INTEGRITY)
    ufrag, remote_ufrag = _read_username(message.get(Attribute.USERNAME))
    named = parse_ice_ufrag(ufrag)
    if named is None:
        raise CheckRefused(Refusal.UNKNOWN_USERNAME)
    if not stun.verify_integrity(message, ice_pwd(cluster_secret, ufrag).encode()):
        raise CheckRefused(Refusal.WRONG_INTEGRITY)

    priority = message.get(Attribute.PRIORITY)
    nomination = message.get(Attribute.NOMINATION)
    unknown = message.unknown_required(_KNOWN)
    error = None
    if unknown:
        error = _UNKNOWN_ATTRIBUTE
    elif priority is None or len(priority) != 4:  # RFC 8445 7.1.1: it is always there
        error = _BAD_REQUEST
    elif message.get(Attribute.ICE_CONTROLLED) is not None:
        error = _ROLE_CONFLICT  # a lite agent is always the controlled one (RFC 8445 6.1.1)
    return Check(
        session=named[0],
        generation=named[1],
        remote_ufrag=remote_ufrag,
        transaction_id=message.transaction_id,
        priority=int.from_bytes(priority or b"", "big"),
        use_candidate=message.get(Attribute.USE_CANDIDATE) is not None,
        nomination=int.from_bytes(nomination, "big")
        if nomination is not None and len(nomination) == 4
        else None,
        error=error,
        unknown=unknown,
    )


def _read_username(username: bytes | None) -> tuple[str, str]:
    """Our ufrag and the client's, in the order in which a request to us has them."""
    if username is None or len(username) > _MAX_USERNAME_BYTES:
        raise CheckRefused(Refusal.UNKNOWN_USERNAME)
    try:
        ufrag, _, remote_ufrag = username.decode("ascii").partition(":")
    except UnicodeDecodeError as error:
        raise CheckRefused(Refusal.UNKNOWN_USERNAME) from error
    return ufrag, remote_ufrag


def answer_check(check: Check, path: Path, *, cluster_secret: bytes) -> bytes:
    """The signed answer to a check that came on `path`: success, or what `check.error` says."""
    attributes: list[tuple[int, bytes]] = []
    if check.error is None:
        message_class = MessageClass.SUCCESS
        ip = path[:16].removeprefix(_V4_MAPPED)
        port = int.from_bytes(path[16:18], "big")
        address = stun.encode_xor_address(ip, port, check.transaction_id)
        attributes.append((Attribute.XOR_MAPPED_ADDRESS, address))
    else:
        message_class = MessageClass.ERROR
        reason = _REASONS[check.error]
        attributes.append((Attribute.ERROR_CODE, stun.encode_error_code(check.error, reason)))
        if check.unknown:
            attributes.append((Attribute.UNKNOWN_ATTRIBUTES, stun.encode_unknown_attributes(check.unknown)))
    key = ice_pwd(cluster_secret, ice_ufrag(check.session, check.generation)).encode()
    return stun.build(stun.BINDING, message_class, check.transaction_id, attributes, key=key)


def _is_newer(generation: int, than: int) -> bool:
    """Whether a generation comes after another; the mark in the ufrag wraps around."""
    return 0 < (generation - than) % GENERATIONS < GENERATIONS // 2


@dataclass(slots=True)
class _ValidPath:
    """What is known of a path that passed a check."""

    path: Path
    generation: int
    priority: int  # of the last nomination; before any, of the first check
    last_priority: int  # Firefox's consent checks say another one than its nominations
    checked_at: float
    nominated: bool = False  # its last check had USE-CANDIDATE
    was_plain: bool = False  # the check before its last had not


class IceAgent:
    """Which paths to one client are valid and which is selected; whether the client still consents."""

    def __init__(
        self,
        *,
        generation: int,
        remote_ufrag: str | None,
        now: float,
        timers: IceTimers | None = None,
        max_paths: int = 8,
    ) -> None:
        """`generation` and `remote_ufrag` are of the SDP last exchanged; a None ufrag is not compared.

        `max_paths` is at least 2: the selected one and a candidate for its place.
        """
        self._generation = generation
        self._remote_ufrag = remote_ufrag
        self._timers = timers or IceTimers()
        self._max_paths = max_paths
        # The newest credentials of any check. They hold until newer ones are used, however often the
        # SDP was exchanged meanwhile; before the first check, those before ours may still be in use.
        self._used = (generation - 1) % GENERATIONS
        self._paths: dict[Path, _ValidPath] = {}  # in the order in which they became valid
        self._selected: _ValidPath | None = None
        self._selected_by_nomination = False
        self._nomination = -1  # the highest value of the attribute in this generation
        self._is_deliberate = False  # the client nominates paths that it has checked plainly before
        self._checked_at = now
        self._is_disconnected = False
        self._expires_at: float | None = None  # set while consent has ended
        self._is_over = False
        self._heard: dict[bytes, None] = {}  # transaction ids of the last checks, oldest first

    @property
    def is_over(self) -> bool:
        """Whether `Expired` was given or `end` was called: no path is valid, no check is taken."""
        return self._is_over

    @property
    def selected_path(self) -> Path | None:
        """Where everything for the client goes."""
        return None if self._selected is None else self._selected.path

    @property
    def latest_path(self) -> Path | None:
        """The valid path that was checked last."""
        if not self._paths:
            return None
        return max(self._paths.values(), key=lambda known: known.checked_at).path

    def is_valid(self, path: Path) -> bool:
        """Whether DTLS and media may arrive on a path."""
        return path in self._paths

    def receive_check(self, check: Check, path: Path, now: float) -> list[IceEvent]:
        """An authenticated check of this session.

        Credentials newer than the known ones are taken: only the client can have them, from an
        answer of the API that this node has not heard of yet. Raises CheckRefused if its
        credentials hold no more, or if it was heard before and comes on a path that is not valid:
        nothing in a check tells when or where it was sent, so anybody who once saw one could have
        the client's media sent to himself. One that is repeated on a valid path wants its answer
        again and tells nothing new.
        """
        self._judge(check)
        if check.error is not None:
            return []
        if check.transaction_id in self._heard:
            if path not in self._paths:
                raise CheckRefused(Refusal.REPLAYED)
            return []
        self._note_heard(check.transaction_id)
        events: list[IceEvent] = []
        if _is_newer(check.generation, self._generation):
            self.restart(check.generation, check.remote_ufrag, now)
        if _is_newer(check.generation, self._used):
            self._used = check.generation
        self._checked_at = now
        if self._is_disconnected or self._expires_at is not None:
            self._is_disconnected, self._expires_at = False, None
            events.append(Reconnected())

        known = self._paths.get(path)
        is_new = known is None
        if known is None:
            events += self._make_room()
            known = _ValidPath(path, check.generation, check.priority, check.priority, now)
            self._paths[path] = known
            events.append(PathValid(path))
        known.was_plain = not is_new and not known.nominated and known.generation == check.generation
        known.generation = check.generation
        known.nominated = check.use_candidate
        known.last_priority = check.priority
        if check.use_candidate:
            known.priority = check.priority
            self._is_deliberate |= known.was_plain
        if self._must_follow(known, check, now, is_new=is_new):
            self._selected_by_nomination |= check.use_candidate
            events += self._select(known)
        known.checked_at = now
        if check.use_candidate and check.nomination is not None:
            self._nomination = max(self._nomination, check.nomination)
        return events

    def receive_dtls(self, path: Path) -> list[IceEvent]:
        """DTLS came on a valid path: before any nomination, the first such path is selected."""
        if self._selected is not None:
            return []
        return self._select(self._paths[path])

    def restart(self, generation: int, remote_ufrag: str | None, now: float) -> None:
        """New credentials are in force; those before hold until the first check with the new."""
        if generation == self._generation:
            self._remote_ufrag = remote_ufrag
            return
        if not _is_newer(generation, self._generation):
            return
        self._generation = generation
        self._remote_ufrag = remote_ufrag
        self._nomination = -1
        self._is_deliberate = False
        if self._expires_at is not None:
            self._expires_at = now + self._timers.restart_s

    def select_anew(self) -> None:
        """The client makes a new transport: the first path that it nominates or starts DTLS on is selected.

        Paths stay valid as long as the client consents on them, so one that it keeps after all serves on.
        """
        self._selected = None
        self._selected_by_nomination = False
        self._nomination = -1
        self._is_deliberate = False

    def end(self) -> None:
        """The session is over. Paths are forgotten without events."""
        self._is_over = True
        self._selected = None
        self._paths.clear()

    def timer_at(self) -> float | None:
        """The moment at which `handle_timer` has work, or None."""
        if self._is_over:
            return None
        if self._expires_at is not None:
            return self._expires_at
        at = self._checked_at + (
            self._timers.consent_s if self._is_disconnected else self._timers.disconnected_s
        )
        stale = [known.checked_at + self._timers.consent_s for known in self._paths.values()]
        return min([at, *stale])

    def handle_timer(self, now: float) -> list[IceEvent]:
        """Do what is due at `now`; too early a call does nothing."""
        if self._is_over:
            return []
        if self._expires_at is not None:
            if now < self._expires_at:
                return []
            self.end()
            return [Expired()]
        events: list[IceEvent] = []
        had_selected = self._selected is not None
        if not self._is_disconnected and now >= self._checked_at + self._timers.disconnected_s:
            self._is_disconnected = True
            events.append(Disconnected())
        for known in list(self._paths.values()):
            if now >= known.checked_at + self._timers.consent_s:
                events += self._drop(known)
        if now >= self._checked_at + self._timers.consent_s:
            self._expires_at = now + self._timers.restart_s
            events.append(ConsentExpired())
        elif had_selected and self._selected is None:
            # Consent is by path (RFC 7675 5.1), and the client lives on another one.
            self._selected_by_nomination = False
            events += self._select(max(self._paths.values(), key=lambda known: known.checked_at))
        return events

    def _note_heard(self, transaction_id: bytes) -> None:
        if len(self._heard) >= _REMEMBERED:
            del self._heard[next(iter(self._heard))]
        self._heard[transaction_id] = None

    def _judge(self, check: Check) -> None:
        if self._is_over:
            raise CheckRefused(Refusal.OVER)
        # RFC 7675 5.1: once consent has ended, only new credentials bring it back.
        has_ended = self._expires_at is not None and check.generation == self._used
        if has_ended or _is_newer(self._used, check.generation):
            raise CheckRefused(Refusal.OLD_CREDENTIALS)
        if (
            check.generation == self._generation
            and self._remote_ufrag is not None
            and check.remote_ufrag != self._remote_ufrag
        ):
            raise CheckRefused(Refusal.OTHER_REMOTE_UFRAG)

    def _must_follow(self, known: _ValidPath, check: Check, now: float, *, is_new: bool) -> bool:
        """Whether this check moves the selection to `known`."""
        selected = self._selected
        if (
            selected is None
            or selected is known
            or (check.use_candidate and not self._selected_by_nomination)
        ):
            return check.use_candidate
        silent_s = now - selected.checked_at
        if check.use_candidate:
            return self._is_meant(known, selected, check, silent_s, is_new=is_new)
        return silent_s > self._timers.disconnected_s or (
            silent_s > self._timers.silent_s and self._has_moved(known, selected, is_new=is_new)
        )

    def _is_meant(
        self, known: _ValidPath, selected: _ValidPath, check: Check, silent_s: float, *, is_new: bool
    ) -> bool:
        """Whether a nomination is to be followed.

        Chromium and Safari nominate what they have selected: following at once is right. Firefox
        nominates every path with its first check, to a lite agent too, and means the one of highest
        priority. So a nomination counts if it is deliberate: the path was checked plainly before, or
        such a client nominates the selected one no more.
        """
        if selected.generation != known.generation:
            return _is_newer(known.generation, selected.generation)
        if silent_s > self._timers.silent_s:
            return True
        if check.nomination is not None or self._nomination >= 0:
            return (check.nomination or 0) > self._nomination
        if known.was_plain or (self._is_deliberate and not selected.nominated):
            return True
        # The same candidate from a new address is a client whose NAT or network has changed.
        return known.priority > selected.priority or (is_new and known.priority == selected.priority)

    def _has_moved(self, known: _ValidPath, selected: _ValidPath, *, is_new: bool) -> bool:
        """Whether a check without USE-CANDIDATE shows where a client like Firefox is.

        Its later checks, for consent, are all of this kind. They come on what it has selected: the
        path of higher priority, or a new one that is the same candidate behind another NAT mapping.
        """
        if self._is_deliberate or selected.generation != known.generation:
            return False
        if is_new:
            is_same_candidate = known.last_priority == selected.last_priority
            return is_same_candidate and local_host(known.path) == local_host(selected.path)
        return known.priority > selected.priority

    def _select(self, known: _ValidPath) -> list[IceEvent]:
        if self._selected is known:
            return []
        self._selected = known
        return [PathSelected(known.path)]

    def _make_room(self) -> list[IceEvent]:
        """Drop the unselected path that was checked longest ago if there are too many."""
        if len(self._paths) < self._max_paths:
            return []
        others = [known for known in self._paths.values() if known is not self._selected]
        return self._drop(min(others, key=lambda known: known.checked_at))

    def _drop(self, known: _ValidPath) -> list[IceEvent]:
        del self._paths[known.path]
        if self._selected is known:
            self._selected = None
        return [PathDropped(known.path)]
