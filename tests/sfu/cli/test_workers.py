"""`orchard serve --workers N`: several nodes that do not disturb each other, and who looks after them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from loadtest.api import Server
from loadtest.crowd import Crowd
from loadtest.scenarios.crowds import publish, subscribe
from loadtest.source import Media
from sfu.api.listener import HTTP_LISTEN
from sfu.base.settings import Config, Listen
from sfu.cli.supervisor import CALM_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, Pauses, config_of
from sfu.node import MEDIA_ADVERTISE, MEDIA_LISTEN, NodeError
from tests.sfu.cli.relaying import write_pair
from tests.sfu.cli.test_serve import spawn

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator, Callable

    from tests.sfu.cli.command import Command

DEADLINE_S = 60
APP, SECRET = "ab" * 16, "cd" * 32
FREE = ("--http", "127.0.0.1:0", "--media", "127.0.0.1:0")


@dataclass
class Workers:
    """A supervisor that has said where its workers are."""

    supervisor: Process
    urls: list[str]

    def pids(self) -> list[int]:
        """Its children."""
        return children_of(self.supervisor.pid)

    def pid_of(self, index: int) -> int:
        """The process of one worker."""
        [pid] = [pid for pid in self.pids() if command_of(pid)[-1] == str(index)]
        return pid

    async def event(self, *names: str) -> dict[str, Any]:
        """The next event of one of these names that any of them logs."""
        assert self.supervisor.stderr is not None
        async with asyncio.timeout(DEADLINE_S):
            while line := await self.supervisor.stderr.readline():
                event = json.loads(line)
                if event["event"] in names:
                    return event
        pytest.fail(f"it ended before {names}")


def children_of(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


def lives(pid: int) -> bool:
    """Whether a process that is no child of ours runs; its zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def taken_behind_a_free_one() -> socket.socket:
    """A listener whose port follows one that nobody has."""
    for _ in range(100):
        taken = socket.create_server(("127.0.0.1", 0))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", taken.getsockname()[1] - 1)):
            return taken
        taken.close()
    pytest.fail("no two ports in a row are free")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 -- what is waited for is in other processes
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(data: Path, *arguments: str, count: int = 2) -> AsyncGenerator[Workers]:
    """So many workers that serve one app; ended by SIGTERM if they still run."""
    process = await spawn(
        *("--workers", str(count), *FREE, "--data", str(data), "--app", f"{APP}:{SECRET}", *arguments)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            first = (await process.stdout.readline()).decode()
            if f"is ready: {count} workers" not in first:
                pytest.fail(f"{first!r}: {(await process.stderr.read()).decode()}")
            lines = [(await process.stdout.readline()).decode() for _ in range(count)]
        yield Workers(process, [re.findall(r"https?://\S+", line)[0] for line in lines])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


def crowd_of(url: str) -> Crowd:
    return Crowd(Server(f"{url}/v1", APP, SECRET))


async def test_each_worker_carries_sessions_of_its_own_and_one_that_dies_disturbs_no_other(
    tmp_path: Path,
) -> None:
    async with working(tmp_path / "data") as workers, contextlib.AsyncExitStack() as stack:
        crowds = [await stack.enter_async_context(crowd_of(url)) for url in workers.urls]
        for crowd in crowds:
            _, [source] = await publish(crowd, [Media.audio()])
            await subscribe(crowd, [source.track])
        await until(lambda: all(crowd.swarm.totals["rtp"] > 5 for crowd in crowds))
        os.kill(workers.pid_of(0), signal.SIGKILL)
        ended = await workers.event("worker.ended")
        assert (ended["worker"], ended["status"]) == (0, -signal.SIGKILL)
        before = crowds[1].swarm.totals["rtp"]
        again = await workers.event("worker.started")
        await until(lambda: crowds[1].swarm.totals["rtp"] > before + 50)
        assert not crowds[1].failures
        async with crowd_of(again["url"]) as crowd:
            _, [source] = await publish(crowd, [Media.audio()])
            await subscribe(crowd, [source.track])
            await until(lambda: crowd.swarm.totals["rtp"] > 5)


async def test_sighup_has_all_workers_show_their_new_certificates(tmp_path: Path) -> None:
    write_pair(tmp_path)
    chain, key = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    https = ("--http-tls", "on", "--tls-cert", chain, "--tls-key", key)
    turn = ("--turn-relay", "127.0.0.1", "--turn-certificate", chain, "--turn-key", key)
    ports = [f"--turn-{transport}=127.0.0.1:0" for transport in ("udp", "tcp", "tls")]
    async with working(tmp_path / "data", *https, *turn, *ports) as workers:
        pids, new = workers.pids(), write_pair(tmp_path)
        workers.supervisor.send_signal(signal.SIGHUP)
        loaded = set[tuple[str, int]]()
        while len(loaded) < 3:
            event = await workers.event("http.certificate_loaded", "turn.certificate_loaded")
            loaded.add((event["event"], event["worker"]))
        for url in workers.urls:
            where = url.removeprefix("https://").split(":")
            assert await asyncio.to_thread(ssl.get_server_certificate, (where[0], int(where[1]))) == new
        assert loaded == {
            *(("http.certificate_loaded", worker) for worker in (0, 1)),
            ("turn.certificate_loaded", 0),
        }
        assert workers.pids() == pids


async def test_sigterm_lets_the_clients_of_all_workers_go_and_ends_them(tmp_path: Path) -> None:
    async with working(tmp_path / "data") as workers:
        async with crowd_of(workers.urls[0]) as one, crowd_of(workers.urls[1]) as two:
            for crowd in (one, two):
                await publish(crowd, [Media.audio()])
            pids = workers.pids()
            assert len(pids) == 2
            workers.supervisor.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(workers.supervisor.wait(), DEADLINE_S) == 0
            await until(lambda: not len(one) and not len(two))  # they were told goodbye
        assert not any(lives(pid) for pid in pids)


async def test_workers_that_drain_let_sessions_go_on_and_end_with_the_last_of_each(tmp_path: Path) -> None:
    async with working(tmp_path / "data") as workers, contextlib.AsyncExitStack() as second:
        async with crowd_of(workers.urls[0]) as first:
            crowds = [first, await second.enter_async_context(crowd_of(workers.urls[1]))]
            for crowd in crowds:
                _, [source] = await publish(crowd, [Media.audio()])
                await subscribe(crowd, [source.track])
            pids = [workers.pid_of(index) for index in range(2)]
            workers.supervisor.send_signal(signal.SIGUSR1)
            for _ in range(2):
                await workers.event("node.draining")
            before = [crowd.swarm.totals["rtp"] for crowd in crowds]
            await until(
                lambda: all(crowd.swarm.totals["rtp"] > before[i] + 50 for i, crowd in enumerate(crowds))
            )
        await until(lambda: not lives(pids[0]))
        assert lives(pids[1])
        await second.aclose()
        assert await asyncio.wait_for(workers.supervisor.wait(), DEADLINE_S) == 0


async def test_a_signal_to_the_whole_group_does_not_cut_the_drain_short(tmp_path: Path) -> None:
    """As systemd sends it to each process of the unit; the supervisor's wish comes on top."""
    async with working(tmp_path / "data") as workers:
        for pid in workers.pids():
            os.kill(pid, signal.SIGTERM)
        workers.supervisor.send_signal(signal.SIGTERM)
        drained = {(await workers.event("node.draining"))["worker"] for _ in range(2)}
        assert drained == {0, 1}
        assert await asyncio.wait_for(workers.supervisor.wait(), DEADLINE_S) == 0


async def test_no_worker_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    async with working(tmp_path / "data") as workers:
        pids = workers.pids()
        workers.supervisor.kill()
        await until(lambda: not any(lives(pid) for pid in pids))


async def test_a_worker_that_hangs_is_killed_after_the_drain(tmp_path: Path) -> None:
    async with working(tmp_path / "data", "--node-drain-wait", "0") as workers:
        os.kill(workers.pid_of(1), signal.SIGSTOP)
        workers.supervisor.send_signal(signal.SIGTERM)
        assert (await workers.event("worker.killed"))["worker"] == 1
        assert await asyncio.wait_for(workers.supervisor.wait(), DEADLINE_S) == 0


async def test_a_port_in_use_names_the_worker_and_ends_them_all(tmp_path: Path) -> None:
    with taken_behind_a_free_one() as taken:
        port = taken.getsockname()[1]
        process = await spawn(
            *("--workers", "2", "--http", f"127.0.0.1:{port - 1}", "--media", "127.0.0.1:0"),
            *("--data", str(tmp_path / "data")),
        )
        out, err = await process.communicate()
    last = err.decode().splitlines()[-1]
    assert process.returncode == 2
    assert last.startswith(
        f"orchard: worker 1: --http 127.0.0.1:{port}: address in use by pid {os.getpid()} ("
    )
    assert out == b""
    assert b"Traceback" not in err
    assert not (tmp_path / "data" / "apps.json").exists()


async def test_the_first_start_shows_one_app_that_all_workers_know(tmp_path: Path) -> None:
    process = await spawn("--workers", "2", *FREE, "--data", str(tmp_path / "data"))
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(DEADLINE_S):
        while "API" not in text:
            text += (await process.stdout.readline()).decode()
    [app], [secret] = re.findall(r"app id +(\S+)", text), re.findall(r"app secret +(\S+)", text)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}) as client:
        for url in re.findall(r"worker \d +(\S+)", text):
            assert (await client.post(f"{url}/v1/apps/{app}/sessions/new")).status_code == 201
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
    assert len(list((tmp_path / "data" / "dtls").iterdir())) == 1


