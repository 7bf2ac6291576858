"""What one HTTP connection may take: bytes that are no body, time without a request, a place.

uvicorn bounds none of these. Here the head of a request (and what surrounds the chunks of a body) is
bounded, and a connection without a request under way is closed after a time, whatever it drips. Past a
number of connections the one goes that has asked nothing for longest. What is no HTTP is answered with
the API's error object.

A WebSocket takes the connection over from HTTP. Of one, too, what is not read or not sent yet is bounded.
"""

from __future__ import annotations

import http
import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sfu.api.errors import DECODING_ERROR
from sfu.base.settings import ByteSize, Setting

if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from websockets.frames import Frame

CONNECTIONS = Setting(
    "http.connections",
    int,
    4096,
    minimum=1,
    help="HTTP connections at once; for one more the one goes that has asked nothing for longest",
)
HEAD_BYTES = Setting(
    "http.head_limit",
    ByteSize,
    ByteSize(64 * 1024),
    unit="B",
    minimum=1024,
    help="Largest head of a request: its first line and its headers",
)
HEAD_TIMEOUT_S = Setting(
    "http.head_timeout",
    float,
    10.0,
    unit="s",
    minimum=0.1,
    help="Time for a TLS handshake, then for the head of the first request",
)
KEEP_ALIVE_S = Setting(
    "http.keep_alive",
    float,
    75.0,
    unit="s",
    minimum=0.1,
    help="How long a connection may rest between requests; longer than a proxy in front lets it",
)

_open = Gauge("orchard_http_connections", "HTTP connections that are open")
_refused = Counter("orchard_http_connections_refused_total", "HTTP connections closed by us", ["reason"])


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of connections; see the settings above."""

    connections: int = CONNECTIONS.default
    head_bytes: int = HEAD_BYTES.default
    head_timeout_s: float = HEAD_TIMEOUT_S.default
    keep_alive_s: float = KEEP_ALIVE_S.default


def bounded_connections(limits: ConnectionLimits) -> type[HttpToolsProtocol]:
    """The protocol class for `uvicorn.Config(http=...)` of one listener, in place of uvicorn's keep-alive."""
    idle: OrderedDict[BoundedConnection, None] = OrderedDict()  # without a request, longest first

    class BoundedConnection(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _unread_bytes = 0
        """Bytes since the parser last came to the end of a head or to a part of a body."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            _open.inc()
            self._await_head(limits.head_timeout_s)
            if len(self.connections) > limits.connections:
                _refused.labels("too_many").inc()
                idle.popitem(last=False)[0].transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            _open.dec()
            self._head_is_here()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self._unread_bytes += len(data)
            super().data_received(data)
            # A head that came within one read is bounded by that: 256 KiB.
            if self._unread_bytes > limits.head_bytes and not self.transport.is_closing():
                self._refuse(431, "The head of the request is too large")

        def on_headers_complete(self) -> None:
            self._unread_bytes = 0
            self._head_is_here()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._unread_bytes = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._unread_bytes = 0
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete:  # else a pipelined request has its turn
                self._unset_keepalive_if_required()
                self._await_head(limits.keep_alive_s)

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, msg)

        def _refuse(self, status: int, text: str) -> None:
            _refused.labels(str(status)).inc()
            body = json.dumps({"errorCode": DECODING_ERROR, "errorDescription": text})
            head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
            fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
            self.transport.write(f"{head}{fields}\r\n{body}".encode())
            self.transport.close()

        def _await_head(self, wait_s: float) -> None:
            self._head_is_here()
            idle[self] = None
            self._deadline = self.loop.call_later(wait_s, self._late)

        def _head_is_here(self) -> None:
            idle.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _late(self) -> None:
            # Not `close`: that waits for the peer to read what was written.
            _refused.labels("late").inc()
            self.transport.abort()

    return BoundedConnection


_UNREAD_MESSAGES = (
    1000  # chosen: of one read of 256 KiB; an app that counts what it reads sees a flood long before
)
_FRAGMENTS = 1000  # of one message; chosen: browsers send one


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """The protocol class for `uvicorn.Config(ws=...)`: keeps little of what is not read, at either end."""

    def connection_lost(self, exc: Exception | None) -> None:
        _open.dec()  # which the HTTP connection that this was has counted
        super().connection_lost(exc)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= _FRAGMENTS:
            self._refuse("fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        if not self.writable.is_set():  # who pings and reads no pong
            self._refuse("pings")
            return
        super().handle_ping()

    def send_receive_event_to_app(self) -> None:
        if self.queue.qsize() >= _UNREAD_MESSAGES:
            self._refuse("messages")
            return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """As ASGI has it; a close does not wait for a peer that reads nothing."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self._refuse("unread")
            return
        await super().send(message)

    def _refuse(self, reason: str) -> None:
        _refused.labels(reason).inc()
        self.transport.abort()
