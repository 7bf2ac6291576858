"""The whole server over TCP and TLS on loopback, with clients that know nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import re
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import structlog
from aioice import turn as aioice_turn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sfu.base.settings import load
from sfu.wire import stun
from sfu.wire.stun import MessageClass
from tests.turn.certificates import pair_of
from tests.turn.rest import SECRET
from tests.turn.stream_lab import trusting
from tests.turn.test_node import KEY, Heard, config, echo
from turn.certificate import PemPair, make_pair
from turn.credentials import Keys
from turn.node import TurnError, TurnNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sfu.base.settings import Listen

BINDING = stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12), fingerprint=False)


def started(**settings: str | list[str]) -> TurnNode:
    node = TurnNode(
        config(tls=["127.0.0.1:0"], **{"certificate": "self-made", **settings}),
        keys=Keys({KEY: (SECRET.encode(),)}, shared=(SECRET.encode(),)),
    )
    node.start()
    return node


@pytest.fixture
async def node() -> AsyncIterator[TurnNode]:
    node = started()
    yield node
    node.stop()


def of(listens: list[Listen]) -> tuple[str, int]:
    return "127.0.0.1", listens[0].port


def refusal_of_reload(node: TurnNode) -> str:
    """What is said of certificates that can't be used."""
    with structlog.testing.capture_logs() as logged:
        node.reload()
    (line,) = logged
    assert line["event"] == "turn.certificate_not_loaded"
    return str(line["error"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ends(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection."""
    try:
        async with asyncio.timeout(10):
            while await reader.read(65536):
                pass
    except ConnectionError:
        pass
    return True


class Allocated(NamedTuple):
    """A client with an allocation: its transport, what it hears, and its name."""

    client: aioice_turn.TurnTransport
    heard: asyncio.Queue[bytes]
    username: str


async def allocated(node: TurnNode, *, tls: bool = False) -> Allocated:
    minted = node.credentials.mint(KEY, 600, "", time.time())
    client, protocol = await aioice_turn.create_turn_endpoint(
        Heard,
        server_addr=of(node.tls_listens if tls else node.tcp_listens),
        username=minted.username,
        password=minted.password,
        transport="tcp",
        ssl=trusting() if tls else False,
    )
    return Allocated(client, protocol.heard, minted.username)


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_aioice_reaches_a_peer_and_hears_it(node: TurnNode, tls: bool) -> None:
    peer, address = await echo()
    client, heard, _ = await allocated(node, tls=tls)
    for number in range(20):
        client.sendto(b"%d" % number, address)
        assert await asyncio.wait_for(heard.get(), 5) == b"%d" % number
    assert len(node.server) == 1
    client.close()
    await until(lambda: len(node.server) == 0)
    peer.close()


async def asked(node: TurnNode) -> bytes:
    """What a client on TCP is answered to a Binding request."""
    reader, writer = await asyncio.open_connection(*of(node.tcp_listens))
    writer.write(BINDING)
    answer = await asyncio.wait_for(reader.readexactly(32), 5)
    writer.close()
    return answer


async def test_S8_a_binding_request_is_answered_over_tcp(node: TurnNode) -> None:
    answer = stun.parse(await asked(node))
    assert answer.message_class is MessageClass.SUCCESS


async def test_revocation_ends_an_allocation_on_a_connection(node: TurnNode) -> None:
    client, _, username = await allocated(node)
    assert node.revoke(username)
    assert len(node.server) == 0
    assert stun.parse(await asked(node)).message_class is MessageClass.SUCCESS
    client.close()


# who takes too long, or says what can't be followed


@pytest.mark.parametrize("said", [b"", b"\x00\x01", BINDING[:19], BINDING + b"\x40"])
async def test_a_silent_or_dripping_client_is_closed_and_the_others_are_served(said: bytes) -> None:
    node = started(message_timeout="0.3", unallocated_timeout="600")
    client = (await allocated(node)).client
    reader, writer = await asyncio.open_connection(*of(node.tcp_listens))
    writer.write(said)
    assert await ends(reader)
    assert stun.parse(await asked(node)).message_class is MessageClass.SUCCESS
    assert len(node.server) == 1
    writer.close()
    client.close()
    node.stop()


async def test_a_client_that_never_allocates_is_closed() -> None:
    node = started(unallocated_timeout="0.3")
    reader, writer = await asyncio.open_connection(*of(node.tcp_listens))
    writer.write(BINDING)
    assert await asyncio.wait_for(reader.readexactly(32), 5)
    assert await ends(reader)
    assert node.relay_counters()["end_unallocated"] == 1
    writer.close()
    node.stop()


async def test_a_handshake_that_does_not_come_to_its_end_is_closed() -> None:
    node = started(handshake_timeout="0.3")
    reader, writer = await asyncio.open_connection(*of(node.tls_listens))
    writer.write(bytes.fromhex("160301"))
    assert await ends(reader)
    assert node.relay_counters()["end_handshake_time"] == 1
    writer.close()
    node.stop()


@pytest.mark.parametrize(
    "said",
    [b"\xff" * 100, b"\x00\x01\xff\xfc", b"\x00\x01\x00\x00TRUE"],
    ids=["garbage", "huge", "cookie"],
)
async def test_garbage_and_huge_claims_are_closed_at_once(node: TurnNode, said: bytes) -> None:
    reader, writer = await asyncio.open_connection(*of(node.tcp_listens))
    writer.write(BINDING + said)
    assert await ends(reader)
    writer.close()


async def test_strangers_beyond_the_limit_are_closed_and_clients_are_no_strangers() -> None:
    node = started(strangers_per_address="2")
    clients = [(await allocated(node)).client for _ in range(4)]
    held = [await asyncio.open_connection(*of(node.tcp_listens)) for _ in range(2)]
    reader, writer = await asyncio.open_connection(*of(node.tcp_listens))
    assert await ends(reader)
    assert len(node.server) == 4
    writer.close()
    for _, stranger in held:
        stranger.close()
    await until(lambda: node.relay_counters()["end_closed"] == 2)
    await asked(node)
    for client in clients:
        client.close()
    node.stop()


async def test_a_server_without_descriptors_accepts_again_when_it_has_some(
    node: TurnNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = socket.socket.accept
    refused: list[float] = []

    def fails(sock: socket.socket) -> tuple[socket.socket, object]:
        if not refused:
            refused.append(time.monotonic())
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(sock)

    with caplog.at_level(logging.CRITICAL):
        monkeypatch.setattr(socket.socket, "accept", fails)
        await asked(node)
    assert len(refused) == 1


async def test_a_message_that_breaks_the_server_costs_nobody_else_an_answer(
    node: TurnNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    _, writer = await asyncio.open_connection(*of(node.tcp_listens))
    with monkeypatch.context() as broken, caplog.at_level(logging.CRITICAL):
        broken.setattr(node.server, "receive", breaks)
        writer.write(BINDING)
        await until(lambda: node.relay_counters()["control_in"] == 1)
    await asked(node)
    writer.close()


async def test_a_server_that_has_stopped_holds_nothing() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()
    before = descriptors()
    for _ in range(3):
        node = started()
        clients = [(await allocated(node, tls=tls)).client for tls in (False, True)]
        reader, writer = await asyncio.open_connection(*of(node.tcp_listens))
        await asked(node)
        node.stop()
        assert await ends(reader)
        writer.close()
        for client in clients:
            client.close()
        del node
    gc.collect()
    await until(lambda: descriptors() <= before)


# certificates


def written(folder: Path, pair: PemPair) -> dict[str, str | list[str]]:
    (folder / "chain.pem").write_bytes(pair.chain)
    (folder / "key.pem").write_bytes(pair.key)
    return {"certificate": str(folder / "chain.pem"), "key": str(folder / "key.pem")}


async def shown(node: TurnNode, name: str | None = None, context: ssl.SSLContext | None = None) -> bytes:
    """The certificate that a new connection is shown, which asks for a `name` or none."""
    context = context or trusting()
    where = of(node.tls_listens)
    _, writer = await asyncio.open_connection(*where, ssl=context, server_hostname=name or "")
    peer: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    return peer.getpeercert(binary_form=True) or b""


def der(pair: PemPair) -> bytes:
    return x509.load_pem_x509_certificate(pair.chain).public_bytes(Encoding.DER)


async def test_a_reload_shows_the_new_certificate_and_ends_no_call(tmp_path: Path) -> None:
    first, second = (make_pair(["127.0.0.1"], time.time()) for _ in range(2))
    node = started(**written(tmp_path, first))
    peer, address = await echo()
    client, heard, _ = await allocated(node, tls=True)
    assert await shown(node) == der(first)
    written(tmp_path, second)
    node.reload()
    assert await shown(node) == der(second)
    client.sendto(b"still here", address)
    assert await asyncio.wait_for(heard.get(), 5) == b"still here"
    (tmp_path / "key.pem").write_bytes(first.key)
    assert "the key is not the certificate's" in refusal_of_reload(node)
    assert await shown(node) == der(second)
    client.close()
    peer.close()
    node.stop()


def all_written(folder: Path, pairs: list[PemPair]) -> dict[str, str | list[str]]:
    """Settings of several certificates."""
    found: dict[str, list[str]] = {"certificate": [], "key": []}
    for number, pair in enumerate(pairs):
        (folder / str(number)).mkdir(exist_ok=True)
        for setting, paths in written(folder / str(number), pair).items():
            found[setting].append(str(paths))
    return dict(found)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_S15_a_client_is_shown_the_certificate_of_the_name_that_it_wants(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    first, second, third = pairs = [
        pair_of("turn.example.org"),
        pair_of("relay.example.net", "*.wild.example.net"),
        pair_of("relay.example.net", "last.example.org"),
    ]
    node = started(**all_written(tmp_path, pairs))
    context = trusting()
    context.maximum_version = context.minimum_version = version
    context.set_alpn_protocols(["http/1.1", "stun.turn"])
    for name, pair in (
        (None, first),
        ("turn.example.org", first),
        ("TURN.example.org", first),
        ("relay.example.net", second),
        ("a.wild.example.net", second),
        ("a.b.wild.example.net", first),
        ("last.example.org", third),
        ("unknown.example", first),
        ("127.0.0.1", first),
    ):
        assert await shown(node, name, context) == der(pair), name
    node.stop()


async def test_S15_the_labels_of_alpn_hold_for_every_certificate(tmp_path: Path) -> None:
    node = started(**all_written(tmp_path, [pair_of("turn.example.org"), pair_of("relay.example.net")]))
    for name in ("turn.example.org", "relay.example.net"):
        for offered, wanted in ((["http/1.1", "stun.turn"], "stun.turn"), (["http/1.1"], None), ([], None)):
            context = trusting()
            context.set_alpn_protocols(offered)
            _, writer = await asyncio.open_connection(
                *of(node.tls_listens), ssl=context, server_hostname=name
            )
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == wanted
            writer.close()
    node.stop()


async def test_a_session_is_resumed_under_the_name_that_it_was_made_for(tmp_path: Path) -> None:
    node = started(**all_written(tmp_path, [pair_of("turn.example.org"), pair_of("relay.example.net")]))
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose ticket is there when the handshake is over

    def handshake(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        with (
            socket.create_connection(of(node.tls_listens)) as plain,
            context.wrap_socket(plain, server_hostname="relay.example.net", session=session) as secured,
        ):
            return secured.session, bool(secured.session_reused)

    session, is_resumed = await asyncio.to_thread(handshake, None)
    assert not is_resumed
    _, is_resumed = await asyncio.to_thread(handshake, session)
    assert is_resumed
    node.stop()


async def test_a_reload_reads_every_certificate_and_takes_none_if_one_is_wrong(tmp_path: Path) -> None:
    names = ["turn.example.org", "relay.example.net"]
    before, after = ([pair_of(name) for name in names] for _ in range(2))
    node = started(**all_written(tmp_path, before))
    all_written(tmp_path, after)
    (tmp_path / "1" / "key.pem").write_bytes(before[1].key)
    assert re.search(r"1/chain.pem, --turn-key .*/1/key.pem: the key is not", refusal_of_reload(node))
    assert [await shown(node, name) for name in names] == [der(pair) for pair in before]
    all_written(tmp_path, after)
    node.reload()
    assert [await shown(node, name) for name in names] == [der(pair) for pair in after]
    node.stop()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"certificate": ""}, "TLS needs a certificate; give --turn-certificate"),
        ({"certificate": "/nowhere/chain.pem"}, "1 certificate and 0 keys; give a --turn-key for each"),
        ({"certificate": "", "key": "/nowhere/key.pem"}, "0 certificates and 1 key; give a --turn-key"),
        ({"certificate": ["a.pem", "self-made"], "key": "b.pem"}, "self-made: stands alone"),
        ({"certificate": "self-made", "key": "b.pem"}, "self-made: stands alone"),
        ({"certificate": ["a.pem"] * 65, "key": ["b.pem"] * 65}, "65 of them; at most 64"),
        (
            {"certificate": "/nowhere/chain.pem", "key": "/nowhere/key.pem"},
            "/nowhere/chain.pem: No such file",
        ),
        ({"certificate": __file__, "key": __file__}, "no certificate in PEM"),
    ],
)
async def test_tls_that_can_not_be_is_said_at_the_start(
    settings: dict[str, str | list[str]], said: str
) -> None:
    with pytest.raises(TurnError, match=said):
        started(**settings)


async def test_without_a_certificate_there_is_no_tls_and_all_else() -> None:
    values: dict[str, str | list[str]] = {
        **{f"turn.{name}": ["127.0.0.1:0"] for name in ("udp", "tcp")},
        "turn.relay": ["127.0.0.1"],
        "turn.secrets": [SECRET],
    }
    node = TurnNode(load(values, {}, None))
    node.start()
    assert node.tls_listens == []
    await asked(node)
    node.stop()


async def test_a_port_that_is_taken_is_passed_over_or_said(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken, caplog.at_level(logging.CRITICAL):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        both = [f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:0"]
        node = started(tcp=both)
        assert len(node.tcp_listens) == 1
        node.stop()
        with pytest.raises(TurnError, match="address in use"):
            started(tcp=both, strict_ports="true")


async def swarm(address: tuple[str, int], said: bytes, *, drips: bool = False) -> bool:
    """Say something hostile, all at once or byte by byte, and wait to be closed."""
    reader, writer = await asyncio.open_connection(*address)
    ended = asyncio.create_task(ends(reader))
    with contextlib.suppress(ConnectionError):
        if drips:
            for byte in said:
                writer.write(bytes([byte]))
                await asyncio.wait([ended], timeout=0.05)
        else:
            writer.write(said)
    closed = await ended
    writer.close()
    return closed


async def test_a_swarm_of_hostile_connections_costs_a_call_nothing_and_leaves_nothing() -> None:
    node = started(message_timeout="0.5", handshake_timeout="0.5", strangers_per_address="500")
    peer, address = await echo()
    client, heard, _ = await allocated(node, tls=True)
    tcp, tls = of(node.tcp_listens), of(node.tls_listens)
    hostile = [
        swarm(where, said, drips=drips)
        for where in (tcp, tls)
        for said, drips in (
            (b"", False),  # silent
            (BINDING[:7], False),  # half a head
            (BINDING * 3, True),
            (b"\x16\x03\x01\x02\x00" + bytes(300), False),  # like TLS
            (b"\x00\x01\xff\xfc\x21\x12\xa4\x42", False),  # a huge claim
            (bytes(range(255, 0, -1)) * 400, False),  # garbage
        )
        for _ in range(8)
    ]
    swarming = asyncio.gather(*hostile)
    number = 0
    while not swarming.done() or number < 20:
        client.sendto(b"%d" % number, address)
        assert await asyncio.wait_for(heard.get(), 5) == b"%d" % number
        number += 1
        await asyncio.sleep(0)
    assert all(await swarming)
    assert len(node.server) == 1
    counters = node.relay_counters()
    ended = sum(count for name, count in counters.items() if name.startswith("end_"))
    assert counters["streams_opened"] - ended == 1
    client.close()
    peer.close()
    node.stop()