async def test_the_data_directory_is_the_supervisors(tmp_path: Path) -> None:
    async with working(tmp_path / "data") as workers:
        second = await spawn("--workers", "2", *FREE, "--data", str(tmp_path / "data"))
        _, err = await second.communicate()
        assert second.returncode == 2
        assert f"in use by the server with pid {workers.supervisor.pid}" in err.decode()


async def test_sessions_of_all_workers_are_listed_and_closed(orchard: Command) -> None:
    async with working(orchard.data) as workers:
        made: list[str] = []
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {SECRET}"}) as client:
            for url in workers.urls:
                answer = await client.post(f"{url}/v1/apps/{APP}/sessions/new")
                made.append(answer.json()["sessionId"])
        run = asyncio.to_thread
        text = (await run(orchard.on_data, "sessions", "list")).out
        assert all(session in text for session in made)
        for session in made:
            assert (await run(orchard.on_data, "sessions", "show", session)).status == 0
        assert (await run(orchard.on_data, "sessions", "close", made[1])).out == "1 sessions closed\n"
        again = await run(orchard.on_data, "sessions", "close", made[1])
        assert (again.status, again.err) == (2, "orchard: Session not found\n")
        closed = await run(orchard.on_data, "sessions", "close", "--app", APP)
        assert closed.out == "1 sessions closed\n"


