"""What all nodes know together: sessions, apps, certificates, and which nodes there are.

A `Directory` is the one place that holds them. `sfu.directory.memory` keeps them in the process; a
cluster uses a store that all nodes reach. Whoever uses a directory relies on this page alone, and the
contract tests (`tests/sfu/directory/contract.py`) hold every implementation to it.

A session record is changed by compare-and-set: load it, derive the next record by a pure function,
`replace_session` it. The record carries the version that it was loaded with; the directory refuses
it with `Conflict` if another writer was faster, and bumps the version otherwise.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sfu.base.ids import AppId, NodeId, SessionId

if TYPE_CHECKING:
    from sfu.negotiation.record import SessionRecord

SECRETS_PER_APP = 2  # the one in use and, while it is being exchanged, its successor


class DirectoryError(Exception):
    """The directory could not do what it was asked for."""


class Conflict(DirectoryError):
    """The session is not in the version that the caller had loaded: load it again and start over.

    `stored` is the version in the directory, or None if the session is not there (any more).
    """

    def __init__(self, session: SessionId, *, given: int, stored: int | None) -> None:
        is_now = "gone" if stored is None else f"at version {stored}"
        super().__init__(f"session {session}: version {given} was given, but the session is {is_now}")
        self.session = session
        self.given = given
        self.stored = stored


class Unavailable(DirectoryError):
    """The store behind the directory does not answer; nothing is known about the outcome."""


def digest_secret(secret: str) -> bytes:
    """What is stored of an app secret: its SHA-256.

    No salt or stretching: secrets that we make have 256 random bits, and one check per HTTP call
    must stay cheap.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class App:
    """An isolation boundary: sessions see only tracks of their own app.

    `secret_digests` are the digests of the secrets that are valid now, newest first; at most
    `SECRETS_PER_APP`. `created_at` is wall-clock seconds.
    """

    id: AppId
    name: str
    secret_digests: tuple[bytes, ...]
    created_at: float

    def accepts(self, secret: str) -> bool:
        """Whether `secret` is valid, in a time that does not tell how much of it is right."""
        digest = digest_secret(secret)
        matches = [hmac.compare_digest(digest, valid) for valid in self.secret_digests]
        return any(matches)


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A DTLS certificate with its key, shared by all nodes.

    `fingerprint` is the SHA-256 of the DER form as SDP writes it (RFC 8122: upper-case hex pairs
    joined by colons); `not_after` is wall-clock seconds.
    """

    fingerprint: str
    certificate_pem: bytes
    key_pem: bytes
    not_after: float


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What the others know of a node.

    `media` is where its clients send media, ADDRESS:PORT each; `started_at` is wall-clock seconds.
    """

    id: NodeId
    version: str
    started_at: float
    media: tuple[str, ...] = ()


class Watch(Protocol):
    """A subscription to the changes of one session."""

    def close(self) -> None:
        """End it: no call of the callback begins after this returns. Safe to call twice."""
        ...


SessionCallback = Callable[["SessionRecord | None"], None]


class Directory(Protocol):
    """The store's interface. Every method may raise `Unavailable`."""

    # Sessions

    async def create_session(self, record: SessionRecord) -> SessionRecord:
        """Store a new session and return it as stored, at version 1.

        Raises `Conflict` if there is a session of this id already.
        """
        ...

    async def get_session(self, session: SessionId) -> SessionRecord | None:
        """The session as it stands, or None."""
        ...

    def known_session(self, session: SessionId) -> SessionRecord | None:
        """The session as this node last heard of it, without asking the store.

        It may be behind by what is under way on the network, so it is good for a change by
        compare-and-set and for little else. None says nothing: ask the store.
        """
        ...

    async def replace_session(self, record: SessionRecord) -> SessionRecord:
        """Store `record` over the version that it carries and return it with the next version.

        Raises `Conflict` if the stored session has another version or is gone.
        """
        ...

    async def delete_session(self, session: SessionId, *, version: int | None = None) -> bool:
        """Forget a session; False if it was not there.

        Raises `Conflict` if `version` is given and the stored session has another one.
        """
        ...

    async def list_sessions(self, app: AppId | None = None) -> list[SessionRecord]:
        """All sessions, or those of one app, oldest first. It costs what all of them cost."""
        ...

    async def list_unconnected(self, before: float) -> list[SessionRecord]:
        """Sessions created before `before` (wall-clock seconds) that never connected, oldest first.

        Not all of them, if there are very many: ask again once these are dealt with.
        """
        ...

    async def count_sessions(self) -> int:
        """The number of sessions of all apps."""
        ...

    def watch(self, session: SessionId, callback: SessionCallback) -> Watch:
        """Call `callback` in the running loop with the session as it stands, then after each change.

        The first call comes soon after this returns, never within it, so a caller needs no load of
        its own and can miss nothing. None stands for a session that is not there. Changes that follow
        each other quickly may be merged into one call; versions never go back, and the last state
        always arrives. An exception out of the callback is logged and changes nothing.
        """
        ...

    # Apps

    async def get_app(self, app: AppId) -> App | None:
        """The app of this id, or None."""
        ...

    async def put_app(self, app: App) -> None:
        """Store an app, in place of one that has its id."""
        ...

    async def delete_app(self, app: AppId) -> bool:
        """Forget an app; False if it was not there. Its sessions are the caller's to close."""
        ...

    async def list_apps(self) -> list[App]:
        """All apps, oldest first."""
        ...

    # Nodes

    async def put_node(self, node: NodeRecord, lease_s: float) -> None:
        """Count `node` as alive for `lease_s` from now on, unless it is put again before."""
        ...

    async def get_node(self, node: NodeId) -> NodeRecord | None:
        """The node if it is alive; None if it is not, or never was."""
        ...

    async def list_nodes(self) -> dict[NodeId, NodeRecord | None]:
        """Every node that was put and not deleted; None for one whose lease has ended."""
        ...

    async def delete_node(self, node: NodeId) -> bool:
        """Forget a node that is gone, when nothing of it is left; False if it was not there."""
        ...

    # Certificates

    async def put_certificate(self, certificate: StoredCertificate) -> None:
        """Add a certificate, in place of one that has its fingerprint."""
        ...

    async def list_certificates(self) -> list[StoredCertificate]:
        """All certificates, the one that ends last first: that one is named in new sessions."""
        ...

    async def delete_certificate(self, fingerprint: str) -> bool:
        """Forget a certificate that no session names any more; False if it was not there."""
        ...
