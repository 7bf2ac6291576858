"""What the server answers, and what it then holds. Ids are those of the requirement list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.net.address import Address, packed_host
from sfu.wire import stun
from sfu.wire import turn as wire
from sfu.wire.stun import Attribute, MessageClass
from sfu.wire.turn import Method, TurnAttribute
from tests.turn.world import (
    BOTH,
    OTHER,
    PEER,
    PEER_V6,
    RELAY_V4,
    RELAY_V6,
    UDP,
    Client,
    World,
    code_of,
    lifetime_of,
    peer_attribute,
    relayed,
)
from turn.allocate import IPV4, IPV6
from turn.connections import ConnectionBounds
from turn.events import Allocated, Ended, EndReason, PeersLimited, Permitted
from turn.tuples import FiveTuple, Transport

IPV6_ASKED = (TurnAttribute.REQUESTED_ADDRESS_FAMILY, wire.encode_address_family(2))
IPV4_ASKED = (TurnAttribute.REQUESTED_ADDRESS_FAMILY, wire.encode_address_family(1))
BOTH_ASKED = (TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, wire.encode_address_family(2))
EVEN = (TurnAttribute.EVEN_PORT, wire.encode_even_port(reserves_next=False))
TCP = (TurnAttribute.REQUESTED_TRANSPORT, wire.encode_requested_transport(6))
PAIR = (TurnAttribute.EVEN_PORT, wire.encode_even_port(reserves_next=True))
STRANGER = 0x7FFD  # an attribute that must be understood, and is not


def token(value: bytes) -> tuple[int, bytes]:
    return TurnAttribute.RESERVATION_TOKEN, value


def lifetime(seconds: int) -> tuple[int, bytes]:
    return TurnAttribute.LIFETIME, wire.encode_lifetime(seconds)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world: World) -> Client:
    return world.client()


class TestBinding:
    def test_S8_a_stranger_is_told_his_address(self, client: Client) -> None:
        answer = client.raw(stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12), fingerprint=False))
        assert answer is not None
        assert not answer.has_fingerprint
        value = answer.get(Attribute.XOR_MAPPED_ADDRESS) or b""
        ip, port = stun.decode_xor_address(value, answer.transaction_id)
        assert (ip, port) == (packed_host(client.tuple.remote.host), client.tuple.remote.port)

    def test_S9_who_sends_a_fingerprint_gets_one(self, client: Client) -> None:
        answer = client.raw(stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12), fingerprint=True))
        assert answer is not None
        assert answer.has_fingerprint

    def test_S5_what_must_be_understood_and_is_not_is_listed(self, client: Client) -> None:
        answer = client.raw(
            stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12), [(STRANGER, b""), (0xC123, b"")])
        )
        assert answer is not None
        assert code_of(answer) == 420
        assert answer.get(Attribute.UNKNOWN_ATTRIBUTES) == STRANGER.to_bytes(2, "big")

    def test_the_answer_is_not_much_larger_than_the_question(self, client: Client, world: World) -> None:
        question = stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12), fingerprint=False)
        answer = world.server.receive(question, client.tuple, world.now, world.wall_now)
        assert answer is not None
        assert (len(question), len(answer)) == (20, 32)


class TestNoAmplifier:
    """Sizes with the headers of IP and UDP: the sender's address may be that of a victim."""

    @pytest.mark.parametrize(
        "method", [stun.BINDING, Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION]
    )
    @pytest.mark.parametrize("fingerprint", [False, True])
    @pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
    @pytest.mark.parametrize(
        "attributes", [[], [UDP], [(STRANGER, b"")], [(STRANGER, b"")] * 60, [(0xC123, b"")]]
    )
    def test_a_stranger_gets_at_most_twice_what_it_sent(
        self, world: World, method: int, fingerprint: bool, host: str, attributes: list[tuple[int, bytes]]
    ) -> None:
        client = world.client(host=host)
        headers = (20 if client.tuple.remote.host == "192.0.2.1" else 40) + 8
        question = stun.build(method, MessageClass.REQUEST, bytes(12), attributes, fingerprint=fingerprint)
        answer = world.server.receive(question, client.tuple, world.now, world.wall_now)
        assert answer is not None
        assert headers + len(answer) <= 2 * (headers + len(question))

    def test_a_bare_header_gets_twice_and_the_smallest_allocate_less(
        self, world: World, client: Client
    ) -> None:
        def answer_to(*attributes: tuple[int, bytes]) -> int:
            question = stun.build(
                Method.ALLOCATE, MessageClass.REQUEST, bytes(12), attributes, fingerprint=False
            )
            answer = world.server.receive(question, client.tuple, world.now, world.wall_now)
            assert answer is not None
            return len(answer)

        assert (answer_to(), answer_to(UDP)) == (68, 80)


