"""The directory of a cluster: Redis or Valkey, which all its nodes reach."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

from sfu.base.ids import AppId, NodeId
from sfu.base.log import get_logger
from sfu.directory.encoding import (
    app_from_json,
    app_to_json,
    certificate_from_json,
    certificate_to_json,
    node_from_json,
    node_to_json,
)
from sfu.directory.interface import Unavailable
from sfu.directory.redis.address import RedisAddress, TlsFiles
from sfu.directory.redis.layout import JOIN, LAYOUT, PUT_NODE, SCRIPTS, Keys
from sfu.directory.redis.link import Command, Link, LinkError
from sfu.directory.redis.replica import Replica
from sfu.directory.redis.sealed import opened
from sfu.directory.redis.sessions import Sessions
from sfu.directory.seal import Sealer, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sfu.base.ids import SessionId
    from sfu.directory.interface import App, NodeRecord, SessionCallback, StoredCertificate
    from sfu.directory.watching import LocalWatch
    from sfu.negotiation.record import SessionRecord

PUT_BACK_S = 60  # chosen: who comes later than this to a store that was emptied takes what is there
_NODE_FORMAT = 1

log = get_logger("directory")


class RedisDirectory:
    """A `Directory` in Redis: `open` it, use it, `close` it.

    All values are sealed with keys of `secret`, the cluster's. `node` writes back the sessions that it
    owns where Redis has lost them; None (the command line) owns none. `given` are apps that settings name:
    valid here, never stored.
    """

    def __init__(
        self,
        address: RedisAddress,
        secret: bytes,
        *,
        prefix: str,
        node: NodeId | None = None,
        tls: TlsFiles | None = None,
        timeout_s: float = 2.0,
        pending_limit: int = 10_000,
        given: Collection[App] = (),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._address = address
        self._sealer = Sealer(secret)
        self._keys = Keys(prefix)
        self._given = {app.id: app for app in given}
        self._wall_clock = wall_clock
        self._epoch: bytes | None = None
        self._data_lost = False
        self._nodes: dict[NodeId, NodeRecord] = {}  # that were put here, as they were
        self._link = Link(
            address,
            tls or TlsFiles(),
            name=f"orchard-{node or 'command'}",
            timeout_s=timeout_s,
            pending_limit=pending_limit,
            greet=self._greet,
            ready=self._ready,
            told=self._told,
            lost=self._lost,
        )
        self._sessions = Sessions(self._link, self._keys, self._sealer, node)
        self._apps: Replica[App] = Replica(
            self._keys.apps, "app", self._sealer, to_json=app_to_json, from_json=app_from_json
        )
        self._certificates: Replica[StoredCertificate] = Replica(
            self._keys.certificates,
            "certificate",
            self._sealer,
            to_json=certificate_to_json,
            from_json=certificate_from_json,
        )

    async def open(self) -> None:
        """Connect and join. Raises LinkError, which says why it can't be."""
        await self._link.open()

    async def close(self) -> None:
        """Let Redis go."""
        await self._link.close()

    # sessions

    async def create_session(self, record: SessionRecord) -> SessionRecord:
        """Store a new session at version 1; Conflict if its id is or was taken."""
        return await self._sessions.create(record)

    async def get_session(self, session: SessionId) -> SessionRecord | None:
        """The session as it stands, or None."""
        return await self._sessions.get(session)

    def known_session(self, session: SessionId) -> SessionRecord | None:
        """The session as last heard of, if it is watched here."""
        return self._sessions.known(session)

    async def replace_session(self, record: SessionRecord) -> SessionRecord:
        """Store `record` if the stored session has its version, and bump that; Conflict otherwise."""
        return await self._sessions.replace(record)

    async def delete_session(self, session: SessionId, *, version: int | None = None) -> bool:
        """Forget a session, if it has `version`; False if it was not there."""
        return await self._sessions.delete(session, version)

    async def list_sessions(self, app: AppId | None = None) -> list[SessionRecord]:
        """All sessions that can be read, or those of one app, oldest first."""
        found = self._sessions.list_all(self._wall_clock())
        return [record async for record in found if app is None or record.app == app]

    async def list_unconnected(self, before: float) -> list[SessionRecord]:
        """Sessions created before `before` that never connected, oldest first."""
        return await self._sessions.list_unconnected(before)

    async def count_sessions(self) -> int:
        """The number of sessions of all apps."""
        return await self._sessions.count()

    def watch(self, session: SessionId, callback: SessionCallback) -> LocalWatch:
        """Call `callback` with the session as it stands, then after each change."""
        return self._sessions.watch(session, callback)

    # apps

    async def get_app(self, app: AppId) -> App | None:
        """The app of this id, or None, as last heard of."""
        return self._given.get(app) or self._apps.get(app)

    async def put_app(self, app: App) -> None:
        """Store an app, in place of one that has its id."""
        await self._apps.put(self._link, app.id, app)

    async def exchange_app(self, old: App, new: App) -> None:
        """Store an app in the place of what it was. Raises Unavailable if it is not that any more."""
        if not await self._apps.exchange(self._link, old.id, old, new):
            raise Unavailable(f"app {old.id}: was changed by somebody else at this moment; try again")

    async def delete_app(self, app: AppId) -> bool:
        """Forget an app; False if it was not there."""
        given = self._given.pop(app, None) is not None
        return await self._apps.delete(self._link, app) or given

    async def list_apps(self) -> list[App]:
        """All apps, oldest first."""
        apps = {app.id: app for app in self._apps.values()} | self._given
        return sorted(apps.values(), key=lambda app: app.created_at)

    # nodes

    async def put_node(self, node: NodeRecord, lease_s: float) -> None:
        """Count `node` as alive for `lease_s` from now on."""
        sealed = self._sealer.seal("node", node.id, node_to_json(node), form=_NODE_FORMAT)
        changed = int(self._nodes.get(node.id) != node)
        keys = (self._keys.nodes, self._keys.node(node.id))
        await self._link.call(
            Command(PUT_NODE.words(keys, node.id, max(1, round(lease_s * 1000)), sealed, changed))
        )
        self._nodes[node.id] = node

    async def get_node(self, node: NodeId) -> NodeRecord | None:
        """The node if it is alive."""
        return await self._link.call(self._reading_node(node))

    async def list_nodes(self) -> dict[NodeId, NodeRecord | None]:
        """Every node that was put and not deleted; None for one whose lease has ended."""
        members: list[bytes] = await self._link.call(Command(("SMEMBERS", self._keys.nodes)))
        ids = [NodeId(member.decode()) for member in sorted(members)]
        readings = [self._link.call(self._reading_node(node)) for node in ids]
        nodes: dict[NodeId, NodeRecord | None] = {}
        for node, record in zip(ids, await asyncio.gather(*readings, return_exceptions=True), strict=True):
            if isinstance(record, Unreadable):
                log.warning("directory.unreadable", reason=str(record))  # there, but who knows how it is
            elif isinstance(record, BaseException):
                raise record
            else:
                nodes[node] = record
        return nodes

    async def delete_node(self, node: NodeId) -> bool:
        """Forget a node; False if it was not there."""
        self._nodes.pop(node, None)
        answers: list[int] = await self._link.call_all(
            [Command(("DEL", self._keys.node(node))), Command(("SREM", self._keys.nodes, node))]
        )
        return answers[1] > 0

    def _reading_node(self, node: NodeId) -> Command[NodeRecord | None]:
        def read(sealed: bytes | None) -> NodeRecord | None:
            if sealed is None:
                return None
            return opened(self._sealer, "node", node, sealed, node_from_json, form=_NODE_FORMAT)

        return Command(("GET", self._keys.node(node)), read)

    # certificates

    async def put_certificate(self, certificate: StoredCertificate) -> None:
        """Add a certificate, in place of one that has its fingerprint."""
        await self._certificates.put(self._link, certificate.fingerprint, certificate)

    async def list_certificates(self) -> list[StoredCertificate]:
        """All certificates, the one that ends last first, as last heard of."""
        return sorted(self._certificates.values(), key=lambda stored: stored.not_after, reverse=True)

    async def delete_certificate(self, fingerprint: str) -> bool:
        """Forget a certificate; False if it was not there."""
        return await self._certificates.delete(self._link, fingerprint)

    # the link

    async def _greet(self) -> None:
        """Join the cluster, or found it, and read what every node holds."""
        await self._link.call_all([script.load() for script in SCRIPTS])
        words = JOIN.words((self._keys.cluster,), LAYOUT, self._sealer.check, secrets.token_hex(16))
        layout, check, epoch, age_s = await self._link.call(Command(words))
        self._check_joined(layout, check)
        if self._epoch is None:
            await self._check_eviction()
        self._data_lost = self._epoch is not None and epoch != self._epoch
        missing_apps = await self._apps.load(self._link)
        missing_certificates = await self._certificates.load(self._link)
        if self._data_lost:
            log.error("directory.data_lost", redis=str(self._address), age_s=age_s)
            if age_s <= PUT_BACK_S:
                for app in missing_apps.values():
                    await self._apps.exchange(self._link, app.id, None, app)
                for certificate in missing_certificates.values():
                    await self._certificates.exchange(self._link, certificate.fingerprint, None, certificate)
        self._epoch = epoch

    def _check_joined(self, layout: bytes | None, check: bytes | None) -> None:
        where = f"Redis at {self._address}, prefix {self._keys.prefix}"
        if layout is None or check is None:
            raise LinkError(f"{where}: the key {self._keys.cluster} is not Orchard's; choose another prefix")
        if layout != str(LAYOUT).encode():
            raise LinkError(
                f"{where}: is used by a version of Orchard that lays its keys out otherwise "
                f"({layout.decode('ascii', 'replace')}, this one: {LAYOUT}); run the version of the other "
                "nodes, or choose another prefix"
            )
        if not self._sealer.is_of_this_secret(check):
            raise LinkError(
                f"{where}: this node's cluster secret is not that of the cluster there; give it the "
                "secret of the other nodes, or choose another prefix for a cluster of its own"
            )

    async def _check_eviction(self) -> None:
        """Refuse a Redis that would throw records away when it is full."""
        try:
            text: bytes = await self._link.call(Command(("INFO", "memory")))
        except Unavailable as error:
            log.warning("directory.eviction_unknown", reason=str(error))
            return
        lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
        info = {name: value for name, _, value in lines}
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and info.get("maxmemory", "0") != "0":
            raise LinkError(
                f"Redis at {self._address}: its maxmemory-policy is {policy}, so it throws keys away when it "
                "is full, sessions among them; set noeviction, or use a Redis that is no cache"
            )

    def _ready(self) -> None:
        self._sessions.connected(data_lost=self._data_lost)

    def _lost(self) -> None:
        self._sessions.lost()

    def _told(self, message: list[Any]) -> None:
        kind, channel, content = message
        if kind != b"message":
            return
        for replica in (self._apps, self._certificates):
            if channel == replica.key.encode():
                replica.told(content)
                return
        self._sessions.told(channel, content)
