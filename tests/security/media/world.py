"""A whole node on loopback, callers whose every datagram is ours to spoil, and strangers.

A `Caller` speaks ICE, DTLS and SRTP on a socket of its own. Its `send` is also how an attack "from the
address of another client" is made: what leaves a caller's socket has the caller's address, whoever wrote
it. Nothing waits for a fixed time: `until` polls a condition and fails at its deadline.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pylibsrtp does not type its constants.

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
from pylibsrtp import Policy, Session

from loadtest.api import Api, RemoteTrack
from loadtest.api import Server as Target
from loadtest.description import Section, Transport, answer_section, new_section, read, render
from loadtest.handshake import Handshake, Identity
from loadtest.ice import Checks, Credentials, State, new_credentials
from sfu.api.listener import HTTP_LISTEN
from sfu.api.server import Server
from sfu.base.ids import SessionId, ice_pwd, ice_ufrag
from sfu.base.settings import Config, Listen, Setting
from sfu.net.address import Address
from sfu.node import APPS, DATA, MEDIA_LISTEN
from sfu.wire import stun
from sfu.wire.rtcp import RtcpPacket, parse_rtcp, serialize_rtcp
from sfu.wire.rtp import RtpPacket, is_rtcp, parse_rtp, serialize_rtp
from sfu.wire.stun import Attribute, MessageClass

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path as FilePath
    from typing import Any

APP, SECRET = "a1" * 16, "5e" * 32
IDENTITY = Identity()
OPUS = 111
DEADLINE_S = 15.0


async def until(holds: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
    """Wait for a condition. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 -- what is waited for is in another's hands
            await asyncio.sleep(0.005)


@dataclass
class Site:
    """A node that serves one app."""

    server: Server
    api: Api
    http: httpx.AsyncClient
    cluster_secret: bytes
    callers: list[Caller] = field(default_factory=list["Caller"])
    strangers: list[socket.socket] = field(default_factory=list[socket.socket])

    @property
    def address(self) -> Address:
        """Where media goes."""
        return Address("127.0.0.1", self.server.node.media_listen.port)

    def sizes(self) -> dict[str, int]:
        """What the node holds."""
        return self.server.node.sizes()

    def stranger(self) -> socket.socket:
        """A socket that no client of ours has."""
        sock = _dial(self.address)
        self.strangers.append(sock)
        return sock

    def pwd(self, session: str, generation: int = 0) -> str:
        """The ICE password of a session, which its client alone should have."""
        return ice_pwd(self.cluster_secret, ice_ufrag(SessionId(session), generation))

    async def caller(self, sock: socket.socket | None = None) -> Caller:
        """A session that has published one audio track, and its client, which has sent nothing yet."""
        caller = Caller(self, await self.api.new_session(), sock or _dial(self.address))
        self.callers.append(caller)
        await caller.publish()
        return caller

    async def connected(self, sock: socket.socket | None = None) -> Caller:
        """The same, connected."""
        caller = await self.caller(sock)
        caller.start()
        await until(lambda: caller.keyed)
        return caller

    async def all_gone(self) -> None:
        """Until nothing is left of any session."""
        await until(lambda: not any(self.sizes().values()))


