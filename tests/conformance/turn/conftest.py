"""The server under test, and clients and peers of it.

Without a server in the environment every test runs against each server of `servers.STARTERS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.turn.client import Client
from tests.conformance.turn.links import Link, Peer, UdpLink, tcp_link, tls_link
from tests.conformance.turn.needs import peer_host
from tests.conformance.turn.servers import DEVIATIONS, LEFT_OUT, STARTERS
from tests.conformance.turn.target import from_environment
from tests.conformance.turn.verdict import Deviation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.conformance.turn.client import Challenge
    from tests.conformance.turn.target import Credential, Target

    Connect = Callable[..., Client]
    OpenPeer = Callable[..., Peer]

# What skips a test for reasons that are not the server's.
CIRCUMSTANCES = (
    "takes ",
    "this machine's ",
    "server and peers ",
    "no address for a peer of IPv6 ",
    "the suite's ",
    "coturn is ",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that uses a server runs once for each."""
    if "target" in metafunc.fixturenames:
        names = list(STARTERS) if from_environment() is None else ["given"]
        metafunc.parametrize("target", names, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a server is known to fail is expected to fail, in that way and no other."""
    for item in items:
        named = _server_and_test(item)
        if named is None:
            continue
        server, test = named
        deviations = DEVIATIONS[server]
        reason = deviations.get(test, deviations.get(test.partition("[")[0]))
        if reason is not None:
            always = not reason.startswith("sometimes")
            item.add_marker(pytest.mark.xfail(raises=Deviation, strict=always, reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a server is not known to leave out is not skipped because it does."""
    report = yield
    named = _server_and_test(item)
    if named is not None and report.skipped and isinstance(report.longrepr, tuple):
        server, test = named
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(CIRCUMSTANCES) and not test.startswith(LEFT_OUT[server]):
            report.outcome = "failed"
            report.longrepr = f"{test} is not among what {server} leaves out, but: {reason}"
    return report


def _server_and_test(item: pytest.Item) -> tuple[str, str] | None:
    """The name of the server of `STARTERS` that a test is of, and the test's name without it."""
    callspec = getattr(item, "callspec", None)
    server = callspec.params.get("target") if callspec is not None else None
    if not isinstance(item, pytest.Function) or not isinstance(server, str) or server not in STARTERS:
        return None
    case = "-".join(part for part in item.name.partition("[")[2].rstrip("]").split("-") if part != server)
    return server, f"{item.originalname}[{case}]" if case else item.originalname


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    """The server under test."""
    named = from_environment()
    if named is not None:
        yield named
        return
    with STARTERS[request.param](tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture
def connect(target: Target) -> Generator[Connect]:
    """Makes clients by transport; what they allocate is given back in the end."""
    clients: list[Client] = []

    def connect(
        transport: str = "udp", user: Credential | None = None, challenge: Challenge | None = None
    ) -> Client:
        clients.append(Client(target, _link(target, transport), user or target.credential(), challenge))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Connect) -> Client:
    """A client over UDP."""
    return connect()


@pytest.fixture
def open_peer(target: Target) -> Generator[OpenPeer]:
    """Opens peers, by default of IPv4."""
    peers: list[Peer] = []

    def open_peer(host: str = "") -> Peer:
        peers.append(Peer(host or peer_host(target), target.answer_s))
        return peers[-1]

    yield open_peer
    for peer in peers:
        peer.close()


@pytest.fixture
def peer(open_peer: OpenPeer) -> Peer:
    """A peer of IPv4."""
    return open_peer()


def _link(target: Target, transport: str) -> Link:
    if transport == "udp":
        if not target.port:
            pytest.skip("the server has no port of UDP")
        return UdpLink(target.host, target.port)
    if transport == "tcp":
        if not target.tcp_port:
            pytest.skip("the server has no port of TCP")
        return tcp_link(target)
    if not target.tls_port:
        pytest.skip("no port of TLS is given (--tls-port)")
    return tls_link(target)
