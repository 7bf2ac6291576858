"""Puts one node together from the settings, starts it and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sfu.base.ids import NodeId
from sfu.base.lag import LoopLag
from sfu.base.log import get_logger
from sfu.base.settings import ByteSize, Listen, Setting
from sfu.directory.apps import given_app, wrong_given
from sfu.directory.certificates import DAY_S, renew_certificates
from sfu.directory.files import DataDirectory, DataDirectoryError, FilesDirectory
from sfu.directory.interface import DirectoryError
from sfu.media.control import MediaControl
from sfu.media.limits import limits_of
from sfu.negotiation.record import Fingerprint
from sfu.negotiation.requests import MLINES_PER_SESSION, SDP_BYTES, TRACKS_PER_CALL, Context, Limits
from sfu.net.interfaces import advertised, shifted, wrong_advertised
from sfu.net.udp import OpenError, open_udp
from sfu.sessions.driver import HANDSHAKES_LIMIT, Driver
from sfu.sessions.service import (
    CONNECT_WAIT_S,
    MEDIA_WAIT_S,
    SESSIONS_LIMIT,
    UNCONNECTED_LIFE_S,
    ServiceLimits,
    SessionService,
)
from sfu.sessions.sweep import sweep_forever
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import DtlsContext
from sfu.turn.service import ENABLED, TurnService
from turn.node import TurnError
from turn.told import Media

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from sfu.base.ids import SessionId
    from sfu.base.settings import Config
    from sfu.directory.interface import App
    from sfu.net.address import Address
    from sfu.sessions.statistics import MediaStatistics

MEDIA_LISTEN = Setting(
    "media.listen", Listen, Listen("", 40000), alias="media", help="The UDP port of all media, [HOST:]PORT"
)
MEDIA_ADVERTISE = Setting(
    "media.advertise",
    tuple[str, ...],
    (),
    alias="advertise",
    help="Addresses that clients send media to, ADDRESS or ADDRESS:PORT; empty: this machine's own",
    check=wrong_advertised,
)
MEDIA_BUFFER = Setting(
    "media.buffer",
    ByteSize,
    ByteSize(4 << 20),
    minimum=65536,
    help="Receive and send buffer of the media socket; the kernel may give less (net.core.rmem_max)",
)
DATA = Setting("node.data", str, "orchard-data", alias="data", help="Data directory; made with mode 0700")
WORKERS = Setting(
    "node.workers",
    int,
    1,
    alias="workers",
    minimum=1,
    maximum=256,
    help="Processes, each a node of its own: worker 1 listens on ports 1 higher than 0, and so on",
)
APPS = Setting(
    "node.app",
    tuple[str, ...],
    (),
    alias="app",
    secret=True,
    help="Apps beside those of the data directory, ID:SECRET each",
    check=wrong_given,
)

_LOOK_S: Final = 0.25  # chosen: between two looks at whether a node that drains is empty

log = get_logger("node")


class NodeError(Exception):
    """The node can't start; the text names the setting, its value and the way out."""


