"""Batches on real sockets: paths, answers from the address that was hit, losses counted."""

from __future__ import annotations

import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from sfu.net.address import Address, Path, local_host, make_path, remote_address
from sfu.net.batch import Batch
from sfu.net.udp import OpenError, open_udp

if TYPE_CHECKING:
    from collections.abc import Generator


def has_ipv6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


@contextmanager
def opened(host: str, **sizes: int) -> Generator[tuple[socket.socket, Batch]]:
    with closing(open_udp(host, 0, setting="--media")) as sock:
        yield sock, Batch(sock.fileno(), sock.family, **sizes)


@contextmanager
def client(host: str) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(2)
        sock.bind((host, 0))
        yield sock


@pytest.mark.parametrize("hit", ["127.0.0.1", "127.0.0.7"])
def test_an_answer_leaves_from_the_address_that_was_hit(hit: str) -> None:
    with opened("") as (sock, batch), client("127.0.0.1") as peer:
        peer.sendto(b"ping", (hit, sock.getsockname()[1]))
        ((path, data),) = batch.receive(1)
        assert data == b"ping"
        assert remote_address(path) == Address(*peer.getsockname())
        assert local_host(path) == hit
        assert path == make_path(Address(*peer.getsockname()), hit)
        assert batch.send(path, b"pong")
        assert peer.recvfrom(100) == (b"pong", (hit, sock.getsockname()[1]))


@needs_ipv6
def test_one_socket_serves_both_families() -> None:
    with opened("") as (sock, batch), client("::1") as six, client("127.0.0.1") as four:
        six.sendto(b"six", ("::1", sock.getsockname()[1]))
        four.sendto(b"four", ("127.0.0.1", sock.getsockname()[1]))
        got = {data: path for path, data in batch.receive(1)}
        assert local_host(got[b"six"]) == "::1"
        assert local_host(got[b"four"]) == "127.0.0.1"
        for path in got.values():
            assert batch.send(path, b"back")
        assert six.recv(100) == four.recv(100) == b"back"


def test_a_socket_of_ipv4_alone_speaks_in_the_same_paths() -> None:
    with opened("127.0.0.1") as (sock, batch), client("127.0.0.1") as peer:
        assert sock.family == socket.AF_INET
        peer.sendto(b"ping", sock.getsockname())
        ((path, _),) = batch.receive(1)
        assert path == make_path(Address(*peer.getsockname()), "127.0.0.1")
        assert batch.send(path, b"pong")
        assert peer.recv(100) == b"pong"


def test_a_full_batch_leaves_the_rest_for_the_next_call() -> None:
    with opened("127.0.0.1", receive_slots=4) as (sock, batch), client("127.0.0.1") as peer:
        for i in range(10):
            peer.sendto(bytes((i,)), sock.getsockname())
        taken = [[data[0] for _, data in batch.receive(1)] for _ in range(4)]
        assert taken == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]


def test_w12_a_datagram_longer_than_a_slot_is_dropped_and_counted() -> None:
    with opened("127.0.0.1") as (sock, batch), client("127.0.0.1") as peer:
        peer.sendto(bytes(2049), sock.getsockname())
        peer.sendto(bytes(2048), sock.getsockname())
        peer.sendto(b"", sock.getsockname())
        assert [len(data) for _, data in batch.receive(1)] == [2048, 0]
        assert batch.counters()["drop_truncated"] == 1


def test_what_the_kernel_could_not_keep_is_counted() -> None:
    with closing(open_udp("127.0.0.1", 0, setting="--media", receive_buffer=4096)) as sock:
        batch = Batch(sock.fileno(), sock.family)
        with client("127.0.0.1") as peer:
            for _ in range(100):
                peer.sendto(bytes(1000), sock.getsockname())
            received = 0
            while more := batch.receive(1):
                received += len(more)
            peer.sendto(b"next", sock.getsockname())  # a drop is told of with the next datagram
            received += len(batch.receive(1))
            assert received < 101
            assert batch.counters()["drop_overflow"] == 101 - received


def test_a_datagram_to_nowhere_is_counted_and_costs_no_other() -> None:
    with opened("127.0.0.1") as (sock, batch), client("127.0.0.1") as peer:
        assert not batch.send(make_path(Address("255.255.255.255", 9), "127.0.0.1"), b"x")
        assert batch.counters()["drop_send_refused"] == 1
        assert batch.send(make_path(Address(*peer.getsockname()), "127.0.0.1"), b"x")
        assert (batch.live_slots(), sock.fileno() >= 0) == (0, True)


def test_what_does_not_fit_is_refused() -> None:
    with opened("127.0.0.1") as (sock, batch):
        with pytest.raises(ValueError, match="38 bytes"):
            batch.send(Path(b"short"), b"x")
        with pytest.raises(ValueError, match="at most 2048"):
            batch.send(Path(bytes(38)), bytes(2049))
        with pytest.raises(ValueError, match="1 to 1024 slots"):
            Batch(sock.fileno(), sock.family, receive_slots=0)
        with pytest.raises(ValueError, match="1500 to 65536"):
            Batch(sock.fileno(), sock.family, slot_size=100)


def test_a_port_in_use_is_said_with_the_setting_and_the_way_out() -> None:
    with opened("127.0.0.1") as (sock, _):
        port = sock.getsockname()[1]
        with pytest.raises(OpenError, match=rf"--media 127.0.0.1:{port}: address in use .* choose another"):
            open_udp("127.0.0.1", port, setting="--media")


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(OpenError, match="no interface of this machine has the address"):
        open_udp("192.0.2.1", 0, setting="--media")


def test_several_processes_may_share_a_port_when_asked() -> None:
    with closing(open_udp("127.0.0.1", 0, setting="--media", reuse_port=True)) as one:
        port = one.getsockname()[1]
        with closing(open_udp("127.0.0.1", port, setting="--media", reuse_port=True)) as two:
            assert two.getsockname() == one.getsockname()
