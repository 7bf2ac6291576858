"""The sockets of TCP allocations (RFC 6062): relayed addresses that listen, and connections with peers until
a client takes them, when the relay does.

    relayed address --peer connects--> server --> None: closed; an id: held, not read, until it is bound
    server --dial--> a socket bound to the relayed address --> connected, or not --> server

What a peer sends before its connection is bound waits in the kernel, whose window tells the peer how much
may.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import TYPE_CHECKING, Final

from sfu.base.log import get_logger
from sfu.net.address import packed_host, unpacked_host
from turn.allocation import Peer
from turn.relays import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from turn.allocation import AllocationId
    from turn.connections import ConnectionId
    from turn.datapath import DataPath
    from turn.ports import RelaySocket
    from turn.server import Server
    from turn.streams import StreamId
    from turn.tuples import FiveTuple

BACKLOG: Final = 64
"""Connections of peers that the kernel keeps for one relayed address until they are looked at."""

_ACCEPTED_AT_ONCE: Final = 32  # of one relayed address in one turn of the loop; chosen
_REST_S: Final = 0.1  # then, so that nobody's connecting costs more than 320 connections a second
_AT_ONCE = b"\1\0\0\0\0\0\0\0"  # struct linger: closed without waiting for the other side

_Listener = tuple["AllocationId", int]

log = get_logger("turn")


class PeerSockets:
    """The sockets, on the running loop. `attach` the server first. `heard` is called after they have told it
    something: events wait, and the next moment may be another."""

    def __init__(self, path: DataPath, *, heard: Callable[[], None]) -> None:
        self._path = path
        self._heard = heard
        self._server: Server
        self._listening: dict[_Listener, socket.socket] = {}
        self._resting: dict[_Listener, asyncio.TimerHandle] = {}
        self._dialling: dict[ConnectionId, socket.socket] = {}
        self._held: dict[ConnectionId, socket.socket] = {}
        self._bound: dict[ConnectionId, StreamId] = {}

    def attach(self, server: Server) -> None:
        """The server that hears of them."""
        self._server = server

    # relayed addresses

    def listen(self, allocation: AllocationId, size: int, sock: RelaySocket) -> None:
        """Accept connections of peers from now on."""
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_peers, (allocation, size))
        self._listening[allocation, size] = socket.socket(fileno=sock.detach())

    def unlisten(self, allocation: AllocationId, size: int) -> None:
        """Close a relayed address."""
        listening = self._listening.pop((allocation, size))
        resting = self._resting.pop((allocation, size), None)
        if resting is None:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        else:
            resting.cancel()
        listening.close()

    def _on_peers(self, key: _Listener) -> None:
        now = time.monotonic()
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, remote = self._listening[key].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:  # no descriptors, no memory: it would be told again at once
                log.warning("turn.accept_failed", error=str(error))
                self._rest(key)
                break
            peer = Peer(packed_host(remote[0].partition("%")[0]), remote[1])
            connection = self._server.peer_connected(key[0], peer, now)
            if connection is None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                sock.close()
            else:
                self._held[connection] = sock
        else:
            self._rest(key)
        self._heard()

    def _rest(self, key: _Listener) -> None:
        """Accept no more for a while."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening[key].fileno())
        self._resting[key] = loop.call_later(_REST_S, self._rested, key)

    def _rested(self, key: _Listener) -> None:
        del self._resting[key]
        asyncio.get_running_loop().add_reader(self._listening[key].fileno(), self._on_peers, key)

    # connections

    def dial(self, connection: ConnectionId, allocation: AllocationId, peer: Peer) -> None:
        """Connect to a peer from the relayed address of its family."""
        loop = asyncio.get_running_loop()
        try:
            sock = _bound_beside(self._listening[allocation, len(peer.ip)])
        except OSError as error:  # no descriptors
            log.warning("turn.connect_failed_here", error=str(error))
            loop.call_soon(self._failed_at_once, connection)
            return
        self._dialling[connection] = sock
        begun = sock.connect_ex((unpacked_host(peer.ip), peer.port))
        if begun in (0, errno.EINPROGRESS):
            loop.add_writer(sock.fileno(), self._on_dialled, connection)
        else:
            loop.call_soon(self._failed_at_once, connection)

    def _failed_at_once(self, connection: ConnectionId) -> None:
        self._tell(connection, made=False)

    def _on_dialled(self, connection: ConnectionId) -> None:
        sock = self._dialling[connection]
        made = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        if made:
            asyncio.get_running_loop().remove_writer(sock.fileno())
            self._held[connection] = self._dialling.pop(connection)
        self._tell(connection, made=made)

    def _tell(self, connection: ConnectionId, *, made: bool) -> None:
        self._server.dialled(connection, made=made, now=time.monotonic())
        self._heard()

    def bind(self, connection: ConnectionId, allocation: AllocationId, client: FiveTuple) -> bool:
        """Join a connection to that of a client."""
        stream = self._path.splice(client, allocation, self._held[connection])
        if stream is None:
            return False
        del self._held[connection]
        self._bound[connection] = stream
        return True

    def close(self, connection: ConnectionId) -> Usage:
        """Close a connection."""
        stream = self._bound.pop(connection, None)
        if stream is not None:
            return self._path.unsplice(stream)
        dialling = self._dialling.pop(connection, None)
        if dialling is not None:
            asyncio.get_running_loop().remove_writer(dialling.fileno())
            dialling.close()
        held = self._held.pop(connection, None)
        if held is not None:
            held.close()
        return Usage()


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that peers may connect to. Raises OSError, also where another has the port.

    Connections that linger there do not matter, nor do those of another process that it has for the same
    clients, but a second listener does: SO_REUSEPORT stays off, lest two share what connects.
    """
    sock = _socket(host)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bound_beside(listening: socket.socket) -> socket.socket:
    """A socket bound to where another listens: the kernel lets it as long as both have SO_REUSEPORT."""
    host, port = listening.getsockname()[:2]
    sock = _socket(host)
    try:
        for each in (listening, sock):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind((host, port))
        finally:
            for each in (listening, sock):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    except OSError:
        sock.close()
        raise
    return sock


def _socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock
