"""Whom a server open to the public lets its users reach: rows N1 and N2.

No RFC says it, but each of these was the way into somebody's network (CVE-2020-26262, CVE-2026-27624).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sfu.wire.turn import Method
from tests.conformance.turn.links import Endpoint
from tests.conformance.turn.needs import ipv6_allocation
from tests.conformance.turn.verdict import code_of, deviates, expect_success, told

if TYPE_CHECKING:
    from tests.conformance.turn.client import Client
    from tests.conformance.turn.target import Target

CHANNEL = 0x4000
PORT = 9
METHODS = pytest.mark.parametrize(
    "method", [Method.CREATE_PERMISSION, Method.CHANNEL_BIND], ids=["permission", "channel"]
)


def is_refused(target: Target, client: Client, host: str, method: Method) -> None:
    """403, or 400 for what is no address of a peer at all."""
    if not target.public:
        pytest.skip("the server is not said to be open to the public (--public)")
    if host in (target.peer, target.other_peer, target.peer6):
        pytest.skip(f"the suite's own peers are at {host}")
    peer = Endpoint.of((host, PORT))
    if len(peer.ip) == 16:
        ipv6_allocation(client)
    else:
        client.allocate()
    reply = client.permit(peer) if method is Method.CREATE_PERMISSION else client.bind(CHANNEL, peer)
    if code_of(reply) not in (403, 400):
        deviates(f"error 403 or 400 ({host})", told(reply))


@METHODS
@pytest.mark.parametrize("host", ["0.0.0.0", "::"], ids=["ipv4", "ipv6"])
def test_n1_unspecified_addresses_are_refused(
    target: Target, client: Client, host: str, method: Method
) -> None:
    """Systems take them for this machine."""
    is_refused(target, client, host, method)


@METHODS
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_n1_private_and_special_addresses_are_refused(
    target: Target, client: Client, host: str, method: Method
) -> None:
    is_refused(target, client, host, method)


@METHODS
@pytest.mark.parametrize(
    "host",
    [
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "2001:0:1::1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
    ],
)
def test_n2_ipv4_in_ipv6_is_no_way_around(target: Target, client: Client, host: str, method: Method) -> None:
    """Mapped, compatible, Teredo, 6to4, NAT64."""
    is_refused(target, client, host, method)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1"], ids=["ipv4", "ipv6"])
def test_n1_public_addresses_are_not(target: Target, client: Client, host: str) -> None:
    """Nothing is sent there."""
    if not target.public:
        pytest.skip("the server is not said to be open to the public (--public)")
    peer = Endpoint.of((host, PORT))
    if len(peer.ip) == 16:
        ipv6_allocation(client)
    else:
        client.allocate()
    expect_success(client.permit(peer), host)