def test_ports_of_a_worker_are_its_index_higher() -> None:
    config = Config(
        {
            HTTP_LISTEN: Listen("", 8443),
            MEDIA_LISTEN: Listen("", 0),
            MEDIA_ADVERTISE: ("203.0.113.7", "203.0.113.8:50000"),
        }
    )
    second = config_of(config, 2)
    assert second[HTTP_LISTEN] == Listen("", 8445)
    assert second[MEDIA_LISTEN] == Listen("", 0)
    assert second[MEDIA_ADVERTISE] == ("203.0.113.7", "203.0.113.8:50002")
    assert config[HTTP_LISTEN] == Listen("", 8443)


def test_ports_end() -> None:
    config = Config({HTTP_LISTEN: Listen("", 65534)})
    assert config_of(config, 1)[HTTP_LISTEN].port == 65535
    with pytest.raises(NodeError, match="--http :65534: leaves no port for worker 2"):
        config_of(config, 2)


def test_a_worker_that_dies_again_and_again_is_started_ever_later_until_one_lives() -> None:
    pauses = Pauses()
    waits = [pauses.after(1.0) for _ in range(10)]
    assert waits[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert waits[-1] == LONGEST_PAUSE_S
    assert pauses.after(CALM_S) == FIRST_PAUSE_S
