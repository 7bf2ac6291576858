"""Sets of networks hold what any of their networks holds."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from turn.networks import Networks


@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 4)), max_size=12),
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 4)), max_size=12),
)
def test_a_set_of_networks_has_what_any_of_them_has(
    small: list[tuple[int, int]], large: list[tuple[int, int]]
) -> None:
    # in 16 addresses each, so that networks nest, touch and repeat
    networks = [ipaddress.ip_network((0x0AFFFFF0 + at, 28 + bits), strict=False) for at, bits in small]
    networks += [ipaddress.ip_network(((0x20FF << 112) + at, 124 + bits), strict=False) for at, bits in large]
    both = Networks(map(str, networks))
    for first in (0x0AFFFFE8, (0x20FF << 112) - 8):
        for value in range(first, first + 32):
            address = ipaddress.ip_address(value)
            assert (address.packed in both) == any(address in network for network in networks)
