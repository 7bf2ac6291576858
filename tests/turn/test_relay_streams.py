"""Clients of the compiled relay on TCP and TLS."""

from __future__ import annotations

import os
import random
import socket
import ssl
import time

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.wire import stun
from sfu.wire.stun import MessageClass, StunError
from sfu.wire.turn import Framer, build_channel_data
from tests.turn.relay_lab import read_data_indication, send_indication
from tests.turn.stream_lab import CERTIFICATE, StreamClient, StreamLab, trusting
from turn.certificate import PemPair, make_pair
from turn.relay import BadCertificate, StaleHandle, TableFull

CHANNEL = 0x4000
BOTH = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])


def lab_of(**bounds: int) -> StreamLab:
    return StreamLab(certificate=CERTIFICATE, **bounds)


def client_of(lab: StreamLab, *, tls: bool, receive_buffer: int = 0) -> StreamClient:
    return lab.secure(receive_buffer=receive_buffer) if tls else lab.connect(receive_buffer=receive_buffer)


def binding(number: int = 0) -> bytes:
    return stun.build(stun.BINDING, MessageClass.REQUEST, number.to_bytes(12, "big"), fingerprint=False)


def padded(data: bytes, channel: int = CHANNEL) -> bytes:
    return build_channel_data(channel, data, padded=True)


# data


@BOTH
def test_C4_channel_data_goes_both_ways_with_padding(tls: bool) -> None:
    with lab_of() as lab:
        client = client_of(lab, tls=tls)
        peer, relayed = lab.pair(client)
        client.bind(CHANNEL, peer)
        for size in (0, 1, 2, 3, 4, 1000, 1001):
            data = os.urandom(size)
            client.send(padded(data))
            assert peer.sock.recvfrom(2048) == (data, relayed)
            peer.sock.sendto(data, relayed)
            assert client.messages(1) == [build_channel_data(CHANNEL, data)]
        counts = lab.relay.counts(client.handle)
        assert (counts["packets_in"], counts["bytes_in"]) == (7, 2011)
        assert (counts["packets_out"], counts["bytes_out"]) == (7, 2011)
        assert lab.drops() == {}


@BOTH
def test_indications_go_both_ways(tls: bool) -> None:
    with lab_of() as lab:
        client = client_of(lab, tls=tls)
        peer, relayed = lab.pair(client)
        client.send(send_indication(peer.address, b"hello"))
        assert peer.sock.recvfrom(2048) == (b"hello", relayed)
        peer.sock.sendto(b"and back", relayed)
        assert read_data_indication(client.messages(1)[0]) == (peer.address, b"and back")


@BOTH
def test_a_stream_may_be_cut_anywhere(tls: bool) -> None:
    """Messages of all kinds and sizes, sent in pieces that have nothing to do with where they begin."""
    cuts = random.Random(7)
    with lab_of(write_queue=1 << 22) as lab:
        client = client_of(lab, tls=tls)
        peer, _ = lab.pair(client)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        client.bind(CHANNEL, peer)
        sizes = [0, 5, 1200, 4093, 20_000, 65_507, 3, 60_000, 1]
        sent = [os.urandom(size) for size in sizes]
        stream = b"".join(
            padded(data) + binding(number) + send_indication(peer.address, data[:9000])
            for number, data in enumerate(sent)
        )
        at = 0
        while at < len(stream):
            piece = cuts.choice([1, 2, 3, 19, 500, 5000, 70_000])
            client.send(stream[at : at + piece])
            at += piece
        for data in sent:
            assert [peer.sock.recv(65536), peer.sock.recv(65536)] == [data, data[:9000]]
        lab.until(lambda: len(lab.asked) == len(sent))
        assert lab.asked == [(client.stream, binding(number)) for number in range(len(sent))]


def test_data_of_a_client_without_an_allocation_is_dropped() -> None:
    with lab_of() as lab:
        client = lab.connect()
        client.send(padded(b"data") + send_indication(lab.peer().address, b"data") + binding())
        lab.until(lambda: len(lab.asked) == 1)
        assert lab.drops() == {"no_allocation": 2}


def test_clients_of_one_relay_have_channels_of_their_own() -> None:
    with lab_of() as lab:
        first, second = lab.connect(), lab.secure()
        peers = [lab.pair(client)[0] for client in (first, second)]
        for client, peer in zip((first, second), peers, strict=True):
            client.bind(CHANNEL, peer)
        first.send(padded(b"first"))
        second.send(padded(b"second"))
        assert [peer.sock.recv(100) for peer in peers] == [b"first", b"second"]


