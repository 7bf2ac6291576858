"""What became of allocations, for logs, metrics and the ledger of usage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turn.allocation import Allocation
    from turn.relays import Usage


class EndReason(Enum):
    """Why an allocation ended. The value is the label of the metric."""

    RELEASED = "released"  # LIFETIME 0
    EXPIRED = "expired"  # not refreshed, or the credential is over
    REVOKED = "revoked"
    DISCONNECTED = "disconnected"  # its TCP or TLS connection closed
    STOPPED = "stopped"  # with the server


@dataclass(frozen=True, slots=True)
class Allocated:
    """A client has relayed addresses."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class Permitted:
    """A client may exchange datagrams with `ip` (4 or 16 bytes), as it may not have done before."""

    allocation: Allocation
    ip: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """An allocation is gone."""

    allocation: Allocation
    reason: EndReason
    usage: Usage


Event = Allocated | Permitted | Ended
