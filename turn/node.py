"""Puts a TURN server together from the settings, starts it and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import socket
import time
from typing import TYPE_CHECKING, Final

from sfu.base.log import get_logger
from sfu.base.settings import ByteSize, Listen, Setting, Source
from sfu.net.address import packed_host
from sfu.net.interfaces import interface_hosts
from sfu.net.tcp import open_tcp
from sfu.net.udp import OpenError, open_udp
from turn import certificate, connections, limits, policy
from turn.addresses import RELAY, relay_hosts
from turn.auth import Authenticator
from turn.certificate import CertificateError
from turn.connections import TCP_RELAY, Connections, connection_bounds_of
from turn.credentials import REALM, REVOKED, SECRETS, Credentials, Keys
from turn.datapath import DataPath, make_relay
from turn.metrics import ExportedRelay, UsageMeter
from turn.networks import Networks
from turn.nonce import Nonces
from turn.openings import Opener
from turn.peer_sockets import PeerSockets, listening_socket
from turn.ports import PORTS, RESERVATIONS, RESERVATIONS_PER_USER, RelayPorts, parse_range
from turn.proxied import PROXIES
from turn.records import record
from turn.relay import BadCertificate
from turn.server import Server
from turn.streams import Streams
from turn.tcp import TcpService
from turn.told import MEDIA, parse_media, told_addresses
from turn.tuples import Transport
from turn.udp import UdpService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sfu.base.settings import Config
    from turn.relay import Relay
    from turn.told import Media


def _wrong_listens(texts: Sequence[str]) -> str | None:
    for text in texts:
        try:
            Listen.parse(text)
        except ValueError as error:
            return f"{text}: {error}; want PORT, ADDRESS:PORT or [IPV6]:PORT"
    return None


UDP = Setting(
    "turn.udp",
    tuple[str, ...],
    ("3478",),
    check=_wrong_listens,
    help="Where STUN and TURN clients are heard over UDP, [HOST:]PORT each",
)
TCP = Setting(
    "turn.tcp",
    tuple[str, ...],
    ("3478",),
    check=_wrong_listens,
    help="Where STUN and TURN clients are heard over TCP, [HOST:]PORT each",
)
TLS = Setting(
    "turn.tls",
    tuple[str, ...],
    ("5349",),
    check=_wrong_listens,
    help="Where STUN and TURN clients are heard over TLS, [HOST:]PORT each; nowhere without a certificate",
)
TCP_PROXIED = Setting(
    "turn.tcp_proxied",
    tuple[str, ...],
    (),
    check=_wrong_listens,
    help="As turn.tcp, for connections that a proxy of turn.proxies passes on: a PROXY header (v2) first",
)
TLS_PROXIED = Setting(
    "turn.tls_proxied",
    tuple[str, ...],
    (),
    check=_wrong_listens,
    help="As turn.tls, for connections that a proxy of turn.proxies passes on: a PROXY header, then TLS",
)
STRICT = Setting(
    "turn.strict_ports",
    bool,
    False,
    help="Do not start where a port can't be had; else the others are used",
)
BUFFER = Setting(
    "turn.buffer",
    ByteSize,
    ByteSize(4 << 20),
    minimum=65536,
    help="Receive and send buffer of each UDP socket of clients; the kernel may give less",
)

SETTINGS: Final = (
    *(
        UDP,
        TCP,
        TLS,
        TCP_PROXIED,
        TLS_PROXIED,
        PROXIES,
        certificate.CERTIFICATE,
        certificate.KEY,
        STRICT,
        BUFFER,
        RELAY,
        PORTS,
        RESERVATIONS,
        RESERVATIONS_PER_USER,
    ),
    *(REALM, SECRETS, REVOKED, limits.NONCE_S, limits.CREDENTIAL_MOST_S),
    *(policy.POLICY, MEDIA, policy.MEET, policy.ALLOW, policy.DENY),
    *(limits.ALLOCATIONS, limits.ALLOCATIONS_PER_USER, limits.ALLOCATIONS_PER_ADDRESS, limits.LIFETIME_S),
    *(limits.PERMISSIONS, limits.CHANNELS, limits.STRICT_CHANNELS),
    *(limits.PEERS_PER_SECOND, limits.PEERS_BURST, limits.PACKETS_PER_SECOND, limits.BITS_PER_SECOND),
    *(limits.REPLIES_PER_SECOND, limits.FAILURES_PER_MINUTE, limits.RATE_SLOTS),
    *(limits.HANDSHAKE_S, limits.MESSAGE_S, limits.UNALLOCATED_S),
    *(limits.STRANGERS, limits.STRANGERS_PER_ADDRESS, limits.STRANGERS_BYTES, limits.CONTROL_BYTES),
    *(limits.WRITE_QUEUE_BYTES, limits.PROXY_HEADER_S, limits.PROXY_HEADER_BYTES),
    *connections.SETTINGS,
)
"""What `orchard turn` reads."""

_MEASURE_S: Final = 5.0  # chosen: a third of the time between two looks of Prometheus
_NOT_HERE: Final = (errno.EADDRINUSE, errno.EACCES, errno.EPERM)

log = get_logger("turn")


class TurnError(Exception):
    """The server can't start; the text names the setting, its value and the way out."""


