"""Data connections of the compiled relay (RFC 6062 5.4, 5.5): a client's stream and a peer's, joined."""

from __future__ import annotations

import os
import random
import select
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.wire import stun
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Method
from tests.turn.stream_lab import CERTIFICATE, StreamLab
from turn.relay import StaleHandle, TableFull

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
BIND = stun.build(Method.CONNECTION_BIND, MessageClass.REQUEST, bytes(12))
ANSWER = stun.build(Method.CONNECTION_BIND, MessageClass.SUCCESS, bytes(12))
FOREVER_US = 10**12
CHUNK = bytes(1 << 16)


class Spliced:
    """A data connection: the control connection's allocation, the client's end and the peer's."""

    def __init__(
        self,
        lab: StreamLab,
        *,
        tls: bool = False,
        behind: bytes = b"",
        bytes_per_s: int = 0,
        small: bool = False,
    ) -> None:
        self.lab = lab
        self.control = lab.connect()
        self.control.allocate(bytes_per_s=bytes_per_s)
        buffer = 8192 if small else 0
        self.client = lab.secure(receive_buffer=buffer) if tls else lab.connect(receive_buffer=buffer)
        self.client.send(BIND + behind)
        assert lab.asked[-1] == (self.client.stream, BIND)
        self.peer, ours = connection(lab, receive_buffer=buffer)
        lab.relay.splice(self.client.stream, self.control.handle, ours.detach())
        assert lab.relay.send_stream(self.client.stream, ANSWER)

    def answered(self) -> Spliced:
        """Read the answer, behind which all is data."""
        got = self.from_relay(self.client.sock, len(ANSWER))
        assert got == ANSWER
        return self

    def to_relay(self, sock: socket.socket, data: bytes) -> None:
        """Send all of it, while the relay works."""
        view = memoryview(data)

        def sent() -> bool:
            nonlocal view
            with suppress(BlockingIOError, ssl.SSLWantWriteError):
                view = view[sock.send(view) :]
            return not view

        self.lab.until(sent)

    def from_relay(self, sock: socket.socket, size: int) -> bytes:
        """Read so much, while the relay works."""
        got = bytearray()

        def enough() -> bool:
            with suppress(BlockingIOError, ssl.SSLWantReadError):
                got.extend(sock.recv(size - len(got)))
            return len(got) == size

        self.lab.until(enough)
        return bytes(got)

    def finishes(self, sock: socket.socket) -> bool:
        """Whether the other end has finished, with nothing more to be read."""
        ended: list[bytes] = []

        def over() -> bool:
            with suppress(BlockingIOError, ssl.SSLWantReadError):
                ended.append(received(sock, 1))
            return bool(ended)

        self.lab.until(over)
        return ended == [b""]

    def breaks(self, sock: socket.socket) -> bool:
        """Whether the other end is cut off, which is not the end of what was to be said."""

        def cut() -> bool:
            try:
                while received(sock, 65536):
                    pass
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            except (ConnectionError, ssl.SSLError):
                return True
            raise AssertionError("it finished")

        self.lab.until(cut)
        return True

    def ended(self) -> str:
        """Why it is over, once it is; the relay keeps nothing of it."""
        why = self.lab.end_of(self.client)
        assert self.lab.relay.live()["splices"] == 0
        self.lab.relay.drop_stream(self.client.stream)
        return why


def connection(lab: StreamLab, *, receive_buffer: int = 0) -> tuple[socket.socket, socket.socket]:
    """A peer's end of a connection, and ours."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = lab.stack.enter_context(socket.socket())
        if receive_buffer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.connect(listening.getsockname())
        ours, _ = listening.accept()
    peer.setblocking(False)
    return peer, ours


def lab_of(**bounds: int) -> StreamLab:
    return StreamLab(certificate=CERTIFICATE, **bounds)


def finish(sock: socket.socket) -> None:
    """Say that nothing more comes."""
    if isinstance(sock, ssl.SSLSocket):
        with suppress(ssl.SSLWantReadError):
            sock.unwrap()
    else:
        sock.shutdown(socket.SHUT_WR)


def received(sock: socket.socket, most: int) -> bytes:
    """What an end reads; nothing where the other has finished."""
    try:
        return sock.recv(most)
    except ssl.SSLZeroReturnError:  # said so where this one has finished before
        return b""


def reset(sock: socket.socket) -> None:
    """Break a connection off."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


