"""What counts as one address."""

from __future__ import annotations

import pytest

from meeting.addresses import address_key


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2:3:4", "2001:db8::"),
        ("2001:db8::9", "2001:db8::"),
        (None, "none"),
        ("/run/socket", "none"),
    ],
)
def test_one_customer_is_one_address(host: str | None, key: str) -> None:
    assert address_key(host) == key
