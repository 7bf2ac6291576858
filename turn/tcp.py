"""The server on TCP and TLS: it accepts connections and hands them to the relay, answers what comes on them
that is not data, and closes those that take too long.

listening socket --> admitted? --> relay (compiled): TLS, framing; data goes to peers and back
  |             ^                    |
  +-> its proxy's header             +--> other STUN messages --> server --> answer --> relay

Connections are accepted here and not in the relay: whether one is taken is a matter of who has how many, each
needs its 5-tuple in Python anyway, and it is done once for a connection, not for a packet.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from sfu.base.log import get_logger
from sfu.net.address import Address, unmapped_host
from turn.datapath import micros
from turn.proxied import ProxiedConnections
from turn.relay import TableFull
from turn.streams import StreamId
from turn.tuples import FiveTuple, Transport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from turn.datapath import DataPath
    from turn.limits import Bounds
    from turn.networks import Networks
    from turn.relay import Relay
    from turn.server import Server
    from turn.streams import Streams

_ACCEPTED_AT_ONCE: Final = 32  # connections of one socket in one turn of the loop; chosen
_REST_S: Final = 0.5  # without accepting, where the process can't have more descriptors
_TICK_MOST_S: Final = 1.0
_TICK_LEAST_S: Final = 0.02

log = get_logger("turn")


class _Listener(NamedTuple):
    """Where connections arrive."""

    sock: socket.socket
    transport: Transport
    is_proxied: bool


class TcpService:
    """The server on its TCP and TLS sockets, on the running loop.

    `proxies` are whose headers are believed. `heard` is called after time has ended connections: events wait.
    The sockets of `listen` are the caller's to close, after `stop`.
    """

    def __init__(
        self,
        server: Server,
        relay: Relay,
        path: DataPath,
        streams: Streams,
        bounds: Bounds,
        proxies: Networks,
        *,
        half_closed_s: float,
        heard: Callable[[], None],
    ) -> None:
        self._server = server
        self._relay = relay
        self._path = path
        self._streams = streams
        self._proxied = ProxiedConnections(
            proxies, bounds, named=self._named, gone=lambda: streams.refused(None)
        )
        times_s = bounds.handshake_s, bounds.message_s, bounds.unallocated_s, half_closed_s
        self._overdue_us = [micros(time_s) for time_s in times_s]
        shortest_s = min(*times_s, bounds.proxy_header_s)
        self._tick_s = min(_TICK_MOST_S, max(_TICK_LEAST_S, shortest_s / 4))
        self._heard = heard
        self._listening: list[_Listener] = []
        self._timers: dict[_Listener | None, asyncio.TimerHandle] = {}  # None: of what is overdue

    def listen(self, sock: socket.socket, transport: Transport, *, is_proxied: bool = False) -> None:
        """Accept connections of a listening socket from now on; with `is_proxied` none but those of
        `proxies`, which begin with a header."""
        listener = _Listener(sock, transport, is_proxied)
        self._listening.append(listener)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_connections, listener)

    def stop(self) -> None:
        """Accept no more, and close all connections, which have no allocations any more."""
        loop = asyncio.get_running_loop()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for listener in self._listening:
            loop.remove_reader(listener.sock.fileno())
        self._listening.clear()
        self._proxied.stop()
        for stream in self._streams.all():
            self._close(stream)

    def _on_connections(self, listener: _Listener) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, remote = listener.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors, no memory: it would be told again at once
                log.warning("turn.accept_failed", error=str(error))
                self._rest(listener)
                return
            client = _client_of(connection, remote, listener.transport)
            if client is None:
                connection.close()
            elif listener.is_proxied:
                self._await_header(connection, client)
            else:
                self._take(connection, client)

    def _rest(self, listener: _Listener) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.sock.fileno())
        self._timers[listener] = loop.call_later(
            _REST_S, loop.add_reader, listener.sock.fileno(), self._on_connections, listener
        )

    def _await_header(self, connection: socket.socket, proxy: FiveTuple) -> None:
        if not self._proxied.may_come(proxy.ip) or not self._streams.admit(None):
            connection.close()
            return
        connection.setblocking(False)
        self._proxied.add(connection, proxy, time.monotonic())
        self._arm()

    def _named(self, connection: socket.socket, client: FiveTuple) -> None:
        self._streams.refused(None)
        self._take(connection, client)

    def _take(self, connection: socket.socket, client: FiveTuple) -> None:
        """Hand a connection to the relay, or close it."""
        before = self._streams.stream_of(client)
        if before is not None:  # the kernel knows that it is over, and the relay has not read that yet
            self._close(before)
        with connection:
            if not self._streams.admit(client):
                return
            try:
                stream = StreamId(
                    self._relay.add_stream(
                        connection.fileno(), client.transport is Transport.TLS, micros(time.monotonic())
                    )
                )
            except (TableFull, OSError) as error:
                log.warning("turn.connection_refused", error=str(error))
                self._streams.refused(client)
                return
            connection.detach()
        self._streams.opened(stream, client)
        self._arm()

    def answer(self, now: float, wall_now: float) -> bool:
        """Answer the messages that the relay took from streams, and close those that are over; whether there
        were any."""
        messages = self._relay.take_stream_messages()
        for handle, data in messages:
            stream = StreamId(handle)
            if stream not in self._streams:
                continue  # closed for a new connection of its client
            client = self._streams.client_of(stream)
            try:
                with self._path.arrived(client, stream):
                    answer = self._server.receive(data, client, now, wall_now)
            except Exception:  # one client's trouble must not cost the others their answers
                log.exception("turn.message_fault")
                continue
            if answer is not None:
                self._path.send(stream, answer)
        return self.close_ended() or bool(messages)

    def close_ended(self) -> bool:
        """Close the connections that are over, and those that are unwelcome; whether there were any."""
        ended = self._relay.take_ended()
        unwelcome = self._streams.take_unwelcome()
        for handle, reason in ended:
            log.debug("turn.connection_ended", reason=reason)
            self._close(StreamId(handle))
        for stream in unwelcome:
            if stream in self._streams:
                self._close(stream)
        return bool(ended or unwelcome)

    def _close(self, stream: StreamId) -> None:
        self._server.disconnected(self._streams.client_of(stream))
        self._streams.closed(stream)
        self._relay.drop_stream(stream)

    def _arm(self) -> None:
        """Look in a while what is overdue."""
        if None in self._timers:
            return
        self._timers[None] = asyncio.get_running_loop().call_later(self._tick_s, self._on_tick)

    def _on_tick(self) -> None:
        del self._timers[None]
        now = time.monotonic()
        self._relay.end_overdue(micros(now), *self._overdue_us)
        self.close_ended()
        self._proxied.end_overdue(now)
        if len(self._streams) or len(self._proxied):
            self._arm()
        self._heard()


def _client_of(connection: socket.socket, remote: tuple[str, int], transport: Transport) -> FiveTuple | None:
    """Who opened a connection; None if it is gone already."""
    try:
        local = connection.getsockname()
    except OSError:
        return None
    return FiveTuple(
        transport,
        Address(unmapped_host(remote[0]), remote[1]),
        Address(unmapped_host(local[0]), local[1]),
    )