# bytes


@BOTH
def test_bytes_go_across_as_they_are_in_both_directions(tls: bool) -> None:
    pieces = random.Random(3)
    with lab_of() as lab:
        spliced = Spliced(lab, tls=tls).answered()
        for _ in range(50):
            said = pieces.randbytes(pieces.choice([1, 3, 100, 5000, 70_000]))
            spliced.to_relay(spliced.client.sock, said)
            assert spliced.from_relay(spliced.peer, len(said)) == said
            spliced.to_relay(spliced.peer, said)
            assert spliced.from_relay(spliced.client.sock, len(said)) == said
        assert lab.drops() == {}
        assert lab.asked == [(spliced.client.stream, BIND)]


@BOTH
def test_what_looks_like_stun_is_data_too(tls: bool) -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, tls=tls).answered()
        spliced.to_relay(spliced.client.sock, BIND + b"\xff" * 9)
        assert spliced.from_relay(spliced.peer, len(BIND) + 9) == BIND + b"\xff" * 9
        assert len(lab.asked) == 1


@BOTH
def test_what_the_client_sent_behind_its_request_is_for_the_peer(tls: bool) -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, tls=tls, behind=b"\xffGET / HTTP/1.1").answered()
        assert spliced.from_relay(spliced.peer, 15) == b"\xffGET / HTTP/1.1"
        assert lab.relay.splice_bytes(spliced.client.stream) == (15, 0)


def test_what_the_peer_sent_before_comes_behind_the_answer() -> None:
    with lab_of() as lab:
        control, client = lab.connect(), lab.connect()
        control.allocate()
        peer, ours = connection(lab)
        peer.send(b"early")
        client.send(BIND)
        lab.relay.splice(client.stream, control.handle, ours.detach())
        lab.relay.send_stream(client.stream, ANSWER)
        lab.until(lambda: lab.relay.counters()["spliced_out"] == 5)
        assert client.sock.recv(100) == ANSWER + b"early"


@BOTH
def test_a_request_that_is_refused_leaves_a_stream_of_messages(tls: bool) -> None:
    """What follows it is read when it was answered, or was not."""
    with lab_of() as lab:
        client = lab.secure() if tls else lab.connect()
        client.send(BIND + BIND)
        lab.until(lambda: len(lab.asked) == 2)
        client.send(BIND)
        lab.until(lambda: len(lab.asked) == 3)


def test_a_client_whose_request_waits_for_an_answer_can_leave() -> None:
    with lab_of() as lab:
        client = lab.connect()
        client.send(BIND)
        reset(client.sock)
        assert lab.end_of(client) == "closed"


def test_usage_is_counted_with_its_connection_and_its_allocation() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab).answered()
        spliced.to_relay(spliced.client.sock, bytes(1000))
        spliced.to_relay(spliced.peer, bytes(300))
        spliced.from_relay(spliced.peer, 1000)
        spliced.from_relay(spliced.client.sock, 300)
        assert lab.relay.splice_bytes(spliced.client.stream) == (1000, 300)
        counts = lab.relay.counts(spliced.control.handle)
        assert (counts["bytes_in"], counts["bytes_out"]) == (1000, 300)
        counters = lab.relay.counters()
        assert (counters["splices"], counters["spliced_in"], counters["spliced_out"]) == (1, 1000, 300)


@settings(max_examples=25, deadline=None)
@given(
    script=st.lists(
        st.tuples(st.sampled_from(["client", "peer"]), st.integers(1, 200_000), st.integers(0, 200_000)),
        max_size=12,
    ),
    small=st.booleans(),
)
def test_nothing_is_lost_doubled_or_turned_whoever_reads_when(
    script: list[tuple[str, int, int]], small: bool
) -> None:
    """Each end sends and reads by a script of its own; in the end all that was sent has come."""
    with StreamLab() as lab:
        spliced = Spliced(lab, small=small).answered()
        ends = {"client": spliced.client.sock, "peer": spliced.peer}
        sent = {"client": bytearray(), "peer": bytearray()}
        got = {"client": bytearray(), "peer": bytearray()}
        other = {"client": "peer", "peer": "client"}
        for who, size, read in script:
            with suppress(BlockingIOError):
                data = random.Random(size).randbytes(size)
                sent[who] += data[: ends[who].send(data)]
            lab.run()
            with suppress(BlockingIOError):
                got[other[who]] += ends[other[who]].recv(read or 1)
        for who, sock in ends.items():
            left = len(sent[other[who]]) - len(got[who])
            got[who] += spliced.from_relay(sock, left) if left else b""
            assert got[who] == sent[other[who]]


