"""The server on UDP: what arrives at its sockets, and the relay that moves the data between them. One
descriptor stands for these and for the connections of `turn.tcp`, so that these are answered from here too.

listener --> relay (compiled) --> Send indications and ChannelData: on to peers, and back
                  |
                  +--> other STUN messages --> server --> answer --> listener
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from sfu.base.log import get_logger
from sfu.net.address import Address, local_host, remote_address
from sfu.wire import stun
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Icmp, Method, TurnAttribute, encode_icmp
from turn.allocation import AllocationId
from turn.datapath import micros
from turn.tuples import FiveTuple, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from turn.datapath import DataPath
    from turn.relay import Relay
    from turn.server import Server
    from turn.tcp import TcpService

log = get_logger("turn")


class UdpService:
    """The server on its UDP sockets, on the running loop.

    `listeners` are the relay's numbers of them with their ports. `heard` is called after all that arrived was
    answered: events wait, and the next moment may be another.
    """

    def __init__(
        self,
        server: Server,
        relay: Relay,
        path: DataPath,
        tcp: TcpService,
        listeners: dict[int, int],
        *,
        heard: Callable[[], None],
    ) -> None:
        self._server = server
        self._relay = relay
        self._path = path
        self._tcp = tcp
        self._ports = listeners
        self._heard = heard

    def start(self) -> None:
        """Read the sockets from now on."""
        asyncio.get_running_loop().add_reader(self._relay.fileno(), self._on_readable)

    def stop(self) -> None:
        """Read them no more."""
        asyncio.get_running_loop().remove_reader(self._relay.fileno())

    def _on_readable(self) -> None:
        now = time.monotonic()
        if not self._relay.on_readable(micros(now)):
            return  # there was data alone, and nothing has changed
        wall_now = time.time()
        messages = self._relay.take_messages()
        for listener, path, data in messages:
            client = FiveTuple(
                Transport.UDP, remote_address(path), Address(local_host(path), self._ports[listener])
            )
            try:
                with self._path.arrived(client, (listener, path)):
                    answer = self._server.receive(data, client, now, wall_now)
            except Exception:  # one client's trouble must not cost the others their answers
                log.exception("turn.message_fault")
                continue
            if answer is not None:
                self._relay.send(listener, path, answer)
        acted = self._tcp.answer(now, wall_now)
        self._tell_icmp()
        if messages or acted:
            self._heard()

    def _tell_icmp(self) -> None:
        """Tell clients what their peers' networks say of their datagrams (RFC 8656 11.5)."""
        for handle, ip, port, kind, code, data in self._relay.take_icmp():
            transaction_id = os.urandom(stun.TRANSACTION_ID_LENGTH)
            attributes = [
                (TurnAttribute.XOR_PEER_ADDRESS, stun.encode_xor_address(ip, port, transaction_id)),
                (TurnAttribute.ICMP, encode_icmp(Icmp(kind, code, data))),
            ]
            self._path.tell(
                AllocationId(handle),
                stun.build(
                    Method.DATA, MessageClass.INDICATION, transaction_id, attributes, fingerprint=False
                ),
            )
