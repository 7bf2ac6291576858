"""The server as a process while clients are connected: its end, its restart, and what it writes down."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from tests.sfu.cli.test_serve import LOOPBACK, serving

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator
    from pathlib import Path

APP, SECRET = "ab" * 16, "cd" * 32
GIVEN = (*LOOPBACK, "--app", f"{APP}:{SECRET}", "--log-level", "debug", "--log-format", "json")
DEADLINE_S = 20


@asynccontextmanager
async def _api(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {SECRET}"}
    async with httpx.AsyncClient(base_url=f"{url}/v1/apps/{APP}/sessions", headers=headers) as api:
        yield api


class _Peer:
    """A client that sends silence."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection()
        self.connection.addTrack(AudioStreamTrack())
        self.session = ""
        self.sdp = ""
        self._changed = asyncio.Event()
        self.connection.on("connectionstatechange", self._changed.set)

    async def connect(self, api: httpx.AsyncClient) -> None:
        self.session = (await api.post("/new")).json()["sessionId"]
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.sdp = self.connection.localDescription.sdp
        body: dict[str, Any] = {
            "sessionDescription": {"type": "offer", "sdp": self.sdp},
            "tracks": [{"location": "local", "mid": "0", "trackName": "a\nname\x1b[2J"}],
        }
        answer = (await api.post(f"/{self.session}/tracks/new", json=body)).json()
        description = answer["sessionDescription"]
        self.sdp += description["sdp"]
        await self.connection.setRemoteDescription(RTCSessionDescription(description["sdp"], "answer"))
        await self.until("connected")

    async def until(self, state: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.connection.connectionState != state:
                await self._changed.wait()
                self._changed.clear()


async def _log_of(process: Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode()


async def test_sigterm_says_goodbye_to_connected_clients_within_its_time(tmp_path: Path) -> None:
    """Clients see DTLS close_notify at once, not a connection that falls silent; the log tells no secret."""
    async with serving(*GIVEN, "--data", str(tmp_path / "data")) as (process, url):
        peers = [_Peer() for _ in range(3)]
        async with _api(url) as api:
            for peer in peers:
                await peer.connect(api)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            await asyncio.gather(*(peer.until("closed") for peer in peers))
            await process.wait()
            assert time.monotonic() - began < 4
        log = await _log_of(process)
        assert process.returncode == 0
        assert "session.connected" in log
        secret_file = (tmp_path / "data" / "cluster-secret").read_text()
        told = [SECRET, secret_file, "v=0", "a=candidate", *re.findall(r"a=ice-pwd:(\S+)", peers[0].sdp)]
        assert [text for text in told if text in log] == []
        assert all(line.startswith("{") for line in log.splitlines())
        for peer in peers:
            await peer.connection.close()


async def test_a_killed_server_starts_again_and_knows_its_apps_and_no_sessions(tmp_path: Path) -> None:
    arguments = (*GIVEN, "--data", str(tmp_path / "data"))
    peer = _Peer()
    async with serving(*arguments) as (process, url):
        async with _api(url) as api:
            await peer.connect(api)
        before = (tmp_path / "data" / "cluster-secret").read_bytes()
        process.kill()
        await process.wait()
    async with serving(*arguments) as (process, url), _api(url) as api:
        response = await api.get(f"/{peer.session}")
        assert (response.status_code, response.json()["errorCode"]) == (410, "session_error")
        again = _Peer()
        await again.connect(api)
        await again.connection.close()
    assert (tmp_path / "data" / "cluster-secret").read_bytes() == before
    await peer.connection.close()


async def test_connections_that_ask_nothing_do_not_hold_up_the_end(tmp_path: Path) -> None:
    async with serving(*GIVEN, "--data", str(tmp_path / "data")) as (process, url):
        host, _, port = url.removeprefix("http://").partition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        for _, writer in idle[:10]:
            writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            await process.wait()
        assert time.monotonic() - began < 3
        for _, writer in idle:
            writer.close()


async def test_a_tls_handshake_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    arguments = (*GIVEN, "--http-tls", "on", "--http-head-timeout", "0.3", "--data", str(tmp_path / "data"))
    async with serving(*arguments) as (_, url):
        host, _, port = url.removeprefix("https://").partition(":")
        for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(begun)
            async with asyncio.timeout(DEADLINE_S):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()
        async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - self-made
            assert (await client.get(f"{url}/healthz")).status_code == 200