def test_an_allocation_on_a_stream_has_rates_too() -> None:
    with lab_of() as lab:
        client = lab.connect()
        client.allocate(packets_per_s=20)
        client.relayed_at("127.0.0.1")
        peer = lab.peer()
        client.permit(peer)
        client.bind(CHANNEL, peer)
        client.send(padded(b"x") * 100 + binding())
        lab.until(lambda: len(lab.asked) == 1)
        assert lab.drops() == {"rate": 90}


# a client that does not read


@BOTH
def test_a_client_that_does_not_read_loses_datagrams_and_no_memory(tls: bool) -> None:
    """What does not fit is dropped datagram by datagram: what arrives in the end is whole."""
    queue = 1 << 17
    with lab_of(write_queue=queue) as lab:
        slow = client_of(lab, tls=tls, receive_buffer=4096)
        quick = lab.connect()
        peer, relayed = lab.pair(slow)
        slow.bind(CHANNEL, peer)
        other, elsewhere = lab.pair(quick)
        quick.bind(CHANNEL, other)
        number = 0
        while lab.drops().get("write_queue", 0) < 100:
            peer.sock.sendto(number.to_bytes(4, "big") * 300, relayed)
            number += 1
            lab.run()
            assert number < 100_000
        other.sock.sendto(b"not delayed", elsewhere)
        assert quick.messages(1) == [build_channel_data(CHANNEL, b"not delayed")]
        arrived = lab.relay.counts(slow.handle)["packets_out"]
        assert arrived + lab.drops()["write_queue"] == number
        numbers: list[int] = []
        for message in slow.messages(arrived):
            data = message[4:]
            assert data == data[:4] * 300
            numbers.append(int.from_bytes(data[:4], "big"))
        assert numbers == sorted(set(numbers))
        peer.sock.sendto(b"again", relayed)
        assert slow.messages(1) == [build_channel_data(CHANNEL, b"again")]


def test_who_asks_and_does_not_read_the_answers_is_closed() -> None:
    with lab_of(write_queue=65536) as lab:
        client = lab.connect(receive_buffer=4096)
        while lab.relay.send_stream(client.stream, bytes(4096)):
            assert lab.relay.counters()["replies"] < 10_000
        assert lab.end_of(client) == "unread"
        lab.relay.drop_stream(client.stream)


# requests


def test_requests_beyond_what_one_call_hands_up_come_with_the_next() -> None:
    with lab_of() as lab:
        client = lab.connect()
        client.sock.send(b"".join(binding(number) for number in range(100)))
        lab.until(lambda: len(lab.asked) == 100)
        assert lab.asked == [(client.stream, binding(number)) for number in range(100)]
        assert lab.drops() == {}


def test_a_crowd_of_requests_waits_in_its_streams_and_none_is_lost() -> None:
    with lab_of(control_per_call=20) as lab:
        clients = [lab.connect() for _ in range(8)]
        for client in clients:
            client.sock.send(b"".join(binding(number) for number in range(30)))
        lab.until(lambda: len(lab.asked) == 240)
        for client in clients:
            asked = [data for stream, data in lab.asked if stream == client.stream]
            assert asked == [binding(number) for number in range(30)]


@BOTH
def test_S13_a_client_that_has_closed_its_side_still_gets_its_answer(tls: bool) -> None:
    with lab_of() as lab:
        client = client_of(lab, tls=tls)
        if isinstance(client.sock, ssl.SSLSocket):
            client.sock.send(binding())
            with pytest.raises(ssl.SSLWantReadError):
                client.sock.unwrap()  # says that nothing more will come, and would wait for the same
            assert lab.end_of(client) == "closed"
            assert lab.relay.send_stream(client.stream, binding(1))
            return
        client.sock.send(binding())
        client.sock.shutdown(socket.SHUT_WR)
        assert lab.end_of(client) == "closed"
        assert lab.asked == [(client.stream, binding())]
        assert lab.relay.send_stream(client.stream, binding(1))
        lab.relay.drop_stream(client.stream)
        assert not client.read()
        assert client.framer.take() == binding(1)


# what can't be followed


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "too_large"),  # it would pass for a channel's data
        (b"\x80", "garbage"),
        (b"\x04", "garbage"),
        (b"\x00\x01\x00\x00\x21\x13", "garbage"),  # not the cookie
        (b"\x00\x01\x00\x03\x21\x12\xa4\x42", "garbage"),  # a length that is not a multiple of 4
        (b"\x00\x01\xff\xfc", "too_large"),
        (b"\x40\x00\xff\xff", "too_large"),
        (b"\x00\x16\x08\x00", "too_large"),
        (b"\x16\x03\x01\x02\x00", "garbage"),  # TLS where there is none
    ],
)
def test_a_stranger_whose_stream_can_not_be_followed_is_closed_at_once(data: bytes, reason: str) -> None:
    with lab_of() as lab:
        client = lab.connect()
        client.sock.send(binding() + data)
        assert lab.end_of(client) == reason
        assert lab.asked == [(client.stream, binding())]
        assert not lab.relay.send_stream(client.stream, binding())
        lab.relay.drop_stream(client.stream)
        assert client.is_closed()


