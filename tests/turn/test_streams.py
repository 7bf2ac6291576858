from sfu.net.address import Address
from turn.limits import Bounds, Strangers
from turn.streams import StreamId, Streams
from turn.tuples import FiveTuple, Transport

LOCAL = Address("192.0.2.1", 3478)


def client(port: int, host: str = "198.51.100.7") -> FiveTuple:
    return FiveTuple(Transport.TCP, Address(host, port), LOCAL)


def streams(total: int = 3, each: int = 2) -> Streams:
    return Streams(Strangers(Bounds(strangers=total, strangers_per_address=each)))


def open_(held: Streams, number: int) -> StreamId:
    stream = StreamId(number)
    assert held.admit(client(number))
    held.opened(stream, client(number))
    return stream


def test_an_allocation_makes_room_for_another_stranger_of_its_address() -> None:
    held = streams()
    first = open_(held, 1)
    open_(held, 2)
    assert not held.admit(client(3))
    held.allocated(first)
    open_(held, 3)
    assert not held.admit(client(4))


def test_who_comes_to_nothing_leaves_no_trace() -> None:
    held = streams(each=1)
    assert held.admit(client(1))
    held.refused(client(1))
    stream = open_(held, 2)
    assert held.closed(stream) == client(2)
    assert len(held) == 0
    assert stream not in held
    assert held.stream_of(client(2)) is None
    open_(held, 3)


def test_the_end_of_an_allocation_makes_a_stranger_or_an_unwelcome_client() -> None:
    held = streams(each=1)
    first = open_(held, 1)
    held.allocated(first)
    second = open_(held, 2)
    held.allocated(second)
    held.released(first)
    assert held.take_unwelcome() == []
    assert not held.admit(client(3))
    held.released(second)
    assert held.take_unwelcome() == [second]
    assert held.take_unwelcome() == []
    held.closed(second)
    assert not held.admit(client(3))  # the first is one still
    held.closed(first)
    open_(held, 3)


def test_who_is_closed_is_unwelcome_no_more() -> None:
    held = streams(each=1)
    first = open_(held, 1)
    held.allocated(first)
    open_(held, 2)
    held.released(first)
    held.closed(first)
    assert held.take_unwelcome() == []


def test_a_client_that_comes_again_on_the_same_port_is_the_newer_one() -> None:
    held = streams()
    first = open_(held, 1)
    assert held.admit(client(1))
    held.opened(StreamId(2), client(1))
    held.closed(first)
    assert held.stream_of(client(1)) == StreamId(2)
    assert held.all() == [StreamId(2)]