class TestSilence:
    @pytest.mark.parametrize("message_class", list(MessageClass)[1:])
    @pytest.mark.parametrize("method", [stun.BINDING, Method.ALLOCATE, Method.SEND, Method.DATA, 0x0FF])
    def test_S1_what_is_no_request_gets_no_answer(
        self, client: Client, method: int, message_class: MessageClass
    ) -> None:
        assert client.raw(stun.build(method, message_class, bytes(12))) is None

    @pytest.mark.parametrize("method", [Method.SEND, Method.DATA, Method.CONNECT, 0x0FF])
    def test_S1_a_request_of_an_unknown_method_gets_no_answer(self, client: Client, method: int) -> None:
        assert client.raw(stun.build(method, MessageClass.REQUEST, bytes(12))) is None

    @given(st.binary(max_size=200))
    def test_S1_bytes_that_are_no_message_get_no_answer(self, data: bytes) -> None:
        assert World().client().raw(data) is None

    @pytest.mark.parametrize("host", ["2001:0:1::1", "2002:c000:201::1", "64:ff9b::c000:201", "::192.0.2.1"])
    def test_D2_a_client_behind_a_tunnel_or_a_translator_gets_no_allocation(
        self, world: World, host: str
    ) -> None:
        client = world.client(host=host)
        assert client.raw(stun.build(Method.ALLOCATE, MessageClass.REQUEST, bytes(12))) is None

    def test_an_address_gets_so_many_errors_and_then_none(self, world: World, client: Client) -> None:
        question = stun.build(Method.ALLOCATE, MessageClass.REQUEST, bytes(12))
        answers = [client.raw(question) for _ in range(100)]
        assert sum(answer is not None for answer in answers) == world.limits.bounds.replies_per_s
        assert world.client(host="192.0.2.9").raw(question) is not None

    def test_a_proved_address_gets_all_errors(self, world: World) -> None:
        question = stun.build(Method.ALLOCATE, MessageClass.REQUEST, bytes(12))
        client = world.client(transport=Transport.TCP)
        assert None not in [client.raw(question) for _ in range(100)]

    def test_wrong_passwords_of_a_name_get_so_many_errors_and_then_none(self, world: World) -> None:
        client = world.client()
        client.allocate()
        wrong = stun.build(
            Method.REFRESH,
            MessageClass.REQUEST,
            bytes(12),
            [
                (kind, value)
                for kind, value in stun.parse(client.signed(Method.REFRESH, (), bytes(12))).attributes
                if kind in (Attribute.USERNAME, Attribute.REALM, Attribute.NONCE)
            ],
            key=bytes(16),
        )
        answers: list[stun.Message | None] = []
        for _ in range(20):
            answers.append(client.raw(wrong))
            world.now += 0.1
        assert [code_of(answer) for answer in answers if answer] == [401] * 10
        assert code_of(client.refresh()) == 200