def test_a_request_has_a_bound_also_on_an_allocation() -> None:
    with lab_of(control_bytes=2048) as lab:
        client = lab.connect()
        client.allocate()
        client.sock.send(b"\x00\x03\x08\x00")
        assert lab.end_of(client) == "too_large"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_the_framing_is_that_of_the_codec(tail: bytes, begins_well: bool) -> None:
    """The reference is the Framer in Python, which cuts the same messages and fails at the same byte."""
    stream = (binding(1) if begins_well else b"") + tail
    framer = Framer(2048)
    messages: list[bytes] = []
    fault = False
    framer.feed(stream)
    try:
        while (message := framer.take()) is not None:
            messages.append(message)
    except StunError:
        fault = True
    with lab_of() as lab:
        client = lab.connect()
        client.sock.send(stream or b"\x80")
        fault = fault or not stream
        client.sock.shutdown(socket.SHUT_WR)
        reason = lab.end_of(client)
        assert (reason != "closed") == fault
        requests = [message for message in messages if message[0] < 4 and message[:2] != b"\x00\x16"]
        assert [data for _, data in lab.asked] == requests


# time

S = 1_000_000


def overdue(lab: StreamLab, after_s: float) -> None:
    lab.now += round(after_s * S)
    lab.relay.end_overdue(lab.now, 10 * S, 10 * S, 30 * S, 60 * S)
    lab.ended += lab.relay.take_ended()


def test_a_silent_client_is_closed_when_its_first_message_is_overdue() -> None:
    with lab_of() as lab:
        client = lab.connect()
        overdue(lab, 9.9)
        assert lab.ended == []
        overdue(lab, 0.2)
        assert lab.ended == [(client.stream, "message_time")]


def test_a_dripping_client_is_closed_when_its_message_is_overdue() -> None:
    with lab_of() as lab:
        client = lab.connect()
        client.allocate()
        client.send(binding())
        lab.until(lambda: len(lab.asked) == 1)
        overdue(lab, 100)
        assert lab.ended == []
        for byte in padded(bytes(16))[:17]:
            client.send(bytes([byte]))
            overdue(lab, 0.6)
        assert lab.ended == [(client.stream, "message_time")]


def test_whole_messages_put_the_time_of_the_next_off() -> None:
    with lab_of() as lab:
        client = lab.connect()
        client.allocate()
        for _ in range(5):  # each begins with the end of the one before
            client.send(padded(b"data")[:2])
            overdue(lab, 6)
            client.send(padded(b"data")[2:])
            overdue(lab, 6)
        assert lab.ended == []


def test_a_client_without_an_allocation_is_closed_and_one_with_is_not() -> None:
    with lab_of() as lab:
        stranger, known = lab.connect(), lab.connect()
        known.allocate()
        for client in (stranger, known):
            client.send(binding())
        lab.until(lambda: len(lab.asked) == 2)
        overdue(lab, 29)
        assert lab.ended == []
        overdue(lab, 2)
        assert lab.ended == [(stranger.stream, "unallocated")]
        lab.relay.remove(known.handle)
        overdue(lab, 29)
        assert len(lab.ended) == 1
        overdue(lab, 2)
        assert lab.ended[1:] == [(known.stream, "unallocated")]


def test_a_handshake_that_does_not_end_is_closed() -> None:
    with lab_of() as lab:
        silent = lab.connect(tls=True)
        overdue(lab, 9)
        late = lab.connect(tls=True)
        overdue(lab, 2)
        assert lab.ended == [(silent.stream, "handshake_time")]
        late.sock.send(b"this is no TLS record, and long enough for one")
        assert lab.end_of(late) == "handshake"


# handles


def test_a_stream_that_was_dropped_is_no_more() -> None:
    with lab_of(streams_max=1) as lab:
        client = lab.connect()
        with pytest.raises(TableFull, match="streams: 1"):
            lab.connect()
        client.allocate()
        with pytest.raises(ValueError, match="an allocation is left"):
            lab.relay.drop_stream(client.stream)
        with pytest.raises(ValueError, match="has an allocation"):
            client.allocate()
        lab.relay.remove(client.handle)
        lab.relay.drop_stream(client.stream)
        assert client.is_closed()
        with pytest.raises(StaleHandle):
            lab.relay.drop_stream(client.stream)
        with pytest.raises(StaleHandle):
            lab.relay.send_stream(client.stream, b"")
        lab.connect()
        assert lab.relay.live()["streams"] == 1


