"""The one connection of a node to Redis, and what is answered while there is none.

All commands go out on it in the order in which they are given; their answers and what other clients
publish come back on it in one order (RESP3), which is the order in which it happened. So whoever reads
a value and hears of its changes never has to ask which of two is the newer.

    away --connected, greeted--> up --broken, too slow, refused--> away

While it is away, calls fail at once, without a time-out, and it is tried again and again. A call that
is not answered in time fails; if nothing else was answered meanwhile either, the connection is broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from prometheus_client import Counter, Gauge, Histogram
from redis._parsers import _AsyncRESP3Parser  # pyright: ignore[reportPrivateUsage] -- for `_Parser`
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from sfu.base.log import get_logger
from sfu.directory.interface import DirectoryError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sfu.directory.redis.address import RedisAddress, TlsFiles

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # chosen: between two tries to connect
_SENT_TOGETHER = 100  # commands; chosen: a batch is some hundred KB at most

log = get_logger("redis")

_up = Gauge("orchard_redis_up", "Whether the node has its connection to Redis")
_lost = Counter("orchard_redis_lost_total", "Connections to Redis that came to an end", ["reason"])
_refused = Counter("orchard_redis_refused_total", "Commands that were refused, or not even sent", ["reason"])
_seconds = Histogram(
    "orchard_redis_seconds",
    "From a command to its answer",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)


class LinkError(DirectoryError):
    """Redis can't be used as it is, and trying again won't help; the text says what to do."""


def as_it_is(answer: Any) -> Any:
    """For commands whose answer needs no reading."""
    return answer


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A command and what its answer means.

    `read` is called when the answer arrives, before anything that arrives later is looked at, and even
    if nobody waits for it any more. What it raises the caller gets.
    """

    words: tuple[str | bytes | int, ...]
    read: Callable[[Any], T] = as_it_is


@dataclass(slots=True)
class _Sent:
    command: Command[Any]
    packed: list[bytes]
    answer: asyncio.Future[Any]
    since: float


