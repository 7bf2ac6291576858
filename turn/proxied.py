"""Connections that a proxy passes on: who opened each is told by the header that it begins with (PROXY
protocol, version 2; see `sfu.wire.proxy_protocol`).

    proxy's connection --> trusted? --> header, in time and to the byte --> whose it is --> as any other's
                              no, or none: closed and counted

Of a connection nothing is read beyond its header, so TLS, or the first message, is where it was for whoever
takes it over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from sfu.base.settings import Setting
from sfu.net.address import Address, unpacked_host
from sfu.wire.proxy_protocol import ProxyHeaderError, header_size, read_header
from turn.networks import wrong_networks

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from turn.limits import Bounds
    from turn.networks import Networks
    from turn.tuples import FiveTuple

PROXIES = Setting(
    "turn.proxies",
    tuple[str, ...],
    (),
    check=wrong_networks,
    help="Networks of the proxies that turn.tcp_proxied and turn.tls_proxied hear, and nobody else",
)
_UNTRUSTED: Final = "untrusted"
_TIME: Final = "time"
_CLOSED: Final = "closed"

_refused = Counter(
    "orchard_turn_proxy_refused_total", "Connections to ports for proxies that were closed", ["reason"]
)


@dataclass(slots=True)
class _Waiting:
    connection: socket.socket
    client: FiveTuple  # the proxy, until it has named another
    until: float
    header: bytearray = field(default_factory=bytearray)


class ProxiedConnections:
    """Those whose header is awaited, on the running loop.

    `named` is given each connection, to keep or close, with its client, which of one that is the proxy's own
    is the proxy. `gone` is told of each that came to nothing and is closed. Times are seconds of the loop's
    clock.
    """

    def __init__(
        self,
        trusted: Networks,
        bounds: Bounds,
        *,
        named: Callable[[socket.socket, FiveTuple], None],
        gone: Callable[[], None],
    ) -> None:
        self._trusted = trusted
        self._header_s = bounds.proxy_header_s
        self._header_bytes = bounds.proxy_header_bytes
        self._named = named
        self._gone = gone
        self._waiting: dict[int, _Waiting] = {}  # by descriptor; the one that waits longest is first

    def __len__(self) -> int:
        return len(self._waiting)

    def may_come(self, ip: bytes) -> bool:
        """Whether connections from `ip` are heard; a refusal is counted."""
        if ip in self._trusted:
            return True
        _refused.labels(_UNTRUSTED).inc()
        return False

    def add(self, connection: socket.socket, client: FiveTuple, now: float) -> None:
        """Await the header of a connection, non-blocking, that the proxy `client` has opened."""
        number = connection.fileno()
        self._waiting[number] = _Waiting(connection, client, now + self._header_s)
        asyncio.get_running_loop().add_reader(number, self._on_readable, number)

    def end_overdue(self, now: float) -> None:
        """Close those that take too long."""
        for number, waiting in list(self._waiting.items()):
            if waiting.until > now:
                break
            self._close(number, _TIME)

    def stop(self) -> None:
        """Close all."""
        for number in list(self._waiting):
            self._taken(number).connection.close()
            self._gone()

    def _on_readable(self, number: int) -> None:
        waiting = self._waiting[number]
        header = waiting.header
        try:
            while len(header) < (size := header_size(header, self._header_bytes)):
                data = waiting.connection.recv(size - len(header))
                if not data:
                    self._close(number, _CLOSED)
                    return
                header += data
            said = read_header(bytes(header))
        except (BlockingIOError, InterruptedError):
            return
        except ProxyHeaderError as error:
            self._close(number, error.fault.value)
            return
        except OSError:
            self._close(number, _CLOSED)
            return
        client = waiting.client
        if said is not None:
            client = client._replace(
                remote=Address(unpacked_host(said.client_ip), said.client_port),
                local=Address(unpacked_host(said.server_ip), said.server_port),
            )
        self._taken(number)
        self._named(waiting.connection, client)

    def _taken(self, number: int) -> _Waiting:
        asyncio.get_running_loop().remove_reader(number)
        return self._waiting.pop(number)

    def _close(self, number: int, reason: str) -> None:
        self._taken(number).connection.close()
        self._gone()
        _refused.labels(reason).inc()