def test_a_descriptor_that_is_no_connection_stays_the_callers() -> None:
    with lab_of() as lab, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(OSError, match="Invalid argument"):
            lab.relay.add_stream(sock.fileno(), False, 0)
        assert sock.getsockname()
        assert lab.relay.live()["streams"] == 0
    with StreamLab() as lab, pytest.raises(ValueError, match="no certificate"):
        lab.connect(tls=True)


# TLS


def test_S14_tls_is_1_2_or_later_and_has_the_suites_of_the_rfc() -> None:
    with lab_of() as lab:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting()
            context.minimum_version = context.maximum_version = version
            sock = lab.secure(context).sock
            assert isinstance(sock, ssl.SSLSocket)
            assert sock.compression() is None
        context = trusting()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        sock = lab.secure(context).sock
        assert isinstance(sock, ssl.SSLSocket)
        assert sock.cipher() == ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2", 128)
        old = lab.connect(tls=True)
        # TLS 1.1: a ClientHello by hand, since the client's own library refuses to make one
        old.sock.send(
            bytes.fromhex("160302002f0100002b0302") + bytes(32) + bytes.fromhex("000004c013c0140100")
        )
        old.sock.send(bytes(2))
        assert lab.end_of(old) == "handshake"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["stun.turn"], "stun.turn"),
        (["stun.nat-discovery", "stun.turn"], "stun.nat-discovery"),
        (["h2", "stun.turn"], "stun.turn"),
        (["h2", "http/1.1"], None),
        ([], None),
    ],
)
def test_S15_the_clients_first_label_of_stun_is_taken_and_none_is_no_fault(
    offered: list[str], taken: str | None
) -> None:
    with lab_of() as lab:
        context = trusting()
        if offered:
            context.set_alpn_protocols(offered)
        client = lab.secure(context)
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == taken
        client.send(binding())
        lab.until(lambda: len(lab.asked) == 1)


def test_each_message_is_a_record_of_its_own() -> None:
    """coturn's client, for one, takes a record for a message and overlooks what follows in it."""
    with lab_of() as lab:
        client = lab.secure()
        peer, relayed = lab.pair(client)
        client.bind(CHANNEL, peer)
        sent = [b"%d" % number * 4 for number in range(10)]
        for data in sent:
            peer.sock.sendto(data, relayed)
        lab.until(lambda: lab.relay.counts(client.handle)["packets_out"] == len(sent))
        client.sock.setblocking(True)
        # a read takes from one record alone, however much it asks for
        assert [client.sock.recv(65536) for _ in sent] == [padded(data) for data in sent]


def serial(client: StreamClient) -> int:
    assert isinstance(client.sock, ssl.SSLSocket)
    shown = client.sock.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown).serial_number


def test_a_new_certificate_is_for_new_connections_and_costs_the_old_ones_nothing() -> None:
    with lab_of() as lab:
        before = lab.secure()
        peer, _ = lab.pair(before)
        before.bind(CHANNEL, peer)
        lab.relay.set_certificates([make_pair(["127.0.0.1"], time.time())])
        after = lab.secure()
        assert serial(before) != serial(after)
        before.send(padded(b"still here"))
        assert peer.sock.recv(100) == b"still here"


def test_a_certificate_that_can_not_be_used_changes_nothing() -> None:
    other = make_pair(["127.0.0.1"], time.time())
    with lab_of() as lab:
        shown = serial(lab.secure())
        for chain, key, said in (
            (b"", CERTIFICATE.key, "no certificate in PEM"),
            (CERTIFICATE.key, CERTIFICATE.key, "no certificate in PEM"),
            (CERTIFICATE.chain, b"nonsense", "no private key"),
            (CERTIFICATE.chain, other.key, "not the certificate's"),
        ):
            for place in range(2):
                pairs = [other, other]
                pairs[place] = PemPair(chain, key)
                with pytest.raises(BadCertificate, match=said) as refused:
                    lab.relay.set_certificates(pairs)
                assert refused.value.number == place
        with pytest.raises(ValueError, match="at least one"):
            lab.relay.set_certificates([])
        assert serial(lab.secure()) == shown


def test_the_chain_is_shown_with_the_certificate() -> None:
    issuer = make_pair(["127.0.0.2"], time.time())
    with StreamLab() as lab:
        lab.relay.set_certificates([(CERTIFICATE.chain + issuer.chain, CERTIFICATE.key)])
        context = trusting()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose certificates go unsealed
        client = lab.connect(tls=True)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = context.wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        client.sock.send(outgoing.read())
        flight = bytearray()
        wanted = x509.load_pem_x509_certificate(issuer.chain).tbs_certificate_bytes

        def shown() -> bool:
            try:
                flight.extend(client.sock.recv(65536))
            except BlockingIOError:
                return False
            return wanted in flight

        lab.until(shown)
