"""Sessions whose client has passed a connectivity check here and that no node has claimed yet.

Connectivity checks are answered without knowing the session. What has to be kept until it is claimed
is little: which paths passed a check, and the first DTLS datagrams of the client. Only who knows a
session's ICE password gets here, and the table has a bound: past it the oldest entry goes, whose
client checks again within seconds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from prometheus_client import Counter

if TYPE_CHECKING:
    from sfu.base.ids import SessionId
    from sfu.net.address import Path
    from sfu.transport.ice import Check

PATHS = 8  # as many as an ICE agent holds
DATAGRAMS = 8  # a ClientHello with post-quantum key shares takes two; its retransmission as many again

GONE_S = 30.0  # chosen: a client without answers gives up in this time (RFC 7675 5.1)

_dropped = Counter("orchard_unclaimed_dropped_total", "Sessions dropped before they were claimed", ["reason"])


class Unclaimed:
    """One such session. `hello` is set by its client's first DTLS datagram; `claim` is the task that
    waits for it, and ends with the entry if that goes before its time.
    """

    def __init__(self, session: SessionId, now: float) -> None:
        self.session = session
        self.since = now
        self.hello = asyncio.Event()
        self.claim: asyncio.Task[None] | None = None
        self.checks: OrderedDict[Path, Check] = OrderedDict()
        self.datagrams: list[tuple[Path, bytes]] = []

    def keep_check(self, path: Path, check: Check) -> Path | None:
        """Remember the last check of a path; returns a path that had to go for it."""
        self.checks[path] = check
        self.checks.move_to_end(path)
        return self.checks.popitem(last=False)[0] if len(self.checks) > PATHS else None

    def keep_datagram(self, path: Path, data: bytes) -> None:
        """Remember a DTLS datagram; those past the bound are lost, as on any network, and sent again."""
        if len(self.datagrams) < DATAGRAMS:
            self.datagrams.append((path, data))
        self.hello.set()


class UnclaimedSessions:
    """All of them on this node, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sessions: OrderedDict[SessionId, Unclaimed] = OrderedDict()
        self._paths: dict[Path, SessionId] = {}
        self._gone: OrderedDict[SessionId, float] = OrderedDict()  # until when

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session: SessionId) -> Unclaimed | None:
        """The session, if it is here."""
        return self._sessions.get(session)

    def on_path(self, path: Path) -> Unclaimed | None:
        """The session whose client last passed a check on `path`."""
        session = self._paths.get(path)
        return None if session is None else self._sessions.get(session)

    def add(self, session: SessionId, now: float) -> Unclaimed:
        """Begin with a session; the oldest one goes if there are too many."""
        if len(self._sessions) >= self._limit:
            oldest = self.remove(next(iter(self._sessions)))
            if oldest is not None and oldest.claim is not None:
                oldest.claim.cancel()  # else a flood of sessions leaves a task each
            _dropped.labels("limit").inc()
        unclaimed = self._sessions[session] = Unclaimed(session, now)
        return unclaimed

    def checked(self, unclaimed: Unclaimed, path: Path, check: Check) -> None:
        """A check of the session has passed on `path`; whoever was there before is there no more."""
        gone = unclaimed.keep_check(path, check)
        if gone is not None and self._paths.get(gone) == unclaimed.session:
            del self._paths[gone]
        self._paths[path] = unclaimed.session

    def leave(self, path: Path) -> None:
        """A session that is claimed has passed a check on `path`: what comes there is its own."""
        self._paths.pop(path, None)

    def note_gone(self, session: SessionId, now: float) -> None:
        """The directory does not have the session (any more)."""
        if len(self._gone) >= self._limit:
            self._gone.popitem(last=False)
        self._gone[session] = now + GONE_S

    def is_gone(self, session: SessionId, now: float) -> bool:
        """Whether the session was not there when last looked for, lately.

        Its checks are met with silence, so that a client that missed the goodbye notices.
        """
        until = self._gone.get(session)
        if until is None:
            return False
        if now >= until:
            del self._gone[session]
            return False
        return True

    def remove(self, session: SessionId) -> Unclaimed | None:
        """Forget a session: it was claimed, or never will be."""
        unclaimed = self._sessions.pop(session, None)
        if unclaimed is not None:
            for path in unclaimed.checks:
                if self._paths.get(path) == session:
                    del self._paths[path]
        return unclaimed
