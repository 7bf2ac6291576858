"""Where a datagram came from and which of our addresses it hit.

A `Path` is the key of a 4-tuple as the compiled code stores it: the remote address (16 bytes, IPv4
as v4-mapped IPv6), its port (2, network order), our address (16) and the IPv6 scope id (4). Answers
leave on the path that the question came on, so a client behind a NAT sees them come from the address
that it asked.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple, NewType

Path = NewType("Path", bytes)
PATH_LENGTH = 38
_OCTETS: Final = {str(octet): octet for octet in range(256)}
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"


class Address(NamedTuple):
    """A transport address; `host` is a literal IPv4 or IPv6 address, never v4-mapped."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is of the IPv6 family."""
        return ":" in self.host


def packed_host(host: str) -> bytes:
    """The 4 or 16 bytes of a literal address. Raises ValueError for what is none."""
    if ":" in host:
        return ipaddress.IPv6Address(host).packed
    try:  # ipaddress takes ten times as long
        one, two, three, four = host.split(".")
        return bytes((_OCTETS[one], _OCTETS[two], _OCTETS[three], _OCTETS[four]))
    except (ValueError, KeyError):
        raise ValueError(f"{host!r} is no literal address") from None


def unpacked_host(ip: bytes) -> str:
    """The literal of an address of 4 or 16 bytes, which is the other way of `packed_host`."""
    return "{}.{}.{}.{}".format(*ip) if len(ip) == 4 else str(ipaddress.IPv6Address(ip))


def unmapped_host(host: str) -> str:
    """The literal address in a socket's name: IPv4 as such where the socket is of both families, and
    without a scope."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _pack(host: str) -> bytes:
    packed = packed_host(host)
    return _MAPPED + packed if len(packed) == 4 else packed


def _unpack(packed: bytes) -> str:
    return unpacked_host(packed.removeprefix(_MAPPED))


def make_path(remote: Address, local: str, *, scope_id: int = 0) -> Path:
    """The path between `remote` and our address `local`. Raises ValueError for what is no address."""
    return Path(
        _pack(remote.host) + remote.port.to_bytes(2, "big") + _pack(local) + scope_id.to_bytes(4, "big")
    )


def remote_address(path: Path) -> Address:
    """The far end of a path."""
    return Address(_unpack(path[:16]), int.from_bytes(path[16:18], "big"))


def local_host(path: Path) -> str:
    """Our end of a path: the address that the datagram hit, as a literal."""
    return _unpack(path[18:34])