class Link:
    """The connection; `open` it, then `call`.

    `greet` is awaited on each new connection before others may use it: its calls alone go through. It
    raises Unavailable to have the connection tried again, LinkError if that makes no sense. `ready` is called
    when others may, `told` with each message that Redis pushes (its kind, channel, content), `lost` when the
    connection is gone, whether it came to be ready or not.
    A call has `timeout_s`; `pending_limit` bounds those that wait for their answers.
    """

    def __init__(
        self,
        address: RedisAddress,
        tls: TlsFiles,
        *,
        name: str,
        timeout_s: float,
        pending_limit: int,
        greet: Callable[[], Awaitable[None]],
        ready: Callable[[], None],
        told: Callable[[list[Any]], None],
        lost: Callable[[], None],
    ) -> None:
        self._address = address
        self._tls = tls
        self._name = name
        self._timeout_s = timeout_s
        self._pending_limit = pending_limit
        self._greet = greet
        self._ready = ready
        self._told = told
        self._lost = lost
        self._why = "not connected yet"
        self._up = False
        self._greeting: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._broken: asyncio.Future[str] | None = None  # of the connection there is: why it ended
        self._outgoing: deque[_Sent] = deque()
        self._sent: deque[_Sent] = deque()
        self._wanted = asyncio.Event()
        self._heard_at = 0.0  # of the last answer

    @property
    def is_up(self) -> bool:
        """Whether calls go through."""
        return self._up

    async def open(self) -> None:
        """Connect for the first time and keep the connection from then on. Raises LinkError."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(first), name="redis")
        await asyncio.wait((first, self._keeper), return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            self._keeper.result()
        try:
            first.result()
        except Unavailable as error:
            raise LinkError(str(error)) from error

    async def close(self) -> None:
        """Let it go; calls fail from now on."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._why = "closed"

    async def call(self, command: Command[T]) -> T:
        """What `command` answers. Raises Unavailable, at once while the connection is away."""
        (answer,) = await self.call_all([command])
        return answer

    async def call_all(self, commands: Sequence[Command[T]]) -> list[T]:
        """The answers of commands that go out together, all or none of them; in one round trip."""
        if not self._up and asyncio.current_task() is not self._greeting:
            _refused.labels("away").inc()
            raise self._unavailable(self._why)
        if len(self._outgoing) + len(self._sent) + len(commands) > self._pending_limit:
            _refused.labels("pending_limit").inc()
            raise self._unavailable(f"{len(self._sent)} commands wait for its answers already")
        loop = asyncio.get_running_loop()
        now = loop.time()
        waiting = [_Sent(command, _packed(command.words), loop.create_future(), now) for command in commands]
        self._outgoing.extend(waiting)
        self._wanted.set()
        broken = self._broken
        try:
            async with asyncio.timeout(self._timeout_s):
                return [await sent.answer for sent in waiting]
        except TimeoutError:
            if loop.time() - self._heard_at >= self._timeout_s / 2:
                self._break(broken, "timeout")
            raise self._unavailable(f"no answer within {self._timeout_s:g} s") from None
        except ResponseError as error:
            raise self._response_refused(broken, error) from error
        finally:
            for sent in waiting:
                if not sent.answer.cancel() and not sent.answer.cancelled():
                    sent.answer.exception()  # was there in vain: another one of them was raised before

    def post(self, command: Command[Any]) -> None:
        """Send a command whose answer nobody waits for; dropped while the connection is away."""
        if self._up:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(_ignore)
            self._outgoing.append(_Sent(command, _packed(command.words), answer, answer.get_loop().time()))
            self._wanted.set()

    # keeping the connection

    async def _keep(self, first: asyncio.Future[None]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                connection = await self._connected()
                try:
                    await self._use(connection, first)
                    pause_s = FIRST_PAUSE_S
                finally:
                    with contextlib.suppress(RedisError, OSError):
                        await connection.disconnect(nowait=True)
            except (Unavailable, LinkError) as error:
                if not first.done():
                    first.set_exception(error)
                    return
                log.warning("redis.away", redis=str(self._address), reason=str(error))
            except Exception as error:
                log.exception("redis.fault")  # ours; the connection is wanted all the same
                if not first.done():
                    first.set_exception(error)
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _connected(self) -> Connection | UnixDomainSocketConnection:
        connection = _connection(self._address, self._tls, self._name, self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()
        except AuthenticationError:
            raise self._unavailable("refuses the user and password of the URL") from None
        except TimeoutError:
            raise self._unavailable(f"can't be connected to within {self._timeout_s:g} s") from None
        except (RedisError, OSError) as error:
            raise self._unavailable(_short(error)) from error
        return connection

    async def _use(
        self, connection: Connection | UnixDomainSocketConnection, first: asyncio.Future[None]
    ) -> None:
        """Serve calls on a connection until it breaks."""
        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._broken = broken
        tasks = [
            asyncio.create_task(self._read(connection), name="redis answers"),
            asyncio.create_task(self._send(connection), name="redis commands"),
        ]
        for task in tasks:
            task.add_done_callback(lambda task: self._break(broken, _end_of(task)))
        self._greeting = asyncio.create_task(_coroutine(self._greet()), name="redis greeting")
        try:
            await asyncio.wait((self._greeting, broken), return_when=asyncio.FIRST_COMPLETED)
            if self._greeting.done():
                self._greeting.result()
            else:
                raise self._unavailable(broken.result())
            self._up = True
            _up.set(1)
            log.info("redis.connected", redis=str(self._address))
            self._ready()
            if not first.done():
                first.set_result(None)
            await asyncio.wait((broken,))  # not itself: to cancel this is not to break it
            reason = broken.result()
            _lost.labels(reason if reason in _REASONS else "connection").inc()
            log.warning("redis.lost", redis=str(self._address), reason=reason)
        finally:
            self._why = broken.result() if broken.done() else "closed"
            self._up = False
            _up.set(0)
            self._greeting.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(self._greeting, *tasks, return_exceptions=True)
            for sent in (*self._sent, *self._outgoing):
                if not sent.answer.done():
                    sent.answer.set_exception(self._unavailable(self._why))
            self._sent.clear()
            self._outgoing.clear()
            self._lost()

    async def _send(self, connection: Connection | UnixDomainSocketConnection) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._outgoing:
                batch = [self._outgoing.popleft() for _ in range(min(_SENT_TOGETHER, len(self._outgoing)))]
                self._sent.extend(batch)
                pieces = [piece for sent in batch for piece in sent.packed]
                await connection.send_packed_command(pieces, check_health=False)

    async def _read(self, connection: Connection | UnixDomainSocketConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                answer: Any = await cast("Any", connection).read_response(
                    disable_decoding=True, timeout=math.inf, disconnect_on_error=False, push_request=True
                )
            except ResponseError as error:
                answer = error
            if isinstance(answer, _Push):
                if answer.message[0] not in _ANSWERS:
                    self._told(answer.message)
                    continue
                answer = None
            sent = self._sent.popleft()
            self._heard_at = loop.time()
            _seconds.observe(loop.time() - sent.since)
            _settle(sent, answer)

    def _break(self, broken: asyncio.Future[str] | None, reason: str) -> None:
        if broken is not None and not broken.done():
            broken.set_result(reason)

    def _response_refused(self, broken: asyncio.Future[str] | None, error: ResponseError) -> Unavailable:
        """What a refusal means for the caller; one that a new connection may mend breaks this one."""
        if isinstance(error, OutOfMemoryError):
            reason, text = "full", "is full (maxmemory): give it more memory, or take other keys out of it"
        elif isinstance(error, ReadOnlyError):
            reason, text = "replica", "is a replica: name the primary"
        elif isinstance(error, NoScriptError):
            reason, text = "scripts", "has lost its scripts"
        else:
            reason, text = "other", f"refuses a command: {_short(error)}"
        _refused.labels(reason).inc()
        if reason in ("replica", "scripts"):
            self._break(broken, reason)
        return self._unavailable(text)

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(f"Redis at {self._address}: {what}")


_ANSWERS = frozenset((b"subscribe", b"unsubscribe"))  # pushed, and the only answer to these commands
_REASONS = frozenset(("timeout", "replica", "scripts"))


class _Push:
    """A message that is no answer."""

    def __init__(self, message: list[Any]) -> None:
        self.message = message


class _Parser(_AsyncRESP3Parser):
    """Tells pushed messages from answers, which may look the same."""

    async def handle_pubsub_push_response(self, response: list[Any]) -> _Push:
        return _Push(response)


def _connection(
    address: RedisAddress, tls: TlsFiles, name: str, timeout_s: float
) -> Connection | UnixDomainSocketConnection:
    common: dict[str, Any] = {
        "db": address.database,
        "username": address.username or None,
        "password": address.password or None,
        "client_name": name,
        "protocol": 3,
        "parser_class": _Parser,
        "socket_timeout": None,  # of single reads; the time-outs are of calls, here
        "socket_connect_timeout": timeout_s,
        "driver_info": None,
    }
    if address.path:
        return UnixDomainSocketConnection(path=address.path, **common)
    if not address.tls:
        return Connection(host=address.host, port=address.port, **common)
    return SSLConnection(
        host=address.host,
        port=address.port,
        ssl_cert_reqs="required",
        ssl_check_hostname=True,
        ssl_ca_certs=tls.ca or None,
        ssl_certfile=tls.certificate or None,
        ssl_keyfile=tls.key or None,
        **common,
    )


def _settle(sent: _Sent, answer: Any) -> None:
    result: Any = None
    error: Exception | None = None
    if isinstance(answer, Exception):
        error = answer
    else:
        try:
            result = sent.command.read(answer)
        except Exception as failed:  # it is the caller's, who may have gone
            error = failed
    if sent.answer.done():
        return
    if error is not None:
        sent.answer.set_exception(error)
    else:
        sent.answer.set_result(result)


def _packed(words: Sequence[str | bytes | int]) -> list[bytes]:
    """A command as RESP writes it: an array of bulk strings."""
    pieces = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        pieces += (b"$%d\r\n" % len(data), data, b"\r\n")
    return pieces


def _end_of(task: asyncio.Task[None]) -> str:
    if task.cancelled():
        return "closed"
    error = task.exception()
    return "closed by the server" if error is None else _short(error)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _ignore(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled() and (error := answer.exception()) is not None:
        log.warning("redis.refused", error=_short(error))


async def _coroutine(work: Awaitable[T]) -> T:
    return await cast("Any", work)
