"""Servers that were started as root and are root no longer."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sfu.base.privileges import become
from sfu.base.settings import SettingsError
from sfu.wire import stun
from sfu.wire.stun import MessageClass
from tests.sfu.cli.reachable import reachable
from turn.certificate import make_pair

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator, Generator

    from turn.certificate import PemPair

USER = "nobody"
UID, GID = pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid
DEADLINE_S = 60
BINDING = stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12), fingerprint=False)
ORCHARD = str(Path(sys.executable).parent / "orchard")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def folder() -> Generator[Path]:
    """A directory that every user may enter."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def low_port() -> int:
    """A port under 1024 that nobody has on loopback."""
    for port in range(1023, 511, -1):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.fail("every port under 1024 is taken")


@asynccontextmanager
async def started(folder: Path, *arguments: str) -> AsyncGenerator[Process]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
    process = await asyncio.create_subprocess_exec(
        *reachable(ORCHARD, *arguments, "--user", USER, "--log-format", "json"),
        stdout=PIPE,
        stderr=PIPE,
        env=clean,
        cwd=folder,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        rest, said = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, (rest, said)


async def said(process: Process, pattern: str) -> str:
    """What a line of its output says that matches."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        while line := (await process.stdout.readline()).decode():
            if match := re.search(pattern, line):
                return match[0]
    assert process.stderr is not None
    pytest.fail((await process.stderr.read()).decode())


async def event(process: Process, name: str) -> dict[str, Any]:
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        while line := await process.stderr.readline():
            read = json.loads(line)
            if read["event"] == name:
                return read
    pytest.fail(f"it ended before {name}")


def rights(pid: int) -> dict[str, list[str]]:
    """Users, groups and capabilities of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return {name: status[name] for name in ("Uid", "Gid", "Groups", "CapPrm", "CapEff")}


NO_RIGHTS = {
    "Uid": [str(UID)] * 4,
    "Gid": [str(GID)] * 4,
    "Groups": sorted(map(str, os.getgrouplist(USER, GID))),
    "CapPrm": ["0" * 16],
    "CapEff": ["0" * 16],
}


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


async def answered(port: int) -> bool:
    """Whether STUN is answered on a UDP port."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(BINDING, ("127.0.0.1", port))
        return bool(await asyncio.to_thread(client.recv, 100))


@as_root
async def test_a_turn_server_opens_low_ports_and_is_root_no_longer(folder: Path) -> None:
    port, pairs = low_port(), [make_pair(["127.0.0.1"], time.time()) for _ in range(2)]
    chain, key = folder / "chain.pem", folder / "key.pem"

    def write(pair: PemPair) -> None:
        chain.write_bytes(pair.chain)
        key.write_bytes(pair.key)
        key.chmod(0o640)
        os.chown(key, 0, GID)

    async def shown() -> str:
        return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))

    write(pairs[0])
    where = f"127.0.0.1:{port}"
    async with started(
        folder,
        *("turn", "--turn-udp", where, "--turn-tcp", "127.0.0.1:0", "--turn-tls", where),
        *("--turn-relay", "127.0.0.1", "--turn-secrets", "0123456789abcdef"),
        *("--turn-certificate", str(chain), "--turn-key", str(key), "--turn-strict-ports", "true"),
    ) as process:
        await said(process, "is ready")
        assert rights(process.pid) == NO_RIGHTS
        assert await answered(port)
        assert await shown() == pairs[0].chain.decode()
        write(pairs[1])
        process.send_signal(signal.SIGHUP)
        await event(process, "turn.certificate_loaded")
        assert await shown() == pairs[1].chain.decode()
        key.chmod(0o600)
        process.send_signal(signal.SIGHUP)
        refused = await event(process, "turn.certificate_not_loaded")
        assert f"Permission denied for user {USER}" in refused["error"]
        assert await shown() == pairs[1].chain.decode()


@as_root
async def test_a_node_and_what_it_writes_are_the_users(folder: Path) -> None:
    port, data = low_port(), folder / "data"
    (folder / "orchard.toml").write_text(f'[node]\nuser = "{USER}"\ndata = "{data}"\n')
    async with started(
        folder,
        *("serve", "--http", f"127.0.0.1:{port}", "--media", "127.0.0.1:0", "--data", str(data)),
        *("--turn-udp", "127.0.0.1:0", "--turn-tcp", "127.0.0.1:0", "--turn-relay", "127.0.0.1"),
    ) as process:
        url = await said(process, r"http://127\.0\.0\.1:\d+")
        assert url.endswith(f":{port}")
        assert rights(process.pid) == NO_RIGHTS
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{url}/readyz")).status_code == 200
        for command in (("app", "create"), ("turn", "key", "create"), ("sessions", "list")):
            done = await asyncio.create_subprocess_exec(
                *reachable(ORCHARD, *command, "--config", "orchard.toml"), cwd=folder
            )
            assert await asyncio.wait_for(done.wait(), DEADLINE_S) == 0
        assert {"apps.json", "turn-keys.json", "admin.sock"} <= {path.name for path in data.iterdir()}
        assert owners(data) == {UID}
        assert data.stat().st_mode & 0o777 == 0o700


@as_root
async def test_a_worker_that_ended_has_its_low_port_again(folder: Path) -> None:
    port = low_port() - 1
    async with started(
        folder,
        *("serve", "--http", f"127.0.0.1:{port}", "--media", "127.0.0.1:0", "--data", str(folder / "data")),
        *("--workers", "2", "--turn-enabled", "false"),
    ) as process:
        await said(process, "is ready")
        assert rights(process.pid)["Uid"] == [str(UID), str(UID), "0", str(UID)]

        def workers() -> list[int]:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            return [int(pid) for pid in children.split()]

        first = workers()
        assert [rights(pid) for pid in first] == [NO_RIGHTS] * 2
        os.kill(first[0], signal.SIGKILL)
        await event(process, "worker.started")
        (new,) = set(workers()) - set(first)
        assert rights(new) == NO_RIGHTS
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        assert owners(folder / "data") == {UID}


GOING_BACK = """
import os, socket, sys
from sfu.base.privileges import as_root, become, let_go, regain
become(sys.argv[1])
def can_bind():
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", int(sys.argv[2])))
        except PermissionError:
            return False
        return True
assert not can_bind()
with as_root():
    assert can_bind()
assert os.geteuid() == os.getuid() != 0
assert not can_bind()
let_go()
with as_root():
    assert not can_bind()
regain()
for back in (os.setuid, os.seteuid, os.setgid, os.setegid):
    try:
        back(0)
    except PermissionError:
        continue
    raise AssertionError(back)
become(sys.argv[1])
let_go()
print("stays", os.getresuid(), os.getresgid(), os.getgroups())
"""


@as_root
async def test_there_is_no_way_back() -> None:
    done = await asyncio.create_subprocess_exec(
        *reachable(sys.executable, "-c", GOING_BACK, USER, str(low_port())),
        stdout=PIPE,
        cwd=Path(__file__).parents[3],
    )
    out, _ = await asyncio.wait_for(done.communicate(), DEADLINE_S)
    groups = os.getgrouplist(USER, GID)
    assert out.decode() == f"stays {(UID,) * 3} {(GID,) * 3} {groups}\n"


def test_who_can_not_be_become_is_said() -> None:
    with pytest.raises(SettingsError, match="--user nobody-of-ours: no such user; make it: useradd"):
        become("nobody-of-ours")
    with pytest.raises(SettingsError, match="--user root: is root"):
        become("root")
    if os.geteuid() == 0:
        return
    with pytest.raises(SettingsError, match="only root can become another user"):
        become("daemon")


@as_root
async def test_a_user_that_can_not_read_the_program_is_told_so(folder: Path) -> None:
    shutil.copytree(
        Path(__file__).parents[3] / "sfu" / "base",
        folder / "sfu" / "base",
        ignore=shutil.ignore_patterns("*.so"),
    )
    (folder / "sfu" / "__init__.py").touch()
    (folder / "sfu").chmod(0o700)
    done = await asyncio.create_subprocess_exec(
        *reachable(
            sys.executable, "-c", "import sys; from sfu.base.privileges import become; become('nobody')"
        ),
        stderr=PIPE,
        cwd=folder,
    )
    _, err = await asyncio.wait_for(done.communicate(), DEADLINE_S)
    assert (
        f"this user can't read {folder}/sfu/base/privileges.py; install Orchard where it can" in err.decode()
    )


@as_root
async def test_a_server_that_stays_root_says_so(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(ORCHARD, "turn", "--http", "127.0.0.1:0", "--turn-udp", "127.0.0.1:0", "--turn-tcp", "127.0.0.1:0"),
        *("--turn-relay", "127.0.0.1", "--log-format", "json"),
        stdout=PIPE,
        stderr=PIPE,
        cwd=folder,
    )
    await said(process, "is ready")
    process.terminate()
    _, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert b"node.runs_as_root" in err