class Node:
    """One node without its HTTP face: directory, session service, media and transports.

    `start`, then `drain`, then `stop`. A `worker` is one of several nodes with one data directory, which
    their supervisor holds.
    """

    def __init__(self, config: Config, worker: int | None = None) -> None:
        self._config = config
        self._worker = worker
        self._stack = contextlib.AsyncExitStack()
        self._contexts: dict[str, DtlsContext] = {}
        self._state: str | None = "starting"
        self._fingerprint: Fingerprint
        self._cluster_secret: bytes
        self._driver: Driver
        self.data: DataDirectory
        self.directory: FilesDirectory
        self.service: SessionService
        self.media_listen: Listen
        """Where media arrives, with the port that the system chose."""
        self.candidates: list[Address]
        """Where clients are told to send media."""
        self.turn: TurnService | None = None
        """TURN, if it is on."""

    async def start(self) -> None:
        """Open everything. Raises NodeError, and leaves nothing open then."""
        try:
            await self._start()
        except BaseException as error:
            await self._stack.aclose()
            if isinstance(error, OpenError | DataDirectoryError | TurnError):
                raise NodeError(str(error)) from error
            raise

    async def _start(self) -> None:
        config = self._config
        wall_now = time.time()
        self.data = DataDirectory(Path(config[DATA]))
        if self._worker is None:
            self._stack.enter_context(self.data.claimed())
        self.directory = FilesDirectory(self.data, wall_now, given=given_apps(config, wall_now))
        self._cluster_secret = self.data.cluster_secret()
        await self._renew_certificates(wall_now)

        listen = config[MEDIA_LISTEN]
        buffer = config[MEDIA_BUFFER]
        sock = open_udp(
            listen.host,
            listen.port,
            setting=MEDIA_LISTEN.flag,
            timestamps=True,
            receive_buffer=buffer,
            send_buffer=buffer,
        )
        self._stack.callback(sock.close)
        self.media_listen = Listen(listen.host, sock.getsockname()[1])
        self.candidates = advertised(listen.host, self.media_listen.port, config[MEDIA_ADVERTISE])

        self._negotiation_limits = Limits(
            tracks_per_call=config[TRACKS_PER_CALL],
            mlines_per_session=config[MLINES_PER_SESSION],
            sdp_bytes=config[SDP_BYTES],
        )
        limits = ServiceLimits(
            sessions=config[SESSIONS_LIMIT],
            connect_wait_s=config[CONNECT_WAIT_S],
            media_wait_s=config[MEDIA_WAIT_S],
            unconnected_life_s=config[UNCONNECTED_LIFE_S],
        )
        self.service = SessionService(
            self.directory,
            self._negotiation_context,
            limits=limits,
            measure=self.statistics,
        )
        self._stack.callback(self.service.close)
        self._driver = Driver(
            MediaControl(sock, limits_of(config)),
            self.directory,
            self.service.update,
            node=NodeId(secrets.token_hex(8)),
            cluster_secret=self._cluster_secret,
            context_of=self._contexts.get,
            handshakes_limit=config[HANDSHAKES_LIMIT],
        )
        self._driver.start()
        self._stack.push_async_callback(self._driver.stop)
        if config[ENABLED]:
            media = media_of_workers(config, self.candidates, self.media_listen.port)
            self.turn = TurnService(config, self.data, media=media, listens=not self._worker)
            self._stack.push_async_callback(self.turn.stop)
            self.turn.start()
        lag = LoopLag()
        lag.start()
        self._stack.callback(lag.stop)
        self._background(sweep_forever(self.directory, self.service.expired_before), "sweep")
        self._background(self._renew_daily(), "certificates")
        self._state = None

    def not_ready(self) -> str | None:
        """Why this node takes no new sessions, or None."""
        return self._state

    def drain(self) -> None:
        """Take no new sessions and TURN allocations from now on; those that are there go on until `stop`."""
        self._state = "draining"
        self.service.drain()
        if self.turn is not None:
            self.turn.drain()
        log.info("node.draining", **self.sizes())

    def reload(self) -> None:
        """Read the certificates of files anew; what can't be used is said, and changes nothing."""
        if self.turn is not None:
            self.turn.reload()

    async def empty(self) -> None:
        """Until no session is left, those included that may still connect, and no TURN allocation."""
        began_at = time.time()
        while any(self.sizes().values()) or await self._may_come(began_at):  # noqa: ASYNC110 -- of many parts
            await asyncio.sleep(_LOOK_S)
        if self.turn is not None:
            await self.turn.empty()

    async def _may_come(self, began_at: float) -> bool:
        """Whether clients of sessions from before `began_at` may still connect, as far as is known."""
        try:
            return bool(await self.directory.list_unconnected(began_at))
        except DirectoryError:  # which logs that it is away
            return True

    async def stop(self) -> None:
        """Say goodbye to every client and close everything."""
        self._state = "stopping"
        await self._stack.aclose()
        log.info("node.stopped")

    def sizes(self) -> dict[str, int]:
        """How many of each thing this node holds; all are 0 without sessions."""
        return self._driver.sizes()

    def statistics(self, session: SessionId) -> MediaStatistics | None:
        """What the media of a session has done; None if this node does not hold it."""
        return self._driver.statistics(session)

    # certificates

    def _negotiation_context(self) -> Context:
        return Context(
            cluster_secret=self._cluster_secret,
            candidates=self.candidates,
            fingerprint=self._fingerprint,
            fresh=lambda: secrets.randbits(32),
            limits=self._negotiation_limits,
        )

    async def _renew_certificates(self, wall_now: float) -> None:
        newest = await renew_certificates(self.directory, wall_now)
        self._fingerprint = Fingerprint("sha-256", newest.fingerprint)
        stored = {held.fingerprint: held for held in await self.directory.list_certificates()}
        for fingerprint in self._contexts.keys() - stored.keys():
            del self._contexts[fingerprint]
        for fingerprint in stored.keys() - self._contexts.keys():
            held = stored[fingerprint]
            certificate = Certificate.from_pem(held.certificate_pem, held.key_pem)
            self._contexts[fingerprint] = DtlsContext(certificate)

    async def _renew_daily(self) -> None:
        while True:
            await asyncio.sleep(DAY_S)
            await self._renew_certificates(time.time())

    def _background(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)


def media_of_workers(config: Config, own: Sequence[Address], port: int) -> list[Media]:
    """Where the media of all workers is, the first one's `own` candidates at its `port` first.

    With a port that the system chooses only its own is known.
    """
    listen = config[MEDIA_LISTEN]
    found = [Media(address, Listen(listen.host, port)) for address in own]
    for index in range(1, config[WORKERS] if listen.port else 1):
        told = [shifted(text, index) for text in config[MEDIA_ADVERTISE]]
        at = Listen(listen.host, listen.port + index)
        found += [Media(address, at) for address in advertised(at.host, at.port, told)]
    return found


def given_apps(config: Config, wall_now: float) -> list[App]:
    """The apps that the settings name."""
    return [given_app(text, wall_now) for text in config[APPS]]