class TestAllocate:
    def test_T1_a_stranger_is_challenged(self, client: Client) -> None:
        answer = client.raw(stun.build(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), [UDP]))
        assert answer is not None
        assert code_of(answer) == 401
        assert answer.integrity_at is None

    def test_T13_an_allocation_has_an_address_of_each_kind(self, client: Client) -> None:
        answer = client.allocate()
        [address] = relayed(answer)
        assert address.host == RELAY_V4
        assert 50000 <= address.port < 51000
        assert lifetime_of(answer) == 600
        mapped = stun.decode_xor_address(
            answer.get(Attribute.XOR_MAPPED_ADDRESS) or b"", answer.transaction_id
        )
        assert mapped == (packed_host(client.tuple.remote.host), client.tuple.remote.port)

    @pytest.mark.parametrize(
        ("asked", "granted"), [(0, 600), (599, 600), (700, 700), (3600, 3600), (9000, 3600)]
    )
    def test_T13_the_lifetime_is_between_600_and_3600_seconds(
        self, world: World, asked: int, granted: int
    ) -> None:
        client = world.client()
        world.now -= 1  # the credential would cut it off otherwise
        assert lifetime_of(client.allocate(lifetime(asked))) == granted

    def test_no_allocation_lasts_longer_than_its_credential(self, world: World) -> None:
        client = world.client()
        world.advance(3500)
        assert lifetime_of(client.allocate(lifetime(3600))) == 100

    def test_T13_the_last_second_of_a_credential_is_used_and_no_more(self, world: World) -> None:
        client = world.client(ttl_s=100)
        world.now += 1.25
        assert lifetime_of(client.allocate()) == 99
        world.advance(98.25)
        assert lifetime_of(client.refresh(700)) == 1
        world.advance(0.375)
        assert len(world.server) == 1
        world.advance(0.125)
        assert len(world.server) == 0

    def test_T2_a_request_that_comes_again_gets_the_same_answer(self, world: World, client: Client) -> None:
        first = client.allocate(transaction=b"once more...")
        again = client.allocate(transaction=b"once more...")
        assert again.data == first.data
        assert len(world.server) == 1

    def test_T2_another_request_on_the_same_5_tuple_is_437(self, client: Client) -> None:
        client.allocate()
        assert code_of(client.allocate()) == 437

    def test_T2_another_users_request_is_none_that_comes_again(self, world: World) -> None:
        owner, other = world.client(), world.client()
        other.tuple = owner.tuple
        owner.allocate(transaction=b"once more...")
        assert code_of(other.allocate(transaction=b"once more...")) == 437

    @pytest.mark.parametrize("transport", list(Transport))
    def test_the_same_address_over_another_transport_is_another_client(
        self, world: World, transport: Transport
    ) -> None:
        world.client(port=40999).allocate()
        other = world.client(port=40999, transport=transport)
        assert code_of(other.allocate()) == (437 if transport is Transport.UDP else 200)

    @pytest.mark.parametrize(
        ("attributes", "code"),
        [
            ((), 400),
            (((TurnAttribute.REQUESTED_TRANSPORT, b"\x11"),), 400),
            ((TCP,), 442),
            (((TurnAttribute.REQUESTED_TRANSPORT, wire.encode_requested_transport(132)),), 442),
        ],
    )
    def test_T3_the_transport_is_udp(
        self, client: Client, attributes: tuple[tuple[int, bytes], ...], code: int
    ) -> None:
        assert client.code(Method.ALLOCATE, *attributes) == code

    def test_T4_dont_fragment_is_understood(self, client: Client) -> None:
        assert code_of(client.allocate((TurnAttribute.DONT_FRAGMENT, b""))) == 200

    @pytest.mark.parametrize("other", [EVEN, PAIR, IPV4_ASKED, IPV6_ASKED, BOTH_ASKED])
    def test_T5_a_token_stands_alone(self, client: Client, other: tuple[int, bytes]) -> None:
        assert code_of(client.allocate(token(bytes(8)), other)) == 400

    def test_T5_a_token_that_nobody_gave_is_508(self, client: Client) -> None:
        assert code_of(client.allocate(token(bytes(8)))) == 508
        assert code_of(client.allocate(token(bytes(7)))) == 400

    def test_T5_a_token_is_taken_once(self, world: World, client: Client) -> None:
        given = client.allocate(PAIR).get(TurnAttribute.RESERVATION_TOKEN) or b""
        assert code_of(world.client().allocate(token(given))) == 200
        assert code_of(world.client().allocate(token(given))) == 508

    def test_T6_one_or_both_families_are_asked_for(self, client: Client) -> None:
        assert code_of(client.allocate(IPV4_ASKED, BOTH_ASKED)) == 400

    def test_T7_without_a_family_it_is_ipv4(self, client: Client) -> None:
        assert [address.host for address in relayed(client.allocate())] == [RELAY_V4]

    def test_T7_a_family_may_be_asked_for(self, world: World) -> None:
        assert [a.host for a in relayed(world.client().allocate(IPV6_ASKED))] == [RELAY_V6]
        assert [a.host for a in relayed(world.client().allocate(IPV4_ASKED))] == [RELAY_V4]

    @pytest.mark.parametrize(("served", "asked"), [(IPV6, ()), (IPV6, (IPV4_ASKED,)), (IPV4, (IPV6_ASKED,))])
    def test_T7_a_family_that_is_not_served_is_440(
        self, served: int, asked: tuple[tuple[int, bytes], ...]
    ) -> None:
        client = World(hosts={served: BOTH[served]}).client()
        assert code_of(client.allocate(*asked)) == 440

    def test_T7_a_family_that_there_is_not_is_440(self, client: Client) -> None:
        strange = (TurnAttribute.REQUESTED_ADDRESS_FAMILY, wire.encode_address_family(3))
        assert code_of(client.allocate(strange)) == 440

    def test_T8_a_pair_is_of_one_family(self, client: Client) -> None:
        assert code_of(client.allocate(PAIR, BOTH_ASKED)) == 400

    def test_T8_a_pair_that_is_not_to_be_had_is_508(self, world: World, client: Client) -> None:
        world.refused = {("127.0.0.1", port) for port in range(50001, 51000, 2)}
        assert code_of(client.allocate(PAIR)) == 508
        assert world.open_sockets() == 0

    def test_T9_both_families_have_an_address_each(self, client: Client) -> None:
        assert [address.host for address in relayed(client.allocate(BOTH_ASKED))] == [RELAY_V4, RELAY_V6]
        assert set(client.notes.sockets) == {IPV4, IPV6}

    def test_T9_ipv4_is_no_additional_family(self, client: Client) -> None:
        additional = (TurnAttribute.ADDITIONAL_ADDRESS_FAMILY, wire.encode_address_family(1))
        assert code_of(client.allocate(additional)) == 400

    @pytest.mark.parametrize(
        ("hosts", "refused", "missing"),
        [
            ({IPV4: BOTH[IPV4]}, set[str](), (2, 440)),
            ({IPV6: BOTH[IPV6]}, set[str](), (1, 440)),
            (BOTH, {"::1"}, (2, 508)),
            (BOTH, {"127.0.0.1"}, (1, 508)),
        ],
    )
    def test_T9_one_of_both_families_is_a_success_that_says_what_is_missing(
        self, hosts: dict[int, object], refused: set[str], missing: tuple[int, int]
    ) -> None:
        world = World(hosts={size: BOTH[size] for size in hosts})
        world.refused = {(host, port) for host in refused for port in range(50000, 51000)}
        answer = world.client().allocate(BOTH_ASKED)
        assert len(relayed(answer)) == 1
        value = answer.get(TurnAttribute.ADDRESS_ERROR_CODE) or b""
        assert wire.decode_address_error_code(value)[:2] == missing

    def test_T9_neither_of_both_families_is_508(self, world: World, client: Client) -> None:
        world.refused = {(host, port) for host in ("127.0.0.1", "::1") for port in range(50000, 51000)}
        assert code_of(client.allocate(BOTH_ASKED)) == 508
        assert world.open_sockets() == 0

    def test_T10_a_user_has_so_many_allocations(self) -> None:
        world = World(allocations_per_user=2)
        first = world.client()
        clients = [first, *(Client(world, first.minted, Transport.UDP) for _ in range(2))]
        assert [code_of(client.allocate()) for client in clients] == [200, 200, 486]
        first.refresh(0)
        assert code_of(clients[2].allocate()) == 200

    def test_an_address_has_so_many_allocations(self) -> None:
        world = World(allocations_per_address=2)
        assert [code_of(world.client().allocate()) for _ in range(3)] == [200, 200, 486]
        assert code_of(world.client(host="192.0.2.9").allocate()) == 200

    def test_the_server_has_so_many_allocations(self) -> None:
        world = World(allocations=2)
        assert [code_of(world.client().allocate()) for _ in range(3)] == [200, 200, 508]

    @pytest.mark.parametrize("more", [(), (PAIR,), (BOTH_ASKED,)])
    @pytest.mark.parametrize("descriptors", [0, 1])
    def test_a_system_without_descriptors_is_508_and_loses_no_port(
        self, world: World, more: tuple[tuple[int, bytes], ...], descriptors: int
    ) -> None:
        world.descriptors = descriptors
        client = world.client()
        codes = [code_of(world.client().allocate(*more)) for _ in range(3)]
        assert codes[descriptors:] == [508] * (3 - descriptors)
        world.descriptors = 10_000
        assert len(world.ports) == world.open_sockets() == len(world.server)
        assert code_of(client.allocate(*more)) == 200

    @pytest.mark.parametrize("wanted", [UDP, TCP])
    @pytest.mark.parametrize("watched", [0, 1])
    def test_a_socket_that_the_system_can_not_watch_is_508_and_nothing_is_left(
        self, wanted: tuple[int, bytes], watched: int
    ) -> None:
        world = World(tcp=ConnectionBounds())
        client = world.client(transport=Transport.TCP)
        world.relay.watched = world.peers.watched = watched
        assert client.code(Method.ALLOCATE, wanted, BOTH_ASKED) == 508
        assert (len(world.server), len(world.limits), len(world.relay.allocations)) == (0, 0, 0)
        assert world.open_sockets() == len(world.ports) == len(world.tcp_ports) == 0
        world.relay.watched = world.peers.watched = 2
        assert client.code(Method.ALLOCATE, wanted, BOTH_ASKED) == 200

    def test_a_relay_without_room_is_508_and_keeps_no_port(self) -> None:
        world = World(relay_room=1)
        assert [code_of(world.client().allocate()) for _ in range(2)] == [200, 508]
        assert (world.open_sockets(), len(world.ports)) == (1, 1)

    def test_T11_an_even_port_reserves_nothing(self, world: World, client: Client) -> None:
        answer = client.allocate(EVEN)
        assert relayed(answer)[0].port % 2 == 0
        assert answer.get(TurnAttribute.RESERVATION_TOKEN) is None
        assert world.open_sockets() == 1

    def test_T11_the_next_port_is_held_for_any_client_of_the_token(
        self, world: World, client: Client
    ) -> None:
        answer = client.allocate(PAIR)
        lower = relayed(answer)[0].port
        given = answer.get(TurnAttribute.RESERVATION_TOKEN) or b""
        other = world.client(transport=Transport.TLS)
        assert [address.port for address in relayed(other.allocate(token(given)))] == [lower + 1]

    def test_T11_what_nobody_takes_is_held_for_30_seconds(self, world: World, client: Client) -> None:
        given = client.allocate(PAIR).get(TurnAttribute.RESERVATION_TOKEN) or b""
        assert world.server.timer_at() == world.now + 30
        world.advance(30)
        assert (world.open_sockets(), len(world.ports)) == (1, 1)
        assert code_of(world.client().allocate(token(given))) == 508

    def test_S5_what_must_be_understood_and_is_not_is_told_to_users_alone(self, client: Client) -> None:
        stranger = stun.build(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), [UDP, (STRANGER, b"")])
        answer = client.raw(stranger)
        assert answer is not None
        assert code_of(answer) == 401
        answer = client.allocate((STRANGER, b""))
        assert code_of(answer) == 420
        assert answer.get(Attribute.UNKNOWN_ATTRIBUTES) == STRANGER.to_bytes(2, "big")

    def test_a_draining_server_takes_no_new_allocations_and_keeps_the_old(self, world: World) -> None:
        old = world.client()
        old.allocate()
        world.server.drain()
        assert code_of(world.client().allocate()) == 508
        assert code_of(old.refresh()) == 200
        assert old.permit(PEER) == 200


