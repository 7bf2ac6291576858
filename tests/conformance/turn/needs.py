"""What a test needs of the server or of this machine; without it the test is skipped and says so."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from sfu.wire.turn import Method
from tests.conformance.turn.client import ASK_BOTH, ASK_IPV6, ASK_UDP, DONT_FRAGMENT, Allocation, Client
from tests.conformance.turn.verdict import code_of

if TYPE_CHECKING:
    from tests.conformance.turn.target import Target


def wait(target: Target, seconds: float) -> None:
    """Until the server's clock is that much later; skips the test where nobody wants to wait for that."""
    if target.pass_time is not None:
        target.pass_time(seconds)
    elif not target.long:
        pytest.skip("takes minutes (--long)")
    else:
        threading.Event().wait(seconds)


def peer_host(target: Target) -> str:
    """The address of this machine for peers of IPv4."""
    if not target.peer:
        pytest.skip("no address for a peer is given (--peer)")
    return target.peer


def second_host(target: Target) -> str:
    """A second address of this machine for peers of IPv4."""
    if not target.other_peer:
        pytest.skip("no second address for a peer is given (--other-peer)")
    return target.other_peer


def ipv6_peer(target: Target) -> str:
    """The address of this machine for peers of IPv6."""
    if not target.peer6:
        pytest.skip("no address for a peer of IPv6 is given (--peer6)")
    return target.peer6


def ipv6_allocation(client: Client, *, additional: bool = False) -> Allocation:
    """An allocation of IPv6, alone or beside one of IPv4."""
    reply = client.request(Method.ALLOCATE, ASK_UDP, ASK_BOTH if additional else ASK_IPV6)
    if code_of(reply) == 440:
        whose = "the server does" if client.target.peer6 else "server and peers do"
        pytest.skip(f"{whose} not have IPv6")
    allocation = client.allocated_by(reply)
    if additional and len(allocation.relayed) < 2:
        pytest.skip("the server gives no second address (T9)")
    return allocation


def supports_dont_fragment(client: Client) -> bool:
    """Whether the server takes DONT-FRAGMENT in an Allocate; what else it may answer T4 asks."""
    reply = client.request(Method.ALLOCATE, ASK_UDP, DONT_FRAGMENT)
    client.allocated = code_of(reply) == 0
    return client.allocated
