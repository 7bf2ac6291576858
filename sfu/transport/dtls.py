"""DTLS 1.2 with use_srtp (RFC 6347, RFC 5764) over OpenSSL, as a machine that knows no socket and no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.transport.certificate import Certificate
    from sfu.transport.events import DtlsEvent


class DtlsRole(Enum):
    """Who begins the handshake: the client does."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class DtlsTimers:
    """Times of a handshake, in seconds."""

    first_s: float = 0.15  # until the first resend; doubles
    cap_s: float = 3.0
    total_s: float = 30.0  # then the handshake has failed
    release_s: float | None = 5.0  # after the handshake OpenSSL's memory is let go; None keeps it


class DtlsContext:
    """What all sessions with one certificate share, whatever their role. Make it once per certificate."""

    def __init__(self, certificate: Certificate) -> None:
        raise NotImplementedError


class DtlsEndpoint:
    """One end of one DTLS association."""

    def __init__(
        self,
        context: DtlsContext,
        role: DtlsRole,
        fingerprints: Sequence[str],
        *,
        timers: DtlsTimers,
        mtu: int = 1200,
    ) -> None:
        raise NotImplementedError

    def receive_datagram(self, data: bytes, now: float) -> list[DtlsEvent]:
        """A datagram of this association."""
        raise NotImplementedError
