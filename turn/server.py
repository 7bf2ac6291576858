"""A STUN and TURN server without sockets and clocks: a message in, at most one answer out.

    message -> Binding: answered as it is (RFC 8489)
            -> TURN request: authenticate -> what is unknown -> the method's own rules -> signed answer
            -> anything else: no answer, counted by reason

The order of the checks is the RFCs' (8489 9.2.4, 8656 5 and 7.2). Data does not come here: the relay moves
it, by what it is told from here.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from sfu.base.log import get_logger
from sfu.base.timers import Timers
from sfu.wire import stun
from sfu.wire import turn as wire
from sfu.wire.stun import Attribute, MessageClass, StunError
from sfu.wire.turn import Method, TurnAttribute
from turn.allocate import granted_lifetime, read_family, read_wanted
from turn.allocation import Allocation, Relayed
from turn.auth import Refused
from turn.events import Allocated, Ended, EndReason, Permitted
from turn.limits import Limit, refuse
from turn.new_peers import admit_new_peers
from turn.policy import Verdict
from turn.requests import KNOWN, Rejected, Request, count_answer
from turn.tcp_allocation import TcpAllocations
from turn.tuples import RelayTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sfu.wire.stun import Message
    from turn.allocation import AllocationId, Peer
    from turn.auth import Authenticator
    from turn.connections import ConnectionId, Connections
    from turn.credentials import Credential
    from turn.events import Event
    from turn.limits import Limits
    from turn.openings import Opened, Opener, Opening
    from turn.policy import PeerPolicy
    from turn.relays import PeerSockets, Relay, Usage
    from turn.tuples import FiveTuple

Attributes = list[tuple[int, bytes]]

FIRST_CHANNEL: Final = 0x4000  # RFC 8656 12
_RELEASED_S: Final = 40.0  # RFC 8489 6.3.1: how long a request may be repeated on UDP
_RELEASED_KEPT: Final = 10_000

log = get_logger("turn")

_ignored = Counter("orchard_turn_ignored_total", "STUN messages that got no answer", ["reason"])


@dataclass(frozen=True, slots=True)
class _Released:
    """An allocation that its client gave up, for the request that comes again."""

    transaction_id: bytes
    answer: bytes
    until: float


class Server:
    """All allocations of one process.

    `relay` moves the data, `opener` finds relayed addresses, `policy` says which peers are allowed. Where the
    opener has addresses of TCP, `sockets` connects them with peers. After any call `take_events` has what
    became of allocations. Times are seconds: `now` of the loop's clock, `wall_now` since 1970.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        relay: Relay,
        opener: Opener,
        policy: PeerPolicy,
        limits: Limits,
        sockets: PeerSockets,
        connections: Connections,
    ) -> None:
        self._authenticator = authenticator
        self._relay = relay
        self._opener = opener
        self._policy = policy
        self._limits = limits
        self._allocations: dict[FiveTuple, Allocation] = {}
        self._by_id: dict[AllocationId, Allocation] = {}
        self._by_user: dict[str, set[AllocationId]] = {}
        self._timers: Timers[AllocationId] = Timers()
        self._released: OrderedDict[FiveTuple, _Released] = OrderedDict()
        self._events: list[Event] = []
        self.is_draining = False
        """Whether it takes no new allocations."""
        self._handlers: dict[int, Callable[[Request], bytes | None]] = {
            Method.ALLOCATE: self._allocate,
            Method.REFRESH: self._refresh,
            Method.CREATE_PERMISSION: self._create_permission,
            Method.CHANNEL_BIND: self._channel_bind,
        }
        self._tcp = TcpAllocations(
            connections,
            sockets,
            relay=relay,
            opener=opener,
            policy=policy,
            limits=limits,
            note=self._events.append,
        )
        if RelayTransport.TCP in opener.transports:
            self._handlers[Method.CONNECT] = self._connect
            self._handlers[Method.CONNECTION_BIND] = self._connection_bind

    def __len__(self) -> int:
        return len(self._allocations)

    # messages

    def receive(self, data: bytes, client: FiveTuple, now: float, wall_now: float) -> bytes | None:
        """The answer to a message of `client`, or None. It goes back the way that the message came."""
        try:
            message = stun.parse(data)
        except StunError:
            return self._ignore("malformed")
        if message.message_class is not MessageClass.REQUEST:
            # a Send indication that the relay did not take has no allocation
            return self._ignore("not_a_request")
        if message.method == stun.BINDING:
            return self._binding(message, client, now)
        handle = self._handlers.get(message.method)
        if handle is None:
            return self._ignore("unknown_method")
        if not self._policy.allows_client(client.ip):
            return self._ignore("client_address")
        checked = self._authenticator.check(message, client.remote, wall_now)
        if isinstance(checked, Refused):
            return self._refuse(message, client, checked, now)
        return self._answer(handle, Request(message, client, checked, now, wall_now))

    def _binding(self, message: Message, client: FiveTuple, now: float) -> bytes | None:
        unknown = message.unknown_required(KNOWN)
        if unknown:
            return self._unsigned(message, client, 420, [_unknown(unknown)], now)
        count_answer(stun.BINDING, 200)
        return stun.build(
            message.method,
            MessageClass.SUCCESS,
            message.transaction_id,
            [(Attribute.XOR_MAPPED_ADDRESS, _xor(client, message))],
            fingerprint=message.has_fingerprint,
        )

    def _refuse(self, message: Message, client: FiveTuple, refused: Refused, now: float) -> bytes | None:
        user = message.get(Attribute.USERNAME) or message.get(Attribute.USERHASH) or b""
        if refused.wrong_integrity and not self._limits.may_fail(client.ip, user, now):
            return self._ignore("too_many_failures")
        return self._unsigned(message, client, refused.code, refused.attributes, now)

    def _unsigned(
        self,
        message: Message,
        client: FiveTuple,
        code: int,
        attributes: Iterable[tuple[int, bytes]],
        now: float,
    ) -> bytes | None:
        """An error for a stranger. On UDP it may go to a victim: it is short, and does not come often."""
        is_proved = client.transport is not Transport.UDP
        if not is_proved and not self._limits.may_reply(client.ip, now):
            return self._ignore("too_many_replies")
        count_answer(message.method, code)
        return stun.build(
            message.method,
            MessageClass.ERROR,
            message.transaction_id,
            [(Attribute.ERROR_CODE, stun.encode_error_code(code, "")), *attributes],
            fingerprint=message.has_fingerprint,
        )

    def _answer(self, handle: Callable[[Request], bytes | None], request: Request) -> bytes | None:
        """Let the method's rules decide; None: they will, in time."""
        code = 200
        try:
            unknown = request.message.unknown_required(KNOWN)
            if unknown:
                raise Rejected(420, _unknown(unknown))
            answer = handle(request)
        except Rejected as rejected:
            code = rejected.code
            answer = request.failure(rejected)
        if answer is not None:
            count_answer(request.message.method, code)
        return answer

    def _ignore(self, reason: str) -> None:
        _ignored.labels(reason).inc()

    # allocations

    def _allocate(self, request: Request) -> bytes:
        held = self._allocations.get(request.client)
        if held is not None:
            is_same_user = held.credential.username == request.user.credential.username
            if is_same_user and held.transaction_id == request.message.transaction_id:
                return held.answer
            raise Rejected(437)
        wanted = read_wanted(request, self._opener.families, self._opener.transports)
        lifetime, until = self._lifetime(request)
        if self.is_draining or not self._limits.has_room():
            raise Rejected(508)
        credential = request.user.credential
        if not self._limits.may_allocate(credential.username, request.client.ip):
            raise Rejected(486)
        opening = self._opener.open(wanted, credential.username, request.now)
        handle = self._relay.add(request.client)
        if handle is None:
            self._opener.close(opening, wanted.transport)
            raise Rejected(508)
        transaction_id = request.message.transaction_id
        allocation = Allocation(
            handle, request.client, credential, transaction_id, request.now, wanted.transport
        )
        try:
            for opened in opening.opened:
                self._attach(allocation, opened, until)
        except OSError as error:
            log.warning("turn.not_attached", error=str(error))
            self._detach(allocation)
            self._opener.close(opening, wanted.transport)
            raise Rejected(508) from error
        allocation.answer = request.success(*self._granted(request, opening, lifetime))
        self._keep(allocation)
        return allocation.answer

    def _attach(self, allocation: Allocation, opened: Opened, until: float) -> None:
        """Let a relayed address be the allocation's. Raises OSError, and then it is not."""
        size = len(opened.ip)
        if allocation.transport is RelayTransport.TCP:
            self._tcp.listen(allocation, size, opened.taken.sock)
        else:
            self._relay.attach(allocation.id, opened.taken.sock)
        allocation.relayed[size] = Relayed(opened.taken, until)

    def _detach(self, allocation: Allocation) -> Usage:
        """Close its relayed addresses; what it has relayed."""
        if allocation.transport is RelayTransport.TCP:
            for size in allocation.relayed:
                self._tcp.close(allocation, size)
        return self._relay.remove(allocation.id)

    def _granted(self, request: Request, opening: Opening, lifetime: int) -> Attributes:
        message = request.message
        attributes: Attributes = [
            (
                TurnAttribute.XOR_RELAYED_ADDRESS,
                stun.encode_xor_address(opened.ip, opened.taken.port, message.transaction_id),
            )
            for opened in opening.opened
        ]
        attributes += [
            (TurnAttribute.LIFETIME, wire.encode_lifetime(lifetime)),
            (Attribute.XOR_MAPPED_ADDRESS, _xor(request.client, message)),
        ]
        if opening.token is not None:
            attributes.append((TurnAttribute.RESERVATION_TOKEN, opening.token))
        if opening.missing is not None:
            attributes.append((TurnAttribute.ADDRESS_ERROR_CODE, opening.missing))
        return attributes

    def _keep(self, allocation: Allocation) -> None:
        username = allocation.credential.username
        self._allocations[allocation.client] = allocation
        self._by_id[allocation.id] = allocation
        self._by_user.setdefault(username, set()).add(allocation.id)
        self._limits.allocated(username, allocation.client.ip)
        self._timers.set(allocation.id, allocation.expires_at)
        self._events.append(Allocated(allocation))

    def _lifetime(self, request: Request) -> tuple[int, float]:
        """Seconds that are granted, and when they are over: never later than the credential is.

        The last second before that is told as a whole one: 0 would say that the allocation is gone.
        """
        granted_s = granted_lifetime(request.lifetime(), self._limits.bounds.lifetime_s)
        left_s = request.user.credential.expires_at - request.wall_now
        return min(granted_s, math.ceil(left_s)), request.now + min(granted_s, left_s)

    def _refresh(self, request: Request) -> bytes:
        released = self._released.get(request.client)
        if (
            released is not None
            and released.transaction_id == request.message.transaction_id
            and released.until > request.now
        ):
            return released.answer
        allocation = self._allocation_of(request)
        asked = request.read(TurnAttribute.REQUESTED_ADDRESS_FAMILY, wire.decode_address_family)
        family = None if asked is None else read_family(asked)
        if asked is not None and family not in allocation.relayed:
            raise Rejected(443)
        lifetime, until = (0, request.now) if request.lifetime() == 0 else self._lifetime(request)
        answer = request.success((TurnAttribute.LIFETIME, wire.encode_lifetime(lifetime)))
        sizes = list(allocation.relayed) if family is None else [family]
        for size in sizes:
            allocation.relayed[size].expires_at = until
        if lifetime == 0:
            self._note_released(request, answer)
            self._close_relayed(allocation, sizes, EndReason.RELEASED)
        else:
            self._timers.set(allocation.id, allocation.expires_at)
        return answer

    def _allocation_of(self, request: Request) -> Allocation:
        """The client's allocation, if it is this user's. Raises Rejected (437, 441)."""
        allocation = self._allocations.get(request.client)
        if allocation is None:
            raise Rejected(437)
        if allocation.credential.username != request.user.credential.username:
            raise Rejected(441)
        return allocation

    def _note_released(self, request: Request, answer: bytes) -> None:
        """The request may come again, and must not end what the client allocated since."""
        self._released.pop(request.client, None)
        if len(self._released) >= _RELEASED_KEPT:
            self._released.popitem(last=False)
        self._released[request.client] = _Released(
            request.message.transaction_id, answer, request.now + _RELEASED_S
        )

    # peers

    def _create_permission(self, request: Request) -> bytes:
        allocation = self._allocation_of(request)
        peers = {peer.ip for peer in request.peers()}
        verdicts = {ip: self._allowed(allocation, ip) for ip in peers}
        self._room_for_peers(allocation, peers, request.now)
        for ip, verdict in verdicts.items():
            self._permit(allocation, ip, verdict, request.now)
        return request.success()

    def _channel_bind(self, request: Request) -> bytes:
        allocation = self._allocation_of(request)
        number = request.read(TurnAttribute.CHANNEL_NUMBER, wire.decode_channel_number)
        peer = request.peer()
        if number is None or not FIRST_CHANNEL <= number <= self._limits.bounds.last_channel:
            raise Rejected(400)
        if allocation.channel_conflicts(number, peer, request.now):
            raise Rejected(400)
        verdict = self._allowed(allocation, peer.ip)
        if not self._policy.allows_peer(peer.ip, peer.port) or allocation.transport is RelayTransport.TCP:
            raise Rejected(403)
        if not allocation.room_for_channel(number, self._limits.bounds.channels, request.now):
            refuse(Limit.CHANNELS)
            raise Rejected(508)
        channels = 0 if allocation.is_bound(number, request.now) else 1
        self._room_for_peers(allocation, {peer.ip}, request.now, channels=channels)
        self._permit(allocation, peer.ip, verdict, request.now)
        self._relay.bind(allocation.id, number, peer, allocation.bind(number, peer, request.now))
        return request.success()

    def _allowed(self, allocation: Allocation, ip: bytes) -> Verdict:
        if len(ip) not in allocation.relayed:
            raise Rejected(443)
        verdict = self._policy.allows(ip)
        if verdict is Verdict.DENIED:
            raise Rejected(403)
        return verdict

    def _room_for_peers(
        self, allocation: Allocation, ips: set[bytes], now: float, *, channels: int = 0
    ) -> None:
        """Raise Rejected (508) unless all of `ips` may be permitted, and so many new channels be bound; those
        that are permitted cost nothing."""
        new = {ip for ip in ips if not allocation.is_permitted(ip, now)}
        if not allocation.room_for_permissions(ips, self._limits.bounds.permissions, now):
            refuse(Limit.PERMISSIONS)
            raise Rejected(508)
        if allocation.transport is RelayTransport.UDP and not self._relay.has_room(
            allocation.id, len(new), channels
        ):
            refuse(Limit.PEERS_IN_ALL)
            raise Rejected(508)
        if new:
            admit_new_peers(allocation, len(new), now, self._limits, self._events.append)

    def _permit(self, allocation: Allocation, ip: bytes, verdict: Verdict, now: float) -> None:
        if not allocation.is_permitted(ip, now):
            self._events.append(Permitted(allocation, ip))
        until = allocation.permit(ip, now)
        if allocation.transport is RelayTransport.UDP:  # else the relay has no packets to check
            self._relay.permit(allocation.id, ip, until, own_ports=verdict is Verdict.OWN_PORTS)

    # connections of TCP allocations (RFC 6062)

    def _connect(self, request: Request) -> None:
        self._tcp.connect(request, self._allocation_of(request))

    def _connection_bind(self, request: Request) -> bytes:
        return self._tcp.connection_bind(request, is_control=request.client in self._allocations)

    def dialled(self, connection: ConnectionId, *, made: bool, now: float) -> None:
        """Whether a connection with a peer that was asked for came about."""
        self._tcp.dialled(connection, made=made, now=now)

    def peer_connected(self, allocation: AllocationId, peer: Peer, now: float) -> ConnectionId | None:
        """A peer connected to a relayed address: the id of that connection, or None if it is to be closed."""
        return self._tcp.accepted(self._by_id[allocation], peer, now)

    # time, and what ends from outside

    def timer_at(self) -> float | None:
        """When `handle_timer` has work."""
        moments = self._timers.next_at(), self._opener.timer_at(), self._tcp.timer_at()
        return min((at for at in moments if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """End what is over."""
        self._opener.handle_timer(now)
        self._tcp.handle_timer(now)
        for handle in self._timers.take_due(now):
            allocation = self._by_id[handle]
            over = [size for size, relayed in allocation.relayed.items() if relayed.expires_at <= now]
            self._close_relayed(allocation, over, EndReason.EXPIRED)

    def disconnected(self, client: FiveTuple) -> None:
        """The client's connection is closed, and its allocation with it, or the connection with a peer that
        it was joined to. Safe for unknown clients."""
        allocation = self._allocations.get(client)
        if allocation is not None:
            self._end(allocation, EndReason.DISCONNECTED)
        else:
            self._tcp.disconnected(client)

    def revoke(self, username: str) -> int:
        """End all allocations of a user whose credential was revoked; how many there were."""
        ended = [self._by_id[handle] for handle in self._by_user.get(username, ())]
        for allocation in ended:
            self._end(allocation, EndReason.REVOKED)
        return len(ended)

    def end_unless(self, holds: Callable[[Credential], bool]) -> int:
        """End all allocations whose credential does not hold any more; how many there were."""
        ended = [held for held in self._allocations.values() if not holds(held.credential)]
        for allocation in ended:
            self._end(allocation, EndReason.REVOKED)
        return len(ended)

    def drain(self) -> None:
        """Take no new allocations; those that are there go on."""
        self.is_draining = True

    def stop(self) -> None:
        """End all allocations, and what is held for others."""
        for allocation in list(self._allocations.values()):
            self._end(allocation, EndReason.STOPPED)
        self._opener.stop()

    def take_events(self) -> list[Event]:
        """What has become of allocations since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    def _close_relayed(self, allocation: Allocation, sizes: list[int], reason: EndReason) -> None:
        """End the relayed addresses of these families, and the allocation with the last one."""
        if set(sizes) >= set(allocation.relayed):
            self._end(allocation, reason)
            return
        for size in sizes:
            relayed = allocation.relayed[size]
            if allocation.transport is RelayTransport.TCP:
                self._tcp.close(allocation, size)
            else:
                self._relay.detach(allocation.id, size)
            allocation.forget_family(size)
            self._opener.release(relayed.taken, allocation.transport)
        self._timers.set(allocation.id, allocation.expires_at)

    def _end(self, allocation: Allocation, reason: EndReason) -> None:
        username = allocation.credential.username
        del self._allocations[allocation.client]
        del self._by_id[allocation.id]
        self._by_user[username].discard(allocation.id)
        if not self._by_user[username]:
            del self._by_user[username]
        self._timers.set(allocation.id, None)
        usage = self._detach(allocation)
        for relayed in allocation.relayed.values():
            self._opener.release(relayed.taken, allocation.transport)
        self._limits.ended(username, allocation.client.ip, allocation.id)
        self._events.append(Ended(allocation, reason, usage))


def _unknown(types: tuple[int, ...]) -> tuple[int, bytes]:
    return Attribute.UNKNOWN_ATTRIBUTES, stun.encode_unknown_attributes(types)


def _xor(client: FiveTuple, message: Message) -> bytes:
    return stun.encode_xor_address(client.ip, client.remote.port, message.transaction_id)