class TestRefresh:
    @pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
    def test_T15_without_an_allocation_it_is_437(self, client: Client, method: Method) -> None:
        assert client.code(method) == 437

    @pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
    def test_A12_another_users_allocation_is_441(self, world: World, method: Method) -> None:
        owner = world.client()
        owner.allocate()
        other = world.client()
        other.tuple = owner.tuple
        assert other.code(method) == 441

    def test_T16_lifetime_0_ends_it(self, world: World, client: Client) -> None:
        client.allocate()
        assert lifetime_of(client.refresh(0)) == 0
        assert (len(world.server), world.open_sockets(), len(world.ports)) == (0, 0, 0)
        assert client.permit(PEER) == 437

    def test_T16_a_refresh_lasts_from_its_own_moment(self, world: World, client: Client) -> None:
        client.allocate()
        world.advance(500)
        assert lifetime_of(client.refresh(700)) == 700
        world.advance(699)
        assert len(world.server) == 1
        world.advance(1)
        assert len(world.server) == 0

    def test_T16_a_family_that_it_has_not_is_443(self, client: Client) -> None:
        client.allocate()
        assert code_of(client.refresh(None, IPV6_ASKED)) == 443

    def test_T16_of_both_families_one_may_end(self, world: World, client: Client) -> None:
        client.allocate(BOTH_ASKED)
        assert client.permit(PEER, PEER_V6) == 200
        assert client.bind(0x4000, PEER) == 200
        assert client.bind(0x4001, PEER_V6) == 200
        assert code_of(client.refresh(0, IPV4_ASKED)) == 200
        assert list(client.notes.permissions) == [packed_host(PEER_V6.host)]
        assert list(client.notes.channels) == [0x4001]
        assert (world.open_sockets(), len(world.ports)) == (1, 1)
        assert client.permit(PEER) == 443
        assert code_of(client.refresh(0, IPV4_ASKED)) == 443
        assert code_of(client.refresh(0)) == 200
        assert (len(world.server), world.open_sockets()) == (0, 0)

    def test_T16_of_both_families_one_may_last_longer(self, world: World, client: Client) -> None:
        client.allocate(BOTH_ASKED)
        client.refresh(1000, IPV6_ASKED)
        world.advance(600)
        assert list(client.notes.sockets) == [IPV6]
        world.advance(400)
        assert len(world.server) == 0

    def test_S7_a_release_that_comes_again_ends_nothing_that_came_since(
        self, world: World, client: Client
    ) -> None:
        client.allocate()
        first = client.ask(Method.REFRESH, lifetime(0), transaction=b"the release.")
        client.allocate()
        again = client.ask(Method.REFRESH, lifetime(0), transaction=b"the release.")
        assert again.data == first.data
        assert len(world.server) == 1

    def test_S7_a_release_that_comes_again_is_answered_again(self, client: Client) -> None:
        client.allocate()
        first = client.ask(Method.REFRESH, lifetime(0), transaction=b"the release.")
        again = client.ask(Method.REFRESH, lifetime(0), transaction=b"the release.")
        assert again.data == first.data


