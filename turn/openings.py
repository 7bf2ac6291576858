"""Opening the relayed addresses that an Allocate request wants (RFC 8656 7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.net.address import packed_host
from sfu.wire.turn import encode_address_error_code
from turn.allocate import FAMILIES, Parity
from turn.requests import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turn.allocate import Wanted
    from turn.ports import RelayPorts, Taken


@dataclass(frozen=True, slots=True)
class RelayHost:
    """Where relayed addresses of one family are: `host` is bound, `told` is what others see of it."""

    host: str
    told: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A relayed address: the socket that is taken, and the address that peers see."""

    taken: Taken
    ip: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What was opened: at least one address.

    `token` names a port that is held for the client, `missing` is the ADDRESS-ERROR-CODE of a family that
    could not be had (RFC 8656 18.12).
    """

    opened: tuple[Opened, ...]
    token: bytes | None = None
    missing: bytes | None = None


class Opener:
    """The relayed addresses of one process: `hosts` by family, as `turn.allocate` names families."""

    def __init__(self, ports: RelayPorts, hosts: Mapping[int, RelayHost]) -> None:
        self._ports = ports
        self._hosts = dict(hosts)
        self._told = {relay.host: packed_host(relay.told) for relay in hosts.values()}

    @property
    def families(self) -> frozenset[int]:
        """Those that there are relayed addresses of."""
        return frozenset(self._hosts)

    def open(self, wanted: Wanted, owner: str, now: float) -> Opening:
        """Take ports and sockets; `owner` is the user. Raises Rejected (440, 508)."""
        if wanted.token is not None:
            taken = self._ports.redeem(wanted.token, now)
            if taken is None:
                raise Rejected(508)
            return Opening((self._opened(taken),))
        if wanted.also is not None:
            return self._open_both(wanted)
        if wanted.parity is Parity.PAIR:
            pair = self._ports.take_pair(self._hosts[wanted.family].host, owner, now)
            if pair is None:
                raise Rejected(508)
            return Opening((self._opened(pair[0]),), token=pair[1])
        opened = self._open_one(wanted.family, wanted.parity)
        if opened is None:
            raise Rejected(508)
        return Opening((opened,))

    def close(self, opening: Opening) -> None:
        """Give back what is not to be used after all."""
        for opened in opening.opened:
            opened.taken.sock.close()
            self.release(opened.taken)

    def release(self, taken: Taken) -> None:
        """The socket is closed: its port is free."""
        self._ports.release(taken.host, taken.port)

    def timer_at(self) -> float | None:
        """When `handle_timer` has work."""
        return self._ports.timer_at()

    def handle_timer(self, now: float) -> None:
        """Let go of ports that were held for long enough."""
        self._ports.handle_timer(now)

    def stop(self) -> None:
        """Let go of all ports that are held."""
        self._ports.close()

    def _open_both(self, wanted: Wanted) -> Opening:
        opened: list[Opened] = []
        missing: bytes | None = None
        for number, family in FAMILIES.items():
            one = self._open_one(family, wanted.parity) if family in self._hosts else None
            if one is not None:
                opened.append(one)
            else:
                missing = encode_address_error_code(number, 508 if family in self._hosts else 440)
        if not opened:
            raise Rejected(508)
        return Opening(tuple(opened), missing=missing)

    def _open_one(self, family: int, parity: Parity) -> Opened | None:
        host = self._hosts[family].host
        taken = self._ports.take(host) if parity is Parity.ANY else self._ports.take_even(host)
        return None if taken is None else self._opened(taken)

    def _opened(self, taken: Taken) -> Opened:
        return Opened(taken, self._told[taken.host])
