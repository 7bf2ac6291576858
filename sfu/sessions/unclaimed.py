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

_dropped = Counter("orchard_unclaimed_dropped_total", "Sessions dropped before they were claimed", ["reason"])


class Unclaimed:
    """One such session. `hello` is set by its client's first DTLS datagram."""

    def __init__(self, session: SessionId, now: float) -> None:
        self.session = session
        self.since = now
        self.hello = asyncio.Event()
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
            self.remove(next(iter(self._sessions)))
            _dropped.labels("limit").inc()
        unclaimed = self._sessions[session] = Unclaimed(session, now)
        return unclaimed

    def checked(self, unclaimed: Unclaimed, path: Path, check: Check) -> None:
        """A check of the session has passed on `path`; whoever was there before is there no more."""
        gone = unclaimed.keep_check(path, check)
        if gone is not None and self._paths.get(gone) == unclaimed.session:
            del self._paths[gone]
        self._paths[path] = unclaimed.session

    def remove(self, session: SessionId) -> Unclaimed | None:
        """Forget a session: it was claimed, or never will be."""
        unclaimed = self._sessions.pop(session, None)
        if unclaimed is not None:
            for path in unclaimed.checks:
                if self._paths.get(path) == session:
                    del self._paths[path]
        return unclaimed
