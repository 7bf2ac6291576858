"""Whose a connection is, for the bounds of addresses."""

from __future__ import annotations

import ipaddress


def address_key(host: str | None) -> str:
    """What counts as one address: of IPv6 the /64, which is one customer's or less (RFC 6177)."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "none"  # a Unix socket: whoever is in front of it
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
    return str(address)
