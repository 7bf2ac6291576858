"""The HTTP face of a node: its listeners, the API, the demo page and the admin socket; start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Literal, TypedDict

import httpx
import uvicorn

from meeting.app import create_app as create_demo
from meeting.proxy import DEMO, DEMO_BODY_BYTES, DEMO_SESSIONS_PER_MINUTE, DEMO_UNDER_WAY, ProxyLimits
from sfu import __version__
from sfu.api.admin import create_admin_app, open_admin_socket
from sfu.api.app import ApiLimits, beside_pages, create_app
from sfu.api.connections import (
    CONNECTIONS,
    HEAD_BYTES,
    HEAD_TIMEOUT_S,
    KEEP_ALIVE_S,
    ConnectionLimits,
    bounded_connections,
)
from sfu.api.health import METRICS_SECRET
from sfu.api.limits import (
    BODY_BYTES,
    BODY_TIMEOUT_S,
    CALLS_PER_SECOND,
    REQUESTS_UNDER_WAY,
    TURN_CALLS_PER_SECOND,
)
from sfu.base.log import get_logger
from sfu.base.privileges import as_root, let_go
from sfu.base.settings import Listen, Setting
from sfu.base.stopping import DRAIN_LIMIT_S, StopRequests
from sfu.directory.apps import new_app
from sfu.net.interfaces import is_loopback
from sfu.net.ports import way_out
from sfu.node import Node, NodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from starlette.types import ASGIApp

    from sfu.base.settings import Config
    from sfu.directory.files import DataDirectory

HTTP_LISTEN = Setting(
    "http.listen",
    Listen,
    Listen("127.0.0.1", 8080),
    alias="http",
    help="Where the HTTP API and the demo page listen",
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
DRAIN_WAIT_S = Setting(
    "node.drain_wait",
    float,
    5.0,
    unit="s",
    minimum=0,
    maximum=3600,
    help="Longest time between SIGTERM and the end of the process",
)

GRACE_S = 2.0  # for connections that are still open once the drain is over

log = get_logger("node")


class _HttpServer(uvicorn.Server):
    """uvicorn without signal handlers, and with an event for its start: `Server` decides when it stops.

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


