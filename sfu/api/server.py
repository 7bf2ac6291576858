"""The HTTP face of a node: the API, the meeting app and the admin socket; start, reload and stop."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from typing import TYPE_CHECKING

import httpx

from meeting.app import create_app as create_demo
from meeting.limits import MESSAGE_BYTES, ROOMS, ROOMS_BYTES, MeetingLimits
from meeting.proxy import DEMO
from meeting.service import Meeting
from meeting.upstream import DEMO_BODY_BYTES, DEMO_SESSIONS_PER_MINUTE, DEMO_UNDER_WAY, ProxyLimits
from sfu import __version__
from sfu.api.admin import create_admin_app, open_admin_socket
from sfu.api.app import ApiLimits, beside_pages, create_app
from sfu.api.health import METRICS_SECRET
from sfu.api.limits import (
    BODY_BYTES,
    BODY_TIMEOUT_S,
    CALLS_PER_SECOND,
    REQUESTS_UNDER_WAY,
    TURN_CALLS_PER_SECOND,
)
from sfu.api.listener import HttpListeners
from sfu.base.log import get_logger
from sfu.base.privileges import let_go
from sfu.base.reloading import ReloadRequests
from sfu.base.settings import Listen, Setting
from sfu.base.stopping import DRAIN_LIMIT_S, StopRequests
from sfu.directory.apps import new_app
from sfu.directory.documents import MemoryDocuments
from sfu.directory.interface import DirectoryError
from sfu.node import Node, NodeError
from sfu.turn.service import CredentialRefused, TurnAway

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from starlette.types import ASGIApp

    from sfu.base.settings import Config

DRAIN_WAIT_S = Setting(
    "node.drain_wait",
    float,
    5.0,
    unit="s",
    minimum=0,
    maximum=3600,
    help="Longest time between SIGTERM and the end of the process",
)

log = get_logger("node")


class Server:
    """A node with its HTTP listeners; `worker` as of `Node`."""

    def __init__(self, config: Config, worker: int | None = None) -> None:
        self._config = config
        self._worker = worker
        self._stack = contextlib.AsyncExitStack()
        self._http = HttpListeners(config)
        self.node = Node(config, worker)
        self.url = ""
        """Where the API and the meeting app are, once started."""

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
        site = await self._with_demo(api) if config[DEMO] else api
        message_bytes = config[MESSAGE_BYTES] if config[DEMO] else None
        self.url = await self._http.serve_site(site, node.data, hosts, message_bytes=message_bytes)
        path = node.data.admin_socket(self._worker)
        try:
            admin = open_admin_socket(path)
        except OSError as error:
            raise NodeError(
                f"{path}: {error.strerror or error}; a shorter --data may be what it takes"
            ) from error
        await self._http.serve_socket(create_admin_app(node.directory, node.statistics), admin)
        log.info(
            "node.started",
            version=__version__,
            url=self.url,
            media=str(node.media_listen),
            candidates=[str(Listen(*candidate)) for candidate in node.candidates],
        )

    def reload(self) -> None:
        """Read the certificates of files anew, HTTPS's and TURN's: connections from now on get them, those
        that are there go on. What can't be used is said, and changes nothing."""
        self._http.reload()
        self.node.reload()

    async def drain(self) -> None:
        """Take no new requests; let those under way end, for a bounded time."""
        await self._http.drain(self._config[DRAIN_WAIT_S])

    async def stop(self) -> None:
        """Say goodbye to every client and close everything. Safe after `drain`, and without it."""
        await self._http.stop()
        await self._stack.aclose()
        await self.node.stop()

    async def _with_demo(self, api: ASGIApp) -> ASGIApp:
        """The meeting app beside the API, with an app of its own that lives as long as this process."""
        demo = new_app("demo", time.time())
        self.node.directory.give(demo.app)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://orchard")
        self._stack.push_async_callback(client.aclose)
        limits = ProxyLimits(
            body_bytes=self._config[DEMO_BODY_BYTES],
            under_way=self._config[DEMO_UNDER_WAY],
            sessions_per_minute=self._config[DEMO_SESSIONS_PER_MINUTE],
        )
        meeting = Meeting(
            client,
            demo.app.id,
            demo.secret,
            # The same after a restart, and in all processes of a data directory: invites outlive both.
            key=hmac.digest(self.node.data.cluster_secret(), b"orchard meeting invites", "sha256"),
            documents=MemoryDocuments(limit=self._config[ROOMS], limit_bytes=self._config[ROOMS_BYTES]),
            ice_servers=self._ice_servers(),
            limits=MeetingLimits.of(self._config),
            proxy_limits=limits,
        )
        await meeting.start()
        self._stack.push_async_callback(meeting.stop)
        pages = create_demo(client, demo.app.id, demo.secret, limits=limits, meeting=meeting)
        return beside_pages(api, pages)

    def _ice_servers(self) -> Callable[[str], list[dict[str, Any]]]:
        """Makes TURN credentials for members of rooms, with a TURN key of the meeting app's own."""
        turn = self.node.turn
        if turn is None:
            return lambda _member: []
        key = turn.key_named("meeting app")

        def make(member: str) -> list[dict[str, Any]]:
            try:
                issued = turn.issue(key, None, member)
            except (CredentialRefused, TurnAway, DirectoryError) as error:
                log.warning("meeting.no_turn", reason=str(error))
                return []
            # No STUN: the server learns a client's outer address from its checks.
            urls = [*issued.urls.turn]
            return [{"urls": urls, "username": issued.username, "credential": issued.password}]

        return make


async def run(
    config: Config,
    *,
    ready: Callable[[Server], None],
    stop: StopRequests | None = None,
    reloads: ReloadRequests | None = None,
    worker: int | None = None,
) -> None:
    """Run a node until signals or `stop` ask it to end (`sfu.base.stopping`); read its certificates anew when
    signals or `reloads` ask for it. Raises NodeError.

    `ready` is called once the node serves. `worker` as of `Node`.
    """
    stop, reloads = stop or StopRequests(), reloads or ReloadRequests()
    stop.heed_signals()
    reloads.heed_signals()
    server = Server(config, worker)
    await server.start()
    try:
        let_go()
        reloads.answer_with(server.reload)
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
