"""`orchard turn` reads its certificate anew when it is told to."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

from turn.certificate import PemPair, make_pair

DEADLINE_S = 20


async def shown(port: int) -> str:
    """The certificate that a new connection is shown."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))


async def logged(process: asyncio.subprocess.Process, event: str) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        while event.encode() not in await process.stderr.readline():
            assert process.returncode is None


async def test_sighup_shows_a_new_certificate_and_one_that_can_not_be_used_ends_nothing(
    tmp_path: Path,
) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def write(pair: PemPair) -> str:
        chain.write_bytes(pair.chain)
        key.write_bytes(pair.key)
        return pair.chain.decode()

    first, second = (make_pair(["127.0.0.1"], time.time()) for _ in range(2))
    write(first)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ORCHARD_")}
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "orchard", "turn"),
        *("--turn-udp", "127.0.0.1:0", "--turn-tcp", "127.0.0.1:0", "--turn-tls", "127.0.0.1:0"),
        *("--turn-certificate", chain, "--turn-key", key, "--turn-relay", "127.0.0.1"),
        *("--turn-secrets", "0123456789abcdef", "--log-format", "json"),
        stdout=PIPE,
        stderr=PIPE,
        env=clean,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        ready = (await process.stdout.readline()).decode()
    match = re.search(r"udp \S+, tcp \S+, tls 127\.0\.0\.1:(\d+)\n", ready)
    assert match is not None, ready
    port = int(match[1])
    assert await shown(port) == first.chain.decode()

    expected = write(second)
    process.send_signal(signal.SIGHUP)
    await logged(process, "turn.certificate_loaded")
    assert await shown(port) == expected

    key.write_bytes(b"half a file")
    process.send_signal(signal.SIGHUP)
    await logged(process, "turn.certificate_not_loaded")
    assert await shown(port) == expected

    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