class Server:
    """A node with its HTTP listeners; `worker` as of `Node`."""

    def __init__(self, config: Config, worker: int | None = None) -> None:
        self._config = config
        self._worker = worker
        self._stack = contextlib.AsyncExitStack()
        self._running: list[tuple[_HttpServer, asyncio.Task[None]]] = []
        self.node = Node(config, worker)
        self.url = ""
        """Where the API and the demo page are, once started."""

    async def start(self) -> None:
        """Open everything and serve. Raises NodeError, and leaves nothing open then."""
        await self.node.start()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config, node = self._config, self.node
        api = create_app(
            node.service,
            node.directory,
            node.turn,
            not_ready=node.not_ready,
            bounds=ApiLimits(
                body_bytes=config[BODY_BYTES],
                body_timeout_s=config[BODY_TIMEOUT_S],
                requests_under_way=config[REQUESTS_UNDER_WAY],
                calls_per_second=config[CALLS_PER_SECOND],
                turn_calls_per_second=config[TURN_CALLS_PER_SECOND],
            ),
            metrics_secret=config[METRICS_SECRET],
        )
        hosts = [candidate.host for candidate in node.candidates]
        await self._serve_site(self._with_demo(api) if config[DEMO] else api, hosts)
        path = node.data.admin_socket(self._worker)
        try:
            admin = open_admin_socket(path)
        except OSError as error:
            raise NodeError(
                f"{path}: {error.strerror or error}; a shorter --data may be what it takes"
            ) from error
        await self._serve(
            uvicorn.Config(create_admin_app(node.directory, node.statistics), **_OPTIONS), admin
        )
        log.info(
            "node.started",
            version=__version__,
            url=self.url,
            media=str(node.media_listen),
            candidates=[str(Listen(*candidate)) for candidate in node.candidates],
        )

    async def drain(self) -> None:
        """Take no new requests; let those under way end, for a bounded time."""
        for server, _ in self._running:
            server.should_exit = True
        await asyncio.wait([task for _, task in self._running], timeout=self._config[DRAIN_WAIT_S])

    async def stop(self) -> None:
        """Say goodbye to every client and close everything. Safe after `drain`, and without it."""
        for server, _ in self._running:
            server.should_exit = server.force_exit = True
        if self._running:
            await asyncio.wait([task for _, task in self._running], timeout=GRACE_S)
        await self._stack.aclose()
        await self.node.stop()

    def _with_demo(self, api: ASGIApp) -> ASGIApp:
        """The demo page beside the API, with an app of its own that lives as long as this process."""
        demo = new_app("demo", time.time())
        self.node.directory.give(demo.app)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://orchard")
        self._stack.push_async_callback(client.aclose)
        limits = ProxyLimits(
            body_bytes=self._config[DEMO_BODY_BYTES],
            under_way=self._config[DEMO_UNDER_WAY],
            sessions_per_minute=self._config[DEMO_SESSIONS_PER_MINUTE],
        )
        return beside_pages(api, create_demo(client, demo.app.id, demo.secret, limits=limits))

    async def _serve_site(self, site: ASGIApp, hosts: list[str]) -> None:
        listen = self._config[HTTP_LISTEN]
        files = https_files(self._config, self.node.data, hosts, time.time())
        listener = _open_tcp(listen)
        port = listener.getsockname()[1]
        certificate, key = files or (None, None)
        limits = ConnectionLimits(
            connections=self._config[CONNECTIONS],
            head_bytes=self._config[HEAD_BYTES],
            head_timeout_s=self._config[HEAD_TIMEOUT_S],
            keep_alive_s=self._config[KEEP_ALIVE_S],
        )
        options = uvicorn.Config(
            site,
            http=bounded_connections(limits),
            ssl_certfile=certificate,
            ssl_keyfile=key,
            **_OPTIONS,
        )
        await self._serve(options, listener)
        host = hosts[0] if listen.host in ("", "0.0.0.0", "::") else listen.host  # noqa: S104 - compared with
        self.url = f"{'https' if files else 'http'}://{Listen(host, port)}"

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
    ws: Literal["none"]


_OPTIONS: _UvicornOptions = {
    "lifespan": "off",
    "log_config": None,
    "log_level": "error",  # its warnings are of what strangers send: counted, not logged
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "ws": "none",
}


def https_files(
    config: Config, data: DataDirectory, hosts: list[str], wall_now: float
) -> tuple[str, str] | None:
    """Certificate and key files for HTTPS, or None for plain HTTP. Raises NodeError."""
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


def _open_tcp(listen: Listen) -> socket.socket:
    every = listen.host in ("", "::")
    dual = every and socket.has_dualstack_ipv6()
    try:
        with as_root():
            return socket.create_server(
                ("" if every else listen.host, listen.port),
                family=socket.AF_INET6 if dual or (":" in listen.host and not every) else socket.AF_INET,
                backlog=1024,
                dualstack_ipv6=dual,
            )
    except OSError as error:
        raise NodeError(f"{HTTP_LISTEN.flag} {listen}: {way_out(error, listen.port, 'tcp')}") from error


async def run(
    config: Config,
    *,
    ready: Callable[[Server], None],
    stop: StopRequests | None = None,
    worker: int | None = None,
) -> None:
    """Run a node until signals or `stop` ask it to end (`sfu.base.stopping`). Raises NodeError.

    `ready` is called once the node serves. `worker` as of `Node`.
    """
    stop = stop or StopRequests()
    stop.heed_signals()
    server = Server(config, worker)
    await server.start()
    try:
        let_go()
        ready(server)
        await stop.wait_drain()
        server.node.drain()
        await stop.wait_or(server.node.empty, config[DRAIN_LIMIT_S])
        draining = asyncio.create_task(server.drain(), name="drain")
        again = asyncio.create_task(stop.wait_now(), name="end now")
        await asyncio.wait((draining, again), return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, again):
            task.cancel()
        await asyncio.gather(draining, again, return_exceptions=True)
    finally:
        await server.stop()