class Caller:
    """One client: a publisher of audio "sound" that may pull others'."""

    def __init__(self, site: Site, session: str, sock: socket.socket) -> None:
        self.site = site
        self.session = session
        self.sock = sock
        self.credentials = new_credentials()
        self.ssrc = secrets.randbits(31) | 1
        self.failed: Exception | None = None
        self.answers: Counter[bytes] = Counter()  # STUN responses, by the transaction that they are of
        self.said_goodbye = False
        self.rtp: list[RtpPacket] = []
        self.rtcp: list[RtcpPacket] = []
        self._sections: list[Section] = []
        self._version = 0
        self.sequence = 0
        self._remote: Credentials | None = None
        self._fingerprint = ""
        self._checks: Checks | None = None
        self._handshake: Handshake | None = None
        self._seal: Session | None = None
        self._open: Session | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    # signalling

    async def publish(self) -> None:
        """Publish the track. Raises ApiError."""
        self._sections.append(new_section("0", "audio", self.ssrc, "sound"))
        answer = await self.site.api.publish(self.session, self._describe("offer"), [("0", "sound")])
        self._take(answer)

    def add_section(self, section: Section) -> None:
        """Have a section in the offers to come."""
        self._sections.append(section)

    async def restart_ice(self) -> None:
        """New credentials of the client's, and so of the server's. Raises ApiError."""
        self.credentials = new_credentials()
        body = {"sessionDescription": {"type": "offer", "sdp": self._describe("offer")}}
        reply = await self.site.http.put(f"/sessions/{self.session}/renegotiate", json=body)
        reply.raise_for_status()
        self._take(reply.json()["sessionDescription"]["sdp"])

    async def pull(self, publisher: Caller) -> None:
        """Subscribe to another one's track, which speaks at that moment. Raises ApiError."""
        publisher.speak()
        offer = await self.site.api.pull(self.session, [RemoteTrack(publisher.session, "sound")])
        known = {section.mid: section for section in self._sections}
        self._sections = [known.get(one.mid) or answer_section(one) for one in read(offer).sections]
        await self.site.api.answer(self.session, self._describe("answer"))

    def _describe(self, kind: Any) -> str:
        transport = Transport(self.credentials.ufrag, self.credentials.pwd, IDENTITY.fingerprint)
        self._version += 1
        return render(kind, transport, self._sections, self._version)

    def _take(self, text: str) -> None:
        remote = read(text)
        self._remote = Credentials(remote.ufrag, remote.pwd)
        self._fingerprint = remote.fingerprint
        if self._checks is not None:
            self._checks = Checks(self.credentials, self._remote, self._loop.time())

    # transport

    @property
    def keyed(self) -> bool:
        """Whether the handshake is done. Raises what made it fail."""
        if self.failed is not None:
            raise self.failed
        return self._seal is not None

    def start(self) -> None:
        """Begin with connectivity checks."""
        assert self._remote is not None
        self._checks = Checks(self.credentials, self._remote, self._loop.time())
        self._loop.add_reader(self.sock, self._on_readable)
        self._on_timer()

    def close(self) -> None:
        """Vanish without a goodbye."""
        self.stop()
        self.sock.close()

    def stop(self) -> None:
        """Fall silent, and leave the socket open."""
        self._loop.remove_reader(self.sock)
        if self._timer is not None:
            self._timer.cancel()

    def say_goodbye(self) -> None:
        """close_notify."""
        assert self._handshake is not None
        self._handshake.close()
        self.send(*self._handshake.take_datagrams())

    def send(self, *datagrams: bytes) -> None:
        """Send datagrams as they are, from this client's address."""
        for datagram in datagrams:
            try:
                self.sock.send(datagram)
            except BlockingIOError:
                return  # as on a full line

    def seal(self, packet: RtpPacket | list[RtcpPacket] | bytes) -> bytes:
        """What a packet looks like on the wire; bytes are RTP or a compound as they stand."""
        assert self._seal is not None
        if isinstance(packet, RtpPacket):
            packet = serialize_rtp(packet)
        elif isinstance(packet, list):
            packet = serialize_rtcp(packet)
        return self._seal.protect_rtcp(packet) if is_rtcp(packet) else self._seal.protect(packet)

    def sound(self) -> bytes:
        """The next packet of the published track, sealed."""
        self.sequence += 1
        packet = RtpPacket(
            OPUS, self.sequence, self.sequence * 960, self.ssrc, b"sound", extensions=((1, b"0"),)
        )
        return self.seal(packet)

    def speak(self, count: int = 1) -> None:
        """Send so many packets of the published track."""
        self.send(*(self.sound() for _ in range(count)))

    def check(self, generation: int = 0, *, pwd: str | None = None, **options: Any) -> bytes:
        """A connectivity check of this client's session; see `check_of`."""
        return check_of(
            self.session,
            generation,
            self.credentials.ufrag,
            pwd or self.site.pwd(self.session, generation),
            **options,
        )

    def _on_readable(self) -> None:
        while True:
            try:
                data = self.sock.recv(4096)
            except BlockingIOError:
                break
            try:
                self._receive(data, self._loop.time())
            except Exception as error:
                self.failed = error
        self._arm()

    def _receive(self, data: bytes, now: float) -> None:
        checks, handshake = self._checks, self._handshake
        assert checks is not None
        if data[0] < 4:
            self.answers[transaction_of(data)] += 1
            checks.receive_datagram(data, self.site.address, now)
            if checks.state is State.VALID and handshake is None:
                handshake = self._handshake = Handshake(IDENTITY, self._fingerprint, now)
                self.send(*handshake.take_datagrams())
        elif data[0] < 64:
            assert handshake is not None
            handshake.receive_datagram(data, now)
            self.send(*handshake.take_datagrams())
            self.said_goodbye |= handshake.closed
            if handshake.keys is not None and self._seal is None:
                self._seal = _session(handshake.keys.local, inbound=False)
                self._open = _session(handshake.keys.remote, inbound=True)
        elif self._open is not None:
            if is_rtcp(data):
                self.rtcp += parse_rtcp(self._open.unprotect_rtcp(data))
            else:
                self.rtp.append(parse_rtp(self._open.unprotect(data)))

    def _on_timer(self) -> None:
        assert self._checks is not None
        now = self._loop.time()
        self._checks.handle_timer(now)
        self.send(*self._checks.take_datagrams())
        if self._handshake is not None:
            try:
                self._handshake.handle_timer(now)
            except Exception as error:
                self.failed = error
            self.send(*self._handshake.take_datagrams())
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._checks is not None
        moments = [self._checks.timer_at(), None if self._handshake is None else self._handshake.timer_at()]
        due = [at for at in moments if at is not None]
        if due:
            self._timer = self._loop.call_at(min(due), self._on_timer)