class TestPermissions:
    def test_P1_a_permission_is_for_an_address_whatever_the_port(self, client: Client, world: World) -> None:
        client.allocate()
        assert client.permit(PEER) == 200
        assert client.notes.permissions == {packed_host(PEER.host): (world.now + 300, False)}

    def test_P3_several_peers_are_permitted_at_once(self, client: Client) -> None:
        client.allocate()
        assert client.permit(PEER, OTHER) == 200
        assert len(client.notes.permissions) == 2

    def test_P3_none_is_400(self, client: Client) -> None:
        client.allocate()
        assert client.permit() == 400
        assert client.code(Method.CREATE_PERMISSION, (TurnAttribute.XOR_PEER_ADDRESS, bytes(7))) == 400

    @pytest.mark.parametrize(
        ("bad", "code"),
        [(Address("127.0.0.1", 1), 403), (Address("::ffff:127.0.0.1", 1), 443), (PEER_V6, 443)],
    )
    def test_P3_one_bad_peer_spoils_all(self, client: Client, bad: Address, code: int) -> None:
        client.allocate()
        assert client.permit(PEER, bad, OTHER) == code
        assert client.notes.permissions == {}

    def test_this_hosts_own_address_is_open_at_its_relay_ports_alone(self, client: Client) -> None:
        client.allocate()
        assert client.permit(Address(RELAY_V4, 22)) == 200
        assert client.notes.permissions[packed_host(RELAY_V4)][1] is True
        assert client.bind(0x4000, Address(RELAY_V4, 22)) == 403
        assert client.bind(0x4000, Address(RELAY_V4, 50001)) == 200

    def test_an_allocation_has_so_many_permissions(self) -> None:
        world = World(permissions=3)
        client = world.client()
        client.allocate()
        peers = [Address(f"198.18.1.{n}", 1) for n in range(4)]
        assert client.permit(*peers) == 508
        assert client.permit(*peers[:3]) == 200
        assert client.permit(*peers[:3]) == 200
        assert client.permit(peers[3]) == 508
        world.advance(300)
        assert client.permit(peers[3]) == 200

    def test_when_all_allocations_together_have_what_there_is_room_for_new_peers_are_508(
        self, world: World, client: Client
    ) -> None:
        client.allocate()
        assert client.permit(PEER) == 200
        assert client.bind(0x4000, PEER) == 200
        world.relay.peers_left = 1
        assert client.permit(PEER, OTHER) == 200  # of which one is new
        world.relay.peers_left = 0
        assert client.permit(OTHER, Address("198.18.0.9", 1)) == 508
        assert client.bind(0x4001, OTHER) == 508
        assert set(client.notes.permissions) == {packed_host(PEER.host), packed_host(OTHER.host)}
        assert client.bind(0x4000, PEER) == 200
        assert client.permit(PEER, OTHER) == 200

    def test_an_allocation_names_so_many_new_peers_a_second(self) -> None:
        world = World(peers_burst=2, peers_per_s=1)
        client = world.client()
        client.allocate()
        peers = [Address(f"198.18.1.{n}", 1) for n in range(3)]
        assert [client.permit(peer) for peer in peers] == [200, 200, 508]
        assert client.permit(*peers[:2]) == 200
        assert client.permit(peers[2]) == 508
        [limited] = [event for event in world.server.take_events() if isinstance(event, PeersLimited)]
        assert limited.allocation.peers_refused == 2
        world.advance(1)
        assert client.permit(peers[2]) == 200


