"""`orchard serve` as a process: first start, later starts, HTTPS, failures and the end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

DEADLINE_S = 30
LOOPBACK = ("--http", "127.0.0.1:0", "--media", "127.0.0.1:0")


async def spawn(*arguments: str, **environment: str) -> Process:
    command = Path(sys.executable).parent / "orchard"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
    return await asyncio.create_subprocess_exec(
        command, "serve", *arguments, stdout=PIPE, stderr=PIPE, env=clean | environment
    )


@asynccontextmanager
async def serving(*arguments: str, **environment: str) -> AsyncGenerator[tuple[Process, str]]:
    """The process and its URL, once it says that it is ready; ended by SIGTERM if it still runs."""
    process = await spawn(*arguments, **environment)
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        line = (await process.stdout.readline()).decode()
        match = re.fullmatch(r"Orchard \S+ is ready: (https?://\S+)\n", line)
        if match is None:
            pytest.fail(f"{line!r}: {(await process.communicate())[1].decode()}")
        try:
            yield process, match[1]
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()


async def rest_of_output(process: Process) -> tuple[str, str]:
    """End the process and return what it still wrote."""
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    return out.decode(), err.decode()


async def test_the_first_start_alone_shows_an_app_that_works(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(*LOOPBACK, "--data", str(data)) as (process, url):
        assert process.stdout is not None
        text = ""
        while "API" not in text:
            text += (await process.stdout.readline()).decode()
        shown = dict(re.findall(r"^  (app id|app secret|API) +(\S+)$", text, re.MULTILINE))
        assert shown["API"] == f"{url}/v1/apps/{shown['app id']}"
        async with httpx.AsyncClient() as client:
            headers = {"authorization": f"Bearer {shown['app secret']}"}
            assert (await client.get(f"{url}/readyz")).status_code == 200
            made = await client.post(f"{shown['API']}/sessions/new", headers=headers)
            assert made.status_code == 201
            refused = await client.post(f"{shown['API']}/sessions/new", headers={"authorization": "Bearer x"})
            assert refused.status_code == 401
        _, log = await rest_of_output(process)
        assert process.returncode == 0
    assert shown["app secret"] not in log
    assert (data.stat().st_mode & 0o777) == 0o700
    async with serving(*LOOPBACK, "--data", str(data)) as (process, url):
        async with httpx.AsyncClient() as client:
            again = f"{url}/v1/apps/{shown['app id']}/sessions/new"
            assert (await client.post(again, headers=headers)).status_code == 201
        out, _ = await rest_of_output(process)
        assert out == ""


async def test_settings_come_from_the_environment_and_a_file(tmp_path: Path) -> None:
    app, secret = "ab" * 16, "cd" * 32
    (tmp_path / "orchard.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n[demo]\nenabled = false\n')
    environment = {
        "ORCHARD_CONFIG": str(tmp_path / "orchard.toml"),
        "ORCHARD_MEDIA": "127.0.0.1:0",
        "ORCHARD_APP": f"{app}:{secret}",
        "ORCHARD_DATA": str(tmp_path / "data"),
    }
    async with serving(**environment) as (process, url):
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}) as client:
            assert (await client.post(f"{url}/v1/apps/{app}/sessions/new")).status_code == 201
            assert (await client.get(f"{url}/")).status_code == 404
        out, _ = await rest_of_output(process)
        assert out == ""  # an app is given, so none is made


async def test_https_with_a_self_made_certificate_names_this_machine(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(*LOOPBACK, "--http-tls", "on", "--data", str(data)) as (_, url):
        assert url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=data / "https.pem")
        async with httpx.AsyncClient(verify=trust) as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200


async def test_a_first_start_that_fails_leaves_no_app_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await spawn(
            *("--http", f"127.0.0.1:{port}", "--media", "127.0.0.1:0", "--data", str(tmp_path / "data"))
        )
        out, err = await process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert (
        err.decode()
        .splitlines()[-1]
        .startswith(f"orchard: --http 127.0.0.1:{port}: address in use by pid {os.getpid()} (")
    )
    assert b"Traceback" not in err
    assert not (tmp_path / "data" / "apps.json").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--app", "x:y"), "--app: (hidden): the id must be 32 lower-case hex digits"),
        (("--advertise", "sfu.example"), '--advertise: "sfu.example": want a literal address'),
        (("--tls-cert", "here.pem"), "--tls-cert and --tls-key go together"),
        (("--tls-cert", __file__, "--tls-key", __file__), f"--tls-cert {__file__}, --tls-key {__file__}: "),
        (("--sessions-limit", "0"), '--sessions-limit: "0" can\'t be taken; give a whole number from 1'),
    ],
)
async def test_a_wrong_setting_is_one_line_that_names_it(
    tmp_path: Path, arguments: tuple[str, ...], error: str
) -> None:
    process = await spawn(*LOOPBACK, "--data", str(tmp_path / "data"), *arguments)
    _, err = await process.communicate()
    last = err.decode().splitlines()[-1]
    assert process.returncode == 2
    assert last.startswith("orchard: ")
    assert error in last
    assert "Traceback" not in err.decode()


async def test_a_data_directory_with_too_long_a_path_is_named(tmp_path: Path) -> None:
    data = tmp_path / ("d" * 120)
    process = await spawn(*LOOPBACK, "--data", str(data))
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode().splitlines()[-1].startswith(f"orchard: {data}/admin.sock: ")
    assert b"Traceback" not in err


async def test_one_server_at_a_time_uses_a_data_directory(tmp_path: Path) -> None:
    arguments = (*LOOPBACK, "--data", str(tmp_path / "data"))
    async with serving(*arguments) as (process, _):
        second = await spawn(*arguments)
        _, err = await second.communicate()
        assert second.returncode == 2
        assert f"in use by the server with pid {process.pid}" in err.decode()
    async with serving(*arguments):
        pass


async def test_a_second_signal_ends_the_drain_at_once(tmp_path: Path) -> None:
    app, secret = "ab" * 16, "cd" * 32
    waits = ("--node-drain-wait", "600", "--http-body-timeout", "60", "--app", f"{app}:{secret}")
    async with serving(*LOOPBACK, *waits, "--data", str(tmp_path / "data")) as (process, url):
        assert process.stderr is not None
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /v1/apps/{app}/sessions/new HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )  # a request under way that never ends
        await writer.drain()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/readyz")).status_code == 200
        process.send_signal(signal.SIGTERM)
        while b"node.draining" not in await process.stderr.readline():
            pass
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0
        writer.close()
