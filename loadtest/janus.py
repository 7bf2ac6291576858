"""Janus as the server under test: its videoroom plugin behind the calls of `loadtest.api.Signalling`.

Janus (Debian's package `janus`) is started for the run with a configuration of our own. It takes no
loopback candidates, so the run has a network of its own (`private_network`): a namespace that ends with this
process, in which a veth gives the machine an address. What goes to that address stays on the namespace's
loopback, as what goes to 127.0.0.1 does: the way of a packet is the same for both servers.

One Janus session carries all clients, one plugin handle each; events come by one long poll. Its DTLS chooses
among the profiles that are offered, and the clients offer AEAD_AES_128_GCM alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import httpx

from loadtest.api import ApiError, RemoteTrack
from loadtest.meter import Meter
from loadtest.server import ServerFailed, Target

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

ADDRESS: Final = "10.77.0.1"
PORT: Final = 8088
ROOM: Final = 1
START_S: Final = 15.0
STOP_S: Final = 5.0
EVENT_S: Final = 15.0  # patience for an event; Janus promises none
_CLONE_NEWNET: Final = 0x40000000

_MAIN: Final = """
general: {{ configs_folder = "{folder}"; debug_level = 2; debug_timestamps = false; }}
nat: {{ ice_lite = true; ice_enforce_list = "{interface}"; }}
plugins: {{ disable = "{plugins}"; }}
transports: {{ disable = "{transports}"; }}
loggers: {{ disable = "libjanus_jsonlog.so"; }}
events: {{ broadcast = false; }}
"""
_HTTP: Final = """
general: {{ json = "compact"; base_path = "/janus"; http = true; port = {port}; ip = "{address}"; }}
admin: {{ admin_http = false; admin_https = false; }}
"""


class NoNetwork(Exception):
    """The network for the run could not be made; the text says why."""


def private_network() -> None:
    """Put this process, and what it starts, into a network namespace of its own. Raises NoNetwork."""
    if os.geteuid() != 0:
        raise NoNetwork("a network of its own for the run with Janus wants root")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise NoNetwork(f"unshare: {os.strerror(ctypes.get_errno())}")
    for command in (
        "link set lo up",
        "link add janus0 type veth peer name janus1",
        f"address add {ADDRESS}/32 dev janus0",
        "link set janus0 up",
        "link set janus1 up",
    ):
        done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)  # noqa: S603, S607
        if done.returncode != 0:
            raise NoNetwork(f"ip {command}: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class JanusSite:
    """Where Janus listens; `opened` once, as all clients share one session of it."""

    url: str

    def open(self, *, connections: int) -> JanusApi:
        """The calls to it."""
        return JanusApi(self.url, connections)


@dataclass(frozen=True, slots=True)
class Janus:
    """Starts Janus on one core, in the network that `private_network` made."""

    core: int

    @contextlib.asynccontextmanager
    async def target(self) -> AsyncGenerator[Target]:
        """A new process, ended with the context. Raises ServerFailed."""
        binary = shutil.which("janus")
        if binary is None:
            raise ServerFailed("janus: not found; on Debian: apt-get install --no-install-recommends janus")
        with tempfile.TemporaryDirectory(prefix="orchard-loadtest-") as directory:
            folder = Path(directory)
            await asyncio.to_thread(_configure, folder)
            with (folder / "log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *("taskset", "-c", str(self.core), binary, "-F", directory),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                try:
                    await _ready(process, folder / "log")
                    site = JanusSite(f"http://{ADDRESS}:{PORT}/janus")
                    yield Target(site, Meter(process.pid), self.core)
                finally:
                    await _stop(process)


class JanusApi:
    """The calls of `Signalling`, in Janus's words."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._http = httpx.AsyncClient(
            timeout=60.0, trust_env=False, limits=httpx.Limits(max_connections=connections + 1)
        )
        self._numbers = map(str, itertools.count())
        self._session: asyncio.Future[str] | None = None
        self._poll: asyncio.Task[None] | None = None
        self._events: dict[str, asyncio.Future[dict[str, Any]]] = {}  # by transaction
        self._feeds: dict[str, int] = {}  # our session, which is a handle -> the publisher's id in the room
        self._mids: dict[RemoteTrack, str] = {}

    async def close(self) -> None:
        """End the session, and with it all handles."""
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
        if self._session is not None:
            with contextlib.suppress(httpx.TransportError, ApiError):
                await self._call("destroy", await self._session)
        await self._http.aclose()

    async def new_session(self) -> str:
        """A handle of the videoroom plugin."""
        if self._session is None:
            self._session = asyncio.get_running_loop().create_future()
            self._session.set_result(str((await self._call("create", ""))["data"]["id"]))
            self._poll = asyncio.create_task(self._listen(await self._session))
            handle = await self._attach()
            await self._message(
                handle,
                {
                    "request": "create",
                    "room": ROOM,
                    "publishers": 1000,
                    "bitrate": 0,
                    "fir_freq": 0,
                    "audiocodec": "opus",
                    "videocodec": "vp8",
                },
            )
        return await self._attach()

    async def publish(self, session: str, offer: str, tracks: Sequence[tuple[str, str]]) -> str:
        """Join as a publisher. Asked for either role, Janus would take the DTLS client's, which is ours."""
        jsep = {"type": "offer", "sdp": offer.replace("a=setup:actpass", "a=setup:active")}
        body = {"request": "joinandconfigure", "room": ROOM, "ptype": "publisher"}
        event = await self._message(session, body, jsep)
        self._feeds[session] = event["plugindata"]["data"]["id"]
        self._mids.update((RemoteTrack(session, name), mid) for mid, name in tracks)
        return str(event["jsep"]["sdp"])

    async def pull(self, session: str, tracks: Sequence[RemoteTrack]) -> str:
        """Join as a subscriber of streams."""
        streams = [{"feed": self._feeds[track.session], "mid": self._mids[track]} for track in tracks]
        body = {"request": "join", "room": ROOM, "ptype": "subscriber", "streams": streams}
        return str((await self._message(session, body))["jsep"]["sdp"])

    async def answer(self, session: str, answer: str) -> None:
        """Answer Janus's offer."""
        await self._message(session, {"request": "start", "room": ROOM}, {"type": "answer", "sdp": answer})

    async def close_tracks(self, session: str, mids: Sequence[str]) -> None:
        """Unsubscribe by mid."""
        await self._message(session, {"request": "unsubscribe", "streams": [{"mid": mid} for mid in mids]})

    async def _attach(self) -> str:
        assert self._session is not None  # noqa: S101 new_session made it
        session = await self._session
        reply = await self._call("attach", session, {"plugin": "janus.plugin.videoroom"})
        return f"{session}/{reply['data']['id']}"

    async def _message(
        self, handle: str, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """A request to the plugin: its answer is there at once, or comes as an event."""
        transaction = next(self._numbers)
        event = asyncio.get_running_loop().create_future()
        self._events[transaction] = event
        try:
            more: dict[str, Any] = {"body": body} if jsep is None else {"body": body, "jsep": jsep}
            reply = await self._call("message", handle, more, transaction)
            if reply["janus"] == "ack":
                reply = cast("dict[str, Any]", await asyncio.wait_for(event, EVENT_S))
        except TimeoutError:
            raise ApiError(f"janus {body['request']}", 200, "no event", f"within {EVENT_S:g} s") from None
        finally:
            del self._events[transaction]
        data = reply.get("plugindata", {}).get("data", {})
        if "error" in data:
            raise ApiError(f"janus {body['request']}", 200, str(data.get("error_code")), str(data["error"]))
        return reply

    async def _call(
        self, what: str, path: str, more: dict[str, Any] | None = None, transaction: str = ""
    ) -> dict[str, Any]:
        body = {"janus": what, "transaction": transaction or next(self._numbers), **(more or {})}
        response = await self._http.post(f"{self._url}/{path}".rstrip("/"), json=body)
        reply = cast("dict[str, Any]", response.json())
        if reply.get("janus") == "error":
            error = reply["error"]
            raise ApiError(f"janus {what}", response.status_code, str(error["code"]), str(error["reason"]))
        return reply

    async def _listen(self, session: str) -> None:
        """The long poll: Janus answers when there are events, or after 30 s with a keep-alive."""
        while True:
            response = await self._http.get(f"{self._url}/{session}", params={"maxev": "50"})
            found: Any = response.json()
            for event in cast("list[dict[str, Any]]", found if isinstance(found, list) else [found]):
                waiting = self._events.get(str(event.get("transaction", "")))
                if waiting is not None and not waiting.done() and event.get("janus") == "event":
                    waiting.set_result(event)


def _configure(folder: Path) -> None:
    library = next(Path("/usr/lib").glob("*/janus"), Path("/usr/lib/janus"))
    plugins = [p.name for p in (library / "plugins").glob("*.so") if "videoroom" not in p.name]
    transports = [p.name for p in (library / "transports").glob("*.so") if "http" not in p.name]
    main = _MAIN.format(
        folder=folder, interface=ADDRESS, plugins=",".join(plugins), transports=",".join(transports)
    )
    (folder / "janus.jcfg").write_text(main)
    (folder / "janus.transport.http.jcfg").write_text(_HTTP.format(port=PORT, address=ADDRESS))
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: { }\n")


async def _ready(process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_S
    async with httpx.AsyncClient(trust_env=False) as http:
        while process.returncode is None and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"http://{ADDRESS}:{PORT}/janus/info")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    said = (await asyncio.to_thread(log.read_text, errors="replace"))[-2000:]
    raise ServerFailed(f"janus did not start; it said:\n{said}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_S)
            return
