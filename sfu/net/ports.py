"""Why a port can't be listened on, and who holds it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Literal

Protocol = Literal["tcp", "udp"]

_HELD = {"tcp": "0A", "udp": "07"}  # as /proc/net writes a listening and an unconnected socket


def way_out(error: OSError, port: int, protocol: Protocol) -> str:
    """What is wrong and what to do, for the error of a bind."""
    match error.errno:
        case errno.EADDRINUSE:
            holder = port_holder(port, protocol) or "another process"
            return f"address in use by {holder}; choose another port or stop it"
        case errno.EACCES | errno.EPERM:
            return (
                "not allowed; ports under 1024 need CAP_NET_BIND_SERVICE, or a start as root with --user; "
                f"this is {port}"
            )
        case errno.EADDRNOTAVAIL:
            return "no interface of this machine has the address"
        case _:
            return os.strerror(error.errno) if error.errno else str(error)


def port_holder(port: int, protocol: Protocol) -> str:
    """The process that holds a port, as `pid 812 (coturn)`; empty if it can't be seen."""
    inodes: set[str] = set()
    for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _HELD[protocol]:
                    inodes.add(f"socket:[{fields[9]}]")
    if inodes:
        for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in inodes:
                    process = descriptor.parents[1]
                    return f"pid {process.name} ({(process / 'comm').read_text().strip()})"
    return ""
