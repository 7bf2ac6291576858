"""A whole client and a whole server end for the simulated network: ICE and DTLS.

An address on the network is `host:port`. The client checks as libwebrtc does against a lite agent:
plainly first, with USE-CANDIDATE once an answer has come.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sfu.base.ids import ice_pwd, ice_ufrag
from sfu.net.address import Address, Path, make_path, remote_address
from sfu.transport.dtls import DtlsEndpoint, DtlsRole
from sfu.transport.endpoint import Endpoint
from sfu.transport.events import Connected, DtlsEvent, TransportEvent
from sfu.transport.ice import CheckRefused, answer_check, read_check
from sfu.wire import stun
from sfu.wire.srtp import SrtpKeys
from sfu.wire.stun import MessageClass
from tests.scenarios.checks import HOST_PRIORITY, REMOTE_UFRAG, SECRET, SESSION, binding
from tests.scenarios.dtls_nodes import OUR_CONTEXT, OUR_FINGERPRINT, THEIR_CONTEXT, THEIR_FINGERPRINT

SERVER = "192.0.2.1:443"


def path_of(address: str) -> Path:
    """The server's path to a client at `host:port`."""
    host, _, port = address.rpartition(":")
    return make_path(Address(host, int(port)), SERVER.partition(":")[0])


def address_of(path: Path) -> str:
    """The client's end of a path."""
    address = remote_address(path)
    return f"{address.host}:{address.port}"


class ServerNode:
    """An `Endpoint` behind the stateless half of ICE, as a node has it."""

    def __init__(
        self, role: DtlsRole = DtlsRole.SERVER, fingerprints: tuple[str, ...] = (THEIR_FINGERPRINT,)
    ) -> None:
        self.endpoint = Endpoint(
            OUR_CONTEXT, role, fingerprints, generation=0, remote_ufrag=REMOTE_UFRAG, now=0.0
        )
        self.events: list[tuple[float, TransportEvent]] = []
        self.refused = 0
        self._answers: list[tuple[str, str, bytes]] = []

    @property
    def keys(self) -> list[SrtpKeys]:
        """Those of each `Connected`."""
        return [event.keys for _, event in self.events if isinstance(event, Connected)]

    def kinds(self) -> list[str]:
        """The names of the events so far."""
        return [type(event).__name__ for _, event in self.events]

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """As the driver does."""
        assert destination == SERVER
        path = path_of(source)
        if data[0] >= 20:
            self._note(self.endpoint.receive_dtls(data, path, now), now)
            return
        try:
            check = read_check(data, cluster_secret=SECRET)
            self._note(self.endpoint.receive_check(check, path, now), now)
        except CheckRefused:
            self.refused += 1
            return
        self._answers.append((SERVER, source, answer_check(check, path, cluster_secret=SECRET)))

    def timer_at(self) -> float | None:
        """As the endpoint says."""
        return self.endpoint.timer_at()

    def handle_timer(self, now: float) -> None:
        """Let the endpoint do what is due."""
        self._note(self.endpoint.handle_timer(now), now)

    def take(self) -> list[tuple[str, str, bytes]]:
        """Answers to checks, then DTLS."""
        sent, self._answers = self._answers, []
        return sent + [(SERVER, address_of(path), data) for path, data in self.endpoint.take_datagrams()]

    def _note(self, events: list[TransportEvent], now: float) -> None:
        self.events += [(now, event) for event in events]


@dataclass
class ClientNode:
    """A client at one address at a time, which checks every `check_s`."""

    address: str
    role: DtlsRole = DtlsRole.CLIENT
    check_s: float = 0.5
    generation: int = 0
    remote_ufrag: str = REMOTE_UFRAG
    priority: int = HOST_PRIORITY
    is_silent: bool = False
    answered: int = 0
    events: list[DtlsEvent] = field(default_factory=list[DtlsEvent])

    def __post_init__(self) -> None:
        self.start_dtls()
        self._may_nominate = False
        self._next_check_at = 0.0
        self._checks = 0
        self._outbox: list[tuple[str, str, bytes]] = []

    @property
    def keys(self) -> list[SrtpKeys]:
        """Those of each `Connected`."""
        return [event.keys for event in self.events if isinstance(event, Connected)]

    def start_dtls(self) -> None:
        """A fresh association."""
        context, fingerprint = THEIR_CONTEXT, OUR_FINGERPRINT
        self.dtls = DtlsEndpoint(context, self.role, [fingerprint])

    def move(self, address: str, now: float) -> None:
        """Another network: the next check leaves from there at once."""
        self.address = address
        self._next_check_at = now

    def restart_ice(self, generation: int, remote_ufrag: str, now: float) -> None:
        """Credentials of a new answer."""
        self.generation = generation
        self.remote_ufrag = remote_ufrag
        self._may_nominate = False
        self._next_check_at = now

    def receive(self, data: bytes, source: str, destination: str, now: float) -> None:
        """Answers to checks, and DTLS."""
        assert source == SERVER
        if destination != self.address:
            return
        if data[0] >= 20:
            self.events += self.dtls.receive_datagram(data, now)
            return
        answer = stun.parse(data)
        key = ice_pwd(SECRET, ice_ufrag(SESSION, self.generation)).encode()
        if answer.message_class is not MessageClass.SUCCESS or not stun.verify_integrity(answer, key):
            return
        self.answered += 1
        if not self._may_nominate:
            self._may_nominate = True
            self._next_check_at = now
            self.events += self.dtls.start(now)

    def timer_at(self) -> float | None:
        """The next check, or what DTLS has to do."""
        at = None if self.is_silent else self._next_check_at
        moments = [moment for moment in (at, self.dtls.timer_at()) if moment is not None]
        return min(moments, default=None)

    def handle_timer(self, now: float) -> None:
        """Check, and let DTLS do what is due."""
        self.events += self.dtls.handle_timer(now)
        if self.is_silent or now < self._next_check_at:
            return
        self._next_check_at = now + self.check_s
        self._checks += 1
        request = binding(
            generation=self.generation,
            remote_ufrag=self.remote_ufrag,
            priority=self.priority,
            use_candidate=self._may_nominate,
            transaction_id=self._checks.to_bytes(12, "big"),
        )
        self._outbox.append((self.address, SERVER, request))

    def take(self) -> list[tuple[str, str, bytes]]:
        """Checks, then DTLS."""
        sent, self._outbox = self._outbox, []
        return sent + [(self.address, SERVER, data) for data in self.dtls.take_datagrams()]
