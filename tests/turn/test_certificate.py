"""Under which hosts clients take a certificate."""

from __future__ import annotations

import pytest

from tests.turn.certificates import pair_of
from turn.certificate import make_pair, unnamed


@pytest.mark.parametrize(
    ("host", "is_named"),
    [
        ("turn.example.org", True),
        ("TURN.example.org.", True),
        ("sfu.example.org", False),
        ("example.org", False),
        ("a.relays.example.org", True),
        ("a.b.relays.example.org", False),
        ("relays.example.org", False),
        ("198.51.100.7", False),
    ],
)
def test_a_certificate_names_hosts_as_browsers_read_it(host: str, is_named: bool) -> None:
    chains = [pair_of("turn.example.org").chain, pair_of("*.relays.example.org").chain]
    assert unnamed(chains, [host]) == ([] if is_named else [host])


def test_a_certificate_may_name_addresses() -> None:
    made = make_pair(["192.0.2.1", "2001:db8::1"], 0.0)
    assert unnamed([made.chain], ["192.0.2.1", "2001:DB8:0::1", "192.0.2.2"]) == ["192.0.2.2"]


def test_without_a_certificate_no_host_is_named() -> None:
    assert unnamed([], ["turn.example.org"]) == ["turn.example.org"]
