"""Time-limited names and passwords, as an application server makes them (coturn's `use-auth-secret`)."""

from __future__ import annotations

import base64
import hmac
from typing import NamedTuple

SECRET = "0123456789abcdef0123"


class Credential(NamedTuple):
    """A username and its password."""

    username: str
    password: str


def credential_until(expires_at: float, whose: str = "alice") -> Credential:
    """One that ends then, made with the secret that is shared with the server."""
    username = f"{int(expires_at)}:{whose}"
    digest = hmac.digest(SECRET.encode(), username.encode(), "sha1")
    return Credential(username, base64.b64encode(digest).decode())
