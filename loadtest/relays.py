"""TURN servers to measure: this checkout's, Debian's coturn, or one that is running.

Both that are started here listen on loopback, on one core, with one thread that relays, the same kind of
certificate, and without the limits that a client who is a whole load would meet.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from loadtest.certificate import write_certificate
from loadtest.flows import Flows
from loadtest.meter import Meter
from loadtest.server import ServerFailed, foreign_environment, free_port, orchard_command, stop
from sfu.wire import stun, turn
from sfu.wire.stun import Attribute, MessageClass, PasswordAlgorithm, StunError
from sfu.wire.turn import Method, TurnAttribute

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

Transport = Literal["udp", "tcp", "tls"]
Form = Literal["channel", "send"]

HOST: Final = "127.0.0.1"
PEERS: Final = tuple(f"127.0.0.{number}" for number in range(1, 9))
REALM: Final = "loadtest.example"
ANSWER_S: Final = 3.0
RESEND_S: Final = 0.1
START_S: Final = 30.0
PER_USER: Final = 10  # allocations of a name: a server may allow no more
NAMES: Final = 4000  # more than any run has clients for at a time, by PER_USER
NAME_LIFE_S: Final = 86_400
LOG_LOOK_S: Final = 2.0
LOG_BYTES: Final = 64 << 20  # of a server's log: what has grown longer is thrown away


@dataclass(frozen=True, slots=True)
class Secret:
    """Shared with the server: names and passwords are made by it (coturn's use-auth-secret)."""

    secret: str

    def users(self) -> list[tuple[str, str]]:
        """Names with their passwords."""
        ends = int(time.time()) + NAME_LIFE_S
        names = [f"{ends}:load{number}" for number in range(NAMES)]
        return [
            (name, base64.b64encode(hmac.digest(self.secret.encode(), name.encode(), "sha1")).decode())
            for name in names
        ]


@dataclass(frozen=True, slots=True)
class User:
    """One name that all clients have."""

    username: str
    password: str

    def users(self) -> list[tuple[str, str]]:
        """The one."""
        return [(self.username, self.password)]


@dataclass(frozen=True, slots=True)
class Relay:
    """A running TURN server: where it is, who may use it, what it costs, and on which core it runs.

    `peers` are addresses of this machine that it relays to, the first with the port of the peer.
    """

    host: str
    port: int
    tls_port: int
    realm: str
    credentials: Secret | User
    local: str
    peers: tuple[str, ...]
    meter: Meter
    core: int

    def flows(
        self,
        count: int,
        *,
        transport: Transport = "udp",
        form: Form = "channel",
        size: int = 120,
        joined: bool = False,
        peers: int = 1,
    ) -> Flows:
        """Clients of it, that have asked for nothing yet; `peers`: how many addresses they may send to.

        Raises ServerFailed where it has no such port or peers.
        """
        port = self.tls_port if transport == "tls" else self.port
        if not port:
            raise ServerFailed(f"the server has no port for {transport}")
        if peers > len(self.peers):
            raise ServerFailed(f"{peers} addresses of peers are wanted, and {len(self.peers)} there are")
        return Flows(
            count,
            transport=transport,
            server=(self.host, port),
            local=self.local,
            peers=self.peers[:peers],
            realm=self.realm,
            users=[
                (name.encode(), stun.long_term_key(name, self.realm, password, PasswordAlgorithm.MD5))
                for name, password in self.credentials.users()
            ],
            per_user=PER_USER,
            size=size,
            channel=form == "channel",
            joined=joined,
        )


class Relays(Protocol):
    """Gives scenarios a server to measure."""

    @property
    def fresh(self) -> bool:
        """Whether each is a process of its own."""
        ...

    def relay(self) -> AbstractAsyncContextManager[Relay]:
        """A server, for the time of the context."""
        ...


@dataclass(frozen=True, slots=True)
class RunningRelay:
    """A server that somebody else started; it is left running. `realm` is asked for where it is not given,
    `peers` is this machine's address on the way to it."""

    host: str
    port: int
    tls_port: int
    credentials: Secret | User
    pid: int
    core: int
    realm: str = ""
    peers: tuple[str, ...] = ()
    fresh: bool = False

    @contextlib.asynccontextmanager
    async def relay(self) -> AsyncGenerator[Relay]:
        """The one server there is. Raises ServerFailed."""
        meter = Meter(self.pid)
        meter.cpu_s()
        realm = self.realm or await asyncio.to_thread(_realm, self.host, self.port, ANSWER_S)
        if not realm:
            raise ServerFailed(f"{self.host}:{self.port} answers no Allocate over UDP within {ANSWER_S:g} s")
        local = _local(self.host)
        yield Relay(
            self.host,
            self.port,
            self.tls_port,
            realm,
            self.credentials,
            local,
            self.peers or (local,),
            meter,
            self.core,
        )


@dataclass(frozen=True, slots=True)
class OwnRelay:
    """Starts `orchard turn`; `arguments` are added to the command line."""

    core: int
    arguments: Sequence[str] = ()
    fresh: bool = True

    @contextlib.asynccontextmanager
    async def relay(self) -> AsyncGenerator[Relay]:
        """A new process, ended with the context. Raises ServerFailed."""
        with tempfile.TemporaryDirectory(prefix="orchard-loadtest-") as directory:
            folder, start = Path(directory), _Start.new()
            certificate, key = write_certificate(folder)
            settings = {
                "udp": [f"{HOST}:{start.port}"],
                "tcp": [f"{HOST}:{start.port}"],
                "tls": [f"{HOST}:{start.tls_port}"],
                "certificate": str(certificate),
                "key": str(key),
                "strict_ports": True,
                "realm": REALM,
                "secrets": [start.secret],
                "relay": [HOST],
                "policy": "public",
                "allow": list(PEERS),
                # all clients are of one address; one alone may be the whole load
                "allocations": 16_000,
                "allocations_per_address": 16_000,
                "packets_per_second": 0,
                "bits_per_second": 0,
                "replies_per_second": 1_000_000.0,
                "strangers_per_address": 10_000,
                "strangers": 10_000,
            }
            config = folder / "orchard.toml"
            # values of JSON are values of TOML as long as there are no objects among them
            config.write_text(
                "[turn]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
            )
            command = [*orchard_command(), "turn", "--http", "127.0.0.1:0"]
            command += ["--config", str(config), "--data", f"{folder}/data"]
            async with _running("orchard turn", [*command, *self.arguments], self.core, folder) as process:
                yield await start.ready(process, self.core, folder / "log")


@dataclass(frozen=True, slots=True)
class Coturn:
    """Starts Debian's coturn."""

    core: int
    fresh: bool = True

    @contextlib.asynccontextmanager
    async def relay(self) -> AsyncGenerator[Relay]:
        """A new process, ended with the context. Raises ServerFailed."""
        program = shutil.which("turnserver")
        if program is None:
            raise ServerFailed(
                "coturn is not installed; on Debian: apt-get install --no-install-recommends coturn"
            )
        with tempfile.TemporaryDirectory(prefix="orchard-loadtest-") as directory:
            folder, start = Path(directory), _Start.new()
            certificate, key = write_certificate(folder)
            arguments = [
                "-n",
                f"--listening-ip={HOST}",
                f"--relay-ip={HOST}",
                f"--listening-port={start.port}",
                f"--tls-listening-port={start.tls_port}",
                "--relay-threads=1",
                "--min-port=49152",
                "--max-port=65535",
                f"--cert={certificate}",
                f"--pkey={key}",
                "--use-auth-secret",
                f"--static-auth-secret={start.secret}",
                f"--realm={REALM}",
                "--allow-loopback-peers",
                "--no-cli",
                "--no-rfc5780",  # its second ports would have to be free as well
                f"--userdb={folder / 'users'}",
                f"--pidfile={folder / 'pid'}",
                f"--log-file={folder / 'log'}",
                "--simple-log",
            ]
            async with _running("coturn", [program, *arguments], self.core, folder) as process:
                yield await start.ready(process, self.core, folder / "log")


@dataclass(frozen=True, slots=True)
class _Start:
    """What a server is started with."""

    port: int
    tls_port: int
    secret: str

    @classmethod
    def new(cls) -> _Start:
        both = socket.SOCK_STREAM, socket.SOCK_DGRAM
        return cls(free_port(*both), free_port(*both), secrets.token_hex(16))

    async def ready(self, process: asyncio.subprocess.Process, core: int, log: Path) -> Relay:
        """Once it answers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while process.returncode is None and loop.time() < deadline:
            if await asyncio.to_thread(_realm, HOST, self.port, RESEND_S):
                credentials = Secret(self.secret)
                meter = Meter(process.pid)  # taskset becomes the server by exec
                return Relay(HOST, self.port, self.tls_port, REALM, credentials, HOST, PEERS, meter, core)
        said = (await asyncio.to_thread(log.read_text, errors="replace"))[-2000:]
        raise ServerFailed(f"the server does not answer; it said:\n{said}")


@contextlib.asynccontextmanager
async def _running(
    name: str, command: Sequence[str], core: int, folder: Path
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A server on its core, whose log does not grow for ever."""
    log = folder / "log"
    with log.open("ab") as printed:
        process = await asyncio.create_subprocess_exec(
            *("taskset", "-c", str(core), *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env=foreign_environment(),
            cwd=folder,
        )
        trimming = asyncio.create_task(_trim(log), name=f"log of {name}")
        try:
            yield process
        finally:
            trimming.cancel()
            await stop(process)


async def _trim(log: Path) -> None:
    while True:
        await asyncio.sleep(LOG_LOOK_S)
        if await asyncio.to_thread(os.path.getsize, log) > LOG_BYTES:
            os.truncate(log, 0)


def _realm(host: str, port: int, patience_s: float) -> str:
    """The realm that a server names to who has no credentials; "" if it does not answer in time."""
    transaction_id = secrets.token_bytes(stun.TRANSACTION_ID_LENGTH)
    ask = (TurnAttribute.REQUESTED_TRANSPORT, turn.encode_requested_transport(turn.PROTOCOL_UDP))
    request = stun.build(Method.ALLOCATE, MessageClass.REQUEST, transaction_id, [ask], fingerprint=False)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + patience_s
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))
        sock.settimeout(RESEND_S)
        while time.monotonic() < deadline:
            try:
                sock.send(request)
                reply = stun.parse(sock.recv(2048))
            except ConnectionError:  # nobody is there yet
                time.sleep(RESEND_S / 4)
            except (TimeoutError, StunError):
                continue
            else:
                return (reply.get(Attribute.REALM) or b"").decode()
    return ""


def _local(host: str) -> str:
    """This machine's address on the way to a host."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, 9))
        return str(sock.getsockname()[0])
