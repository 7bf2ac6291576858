"""The relay path beside a plain one: whatever they are told and sent, both pass the same."""

from __future__ import annotations

import socket

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sfu.net.address import Address
from tests.reference.relay import Allocation
from tests.turn.relay_lab import (
    Client,
    Lab,
    Peer,
    channel_data,
    packed,
    read_data_indication,
    send_indication,
)

CLIENTS = st.integers(0, 1)
PEERS = st.integers(0, 3)
NAMES = st.integers(0, 5)
TOLD = "203.0.113.7"
CHANNELS = st.integers(0x4000, 0x4003)
SPANS = st.sampled_from([0, 1, 1000, 2000])
DATA = st.lists(st.binary(max_size=40), min_size=1, max_size=5)


def waiting(sock: socket.socket) -> list[bytes]:
    """All that has come to a socket."""
    sock.setblocking(False)
    out: list[bytes] = []
    while True:
        try:
            out.append(sock.recv(2000))
        except BlockingIOError:
            return out


class RelayBesideModel(RuleBasedStateMachine):
    """Two clients; four peers, two at each of two addresses. The last two have a second name: an address that
    others are told, which leads to them."""

    @initialize()
    def start(self) -> None:
        self.lab = Lab()
        self.lab.run()
        self.peers: list[Peer] = [self.lab.peer(f"127.0.0.{1 + i // 2}") for i in range(4)]
        self.clients: list[Client] = []
        self.relayed: list[Address] = []
        self.models = [Allocation(), Allocation()]
        self.to_peers: list[list[bytes]] = [[] for _ in self.peers]
        self.to_clients: list[list[tuple[int | None, Address, bytes]]] = [[], []]
        for _ in range(2):
            client = self.lab.client()
            self.clients.append(client)
            self.relayed.append(client.relayed_at("127.0.0.1"))
        self.names = [peer.address for peer in self.peers]
        self.names += [Address(TOLD, peer.port) for peer in self.peers[2:]]
        self.lab.relay.set_told(
            [(packed(TOLD), at.port, at.port, packed("127.0.0.2"), at.port) for at in self.names[4:]]
        )
        self.lab.relay.on_readable(self.lab.now)

    def who(self, name: int) -> int:
        """Whose name it is."""
        return name if name < len(self.peers) else name - 2

    def teardown(self) -> None:
        if hasattr(self, "lab"):
            self.lab.stack.close()

    @rule(client=CLIENTS, name=NAMES, span=SPANS, own_ports=st.booleans())
    def permit(self, client: int, name: int, span: int, own_ports: bool) -> None:
        end = self.lab.now + span
        ip = packed(self.names[name].host)
        self.lab.relay.permit(self.clients[client].handle, ip, end, own_ports)
        self.models[client].permit(ip, end, own_ports)

    @rule(client=CLIENTS, name=NAMES, channel=CHANNELS, span=SPANS)
    def bind(self, client: int, name: int, channel: int, span: int) -> None:
        end = self.lab.now + span
        host, port = self.names[name]
        self.permit(client, name, 1000, False)  # as ChannelBind does
        self.lab.relay.bind(self.clients[client].handle, channel, packed(host), port, end)
        self.models[client].bind(channel, (packed(host), port), end)

    @rule(peers=st.sets(PEERS))
    def open_ports(self, peers: set[int]) -> None:
        ports = tuple((self.peers[peer].port, self.peers[peer].port) for peer in peers)
        self.lab.relay.set_own_ports(ports)
        for model in self.models:
            model.open_ports = ports

    @rule(span=SPANS)
    def wait(self, span: int) -> None:
        self.lab.now += span
        self.lab.relay.on_readable(self.lab.now)

    @rule(client=CLIENTS, channel=CHANNELS, data=DATA)
    def send_by_channel(self, client: int, channel: int, data: list[bytes]) -> None:
        self.clients[client].send(*(channel_data(channel, piece) for piece in data))
        peer = self.models[client].peer_of(channel, self.lab.now)
        for name, (host, port) in enumerate(self.names):
            if peer == (packed(host), port):
                self.to_peers[self.who(name)] += data

    @rule(client=CLIENTS, name=NAMES, data=DATA)
    def send_by_indication(self, client: int, name: int, data: list[bytes]) -> None:
        at = self.names[name]
        self.clients[client].send(*(send_indication(at, piece) for piece in data))
        if self.models[client].passes((packed(at.host), at.port), self.lab.now):
            self.to_peers[self.who(name)] += data

    @rule(client=CLIENTS, peer=PEERS, data=DATA)
    def answer(self, client: int, peer: int, data: list[bytes]) -> None:
        for piece in data:
            self.peers[peer].sock.sendto(piece, self.relayed[client])
        # by the name under which it is seen, if that may send, else by the other
        for at in (at for name, at in enumerate(self.names) if self.who(name) == peer):
            if self.models[client].passes((packed(at.host), at.port), self.lab.now):
                channel = self.models[client].channel_of((packed(at.host), at.port), self.lab.now)
                self.to_clients[client] += [(channel, at, piece) for piece in data]
                break

    @rule(client=CLIENTS)
    def come_again(self, client: int) -> None:
        """The allocation ends, and the client makes another."""
        lab, one = self.lab, self.clients[client]
        lab.relay.remove(one.handle)
        one.handle = lab.relay.add(lab.listener, one.path, 0, 0)
        self.relayed[client] = one.relayed_at("127.0.0.1")
        self.models[client] = Allocation(open_ports=self.models[client].open_ports)

    @invariant()
    def what_came_is_what_should(self) -> None:
        if not hasattr(self, "lab"):
            return
        assert self.lab.run() == []
        for i, peer in enumerate(self.peers):
            assert sorted(waiting(peer.sock)) == sorted(self.to_peers[i])
            self.to_peers[i] = []
        for i, client in enumerate(self.clients):
            got: list[tuple[int | None, Address, bytes]] = []
            for datagram in waiting(client.sock):
                if datagram[0] >= 0x40:
                    channel = int.from_bytes(datagram[:2], "big")
                    (ip, port), _ = self.models[i].channels[channel]
                    host = next(at.host for at in self.names if packed(at.host) == ip)
                    got.append((channel, Address(host, port), datagram[4:]))
                else:
                    got.append((None, *read_data_indication(datagram)))
            assert sorted(got, key=repr) == sorted(self.to_clients[i], key=repr)
            self.to_clients[i] = []
        live = self.lab.relay.live()
        assert (live["allocations"], live["sockets"]) == (2, 2)
        assert live["permissions"] <= sum(len(model.permissions) for model in self.models)
        assert live["channels"] <= sum(len(model.channels) for model in self.models)


TestRelayBesideModel = RelayBesideModel.TestCase
TestRelayBesideModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