# who does not read


def full(spliced: Spliced, sender: socket.socket) -> int:
    """Send until nobody takes any more; how much that was."""
    sent = 0
    while True:
        for _ in range(20):
            spliced.lab.run()
        try:
            sent += sender.send(CHUNK)
        except (BlockingIOError, ssl.SSLWantWriteError):
            spliced.lab.run()
            if not select.select([], [sender], [], 0.05)[1]:
                return sent


@pytest.mark.parametrize("who", ["client", "peer"])
@BOTH
def test_who_does_not_read_stops_the_other_and_loses_nothing(who: str, tls: bool) -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, tls=tls, small=True).answered()
        ends = spliced.client.sock, spliced.peer
        reader, sender = ends if who == "client" else reversed(ends)
        sent = full(spliced, sender)
        carried = sum(lab.relay.splice_bytes(spliced.client.stream))
        calls = lab.relay.counters()["calls"]
        for _ in range(5):
            lab.run()
        assert lab.relay.counters()["calls"] == calls, "it waits, and does not look again and again"
        got = spliced.from_relay(reader, sent)
        assert got == bytes(sent)
        assert carried < sent
        spliced.to_relay(sender, CHUNK)  # TLS wants the last one again
        assert spliced.from_relay(reader, len(CHUNK)) == CHUNK


def test_a_blocked_direction_does_not_stop_the_other() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, small=True).answered()
        full(spliced, spliced.client.sock)
        spliced.to_relay(spliced.peer, b"still heard")
        assert spliced.from_relay(spliced.client.sock, 11) == b"still heard"


@pytest.mark.parametrize("who", ["client", "peer"])
def test_a_blocked_sender_that_breaks_off_takes_the_other_with_it(who: str) -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, small=True).answered()
        ends = spliced.client.sock, spliced.peer
        reader, sender = ends if who == "peer" else reversed(ends)
        full(spliced, reader)
        reset(reader)
        assert spliced.ended() == "broken"
        assert spliced.breaks(sender)


def test_a_peer_that_never_reads_costs_the_other_connections_nothing() -> None:
    with lab_of() as lab:
        blocked, busy = Spliced(lab, small=True).answered(), Spliced(lab).answered()
        full(blocked, blocked.client.sock)
        data = os.urandom(1 << 16)
        busy.to_relay(busy.client.sock, data)
        assert busy.from_relay(busy.peer, len(data)) == data


# rates


@BOTH
def test_a_rate_is_kept_by_not_reading(tls: bool) -> None:
    """Half a second's worth goes at once, the rest as time passes; nothing is dropped."""
    rate = 200_000
    with lab_of() as lab:
        spliced = Spliced(lab, tls=tls, bytes_per_s=rate).answered()
        data = os.urandom(2 * rate)
        left = memoryview(data)
        got = bytearray()

        def moved() -> int:
            nonlocal left
            with suppress(BlockingIOError, ssl.SSLWantWriteError):
                left = left[spliced.client.sock.send(left) :]
            with suppress(BlockingIOError):
                got.extend(spliced.peer.recv(1 << 20))
            return len(got)

        for half_second in range(1, 5):
            allowed = half_second * rate // 2
            lab.until(lambda allowed=allowed: moved() > allowed - 4096)
            for _ in range(20):
                lab.run()
            assert moved() <= allowed
            lab.now += 500_000
        lab.until(lambda: moved() == len(data))
        assert got == data
        assert lab.relay.counters()["throttled"] > 0
        assert lab.drops() == {}


def test_connections_of_one_allocation_share_its_rate() -> None:
    rate = 1_000_000
    with lab_of() as lab:
        first = Spliced(lab, bytes_per_s=rate).answered()
        client = lab.connect()
        client.send(BIND)
        peer, ours = connection(lab)
        lab.relay.splice(client.stream, first.control.handle, ours.detach())
        for sock in (first.client.sock, client.sock):
            with suppress(BlockingIOError):
                sock.send(bytes(rate))
        for _ in range(100):
            lab.run()
        carried = [lab.relay.splice_bytes(stream)[0] for stream in (first.client.stream, client.stream)]
        assert rate // 2 - 4096 <= sum(carried) <= rate // 2
        assert peer.recv(1)