class TestChannels:
    def test_C1_a_channel_stands_for_a_peer_and_permits_it(self, client: Client, world: World) -> None:
        client.allocate()
        assert client.bind(0x4000, PEER) == 200
        assert client.notes.channels == {0x4000: ((packed_host(PEER.host), PEER.port), world.now + 600)}
        assert client.notes.permissions == {packed_host(PEER.host): (world.now + 300, False)}

    @pytest.mark.parametrize(
        ("number", "code"), [(0x3FFF, 400), (0x4000, 200), (0x7FFF, 200), (0x8000, 400), (0xFFFF, 400)]
    )
    def test_C6_numbers_of_rfc_5766_are_taken(self, client: Client, number: int, code: int) -> None:
        client.allocate()
        assert client.bind(number, PEER) == code

    @pytest.mark.parametrize(("number", "code"), [(0x4FFF, 200), (0x5000, 400)])
    def test_C1_a_strict_server_takes_those_of_rfc_8656(self, number: int, code: int) -> None:
        client = World(last_channel=0x4FFF).client()
        client.allocate()
        assert client.bind(number, PEER) == code

    def test_C1_a_number_or_a_peer_is_missing(self, client: Client) -> None:
        client.allocate()
        channel = (TurnAttribute.CHANNEL_NUMBER, wire.encode_channel_number(0x4000))
        assert client.code(Method.CHANNEL_BIND, channel) == 400
        assert client.code(Method.CHANNEL_BIND, peer_attribute(PEER, bytes(12)), transaction=bytes(12)) == 400

    def test_C1_neither_number_nor_peer_is_bound_twice(self, client: Client) -> None:
        client.allocate()
        client.bind(0x4000, PEER)
        assert client.bind(0x4000, OTHER) == 400
        assert client.bind(0x4001, PEER) == 400
        assert client.bind(0x4001, Address(PEER.host, PEER.port + 1)) == 200
        assert client.bind(0x4000, PEER) == 200

    def test_C2_a_binding_that_is_over_frees_number_and_peer(self, world: World, client: Client) -> None:
        client.allocate(lifetime(3600))
        client.bind(0x4000, PEER)
        world.advance(600)
        assert client.bind(0x4000, OTHER) == 200
        assert client.bind(0x4001, PEER) == 200

    @pytest.mark.parametrize(
        ("peer", "code"), [(PEER_V6, 443), (Address("10.0.0.1", 1), 403), (Address(PEER.host, 0), 403)]
    )
    def test_C1_a_peer_that_is_not_allowed(self, client: Client, peer: Address, code: int) -> None:
        client.allocate()
        assert client.bind(0x4000, peer) == code
        assert (client.notes.channels, client.notes.permissions) == ({}, {})

    def test_an_allocation_has_so_many_channels(self) -> None:
        client = World(channels=2).client()
        client.allocate()
        codes = [client.bind(0x4000 + n, Address(PEER.host, 1 + n)) for n in range(3)]
        assert codes == [200, 200, 508]
        assert client.bind(0x4001, Address(PEER.host, 2)) == 200


