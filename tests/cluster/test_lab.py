"""The lab itself: what it promises about packets holds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cluster.lab import SERVER_V4, SERVER_V6, Lab, LabError, Namespace

pytestmark = pytest.mark.netns

_ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(("::", 3478)); print("ready", flush=True)
while True:
    data, address = s.recvfrom(2048)
    s.sendto(address[0].removeprefix("::ffff:").encode() + b" " + data, address)
"""

_ASK = """
import socket, sys
host, data = sys.argv[1], bytes.fromhex(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.3); s.sendto(data, (host, 3478))
try: sys.stdout.write(s.recv(2048).decode("latin-1").split(" ")[0])
except TimeoutError: sys.stdout.write("silence")
"""


class Echo:
    """A UDP echo at the server that answers with the address it saw."""

    def __init__(self, namespace: Namespace) -> None:
        self.process = subprocess.Popen(
            [*namespace.prefix, sys.executable, "-c", _ECHO], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def seen_from(client: Namespace, host: str, data: bytes = b"hello") -> str:
    """The address from which the server saw a datagram come, or "silence"."""
    return client.run(sys.executable, "-c", _ASK, host, data.hex())


def test_a_client_reaches_the_server_by_both_families(lab: Lab) -> None:
    client = lab.client()
    uplink = lab.uplink(client)
    with Echo(lab.server):
        assert seen_from(client, SERVER_V4) == uplink.v4
        assert seen_from(client, SERVER_V6) == uplink.v6


def test_a_client_without_ipv4_has_no_way_there(lab: Lab) -> None:
    client = lab.client()
    uplink = lab.uplink(client, ipv4=False)
    with Echo(lab.server):
        assert seen_from(client, SERVER_V6) == uplink.v6
        with pytest.raises(LabError):
            seen_from(client, SERVER_V4)


def test_the_address_that_the_server_sees_can_change(lab: Lab) -> None:
    client = lab.client()
    uplink = lab.uplink(client)
    with Echo(lab.server):
        lab.show_as(uplink, 7)
        assert seen_from(client, SERVER_V4) == "10.72.0.7"
        lab.show_as(uplink, 8)
        assert seen_from(client, SERVER_V4) == "10.72.0.8"


def test_the_second_uplink_takes_over_when_the_first_goes_down(lab: Lab) -> None:
    client = lab.client()
    wifi = lab.uplink(client, metric=100)
    mobile = lab.uplink(client, metric=200)
    with Echo(lab.server):
        assert seen_from(client, SERVER_V4) == wifi.v4
        client.ip(f"link set {wifi.device} down")
        assert seen_from(client, SERVER_V4) == mobile.v4


def _record(content_type: int, epoch: int, message: int) -> bytes:
    return (
        bytes([content_type, 0xFE, 0xFD]) + epoch.to_bytes(2, "big") + bytes(8) + bytes([message]) + bytes(11)
    )


@pytest.mark.parametrize(
    ("flight", "dropped", "kept"),
    [
        ("client hello", _record(22, 0, 1), _record(22, 0, 11)),
        ("client certificate to finished", _record(22, 0, 11), _record(22, 0, 1)),
        ("client certificate to finished", _record(22, 1, 0x83), _record(23, 1, 0)),
    ],
)
def test_one_flight_alone_is_dropped(lab: Lab, flight: str, dropped: bytes, kept: bytes) -> None:
    client = lab.client()
    uplink = lab.uplink(client)
    with Echo(lab.server):
        drop = lab.drop_flight(uplink, flight)
        assert seen_from(client, SERVER_V4, kept) == uplink.v4
        assert seen_from(client, SERVER_V4, dropped) == "silence"
        drop.wait_until_dropped()
        drop.end()
        assert seen_from(client, SERVER_V4, dropped) == uplink.v4
