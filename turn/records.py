"""What is written of allocations: enough to trace abuse by who, when, which peer and how much; no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from sfu.base.log import get_logger
from sfu.base.settings import Listen
from sfu.net.address import unpacked_host
from turn.events import (
    Allocated,
    Connected,
    ConnectFailed,
    Disconnected,
    Ended,
    PeersLimited,
    Permitted,
)

if TYPE_CHECKING:
    from turn.allocation import Allocation, Peer
    from turn.events import Event

log = get_logger("turn")

_allocations = Gauge("orchard_turn_allocations", "Allocations at present", ["transport"])
_ended = Counter("orchard_turn_allocations_ended_total", "Allocations that ended", ["reason"])
_connections = Gauge("orchard_turn_peer_connections", "TCP connections with peers at present", ["opened_by"])
_connections_ended = Counter(
    "orchard_turn_peer_connections_ended_total",
    "TCP connections with peers that ended, or did not come about",
    ["reason"],
)


def record(event: Event, now: float) -> None:
    """Log and count one event; `now` is of the clock that the server was told."""
    allocation = event.allocation
    transport = allocation.client.transport.value
    match event:
        case Allocated():
            _allocations.labels(transport).inc()
            log.info(
                "turn.allocated",
                **_who(allocation),
                transport=transport,
                server=str(Listen(*allocation.client.local)),
                relays=allocation.transport.name.lower(),
                relayed=[
                    str(Listen(held.taken.host, held.taken.port)) for held in allocation.relayed.values()
                ],
            )
        case Permitted():
            log.info("turn.permitted", **_who(allocation), peer=unpacked_host(event.ip))
        case PeersLimited():
            log.warning("turn.peers_limited", **_who(allocation))
        case Ended():
            _allocations.labels(transport).dec()
            _ended.labels(event.reason.value).inc()
            log.info(
                "turn.ended",
                **_who(allocation),
                reason=event.reason.value,
                lasted_s=round(now - allocation.since, 1),
                peers_refused=allocation.peers_refused,
                to_peers_bytes=event.usage.to_peers_bytes,
                to_client_bytes=event.usage.to_client_bytes,
            )
        case Connected():
            _connections.labels(_opener(event.by_peer)).inc()
            log.info(
                "turn.peer_connected",
                **_who(allocation),
                peer=_address(event.peer),
                opened_by=_opener(event.by_peer),
            )
        case ConnectFailed():
            _connections_ended.labels(event.reason.value).inc()
            log.info(
                "turn.connect_failed",
                **_who(allocation),
                peer=_address(event.peer),
                reason=event.reason.value,
            )
        case Disconnected():
            _connections.labels(_opener(event.by_peer)).dec()
            _connections_ended.labels(event.reason.value).inc()
            log.info(
                "turn.peer_disconnected",
                **_who(allocation),
                peer=_address(event.peer),
                reason=event.reason.value,
                lasted_s=round(now - event.since, 1),
                to_peers_bytes=event.usage.to_peers_bytes,
                to_client_bytes=event.usage.to_client_bytes,
            )


def _opener(by_peer: bool) -> str:
    return "peer" if by_peer else "client"


def _address(peer: Peer) -> str:
    return str(Listen(unpacked_host(peer.ip), peer.port))


def _who(allocation: Allocation) -> dict[str, object]:
    return {
        "allocation": allocation.id & 0xFFFFFFFF,
        "user": allocation.credential.username,
        "client": str(Listen(*allocation.client.remote)),
    }