def check_of(
    session: str,
    generation: int,
    remote_ufrag: str,
    pwd: str,
    *,
    priority: int = 0x6EFFFFFF,
    nominate: bool = True,
    transaction: bytes | None = None,
) -> bytes:
    """A connectivity check with any password."""
    username = f"{ice_ufrag(SessionId(session), generation)}:{remote_ufrag}".encode()
    attributes = [
        (Attribute.USERNAME, username),
        (Attribute.PRIORITY, priority.to_bytes(4, "big")),
        (Attribute.ICE_CONTROLLING, bytes(8)),
    ]
    if nominate:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    return stun.build(
        stun.BINDING,
        MessageClass.REQUEST,
        transaction or secrets.token_bytes(12),
        attributes,
        key=pwd.encode(),
    )


def transaction_of(message: bytes) -> bytes:
    """The id that a STUN message and the answer to it share."""
    return message[8:20]


def client_hello() -> bytes:
    """A true ClientHello, of nobody's handshake."""
    (hello,) = Handshake(IDENTITY, "", 0.0).take_datagrams()
    return hello


def silent(sock: socket.socket) -> bool:
    """Whether nothing has come back to a socket."""
    try:
        return not sock.recv(4096)
    except BlockingIOError:
        return True


async def hears(listener: Caller, speaker: Caller) -> None:
    """Until media gets through; the speaker goes on speaking meanwhile."""
    before = len(listener.rtp)
    async with asyncio.timeout(DEADLINE_S):
        while len(listener.rtp) < before + 5:
            speaker.speak()
            await asyncio.sleep(0.005)


def _dial(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    sock.connect(address)
    return sock


def _session(key: bytes, *, inbound: bool) -> Session:
    policy = Policy(
        key=key,
        ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    )
    policy.allow_repeat_tx = True
    return Session(policy)


@asynccontextmanager
async def site_at(data: FilePath, values: dict[Setting[Any], Any] | None = None) -> AsyncGenerator[Site]:
    """A node with an empty data directory; at the end it must hold nothing."""
    config = Config(
        {
            HTTP_LISTEN: Listen("127.0.0.1", 0),
            MEDIA_LISTEN: Listen("127.0.0.1", 0),
            DATA: str(data / "data"),
            APPS: (f"{APP}:{SECRET}",),
            **(values or {}),
        }
    )
    server = Server(config)
    await server.start()
    api = Api(Target(f"{server.url}/v1", APP, SECRET))
    http = httpx.AsyncClient(
        base_url=f"{server.url}/v1/apps/{APP}", headers={"authorization": f"Bearer {SECRET}"}, trust_env=False
    )
    site = Site(server, api, http, server.node.data.cluster_secret())
    try:
        yield site
    finally:
        for caller in site.callers:
            caller.close()
        for sock in site.strangers:
            sock.close()
        await api.close()
        await http.aclose()
        await server.stop()
    assert not any(server.node.sizes().values()), server.node.sizes()
