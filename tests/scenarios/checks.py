"""Connectivity checks as clients send them, and forged ones."""

from __future__ import annotations

import itertools

from sfu.base.ids import SessionId, ice_pwd, ice_ufrag
from sfu.net.address import Address, Path, make_path
from sfu.transport.ice import Check, read_check
from sfu.wire import stun
from sfu.wire.stun import Attribute, MessageClass

SECRET = b"the cluster's secret"
SESSION = SessionId("0123456789abcdef0123456789abcdef")
REMOTE_UFRAG = "clnt"
TRANSACTION = bytes(range(12))
HOST_PRIORITY = 0x6E7F1EFF
SERVER_HOST = "192.0.2.1"


_transactions = itertools.count()


def fresh_transaction() -> bytes:
    """A transaction id that was not there before."""
    return next(_transactions).to_bytes(12, "big")


def path_from(host: str, port: int = 50_000, local: str = SERVER_HOST) -> Path:
    """The path of a client at this address."""
    return make_path(Address(host, port), local)


def username_of(session: SessionId = SESSION, generation: int = 0, remote_ufrag: str = REMOTE_UFRAG) -> bytes:
    """USERNAME of a check."""
    return f"{ice_ufrag(session, generation)}:{remote_ufrag}".encode()


def binding(
    *attributes: tuple[int, bytes],
    session: SessionId = SESSION,
    generation: int = 0,
    remote_ufrag: str = REMOTE_UFRAG,
    priority: int | None = HOST_PRIORITY,
    use_candidate: bool = False,
    nomination: int | None = None,
    secret: bytes = SECRET,
    message_class: MessageClass = MessageClass.REQUEST,
    signed: bool = True,
    fingerprint: bool = True,
    username: bytes | None = None,
    transaction_id: bytes = TRANSACTION,
    controlled: bool = False,
) -> bytes:
    """A Binding request as libwebrtc writes it; `attributes` come last but for the integrity."""
    name = username_of(session, generation, remote_ufrag) if username is None else username
    written: list[tuple[int, bytes]] = [(Attribute.USERNAME, name)]
    role = Attribute.ICE_CONTROLLED if controlled else Attribute.ICE_CONTROLLING
    written.append((role, bytes(8)))
    if use_candidate:
        written.append((Attribute.USE_CANDIDATE, b""))
    if nomination is not None:
        written.append((Attribute.NOMINATION, nomination.to_bytes(4, "big")))
    if priority is not None:
        written.append((Attribute.PRIORITY, priority.to_bytes(4, "big")))
    key = ice_pwd(secret, ice_ufrag(session, generation)).encode() if signed else None
    return stun.build(
        stun.BINDING, message_class, transaction_id, [*written, *attributes], key=key, fingerprint=fingerprint
    )


def check(
    *,
    generation: int = 0,
    remote_ufrag: str = REMOTE_UFRAG,
    priority: int = HOST_PRIORITY,
    use_candidate: bool = False,
    nomination: int | None = None,
    controlled: bool = False,
    transaction_id: bytes | None = None,
) -> Check:
    """What `read_check` makes of such a request."""
    data = binding(
        generation=generation,
        remote_ufrag=remote_ufrag,
        priority=priority,
        use_candidate=use_candidate,
        nomination=nomination,
        controlled=controlled,
        transaction_id=fresh_transaction() if transaction_id is None else transaction_id,
    )
    return read_check(data, cluster_secret=SECRET)
