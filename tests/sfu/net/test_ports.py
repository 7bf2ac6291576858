"""The error of a port that can't be had says who holds it."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from sfu.net.ports import Protocol, port_holder, way_out


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_holder_of_a_port_is_named(protocol: Protocol, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as held:
        held.bind((host, 0))
        if protocol == "tcp":
            held.listen()
        port = held.getsockname()[1]
        assert port_holder(port, protocol).startswith(f"pid {os.getpid()} (")
        text = way_out(OSError(errno.EADDRINUSE, "Address already in use"), port, protocol)
        assert text.startswith(f"address in use by pid {os.getpid()} (")
    assert port_holder(port, protocol) == ""


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.EADDRINUSE, "address in use by another process; choose another port or stop it"),
        (
            errno.EACCES,
            "not allowed; ports under 1024 need CAP_NET_BIND_SERVICE, "
            "or a start as root with --user; this is 0",
        ),
        (errno.EADDRNOTAVAIL, "no interface of this machine has the address"),
        (errno.ENOBUFS, "No buffer space available"),
    ],
)
def test_each_error_says_what_to_do(code: int, text: str) -> None:
    assert way_out(OSError(code, "some text"), 0, "udp") == text
