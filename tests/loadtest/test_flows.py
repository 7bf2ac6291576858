"""The compiled TURN clients against a server that a test writes: what they say, what they make of answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from loadtest.flows import ALLOCATE, BIND, CHALLENGE, PERMIT, REFRESH, RELEASE, Flows
from sfu.wire import stun, turn
from sfu.wire.stun import Attribute, Message, MessageClass, PasswordAlgorithm
from sfu.wire.turn import Method, TurnAttribute

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Answer = Callable[[Message], bytes | None]

REALM, NAME, NONCE = "example.org", "1800000000:load0", b"obMatJos2AAAAnonce"
KEY = stun.long_term_key(NAME, REALM, "password", PasswordAlgorithm.MD5)
DEADLINE_S = 10.0


class Server(threading.Thread):
    """Answers each datagram as the test says, and keeps what came. Data goes straight back to the client."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.port = int(self.socket.getsockname()[1])
        self.heard: list[bytes] = []
        self.ended = False
        self._answer = answer

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                data, client = self.socket.recvfrom(4096)
                self.heard.append(data)
                if turn.is_channel_data(data[0]):
                    self.socket.sendto(data, client)
                    continue
                reply = self._answer(stun.parse(data))
                if reply is not None:
                    self.socket.sendto(reply, client)

    def requests(self) -> list[Message]:
        """What came of STUN."""
        return [stun.parse(data) for data in self.heard if turn.is_stun(data[0])]


@contextlib.contextmanager
def serving(answer: Answer) -> Generator[Server]:
    server = Server(answer)
    server.start()
    try:
        yield server
    finally:
        server.ended = True
        server.join()
        server.socket.close()


@contextlib.contextmanager
def clients(server: Server, count: int = 1, *, channel: bool = True, size: int = 40) -> Generator[Flows]:
    flows = Flows(
        count,
        transport="udp",
        server=("127.0.0.1", server.port),
        local="127.0.0.1",
        peers=["127.0.0.1", "127.0.0.2"],
        realm=REALM,
        users=[(NAME.encode(), KEY)],
        channel=channel,
        size=size,
    )
    with contextlib.closing(flows):
        yield flows


def reply(request: Message, message_class: MessageClass, *attributes: tuple[int, bytes]) -> bytes:
    return stun.build(request.method, message_class, request.transaction_id, attributes, fingerprint=False)


def refusal(request: Message, code: int, nonce: bytes = NONCE) -> bytes:
    return reply(
        request,
        MessageClass.ERROR,
        (Attribute.ERROR_CODE, stun.encode_error_code(code, "")),
        (Attribute.REALM, REALM.encode()),
        (Attribute.NONCE, nonce),
    )


def obliging(request: Message) -> bytes | None:
    """A server that challenges and then takes everything that is signed."""
    if request.message_class is MessageClass.INDICATION:
        return None
    if not stun.verify_integrity(request, KEY):
        return refusal(request, 401)
    return reply(request, MessageClass.SUCCESS)


def through(flows: Flows) -> None:
    """To the end of the plan."""
    for _ in range(int(DEADLINE_S / 0.1)):
        if not flows.work(0.1):
            return
    pytest.fail(f"{flows.done} clients are done, {flows.faults()}")


def test_a_plan_is_gone_through_in_its_order() -> None:
    with serving(obliging) as server, clients(server) as flows:
        flows.plan([CHALLENGE, ALLOCATE, PERMIT, BIND, BIND + 1, REFRESH, RELEASE], lifetime_s=700)
        through(flows)
        assert flows.faults() == {}
        requests = server.requests()
    assert [request.method for request in requests] == [
        *(Method.ALLOCATE, Method.ALLOCATE, Method.CREATE_PERMISSION),
        *(Method.CHANNEL_BIND, Method.CHANNEL_BIND, Method.REFRESH, Method.REFRESH),
    ]
    assert [request.get(Attribute.NONCE) for request in requests] == [None] + [NONCE] * 6
    assert len(requests[2].get_all(TurnAttribute.XOR_PEER_ADDRESS)) == 2
    channels = [request.get(TurnAttribute.CHANNEL_NUMBER) for request in requests[3:5]]
    assert channels == [turn.encode_channel_number(0x4000), turn.encode_channel_number(0x4001)]
    lifetimes = [request.get(TurnAttribute.LIFETIME) for request in requests[5:]]
    assert lifetimes == [turn.encode_lifetime(700), turn.encode_lifetime(0)]
    assert len({request.transaction_id for request in requests}) == 7


def test_a_refusal_ends_a_clients_plan_and_is_told() -> None:
    def full(request: Message) -> bytes | None:
        return obliging(request) if request.get(Attribute.USERNAME) is None else refusal(request, 486)

    with serving(full) as server, clients(server, 3) as flows:
        flows.plan([CHALLENGE, ALLOCATE, BIND])
        through(flows)
        assert flows.faults() == {"error 486": 3}
        assert len(server.heard) == 6


