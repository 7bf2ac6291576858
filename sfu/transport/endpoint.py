"""The transport of one session: ICE-lite and DTLS joined.

The driver gives it every STUN check and DTLS datagram of its session with the time, sends what
`take_datagrams` returns after each call, calls `handle_timer` at `timer_at`, and passes the events on.
After `Failed`, `Expired` or `Closed` it is over: it takes nothing and gives nothing.

    check = read_check(data, cluster_secret=secret)              # may raise CheckRefused: say nothing
    events = endpoint.receive_check(check, path, now)            # may raise CheckRefused: say nothing
    send(path, answer_check(check, path, cluster_secret=secret))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.transport.dtls import DtlsEndpoint, DtlsRole, count_dropped
from sfu.transport.events import Closed, Expired, Failed, PathValid
from sfu.transport.ice import IceAgent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.net.address import Path
    from sfu.transport.dtls import DtlsContext, DtlsTimers
    from sfu.transport.events import DtlsEvent, TransportEvent
    from sfu.transport.ice import Check, IceTimers

_MTU = 1200  # bytes; IPv6 and TURN paths take it
_CLOSE_GRACE_S = 2.0  # chosen: media on its way still arrives


class Endpoint:
    """ICE and DTLS of one session."""

    def __init__(
        self,
        context: DtlsContext,
        role: DtlsRole,
        fingerprints: Sequence[str],
        *,
        generation: int,
        remote_ufrag: str | None,
        now: float,
        ice_timers: IceTimers | None = None,
        dtls_timers: DtlsTimers | None = None,
        mtu: int = _MTU,
        close_grace_s: float = _CLOSE_GRACE_S,
    ) -> None:
        """`fingerprints` are the client's as the SDP writes them, `sha-256 AB:CD:...`, of all m-lines.

        `context` holds the certificate that this session's SDP named, `role` is ours: SERVER where the
        SDP says `a=setup:passive` of us, CLIENT where it says `active`. `remote_ufrag` is the client's,
        None where it is not known yet. Checks that were answered before the endpoint existed are
        given to `receive_check` at once, then the ClientHello.
        """
        self._context = context
        self._role = role
        self._fingerprints = tuple(fingerprints)
        self._dtls_timers = dtls_timers
        self._mtu = mtu
        self._close_grace_s = close_grace_s
        self._ice = IceAgent(generation=generation, remote_ufrag=remote_ufrag, now=now, timers=ice_timers)
        self._dtls = self._make_dtls()
        self._outbox: list[tuple[Path, bytes]] = []
        self._closes_at: float | None = None

    @property
    def selected_path(self) -> Path | None:
        """Where everything for the client goes; None before it is known and after consent has ended."""
        return self._ice.selected_path

    @property
    def is_over(self) -> bool:
        """Whether `Failed`, `Expired` or `Closed` was given, or `close` was called."""
        return self._ice.is_over

    def receive_check(self, check: Check, path: Path, now: float) -> list[TransportEvent]:
        """An authenticated check. Raises CheckRefused if this session may not answer it."""
        events: list[TransportEvent] = [*self._ice.receive_check(check, path, now)]
        if any(isinstance(event, PathValid) for event in events):
            events += self._note(self._dtls.start(now), now)
        self._post()
        return events

    def receive_dtls(self, data: bytes, path: Path, now: float) -> list[TransportEvent]:
        """A datagram whose first byte is 20 to 63. Dropped and counted unless `path` is valid (W1)."""
        if not self._ice.is_valid(path):
            return [*count_dropped("unchecked_path")]
        events: list[TransportEvent] = [*self._ice.receive_dtls(path)]
        events += self._note(self._dtls.receive_datagram(data, now), now)
        self._post()
        return events

    def restart_ice(
        self, generation: int, remote_ufrag: str | None, fingerprints: Sequence[str], now: float
    ) -> None:
        """The SDP has new ICE credentials; the old ones hold until the first check with the new.

        Other `fingerprints` than before start DTLS afresh: a second `Connected` follows. Calling it
        again with the same arguments changes nothing.
        """
        if self.is_over:
            return
        self._ice.restart(generation, remote_ufrag, now)
        if frozenset(fingerprints) != frozenset(self._fingerprints):
            self._fingerprints = tuple(fingerprints)
            self._dtls = self._make_dtls()
            self._closes_at = None

    def begin_anew(self, role: DtlsRole) -> None:
        """The client drops its transport, with a goodbye, and makes another under the same credentials.

        The API has agreed to it, and to our `role` in the new one. DTLS starts afresh: a second
        `Connected` follows, and what the old association still says counts for nothing.
        """
        if self.is_over:
            return
        self._ice.select_anew()
        self._role = role
        self._dtls = self._make_dtls()
        self._closes_at = None

    def close(self) -> None:
        """Say goodbye (close_notify) on the selected path; the endpoint is over, without an event."""
        if not self.is_over:
            self._dtls.close()
            self._post()
            self._ice.end()

    def timer_at(self) -> float | None:
        """The moment at which `handle_timer` has work, or None."""
        if self.is_over:
            return None
        moments = (self._ice.timer_at(), self._dtls.timer_at(), self._closes_at)
        return min((at for at in moments if at is not None), default=None)

    def handle_timer(self, now: float) -> list[TransportEvent]:
        """Do what is due at `now`; too early a call does nothing."""
        if self.is_over:
            return []
        if self._closes_at is not None and now >= self._closes_at:
            self._ice.end()
            return [Closed()]
        events: list[TransportEvent] = [*self._ice.handle_timer(now)]
        if any(isinstance(event, Expired) for event in events):
            return events
        events += self._note(self._dtls.handle_timer(now), now)
        self._post()
        return events

    def take_datagrams(self) -> list[tuple[Path, bytes]]:
        """What is to be sent now, in order."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def _make_dtls(self) -> DtlsEndpoint:
        return DtlsEndpoint(
            self._context, self._role, self._fingerprints, timers=self._dtls_timers, mtu=self._mtu
        )

    def _note(self, events: list[DtlsEvent], now: float) -> list[TransportEvent]:
        """Pass on what DTLS says; a goodbye is passed on after its grace."""
        passed: list[TransportEvent] = []
        for event in events:
            if isinstance(event, Closed):
                self._closes_at = now + self._close_grace_s
            else:
                passed.append(event)
            if isinstance(event, Failed):
                self._post()  # an alert tells the client why
                self._ice.end()
        return passed

    def _post(self) -> None:
        """Address what DTLS has to say. Without a valid path it is lost, as on any network."""
        datagrams = self._dtls.take_datagrams()
        path = self._ice.selected_path or self._ice.latest_path
        if path is not None:
            self._outbox += [(path, data) for data in datagrams]