class TestEnds:
    def test_what_became_of_an_allocation_is_told_in_order(self, world: World, client: Client) -> None:
        client.allocate()
        client.permit(PEER)
        client.permit(PEER)
        client.refresh(0)
        allocated, permitted, ended = world.server.take_events()
        assert isinstance(allocated, Allocated)
        assert isinstance(permitted, Permitted)
        assert permitted.ip == packed_host(PEER.host)
        assert isinstance(ended, Ended)
        assert ended.reason is EndReason.RELEASED
        assert world.server.take_events() == []

    def test_an_allocation_that_nobody_refreshes_ends(self, world: World, client: Client) -> None:
        client.allocate()
        assert world.server.timer_at() == world.now + 600
        world.advance(600)
        assert world.server.timer_at() is None
        assert [event.reason for event in world.server.take_events() if isinstance(event, Ended)] == [
            EndReason.EXPIRED
        ]

    def test_revocation_ends_all_allocations_of_the_name_and_no_others(self, world: World) -> None:
        first, other = world.client(), world.client()
        second = Client(world, first.minted, Transport.TCP)
        for client in (first, second, other):
            client.allocate()
        world.credentials.revoke(first.minted.username, world.wall_now)
        assert world.server.revoke(first.minted.username) == 2
        assert (len(world.server), world.open_sockets()) == (1, 1)
        assert code_of(other.refresh()) == 200

    def test_a_connection_that_closes_takes_its_allocation_along(self, world: World) -> None:
        client = world.client(transport=Transport.TCP)
        client.allocate()
        world.server.disconnected(client.tuple)
        world.server.disconnected(client.tuple)
        assert (len(world.server), world.open_sockets(), len(world.limits)) == (0, 0, 0)

    def test_a_server_that_stops_closes_everything(self, world: World) -> None:
        for _ in range(5):
            world.client().allocate(BOTH_ASKED)
        world.server.stop()
        assert (len(world.server), world.open_sockets(), len(world.ports), len(world.limits)) == (0, 0, 0, 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["allocate", "refresh", "release", "wait"])), max_size=40
    )
)
def test_ports_sockets_and_quotas_are_held_as_long_as_allocations(steps: list[tuple[int, str]]) -> None:
    world = World(allocations_per_user=2, replies_per_s=1e6)
    clients = [world.client(ttl_s=172_800) for _ in range(2)]
    clients += [Client(world, client.minted, Transport.UDP) for client in clients]
    held: dict[FiveTuple, float] = {}
    for number, step in steps:
        client = clients[number]
        held = {key: until for key, until in held.items() if until > world.now}
        match step:
            case "allocate":
                code = code_of(client.allocate(BOTH_ASKED))
                assert code == (437 if client.tuple in held else 200)
                held.setdefault(client.tuple, world.now + 600)
            case "refresh":
                assert code_of(client.refresh(600)) == (200 if client.tuple in held else 437)
                if client.tuple in held:
                    held[client.tuple] = world.now + 600
            case "release":
                assert code_of(client.refresh(0)) == (200 if held.pop(client.tuple, None) else 437)
            case _:
                world.advance(250)
                held = {key: until for key, until in held.items() if until > world.now}
        assert len(world.server) == len(world.limits) == len(held)
        assert world.open_sockets() == len(world.ports) == 2 * len(held)
