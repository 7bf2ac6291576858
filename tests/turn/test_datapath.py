"""The server with the compiled relay: both bound what an allocation has, and keep to the same bounds."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from sfu.net.address import Address, make_path
from sfu.net.udp import open_udp
from tests.turn.world import KEY, Client, World
from turn.datapath import DataPath, make_relay, micros
from turn.limits import Bounds, Strangers
from turn.streams import Streams
from turn.tuples import Transport

if TYPE_CHECKING:
    from collections.abc import Generator

    from sfu.wire.stun import Message
    from turn.ports import RelaySocket

PEERS = [Address(f"198.18.0.{n}", 5000) for n in range(1, 9)]


class Relayed(World):
    """A world whose relay is the real one. Its listener hears nothing: messages are handed to the server."""

    def __init__(self, bounds: Bounds) -> None:
        self.compiled = make_relay(bounds, listeners=1)
        self.path = DataPath(self.compiled, Streams(Strangers(bounds)), packets_per_s=0, bytes_per_s=0)
        self.listener = open_udp("127.0.0.1", 0, setting="--listen")
        self.number = self.compiled.add_listener(self.listener.fileno(), self.listener.family)
        names = ("allocations", "permissions", "channels", "peers_burst")
        super().__init__(relay=self.path, **{name: getattr(bounds, name) for name in names})

    def _bind(self, host: str, port: int) -> RelaySocket | None:
        del port
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        return sock

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.compiled.on_readable(micros(self.now))

    def arriving(self) -> Client:
        return Arriving(self, self.credentials.mint(KEY, 3600, "", self.wall_now), Transport.UDP)


class Arriving(Client):
    """Its messages come on a path."""

    def raw(self, data: bytes) -> Message | None:
        world = self.world
        assert isinstance(world, Relayed)
        path = make_path(self.tuple.remote, "127.0.0.1")
        with world.path.arrived(self.tuple, (world.number, path)):
            return super().raw(data)


@pytest.fixture
def world() -> Generator[Relayed]:
    world = Relayed(Bounds(allocations=3, permissions=2, channels=2, peers_burst=50))
    world.advance(0)
    yield world
    world.server.stop()
    world.listener.close()
    assert set(world.compiled.live().values()) == {0}


def test_permissions_that_channels_outlive_leave_room_for_others(world: Relayed) -> None:
    client = world.arriving()
    client.allocate()
    client.refresh(3600)
    assert [client.bind(0x4000 + n, PEERS[n]) for n in range(2)] == [200, 200]
    world.advance(301)
    assert client.permit(PEERS[2], PEERS[3]) == 200
    assert client.permit(PEERS[4]) == 508
    assert client.bind(0x4002, PEERS[2]) == 508
    world.advance(300)
    assert [client.bind(0x4002 + n, PEERS[4 + n]) for n in range(2)] == [200, 200]


def test_every_allocation_may_have_what_one_may_have(world: Relayed) -> None:
    clients: list[Client] = []
    for _ in range(3):
        client = world.arriving()
        client.allocate()
        assert [client.bind(0x4000 + n, PEERS[n]) for n in range(2)] == [200, 200]
        clients.append(client)
    world.advance(301)
    assert [client.permit(*PEERS[2:4]) for client in clients] == [200, 200, 200]
    assert world.compiled.live()["permissions"] == 12  # six of them over, which channels stand on
