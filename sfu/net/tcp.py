"""Opening a TCP socket on which connections are awaited: dual stack, as `sfu.net.udp` does."""

from __future__ import annotations

import errno
import socket

from sfu.base.privileges import as_root
from sfu.net.ports import way_out
from sfu.net.udp import OpenError


def open_tcp(host: str, port: int, *, setting: str, backlog: int = 1024) -> socket.socket:
    """A listening, non-blocking TCP socket.

    `host` is "" for every address of both families (IPv4 alone where the machine has no IPv6), or a
    literal address. `setting` is how the user wrote it, for the error. The kernel may shorten `backlog`
    (net.core.somaxconn). Raises OpenError.
    """
    dual = host in ("", "::")
    try:
        if dual or ":" in host:
            try:
                return _open(socket.AF_INET6, host or "::", port, dual, backlog)
            except OSError as error:
                if host or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
        return _open(socket.AF_INET, host or "0.0.0.0", port, False, backlog)  # noqa: S104
    except OSError as error:
        shown = f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"
        raise OpenError(f"{setting} {shown}: {way_out(error, port, 'tcp')}") from error


def _open(family: socket.AddressFamily, host: str, port: int, dual: bool, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
        with as_root():
            sock.bind((host, port))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
