"""The HTTP listeners of a process: start, certificates anew, end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import time
from typing import TYPE_CHECKING, Literal, TypedDict

import uvicorn

from sfu.api.connections import (
    CONNECTIONS,
    HEAD_BYTES,
    HEAD_TIMEOUT_S,
    KEEP_ALIVE_S,
    BoundedWebSocket,
    ConnectionLimits,
    bounded_connections,
)
from sfu.base.log import get_logger
from sfu.base.settings import Listen, Setting
from sfu.directory.files import DataDirectoryError
from sfu.net.interfaces import is_loopback
from sfu.net.tcp import open_tcp
from sfu.net.udp import OpenError
from sfu.node import DATA, NodeError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Generator, Sequence

    from starlette.types import ASGIApp

    from sfu.base.settings import Config
    from sfu.directory.files import DataDirectory

HTTP_LISTEN = Setting(
    "http.listen",
    Listen,
    Listen("127.0.0.1", 8080),
    alias="http",
    help="Where HTTP is heard: the API and the meeting app; of `orchard turn`, health and metrics",
)
HTTP_TLS = Setting(
    "http.tls",
    str,
    "auto",
    choices=("auto", "on", "off"),
    help="HTTPS; auto is off where only this machine can reach the listener, on elsewhere",
)
HTTP_TLS_CERT = Setting(
    "http.tls_cert",
    str,
    "",
    alias="tls-cert",
    help="PEM file of the HTTPS certificate with its chain; empty: self-made",
)
HTTP_TLS_KEY = Setting(
    "http.tls_key", str, "", alias="tls-key", help="PEM file of the HTTPS certificate's key"
)

SETTINGS = (
    *(HTTP_LISTEN, HTTP_TLS, HTTP_TLS_CERT, HTTP_TLS_KEY),
    *(CONNECTIONS, HEAD_BYTES, HEAD_TIMEOUT_S, KEEP_ALIVE_S),
)
"""What a listener reads."""

GRACE_S = 2.0  # for connections that are still open at the end

log = get_logger("http")


class _HttpServer(uvicorn.Server):
    """uvicorn without signal handlers, and with an event for its start: its owner decides when it stops.

    A TLS handshake has `handshake_s`; uvicorn leaves it at a minute.
    """

    def __init__(self, config: uvicorn.Config, handshake_s: float) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._handshake_s = handshake_s

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        config, loop = self.config, asyncio.get_running_loop()
        connect = functools.partial(
            config.http_protocol_class, config=config, server_state=self.server_state, app_state={}
        )
        timeout = self._handshake_s if config.ssl else None
        self.servers = [
            await loop.create_server(
                connect, sock=sock, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=timeout
            )
            for sock in sockets or ()
        ]
        self.started = True
        self.listening.set()


class HttpListeners:
    """The listeners of one process. `serve_site` and `serve_socket`, then `drain`, then `stop`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: list[tuple[_HttpServer, asyncio.Task[None]]] = []
        self._renew: Callable[[], None] | None = None

    async def serve_site(
        self,
        site: ASGIApp,
        data: DataDirectory | None,
        hosts: Sequence[str],
        *,
        message_bytes: int | None = None,
    ) -> str:
        """Serve where the settings say; the URL, which names the first of `hosts` if that is everywhere.

        A self-made certificate is of `hosts` and in `data`. With `message_bytes` there are WebSockets, whose
        messages are no larger. Raises NodeError, DataDirectoryError.
        """
        config = self._config
        listen = config[HTTP_LISTEN]
        files = https_files(config, data, hosts, time.time())
        try:
            listener = open_tcp(listen.host, listen.port, setting=HTTP_LISTEN.flag)
        except OpenError as error:
            raise NodeError(str(error)) from error
        port = listener.getsockname()[1]
        certificate, key = files or (None, None)
        limits = ConnectionLimits(
            connections=config[CONNECTIONS],
            head_bytes=config[HEAD_BYTES],
            head_timeout_s=config[HEAD_TIMEOUT_S],
            keep_alive_s=config[KEEP_ALIVE_S],
        )
        options = uvicorn.Config(
            site,
            http=bounded_connections(limits),
            ssl_certfile=certificate,
            ssl_keyfile=key,
            **_OPTIONS,
            ws="none" if message_bytes is None else BoundedWebSocket,
            ws_max_size=message_bytes or 0,
            ws_ping_interval=None,  # who serves one beats in its own way
            ws_per_message_deflate=False,  # a small message could grow past all bounds
        )
        await self._serve(options, listener)
        if isinstance(context := options.ssl, ssl.SSLContext):
            self._renew = functools.partial(self._load, context, data, hosts)
        host = hosts[0] if listen.host in ("", "0.0.0.0", "::") else listen.host  # noqa: S104 - compared with
        return f"{'https' if files else 'http'}://{Listen(host, port)}"

    async def serve_socket(self, app: ASGIApp, listener: socket.socket) -> None:
        """Serve on a socket that those alone can reach who may do everything: without bounds."""
        await self._serve(uvicorn.Config(app, ws="none", **_OPTIONS), listener)

    def reload(self) -> None:
        """Read the HTTPS certificate anew: connections from now on get it, those that are there go on. One
        that can't be used is said, and the old one stays."""
        if self._renew is None:
            return
        try:
            self._renew()
        except (NodeError, DataDirectoryError, OSError) as error:  # ssl.SSLError is one
            log.error("http.certificate_not_loaded", error=str(error))
        else:
            log.info("http.certificate_loaded")

    async def drain(self, wait_s: float) -> None:
        """Take no new requests; let those under way end, for a bounded time."""
        for server, _ in self._running:
            server.should_exit = True
        if self._running:
            await asyncio.wait([task for _, task in self._running], timeout=wait_s)

    async def stop(self) -> None:
        """Close everything. Safe after `drain`, and without it."""
        for server, _ in self._running:
            server.should_exit = server.force_exit = True
        if self._running:
            await asyncio.wait([task for _, task in self._running], timeout=GRACE_S)

    def _load(self, context: ssl.SSLContext, data: DataDirectory | None, hosts: Sequence[str]) -> None:
        files = https_files(self._config, data, hosts, time.time())
        if files is not None:  # which the settings decide, and they stay
            context.load_cert_chain(*files, password="")

    async def _serve(self, config: uvicorn.Config, listener: socket.socket) -> None:
        server = _HttpServer(config, self._config[HEAD_TIMEOUT_S])
        task = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
        self._running.append((server, task))
        up = asyncio.create_task(server.listening.wait(), name="http server start")
        await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if task.done():
            task.result()