# how it ends


@pytest.mark.parametrize("who", ["client", "peer"])
@BOTH
def test_an_end_that_finishes_is_still_told_what_the_other_says(who: str, tls: bool) -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, tls=tls).answered()
        ends = spliced.client.sock, spliced.peer
        first, second = ends if who == "client" else reversed(ends)
        spliced.to_relay(first, b"the question")
        finish(first)
        assert spliced.from_relay(second, 12) == b"the question"
        assert spliced.finishes(second)
        assert lab.relay.live()["splices"] == 1
        answer = os.urandom(300_000)
        view = memoryview(answer)
        got = bytearray()
        while len(got) < len(answer):
            with suppress(BlockingIOError, ssl.SSLWantWriteError):
                view = view[second.send(view[:100_000]) :] if view else view
            lab.run()
            with suppress(BlockingIOError, ssl.SSLWantReadError):
                got += first.recv(1 << 16)
        assert got == answer
        finish(second)
        assert spliced.finishes(first)
        assert spliced.ended() == "finished"


@pytest.mark.parametrize("who", ["client", "peer"])
def test_all_that_was_sent_comes_before_the_end(who: str) -> None:
    """Also where the end was seen while the other did not read."""
    with lab_of() as lab:
        spliced = Spliced(lab, small=True).answered()
        ends = spliced.client.sock, spliced.peer
        reader, sender = ends if who == "client" else reversed(ends)
        sent = full(spliced, sender)
        finish(sender)
        for _ in range(10):
            lab.run()
        assert spliced.from_relay(reader, sent) == bytes(sent)
        assert spliced.finishes(reader)


@pytest.mark.parametrize("who", ["client", "peer"])
def test_who_breaks_off_is_not_taken_to_have_finished(who: str) -> None:
    with lab_of() as lab:
        spliced = Spliced(lab).answered()
        ends = spliced.client.sock, spliced.peer
        first, second = ends if who == "client" else reversed(ends)
        reset(first)
        assert spliced.breaks(second)
        assert spliced.ended() == "broken"


def test_a_client_of_tls_that_just_closes_has_finished() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, tls=True).answered()
        spliced.to_relay(spliced.client.sock, b"last words")
        socket.socket(fileno=spliced.client.sock.detach()).close()
        assert spliced.from_relay(spliced.peer, 10) == b"last words"
        assert spliced.finishes(spliced.peer)


@pytest.mark.parametrize("who", ["client", "peer"])
def test_an_end_that_has_finished_is_not_waited_for_forever(who: str) -> None:
    half_closed_us = 60_000_000
    with lab_of() as lab:
        spliced = Spliced(lab).answered()
        ends = spliced.client.sock, spliced.peer
        first, second = ends if who == "client" else reversed(ends)
        overdue = FOREVER_US, FOREVER_US, FOREVER_US, half_closed_us
        lab.now += 2 * half_closed_us
        lab.relay.end_overdue(lab.now, *overdue)
        finish(first)
        assert spliced.finishes(second)
        lab.now += half_closed_us - 1
        spliced.to_relay(second, b"slow")
        assert spliced.from_relay(first, 4) == b"slow"
        lab.now += half_closed_us - 1
        lab.relay.end_overdue(lab.now, *overdue)
        assert lab.relay.live()["splices"] == 1
        lab.now += 1
        lab.relay.end_overdue(lab.now, *overdue)
        assert spliced.ended() == "half_closed"
        assert spliced.finishes(first)


def test_what_a_stream_may_take_does_not_bind_a_data_connection() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab).answered()
        lab.now += FOREVER_US
        lab.relay.end_overdue(lab.now, 1, 1, 1, 1)
        spliced.to_relay(spliced.peer, b"here")
        assert spliced.from_relay(spliced.client.sock, 4) == b"here"


def removed(spliced: Spliced) -> None:
    spliced.lab.relay.remove(spliced.control.handle)


def closed(spliced: Spliced) -> None:
    spliced.lab.relay.end_splice(spliced.client.stream)


