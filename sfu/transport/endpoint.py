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

from sfu.transport.dtls import DtlsTimers
from sfu.transport.ice import IceTimers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.net.address import Path
    from sfu.transport.dtls import DtlsContext, DtlsRole
    from sfu.transport.events import TransportEvent
    from sfu.transport.ice import Check


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
        mtu: int = 1200,
    ) -> None:
        """`fingerprints` are the client's as the SDP writes them, `sha-256 AB:CD:...`, of all m-lines.

        `context` holds the certificate that this session's SDP named, `role` is ours: SERVER where the
        SDP says `a=setup:passive` of us, CLIENT where it says `active`. `remote_ufrag` is the client's,
        None where it is not known yet. Checks that were answered before the endpoint existed are
        given to `receive_check` at once.
        """
        raise NotImplementedError

    @property
    def selected_path(self) -> Path | None:
        """Where everything for the client goes, None before the first check and after consent ended."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether `Failed`, `Expired` or `Closed` was given, or `close` was called."""
        raise NotImplementedError

    def receive_check(self, check: Check, path: Path, now: float) -> list[TransportEvent]:
        """An authenticated check. Raises CheckRefused if this session may not answer it (old credentials)."""
        raise NotImplementedError

    def receive_dtls(self, data: bytes, path: Path, now: float) -> list[TransportEvent]:
        """A datagram whose first byte is 20..63. Dropped and counted unless `path` is valid."""
        raise NotImplementedError

    def restart_ice(
        self, generation: int, remote_ufrag: str | None, fingerprints: Sequence[str], now: float
    ) -> None:
        """The SDP has new ICE credentials; the old ones hold until the first check with the new.

        Other `fingerprints` than before start DTLS afresh: a second `Connected` follows. Calling it
        again with the same arguments changes nothing.
        """
        raise NotImplementedError

    def close(self, now: float) -> None:
        """Say goodbye (close_notify) on the selected path; the endpoint is over, without an event."""
        raise NotImplementedError

    def timer_at(self) -> float | None:
        """The moment at which `handle_timer` has work, or None."""
        raise NotImplementedError

    def handle_timer(self, now: float) -> list[TransportEvent]:
        """Do what is due at `now`; too early a call does nothing."""
        raise NotImplementedError

    def take_datagrams(self) -> list[tuple[Path, bytes]]:
        """What is to be sent now, in order."""
        raise NotImplementedError
