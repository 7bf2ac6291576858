"""TCP and TLS: rows S8, S13, S14, S15, C4 (RFC 8489 6.2.2, 6.2.3; RFC 7443; RFC 8656 12.5)."""

from __future__ import annotations

import ssl
import warnings
from typing import TYPE_CHECKING

import pytest

from sfu.wire import turn
from sfu.wire.stun import BINDING
from sfu.wire.turn import Method
from tests.conformance.turn.client import ASK_UDP, Client, mapped_of, plain
from tests.conformance.turn.links import StreamLink, tls_context, tls_link
from tests.conformance.turn.verdict import deviates, expect, expect_error, expect_success

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.turn.conftest import Connect
    from tests.conformance.turn.links import Peer
    from tests.conformance.turn.target import Target

STREAMS = pytest.mark.parametrize("transport", ["tcp", "tls"])
CHANNEL = 0x4000


# S8


@STREAMS
def test_s8_binding_is_answered_on_streams(connect: Connect, transport: str) -> None:
    client = connect(transport)
    reply = expect_success(client.binding())
    expect(mapped_of(reply) == client.link.local, str(client.link.local), mapped_of(reply))


# S13


@STREAMS
def test_s13_two_requests_in_one_write_get_two_answers(connect: Connect, transport: str) -> None:
    client = connect(transport)
    requests = [plain(BINDING), plain(Method.ALLOCATE, ASK_UDP), plain(BINDING)]
    client.link.send(b"".join(requests))
    answered: set[bytes] = set()
    for _ in requests:
        got = client.link.receive(client.target.answer_s)
        if got is None:
            deviates("3 answers", f"{len(answered)}")
        answered.add(got[8:20])
    expect(answered == {request[8:20] for request in requests}, "an answer to each", "others")


@STREAMS
def test_s13_a_request_in_pieces_gets_its_answer(connect: Connect, transport: str) -> None:
    client = connect(transport)
    request = plain(Method.ALLOCATE, ASK_UDP)
    for at in range(len(request) - 1):
        client.link.send(request[at : at + 1])
    got = client.link.receive(client.target.quiet_s)
    expect(got is None, "no answer before the last byte", f"{got!r}")
    client.link.send(request[-1:])
    got = client.link.receive(client.target.answer_s)
    expect(got is not None and got[8:20] == request[8:20], "an answer", f"{got!r}")


@STREAMS
def test_s13_the_connection_stays_open_after_answers(connect: Connect, transport: str) -> None:
    client = connect(transport)
    expect_success(client.binding())
    expect_error(client.exchange(plain(Method.REFRESH)), 401)
    client.allocate()
    expect(client.refresh(0) == 0, "LIFETIME 0", "another")
    client.allocated = False
    expect_success(client.binding(), "an open connection")


# S14


def test_s14_aes128_gcm_with_ecdhe_is_there(target: Target) -> None:
    """That with RSA is what RFC 8489 names; a server with another certificate has another."""
    context = tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    secured = handshake(target, context)
    expect(secured is not None, "a handshake", "none")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda v: v.name)
def test_s14_versions_before_1_2_are_refused(target: Target, version: ssl.TLSVersion) -> None:
    context = tls_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what is old is what is asked for
        context.minimum_version = context.maximum_version = version
    expect(handshake(target, context) is None, f"no handshake of {version.name}", "one")


@pytest.mark.parametrize("ciphers", ["aNULL:eNULL", "DES:3DES:RC4"], ids=["none", "old"])
def test_s14_weak_ciphers_are_refused(target: Target, ciphers: str) -> None:
    context = tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    except ssl.SSLError:
        pytest.skip(f"this machine's OpenSSL has no {ciphers} to ask with")
    expect(handshake(target, context) is None, f"no handshake with {ciphers}", "one")


def test_s14_nothing_is_compressed(connect: Connect) -> None:
    client = connect("tls")
    assert isinstance(client.link.socket, ssl.SSLSocket)
    expect(client.link.socket.compression() is None, "no compression", client.link.socket.compression())
    expect_success(client.binding())


# S15


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("stun.turn",), "stun.turn"),
        (("stun.nat-discovery",), "stun.nat-discovery"),
        (("stun.nat-discovery", "stun.turn"), "stun.nat-discovery"),
        (("http/1.1", "stun.turn", "stun.nat-discovery"), "stun.turn"),
        ((), None),
    ],
    ids=["turn", "nat-discovery", "first-of-two", "beside-another", "none"],
)
def test_s15_the_first_label_of_stun_is_chosen(
    target: Target, offered: Sequence[str], chosen: str | None
) -> None:
    context = tls_context()
    if offered:
        context.set_alpn_protocols(list(offered))
    link = secured_link(target, context)
    try:
        assert isinstance(link.socket, ssl.SSLSocket)
        got = link.socket.selected_alpn_protocol()
        expect(got == chosen, f"{chosen} of {', '.join(offered) or 'nothing'}", got)
        expect_success(Client(target, link, target.credential()).binding())
    finally:
        link.close()


# C4


@STREAMS
@pytest.mark.parametrize("size", range(5))
def test_c4_channel_data_is_padded_on_streams(
    connect: Connect, peer: Peer, transport: str, size: int
) -> None:
    """Both ways; a second message behind it shows that neither side lost its place."""
    client = connect(transport)
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    content = b"abcd"[:size]
    both = [turn.build_channel_data(CHANNEL, part, padded=True) for part in (content, b"behind it")]
    client.link.send(b"".join(both))
    peer.gets(content, relayed)
    peer.gets(b"behind it", relayed)
    peer.send(content, relayed)
    client.gets(content, peer.endpoint, CHANNEL)
    peer.send(b"behind it", relayed)
    client.gets(b"behind it", peer.endpoint, CHANNEL)
    expect_success(client.binding(), "a stream that is still followed")


def test_c4_padding_is_tolerated_on_udp(client: Client, peer: Peer) -> None:
    relayed = client.allocate().relayed[0]
    expect_success(client.bind(CHANNEL, peer.endpoint))
    client.link.send(turn.build_channel_data(CHANNEL, b"padded", padded=True))
    peer.gets(b"padded", relayed)


def handshake(target: Target, context: ssl.SSLContext) -> str | None:
    """The cipher of a handshake, None if there was none."""
    if not target.tls_port:
        pytest.skip("no port of TLS is given (--tls-port)")
    try:
        link = tls_link(target, context)
    except ssl.SSLError:
        return None
    assert isinstance(link.socket, ssl.SSLSocket)
    cipher = link.socket.cipher()
    link.close()
    return cipher[0] if cipher else ""


def secured_link(target: Target, context: ssl.SSLContext) -> StreamLink:
    """A connection over TLS that has to come about."""
    if not target.tls_port:
        pytest.skip("no port of TLS is given (--tls-port)")
    try:
        return tls_link(target, context)
    except ssl.SSLError as error:
        deviates("a handshake", str(error))