class NoPortError(TurnError):
    """Not one UDP port can be had."""


class TurnNode:
    """One TURN server. `start`, then `drain`, then `stop`.

    `media` is where the SFU's media is, which clients may reach in every mode; `keys` are those of
    `turn.secrets` and whatever the caller has besides.
    """

    def __init__(self, config: Config, *, media: Iterable[Media] = (), keys: Keys | None = None) -> None:
        self._config = config
        self._media = tuple(media)
        self._keys = keys or Keys(shared=tuple(secret.encode() for secret in config[SECRETS]))
        self._stack = contextlib.ExitStack()
        self._sockets = self._stack.enter_context(contextlib.ExitStack())  # closed after all else has stopped
        self._hosts: list[str] = []
        self._chains: list[bytes] = []
        self._armed: asyncio.TimerHandle | None = None
        self._measuring: asyncio.TimerHandle | None = None
        self._exported = ExportedRelay()
        self._empty = asyncio.Event()
        self._empty.set()
        self._relay: Relay
        self._meter: UsageMeter
        self.credentials: Credentials
        self.server: Server
        self.listens: list[Listen] = []
        """Where clients are heard over UDP, with the ports that the system chose."""
        self.tcp_listens: list[Listen] = []
        self.tls_listens: list[Listen] = []
        self.tcp_proxied_listens: list[Listen] = []
        self.tls_proxied_listens: list[Listen] = []

    def start(self) -> None:
        """Open everything and serve on the running loop. Raises TurnError, and leaves nothing open then."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise

    def _start(self) -> None:
        config = self._config
        bounds, connection_bounds = limits.bounds_of(config), connection_bounds_of(config)
        hosts = relay_hosts(config[RELAY])
        ports = parse_range(config[PORTS])
        self.credentials = Credentials(
            config[REALM],
            self._keys,
            max_ttl_s=bounds.credential_most_s,
            max_revoked=config[REVOKED],
        )
        nonces = Nonces(secrets.token_bytes(32), life_s=bounds.nonce_s)
        interfaces = interface_hosts()
        try:
            told = told_addresses(
                relays=hosts,
                relay_ports=ports,
                media=self._media,
                others=map(parse_media, config[MEDIA]),
                interfaces=interfaces,
            )
            peers = policy.policy_of(
                config,
                hosts=interfaces,
                media=[media.told for media in self._media],
                relays=[host for relay in hosts.values() for host in (relay.host, relay.told)],
                relay_ports=ports,
            )
        except ValueError as error:
            raise TurnError(str(error)) from error
        relay = make_relay(
            bounds,
            listeners=max(1, len(config[UDP])),
            peer_connections=connection_bounds.connections if config[TCP_RELAY] else 0,
        )
        relay.set_own_ports(peers.own_ports())
        relay.set_told(
            [(packed_host(at.told), at.low, at.high, packed_host(at.host), at.first) for at in told]
        )
        self._relay = relay
        self._hosts = [host for held in hosts.values() for host in (held.host, held.told)]
        has_tls = self._show_certificates()
        streams = Streams(limits.Strangers(bounds))
        path = DataPath(relay, streams, packets_per_s=bounds.packets_per_s, bytes_per_s=bounds.bytes_per_s)
        self._meter = UsageMeter(path.usage)
        sockets = PeerSockets(path, heard=self._heard)
        self.server = Server(
            authenticator=Authenticator(nonces, self.credentials),
            relay=path,
            opener=Opener(
                RelayPorts(
                    *ports,
                    bind=_bind,
                    reservations=config[RESERVATIONS],
                    reservations_per_owner=config[RESERVATIONS_PER_USER],
                ),
                hosts,
                tcp=RelayPorts(*ports, bind=_listen) if config[TCP_RELAY] else None,
            ),
            policy=peers,
            limits=limits.Limits(bounds),
            sockets=sockets,
            connections=Connections(connection_bounds),
        )
        sockets.attach(self.server)
        self._check_proxies()
        tcp = TcpService(
            self.server,
            relay,
            path,
            streams,
            bounds,
            Networks(config[PROXIES]),
            half_closed_s=connection_bounds.half_closed_s,
            heard=self._heard,
        )
        service = UdpService(self.server, relay, path, tcp, self._listen(relay), heard=self._heard)
        self._stack.callback(tcp.stop)
        self._accept(tcp, TCP, Transport.TCP, self.tcp_listens)
        self._accept(tcp, TCP_PROXIED, Transport.TCP, self.tcp_proxied_listens, is_proxied=True)
        if has_tls:
            self._accept(tcp, TLS, Transport.TLS, self.tls_listens)
            self._accept(tcp, TLS_PROXIED, Transport.TLS, self.tls_proxied_listens, is_proxied=True)
        service.start()
        self._stack.callback(self.server.stop)
        self._stack.callback(service.stop)
        self._measure_again()

    def _listen(self, relay: Relay) -> dict[int, int]:
        """Open the sockets of clients; the relay's numbers of them with their ports."""
        listeners: dict[int, int] = {}
        for text in self._config[UDP]:
            listen = Listen.parse(text)
            try:
                sock = open_udp(
                    listen.host,
                    listen.port,
                    setting=UDP.flag,
                    receive_buffer=self._config[BUFFER],
                    send_buffer=self._config[BUFFER],
                )
            except OpenError as error:
                if self._config[STRICT]:
                    raise TurnError(str(error)) from error
                log.warning("turn.not_listening", error=str(error))
                continue
            self._stack.callback(sock.close)
            port = int(sock.getsockname()[1])
            listeners[relay.add_listener(sock.fileno(), sock.family)] = port
            self.listens.append(Listen(listen.host, port))
        if not listeners:
            raise NoPortError(f"{UDP.flag} {', '.join(self._config[UDP])}: not one of these ports can be had")
        return listeners

    def _accept(
        self,
        tcp: TcpService,
        setting: Setting[tuple[str, ...]],
        transport: Transport,
        listens: list[Listen],
        *,
        is_proxied: bool = False,
    ) -> None:
        """Open the sockets on which connections are awaited."""
        for text in self._config[setting]:
            listen = Listen.parse(text)
            try:
                sock = open_tcp(listen.host, listen.port, setting=setting.flag)
            except OpenError as error:
                if self._config[STRICT]:
                    raise TurnError(str(error)) from error
                log.warning("turn.not_listening", error=str(error))
                continue
            self._sockets.callback(sock.close)
            tcp.listen(sock, transport, is_proxied=is_proxied)
            listens.append(Listen(listen.host, int(sock.getsockname()[1])))

    def _check_proxies(self) -> None:
        """Raise TurnError where proxies are awaited of which none is known, or the other way round."""
        config = self._config
        awaited = [setting for setting in (TCP_PROXIED, TLS_PROXIED) if config[setting]]
        if awaited and not config[PROXIES]:
            where = f"{awaited[0].flag} {', '.join(config[awaited[0]])}"
            raise TurnError(f"{where}: say whose PROXY headers are believed; give {PROXIES.flag} NETWORK")
        if config[PROXIES] and not awaited:
            raise TurnError(
                f"{PROXIES.flag} {', '.join(config[PROXIES])}: no port is theirs; "
                f"give {TCP_PROXIED.flag} or {TLS_PROXIED.flag}"
            )

    def _show_certificates(self) -> bool:
        """Read what new connections are shown; False if there is no certificate. Raises TurnError."""
        config = self._config
        try:
            pairs = certificate.read_pairs(config, self._hosts, time.time())
        except CertificateError as error:
            raise TurnError(str(error)) from error
        if not pairs:
            for setting in (TLS, TLS_PROXIED):
                if config.source(setting) is Source.DEFAULT or not config[setting]:
                    continue
                raise TurnError(
                    f"{setting.flag} {', '.join(config[setting])}: TLS needs a certificate; give "
                    f"{certificate.CERTIFICATE.flag} and {certificate.KEY.flag}, or for a trial "
                    f"{certificate.CERTIFICATE.flag} {certificate.SELF_MADE}"
                )
            return False
        try:
            self._relay.set_certificates(pairs)
        except BadCertificate as error:
            settings = certificate.CERTIFICATE, certificate.KEY
            files = ", ".join(f"{setting.flag} {config[setting][error.number]}" for setting in settings)
            raise TurnError(f"{files}: {error}") from error
        self._chains = [pair.chain for pair in pairs]
        return True

    def unnamed(self, hosts: Iterable[str]) -> list[str]:
        """Those of `hosts` under which no client takes a certificate of this server's."""
        return certificate.unnamed(self._chains, hosts)

    def reload(self) -> None:
        """Read all certificates anew: connections from now on get them, those that are there go on. One that
        can't be used is said, and all the old ones stay."""
        try:
            has_tls = self._show_certificates()
        except TurnError as error:
            log.error("turn.certificate_not_loaded", error=str(error))
        else:
            if has_tls:
                log.info("turn.certificate_loaded")

    def relay_counters(self) -> dict[str, int]:
        """Totals of the relay by name; `drop_` names a reason."""
        return self._relay.counters()

    def measure(self) -> None:
        """Bring Prometheus up to now; done every few seconds."""
        self._exported.export(self._relay.counters(), self._relay.live())
        self._meter.look()

    def _measure_again(self) -> None:
        self.measure()
        self._measuring = asyncio.get_running_loop().call_later(_MEASURE_S, self._measure_again)

    def drain(self) -> None:
        """Take no new allocations; those that are there go on."""
        self.server.drain()
        log.info("turn.draining", allocations=len(self.server))

    def not_ready(self) -> str | None:
        """Why there are no new allocations, or None."""
        return "draining" if self.server.is_draining else None

    @property
    def hosts(self) -> list[str]:
        """The addresses of relays, here and as clients are told."""
        return list(self._hosts)

    async def empty(self) -> None:
        """Until there is no allocation."""
        await self._empty.wait()

    def stop(self) -> None:
        """End all allocations and close everything."""
        if self._armed is not None:
            self._armed.cancel()
        if self._measuring is not None:
            self._measuring.cancel()
        self._stack.close()
        self._record()
        self.measure()

    def revoke(self, username: str) -> bool:
        """End a credential and its allocations; False if it is none of ours. Raises CredentialError."""
        known = self.credentials.revoke(username, time.time())
        if known:
            self.server.revoke(username)
            self._heard()
        return known

    def change_keys(self, keys: Keys) -> None:
        """Take these keys from now on; what was allocated with one that is not among them ends."""
        self.credentials.keys = keys
        wall_now = time.time()
        self.server.end_unless(lambda credential: self.credentials.is_live(credential, wall_now))
        self._heard()

    def _heard(self) -> None:
        """Note what became of allocations, and wake up when the next one is over."""
        self._record()
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        at = self.server.timer_at()
        if at is not None:
            delay_s = max(0.0, at - time.monotonic())
            self._armed = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._armed = None
        self.server.handle_timer(time.monotonic())
        self._heard()

    def _record(self) -> None:
        now = time.monotonic()
        for event in self.server.take_events():
            record(event, now)
            self._meter.note(event)
        if len(self.server):
            self._empty.clear()
        else:
            self._empty.set()


def _bind(host: str, port: int) -> socket.socket | None:
    """A socket for a relayed address; None if the port is another program's."""
    return _unless_taken(_datagram_socket, host, port)


def _listen(host: str, port: int) -> socket.socket | None:
    """The like for a relayed address of TCP."""
    return _unless_taken(listening_socket, host, port)


def _unless_taken(make: Callable[[str, int], socket.socket], host: str, port: int) -> socket.socket | None:
    try:
        return make(host, port)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return None
        raise


def _datagram_socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
