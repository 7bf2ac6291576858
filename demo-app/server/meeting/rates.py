"""How often something may be done: one token bucket for each key, in a table of bounded size."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict


class Rates:
    """Lets `per_second` through for each key on the average, `burst` at once after a pause.

    Of more than `capacity` keys the one that came longest ago is forgotten, which can only make its next try
    succeed.
    """

    def __init__(self, per_second: float, burst: float, *, capacity: int = 10_000) -> None:
        self._per_second = per_second
        self._burst = burst
        self._capacity = capacity
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and since when

    def allow(self, key: str, now: float) -> bool:
        """Whether `key` may do it once more at `now` (seconds, monotonic); what is refused costs nothing."""
        left, since = self._left.get(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed else left, now)
        self._left.move_to_end(key)
        if len(self._left) > self._capacity:
            self._left.popitem(last=False)
        return allowed


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