@pytest.mark.parametrize("end", [removed, closed])
@BOTH
def test_the_end_of_an_allocation_is_that_of_its_connections(
    end: Callable[[Spliced], None], tls: bool
) -> None:
    with lab_of() as lab:
        spliced, other = Spliced(lab, tls=tls).answered(), Spliced(lab).answered()
        end(spliced)
        assert spliced.finishes(spliced.client.sock)
        assert spliced.finishes(spliced.peer)
        assert lab.relay.splice_bytes(spliced.client.stream) == (0, 0)
        assert lab.end_of(spliced.client) == "allocation"
        lab.relay.drop_stream(spliced.client.stream)
        other.to_relay(other.peer, b"still there")
        assert other.from_relay(other.client.sock, 11) == b"still there"


def test_of_many_connections_each_ends_alone_and_all_end_with_their_allocation() -> None:
    with lab_of(streams_max=64) as lab:
        control = lab.connect()
        control.allocate()
        clients = [lab.connect() for _ in range(20)]
        peers: list[socket.socket] = []
        for client in clients:
            client.send(BIND)
            peer, ours = connection(lab)
            peers.append(peer)
            lab.relay.splice(client.stream, control.handle, ours.detach())
        for at in (0, 19, 7):
            reset(peers[at])
            assert lab.end_of(clients[at]) == "broken"
        assert lab.relay.live()["splices"] == 17
        lab.relay.remove(control.handle)
        lab.run()
        assert [why for _, why in lab.ended] == ["broken"] * 3 + ["allocation"] * 17
        for client in clients:
            lab.relay.drop_stream(client.stream)
        assert lab.relay.live() == {**lab.relay.live(), "splices": 0, "streams": 1}


def test_an_end_that_has_not_got_all_is_cut_off() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab, small=True).answered()
        full(spliced, spliced.client.sock)
        lab.relay.remove(spliced.control.handle)
        assert spliced.breaks(spliced.peer)


def test_a_connection_that_is_dropped_is_closed_whole() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab).answered()
        lab.relay.drop_stream(spliced.client.stream)
        assert spliced.finishes(spliced.peer)
        assert spliced.finishes(spliced.client.sock)
        assert lab.relay.take_ended() == []
        with pytest.raises(StaleHandle):
            lab.relay.splice_bytes(spliced.client.stream)


# what can't be joined


def test_only_a_stream_without_another_use_can_be_joined() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab).answered()
        _, ours = connection(lab)
        with pytest.raises(ValueError, match="another use"):
            lab.relay.splice(spliced.client.stream, spliced.control.handle, ours.fileno())
        with pytest.raises(ValueError, match="another use"):
            lab.relay.splice(spliced.control.stream, spliced.control.handle, ours.fileno())
        unsecured = lab.connect(tls=True)
        with pytest.raises(ValueError, match="another use"):
            lab.relay.splice(unsecured.stream, spliced.control.handle, ours.fileno())
        with pytest.raises(ValueError, match="no data connection"):
            lab.relay.splice_bytes(spliced.control.stream)
        with pytest.raises(ValueError, match="no data connection"):
            lab.relay.end_splice(spliced.control.stream)
        ours.close()


def test_a_full_table_leaves_the_descriptor_with_the_caller() -> None:
    with lab_of(streams_max=2) as lab:
        control, client = lab.connect(), lab.connect()
        control.allocate()
        peer, ours = connection(lab)
        with pytest.raises(TableFull):
            lab.relay.splice(client.stream, control.handle, ours.fileno())
        ours.send(b"mine")
        assert peer.recv(4) == b"mine"
        ours.close()


def test_no_other_descriptor_is_taken() -> None:
    with lab_of() as lab, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        control, client = lab.connect(), lab.connect()
        control.allocate()
        with pytest.raises(OSError, match="Invalid argument"):
            lab.relay.splice(client.stream, control.handle, datagrams.fileno())
        assert lab.relay.live() == {**lab.relay.live(), "splices": 0, "streams": 2}


def test_a_stream_that_is_over_is_joined_to_nobody() -> None:
    with lab_of() as lab:
        control, client = lab.connect(), lab.connect()
        control.allocate()
        client.send(BIND)
        client.sock.close()
        lab.end_of(client)
        _, ours = connection(lab)
        with pytest.raises(StaleHandle):
            lab.relay.splice(client.stream, control.handle, ours.fileno())
        ours.close()


def test_a_relay_that_goes_closes_its_data_connections() -> None:
    with lab_of() as lab:
        spliced = Spliced(lab).answered()
        del lab.relay
        spliced.peer.setblocking(True)
        assert spliced.peer.recv(1) == b""
