"""Opening the UDP socket of a node: dual stack, sized buffers, and the address that was hit."""

from __future__ import annotations

import errno
import socket

from sfu.base.privileges import as_root
from sfu.net.ports import way_out

IP_PKTINFO = 8  # linux/in.h; the socket module has none of these
IPV6_RECVPKTINFO = 49  # linux/in6.h
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
SO_RXQ_OVFL = 40  # asm-generic/socket.h


class OpenError(Exception):
    """The socket can't be had; the text names the setting, its value and the way out."""


def open_udp(
    host: str,
    port: int,
    *,
    setting: str,
    reuse_port: bool = False,
    timestamps: bool = False,
    receive_buffer: int = 4 << 20,
    send_buffer: int = 4 << 20,
) -> socket.socket:
    """A bound, non-blocking UDP socket that tells which of our addresses each datagram hit.

    `host` is "" for every address of both families (IPv4 alone where the machine has no IPv6), or a
    literal address. `setting` is how the user wrote it, for the error. Buffers are in bytes; the
    kernel may give less (net.core.rmem_max). `reuse_port` lets several processes share the port. With
    `timestamps` each datagram tells when it came in: the kernel then looks at its clock for every packet
    of the machine, as long as the socket is open. Raises OpenError.
    """
    dual = host in ("", "::")
    options = {
        socket.SO_REUSEPORT: int(reuse_port),
        SO_RXQ_OVFL: 1,
        socket.SO_RCVBUF: receive_buffer,
        socket.SO_SNDBUF: send_buffer,
    }
    if timestamps:  # to switch them off again does not stop the kernel's looking
        options[SO_TIMESTAMPNS] = 1
    try:
        if dual or ":" in host:
            try:
                return _open(socket.AF_INET6, host or "::", port, dual, options)
            except OSError as error:
                if host or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
        return _open(socket.AF_INET, host or "0.0.0.0", port, False, options)  # noqa: S104
    except OSError as error:
        raise OpenError(f"{setting} {_shown(host, port)}: {way_out(error, port, 'udp')}") from error


def _open(
    family: socket.AddressFamily, host: str, port: int, dual: bool, options: dict[int, int]
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        for option, value in options.items():
            sock.setsockopt(socket.SOL_SOCKET, option, value)
        with as_root():
            sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"
