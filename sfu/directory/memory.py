"""The directory of a single node: everything in this process, nothing kept when it ends."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from sfu.directory.interface import Conflict
from sfu.directory.watching import LocalWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu.base.ids import AppId, NodeId, SessionId
    from sfu.directory.interface import App, NodeRecord, SessionCallback, StoredCertificate
    from sfu.negotiation.record import SessionRecord


class MemoryDirectory:
    """A `Directory` made of dictionaries.

    Its methods never wait, so what one of them does is one step to all other tasks of the loop.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[SessionId, SessionRecord] = {}
        self._watches: dict[SessionId, set[LocalWatch]] = {}
        self._apps: dict[AppId, App] = {}
        self._certificates: dict[str, StoredCertificate] = {}
        self._nodes: dict[NodeId, tuple[NodeRecord, float]] = {}  # and when its lease ends

    async def create_session(self, record: SessionRecord) -> SessionRecord:
        """Store a new session at version 1; Conflict if its id is taken."""
        taken = self._sessions.get(record.id)
        if taken is not None:
            raise Conflict(record.id, given=0, stored=taken.version)
        return self._store(replace(record, version=1))

    async def get_session(self, session: SessionId) -> SessionRecord | None:
        """The session as it stands, or None."""
        return self._sessions.get(session)

    def known_session(self, session: SessionId) -> SessionRecord | None:
        """The session as it stands, or None."""
        return self._sessions.get(session)

    async def replace_session(self, record: SessionRecord) -> SessionRecord:
        """Store `record` if the stored session has its version, and bump that; Conflict otherwise."""
        self._check_version(record.id, record.version)
        return self._store(replace(record, version=record.version + 1))

    async def delete_session(self, session: SessionId, *, version: int | None = None) -> bool:
        """Forget a session, if it has `version`; False if it was not there."""
        if session not in self._sessions:
            return False
        if version is not None:
            self._check_version(session, version)
        del self._sessions[session]
        self._tell(session)
        return True

    async def list_sessions(self, app: AppId | None = None) -> list[SessionRecord]:
        """All sessions, or those of one app, oldest first."""
        return [record for record in self._sessions.values() if app is None or record.app == app]

    async def list_unconnected(self, before: float) -> list[SessionRecord]:
        """Sessions created before `before` that never connected, oldest first."""
        return [
            record
            for record in self._sessions.values()
            if record.transport_state == "new" and record.created_at < before
        ]

    async def count_sessions(self) -> int:
        """The number of sessions of all apps."""
        return len(self._sessions)

    def watch(self, session: SessionId, callback: SessionCallback) -> LocalWatch:
        """Call `callback` with the session as it stands, then after each change."""
        watch = LocalWatch(lambda: callback(self._sessions.get(session)), self._forget_watch, session)
        self._watches.setdefault(session, set()).add(watch)
        watch.wake()
        return watch

    async def get_app(self, app: AppId) -> App | None:
        """The app of this id, or None."""
        return self._apps.get(app)

    async def put_app(self, app: App) -> None:
        """Store an app, in place of one that has its id."""
        self._apps[app.id] = app

    async def delete_app(self, app: AppId) -> bool:
        """Forget an app; False if it was not there."""
        return self._apps.pop(app, None) is not None

    async def list_apps(self) -> list[App]:
        """All apps, oldest first."""
        return sorted(self._apps.values(), key=lambda app: app.created_at)

    async def put_node(self, node: NodeRecord, lease_s: float) -> None:
        """Count `node` as alive for `lease_s` from now on."""
        self._nodes[node.id] = (node, self._clock() + lease_s)

    async def get_node(self, node: NodeId) -> NodeRecord | None:
        """The node if it is alive."""
        return self._alive(node)

    async def list_nodes(self) -> dict[NodeId, NodeRecord | None]:
        """Every node that was put and not deleted; None for one whose lease has ended."""
        return {node: self._alive(node) for node in self._nodes}

    async def delete_node(self, node: NodeId) -> bool:
        """Forget a node; False if it was not there."""
        return self._nodes.pop(node, None) is not None

    async def put_certificate(self, certificate: StoredCertificate) -> None:
        """Add a certificate, in place of one that has its fingerprint."""
        self._certificates[certificate.fingerprint] = certificate

    async def list_certificates(self) -> list[StoredCertificate]:
        """All certificates, the one that ends last first."""
        return sorted(self._certificates.values(), key=lambda stored: stored.not_after, reverse=True)

    async def delete_certificate(self, fingerprint: str) -> bool:
        """Forget a certificate; False if it was not there."""
        return self._certificates.pop(fingerprint, None) is not None

    def _alive(self, node: NodeId) -> NodeRecord | None:
        record, until = self._nodes.get(node, (None, 0.0))
        return record if self._clock() < until else None

    def _check_version(self, session: SessionId, version: int) -> None:
        stored = self._sessions.get(session)
        if stored is None or stored.version != version:
            raise Conflict(session, given=version, stored=None if stored is None else stored.version)

    def _store(self, record: SessionRecord) -> SessionRecord:
        self._sessions[record.id] = record  # a key that is there keeps its place: oldest first holds
        self._tell(record.id)
        return record

    def _tell(self, session: SessionId) -> None:
        for watch in self._watches.get(session, ()):
            watch.wake()

    def _forget_watch(self, watch: LocalWatch) -> None:
        watches = self._watches.get(watch.session)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[watch.session]