def test_a_stale_nonce_is_replaced() -> None:
    def stale(request: Message) -> bytes | None:
        old = request.get(Attribute.NONCE) == NONCE
        return refusal(request, 438, b"another") if old else obliging(request)

    with serving(stale) as server, clients(server) as flows:
        flows.plan([CHALLENGE, ALLOCATE, BIND])
        through(flows)
        assert flows.faults() == {}
        nonces = [request.get(Attribute.NONCE) for request in server.requests()]
    assert nonces == [None, NONCE, b"another", b"another"]


def test_a_server_that_always_says_stale_is_given_up() -> None:
    def never(request: Message) -> bytes | None:
        return refusal(request, 438 if request.get(Attribute.NONCE) else 401)

    with serving(never) as server, clients(server) as flows:
        flows.plan([CHALLENGE, ALLOCATE])
        through(flows)
        assert flows.faults() == {"error 438": 1}


def test_a_lost_request_is_sent_again_as_it_was() -> None:
    lost: list[Message] = []

    def once(request: Message) -> bytes | None:
        if not lost:
            lost.append(request)
            return None
        return obliging(request)

    with serving(once) as server, clients(server) as flows:
        flows.plan([CHALLENGE, ALLOCATE])
        through(flows)
        assert flows.faults() == {}
        assert flows.counts()["sent_again"] == 1
        assert server.heard[0] == server.heard[1]


def test_an_answer_that_says_nothing_is_malformed() -> None:
    def empty(request: Message) -> bytes | None:
        return reply(request, MessageClass.ERROR)

    with serving(empty) as server, clients(server) as flows:
        flows.plan([CHALLENGE, ALLOCATE])
        through(flows)
        assert flows.faults() == {"malformed answer": 1}


def test_passing_clients_each_come_from_a_port_of_their_own() -> None:
    with serving(obliging) as server, clients(server, 2) as flows:
        flows.plan([CHALLENGE, ALLOCATE, RELEASE], jobs=20, window=2, passing=True)
        through(flows)
        assert flows.done == 20
        assert flows.faults() == {}
        assert len(server.heard) == 60


def test_data_that_comes_back_is_counted_and_timed() -> None:
    with serving(obliging) as server, clients(server, 4) as flows:
        flows.plan([CHALLENGE, ALLOCATE, BIND])
        through(flows)
        flows.send(1000, seconds=0.2)
        while flows.run(0.1):
            pass
        flows.settle(1.0)
        counts = flows.counts()
        assert counts["sent"] + counts["unsent"] == pytest.approx(200, abs=4)
        assert counts["returned"] == counts["sent"]
        assert counts["strange"] == 0
        assert sum(flows.take_round_trips()) == counts["returned"]
        assert sum(flows.take_round_trips()) == 0
    data = [turn.parse_channel_data(entry) for entry in server.heard if turn.is_channel_data(entry[0])]
    assert {(entry.channel, len(entry.data)) for entry in data} == {(0x4000, 40)}


def test_send_indications_say_where_to() -> None:
    with serving(obliging) as server, clients(server, channel=False, size=41) as flows:
        flows.plan([CHALLENGE, ALLOCATE, PERMIT])
        through(flows)
        flows.send(1000, seconds=0.02)
        while flows.run(0.1):
            pass
        flows.settle(0.1)
        assert flows.counts()["returned"] == 0
        permit, *sent = server.requests()[2:]
    peers = [
        stun.decode_xor_address(value, permit.transaction_id)
        for value in permit.get_all(TurnAttribute.XOR_PEER_ADDRESS)
    ]
    assert sent
    for message in sent:
        assert (message.method, message.message_class) == (Method.SEND, MessageClass.INDICATION)
        assert len(message.get(TurnAttribute.DATA) or b"") == 41
        to = stun.decode_xor_address(
            message.get(TurnAttribute.XOR_PEER_ADDRESS) or b"", message.transaction_id
        )
        assert to == peers[0]


def test_data_that_nobody_sent_is_strange() -> None:
    def spurious(request: Message) -> bytes | None:
        if request.method == Method.CHANNEL_BIND:
            return turn.build_channel_data(0x4000, bytes(40))
        return obliging(request)

    with serving(spurious) as server, clients(server) as flows:
        flows.plan([CHALLENGE, ALLOCATE, BIND])
        flows.work(0.3)
        assert flows.counts()["strange"] >= 1
        assert flows.counts()["returned"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"size": 8},
        {"size": 2000},
        {"peers": []},
        {"peers": ["peer.example"]},
        {"users": []},
        {"transport": "tcp", "joined": True},
    ],
)
def test_what_makes_no_clients_is_refused(wrong: dict[str, object]) -> None:
    given: dict[str, object] = {
        "count": 1,
        "transport": "udp",
        "server": ("127.0.0.1", 9),
        "local": "127.0.0.1",
        "peers": ["127.0.0.1"],
        "realm": REALM,
        "users": [(NAME.encode(), KEY)],
    }
    given.update(wrong)
    with pytest.raises(ValueError, match=r"\w"):
        Flows(given.pop("count"), **given)  # type: ignore[arg-type]
