"""The send queue on loopback: what is cut by the kernel, what it refuses to cut, and that nothing is lost."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.net.address import Address, Path, make_path
from sfu.net.batch import Batch
from sfu.net.udp import open_udp

SO_NO_CHECK = 11  # asm-generic/socket.h: no UDP checksum, without which the kernel cuts nothing


class Ends:
    """A batch and some receivers that it can send to."""

    def __init__(self, receivers: int = 1, *, send_slots: int = 1024) -> None:
        with ExitStack() as stack:
            self.sock = stack.enter_context(closing(open_udp("127.0.0.1", 0, setting="--media")))
            self.batch = Batch(self.sock.fileno(), self.sock.family, send_slots=send_slots)
            self.sockets: list[socket.socket] = []
            for _ in range(receivers):
                sock = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
                self.sockets.append(sock)
            self._stack = stack.pop_all()

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def path(self, receiver: int = 0) -> Path:
        return make_path(Address("127.0.0.1", self.sockets[receiver].getsockname()[1]), "127.0.0.1")

    def received(self, receiver: int = 0) -> list[bytes]:
        out: list[bytes] = []
        while True:
            try:
                out.append(self.sockets[receiver].recv(65536))
            except BlockingIOError:
                return out


def numbered(count: int, size: int) -> list[bytes]:
    return [i.to_bytes(4) + bytes(size - 4) for i in range(count)]


def test_a_row_of_one_size_is_one_message_and_arrives_as_it_was() -> None:
    with Ends() as ends:
        data = [*numbered(10, 1216), b"the last may be shorter"]
        assert ends.batch.send_all([(ends.path(), one, True) for one in data]) == 11
        assert ends.received() == data
        counters = ends.batch.counters()
        assert (counters["send_calls"], counters["sent_cut"]) == (1, 11)
        assert counters["sent_bytes"] == sum(map(len, data))


@pytest.mark.parametrize(("count", "size", "messages"), [(128, 100, 2), (129, 100, 3), (100, 1400, 3)])
def test_a_message_has_64_datagrams_and_65_000_bytes_at_most(count: int, size: int, messages: int) -> None:
    with Ends() as ends:
        data = numbered(count, size)
        assert ends.batch.send_all([(ends.path(), one, True) for one in data]) == count
        assert ends.received() == data
        counters = ends.batch.counters()
        assert counters["sent"] - counters["sent_cut"] == (1 if count == 129 else 0)
        assert counters["send_calls"] <= messages


datagrams = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from([0, 4, 50, 51, 1216, 2048]), st.booleans(), st.integers(1, 80)
    ),
    max_size=12,
)


@given(datagrams)
@settings(deadline=None)
def test_rows_of_all_sizes_arrive_whole_and_in_order(rows: list[tuple[int, int, bool, int]]) -> None:
    with Ends(3) as ends:
        sent = [
            (receiver, bytes((row, i)).ljust(size, b"x")[:size], video)
            for row, (receiver, size, video, length) in enumerate(rows)
            for i in range(length)
        ]
        taken = ends.batch.send_all([(ends.path(receiver), data, video) for receiver, data, video in sent])
        assert taken == len(sent)
        for receiver in range(3):
            assert ends.received(receiver) == [data for to, data, _ in sent if to == receiver]
        assert (ends.batch.live_slots(), ends.batch.blocked()) == (0, False)


def test_what_the_kernel_will_not_cut_goes_one_by_one_and_at_last_no_more_is_tried() -> None:
    with Ends() as ends:
        ends.sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        data = numbered(8, 500)
        for _ in range(40):
            assert ends.batch.send_all([(ends.path(), one, True) for one in data]) == 8
            assert ends.received() == data
        counters = ends.batch.counters()
        assert (counters["cuts_refused"], counters["sent_cut"], counters["drop_send_refused"]) == (32, 0, 0)


def test_some_refusals_do_not_end_it_for_all() -> None:
    with Ends() as ends:
        for refused in [True] * 20 + [False] + [True] * 20 + [False]:
            ends.sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, int(refused))
            ends.batch.send_all([(ends.path(), one, True) for one in numbered(4, 500)])
        counters = ends.batch.counters()
        assert (counters["cuts_refused"], counters["sent_cut"]) == (40, 8)


def test_a_destination_at_fault_costs_no_other_its_datagrams() -> None:
    with Ends(2) as ends:
        nowhere = make_path(Address("255.255.255.255", 9), "127.0.0.1")
        data = numbered(3, 700)
        batch = [(path, one, True) for path in (ends.path(0), nowhere, ends.path(1)) for one in data]
        assert ends.batch.send_all(batch) == 6
        assert ends.received(0) == ends.received(1) == data
        assert ends.batch.counters()["drop_send_refused"] == 3


def test_bounds_of_the_queue_are_told() -> None:
    with open_udp("127.0.0.1", 0, setting="--media") as sock:
        with pytest.raises(ValueError, match="192 to 65536 slots to send from"):
            Batch(sock.fileno(), sock.family, send_slots=191)
        with pytest.raises(ValueError, match="192 to 65536 slots to send from"):
            Batch(sock.fileno(), sock.family, send_slots=65537)
