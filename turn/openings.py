"""Opening the relayed addresses that an Allocate request wants (RFC 8656 7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.base.log import get_logger
from sfu.net.address import packed_host
from sfu.wire.turn import encode_address_error_code
from turn.allocate import FAMILIES, Parity
from turn.allocation import Peer
from turn.requests import Rejected
from turn.tuples import RelayTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turn.allocate import Wanted
    from turn.ports import RelayPorts, Taken

log = get_logger("turn")


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
    """The relayed addresses of one process: `hosts` by family, as `turn.allocate` names families, and their
    `ports` of UDP; with `tcp`, of TCP too."""

    def __init__(
        self, ports: RelayPorts, hosts: Mapping[int, RelayHost], *, tcp: RelayPorts | None = None
    ) -> None:
        self._ports = {RelayTransport.UDP: ports}
        if tcp is not None:
            self._ports[RelayTransport.TCP] = tcp
        self._hosts = dict(hosts)
        self._told = {relay.host: packed_host(relay.told) for relay in hosts.values()}
        self._bound = {
            packed_host(address): relay.host
            for relay in hosts.values()
            for address in (relay.host, relay.told)
        }

    @property
    def families(self) -> frozenset[int]:
        """Those that there are relayed addresses of."""
        return frozenset(self._hosts)

    @property
    def transports(self) -> frozenset[RelayTransport]:
        """What is relayed."""
        return frozenset(self._ports)

    def open(self, wanted: Wanted, owner: str, now: float) -> Opening:
        """Take ports and sockets; `owner` is the user. Raises Rejected (440, 508)."""
        ports = self._ports[wanted.transport]
        if wanted.token is not None:
            taken = ports.redeem(wanted.token, now)
            if taken is None:
                raise Rejected(508)
            return Opening((self._opened(taken),))
        if wanted.also is not None:
            return self._open_both(ports, wanted)
        if wanted.parity is Parity.PAIR:
            try:
                pair = ports.take_pair(self._hosts[wanted.family].host, owner, now)
            except OSError as error:
                _note(error)
                pair = None
            if pair is None:
                raise Rejected(508)
            return Opening((self._opened(pair[0]),), token=pair[1])
        opened = self._open_one(ports, wanted.family, wanted.parity)
        if opened is None:
            raise Rejected(508)
        return Opening((opened,))

    def close(self, opening: Opening, transport: RelayTransport) -> None:
        """Give back what is not to be used after all."""
        for opened in opening.opened:
            opened.taken.sock.close()
            self.release(opened.taken, transport)

    def release(self, taken: Taken, transport: RelayTransport) -> None:
        """The socket is closed: its port is free."""
        self._ports[transport].release(taken.host, taken.port)

    def is_relayed(self, peer: Peer) -> bool:
        """Whether a peer is a relayed address of TCP, as bound or as told."""
        host = self._bound.get(peer.ip)
        return host is not None and self._ports[RelayTransport.TCP].holds(host, peer.port)

    def leads_to(self, peer: Peer) -> Peer:
        """Where a peer is connected to: of a relayed address that is told, where it is bound
        (`turn.told`)."""
        return Peer(packed_host(self._bound[peer.ip]), peer.port) if self.is_relayed(peer) else peer

    def told_as(self, peer: Peer) -> Peer:
        """The other way: as what clients know a peer that is seen."""
        return Peer(self._told[self._bound[peer.ip]], peer.port) if self.is_relayed(peer) else peer

    def timer_at(self) -> float | None:
        """When `handle_timer` has work."""
        return self._ports[RelayTransport.UDP].timer_at()  # a pair is always one of UDP (RFC 6062 5.1)

    def handle_timer(self, now: float) -> None:
        """Let go of ports that were held for long enough."""
        self._ports[RelayTransport.UDP].handle_timer(now)

    def stop(self) -> None:
        """Let go of all ports that are held."""
        self._ports[RelayTransport.UDP].close()

    def _open_both(self, ports: RelayPorts, wanted: Wanted) -> Opening:
        opened: list[Opened] = []
        missing: bytes | None = None
        for number, family in FAMILIES.items():
            one = self._open_one(ports, family, wanted.parity) if family in self._hosts else None
            if one is not None:
                opened.append(one)
            else:
                missing = encode_address_error_code(number, 508 if family in self._hosts else 440)
        if not opened:
            raise Rejected(508)
        return Opening(tuple(opened), missing=missing)

    def _open_one(self, ports: RelayPorts, family: int, parity: Parity) -> Opened | None:
        host = self._hosts[family].host
        try:
            taken = ports.take(host) if parity is Parity.ANY else ports.take_even(host)
        except OSError as error:
            _note(error)
            return None
        return None if taken is None else self._opened(taken)

    def _opened(self, taken: Taken) -> Opened:
        return Opened(taken, self._told[taken.host])


def _note(error: OSError) -> None:
    """The system has no socket for us, whatever the port: no descriptor, no memory, no such address."""
    log.warning("turn.no_socket", error=str(error))