class _UvicornOptions(TypedDict):
    lifespan: Literal["off"]
    log_config: None
    log_level: Literal["error"]
    access_log: bool
    proxy_headers: bool
    server_header: bool


_OPTIONS: _UvicornOptions = {
    "lifespan": "off",
    "log_config": None,
    "log_level": "error",  # its warnings are of what strangers send: counted, not logged
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
}


def https_files(
    config: Config, data: DataDirectory | None, hosts: Collection[str], wall_now: float
) -> tuple[str, str] | None:
    """Certificate and key files for HTTPS, or None for plain HTTP. Raises NodeError, DataDirectoryError."""
    certificate, key, mode = config[HTTP_TLS_CERT], config[HTTP_TLS_KEY], config[HTTP_TLS]
    if bool(certificate) != bool(key):
        raise NodeError(f"{HTTP_TLS_CERT.flag} and {HTTP_TLS_KEY.flag} go together: give both or neither")
    if mode == "off":
        return None
    if certificate:
        for setting, path in ((HTTP_TLS_CERT, certificate), (HTTP_TLS_KEY, key)):
            if not os.access(path, os.R_OK):
                raise NodeError(f"{setting.flag} {path}: can't be read")
        _check_pair(certificate, key)
        return certificate, key
    if mode == "auto" and is_loopback(config[HTTP_LISTEN].host):
        return None  # localhost is a secure origin without HTTPS
    if data is None:
        raise NodeError(
            f"{HTTP_LISTEN.flag} {config[HTTP_LISTEN]}: HTTPS needs a certificate; give {HTTP_TLS_CERT.flag} "
            f"and {HTTP_TLS_KEY.flag}, or {DATA.flag} DIRECTORY for a self-made one"
        )
    pem = str(data.https_certificate(hosts, wall_now))
    return pem, pem


def _check_pair(certificate: str, key: str) -> None:
    """Raises NodeError if HTTPS can't use the files, before the HTTP server fails on them."""
    try:
        # The password keeps it from asking the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:  # ssl.SSLError is one
        raise NodeError(
            f"{HTTP_TLS_CERT.flag} {certificate}, {HTTP_TLS_KEY.flag} {key}: {error.strerror or error}; "
            "give a certificate and its key in PEM, the key without a password"
        ) from error
