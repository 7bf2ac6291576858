"""This project's own server, `orchard turn`, as a server under test."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.turn.program import free_port, serving
from tests.conformance.turn.target import Target

if TYPE_CHECKING:
    from collections.abc import Generator

REALM = "conformance.example"
SECRETS = ("conformance-secret", "conformance-secret-before")
QUOTA = 10
RATE = 100_000  # bytes a second: far more than the other tests relay
PERMISSIONS = 8
CHANNELS = 8

# Tests that it fails, and what it does instead.
DEVIATIONS: dict[str, str] = {}

# What it does not have, or these settings do not, and thus is not tested.
LEFT_OUT = (
    "test_a10_",  # USERHASH goes with names of a TURN key alone
)


@contextlib.contextmanager
def running(directory: Path) -> Generator[Target]:
    """Start `orchard turn` on a free port of all addresses, and end it."""
    target = Target(
        name="orchard",
        host="127.0.0.1",
        port=free_port(),
        tls_port=free_port(),
        also_host="127.0.0.2",
        realm=REALM,
        secret=SECRETS[0],
        other_secret=SECRETS[1],
        denied_peer="192.0.2.1",
        quota=QUOTA,
        rate=RATE,
        permissions=PERMISSIONS,
        channels=CHANNELS,
        public=True,
    )
    peers = [target.peer, target.other_peer, *([target.peer6] if target.peer6 else [])]
    settings = {
        "udp": [f"0.0.0.0:{target.port}"],
        "tcp": [f"0.0.0.0:{target.port}"],
        "tls": [f"0.0.0.0:{target.tls_port}"],
        "certificate": "self-made",
        "strict_ports": True,
        "realm": REALM,
        "secrets": list(SECRETS),
        "relay": [target.host, *([target.peer6] if target.peer6 else [])],
        "policy": "public",
        "allow": peers,
        "allocations_per_user": QUOTA,
        "permissions": PERMISSIONS,
        "channels": CHANNELS,
        "bits_per_second": RATE * 8,
        "tcp_relay": True,
        "tcp_peer_ports": "1-65535",  # so that the denied peer is denied by its address
        # all clients of the tests are one address, and what they get wrong is answered
        "replies_per_second": 100_000.0,
        "failures_per_minute": 1000,
    }
    config = directory / "orchard.toml"
    # values of JSON are values of TOML as long as there are no objects among them
    config.write_text(
        "[turn]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    )
    command = [Path(sys.executable).parent / "orchard", "turn", "--http", "127.0.0.1:0", "--config", config]
    with serving(target, command, directory / "log") as started:
        yield started
