"""Under which addresses this machine can be reached, and which of them clients are told.

Without settings these are the addresses of its interfaces: all but loopback and link-local ones.
Behind a NAT they are of no use to clients outside; there the public addresses must be given.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import ifaddr

from sfu.net.address import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WILDCARDS = ("", "::", "0.0.0.0")  # noqa: S104 - compared with, not bound to
LIMIT = 16  # candidates in an SDP: each costs the client a check; a host with many containers has more


class AddressError(ValueError):
    """Text that is no address that clients can be told; says what is wanted."""


def interface_hosts() -> list[str]:
    """The literal addresses of all interfaces, as the system lists them, without scope ids."""
    return [
        ip.ip if isinstance(ip.ip, str) else ip.ip[0]
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]


def usable_hosts(hosts: Iterable[str]) -> list[str]:
    """Those of `hosts` that another machine can reach, IPv4 first; the loopback ones if there is no other.

    Link-local addresses are left out: they mean nothing without an interface, which SDP can't name.
    """
    addresses = [ipaddress.ip_address(host) for host in dict.fromkeys(hosts)]
    addresses = [
        address
        for address in addresses
        if not (address.is_link_local or address.is_multicast or address.is_unspecified)
    ]
    reachable = [address for address in addresses if not address.is_loopback] or addresses
    return [str(address) for address in sorted(reachable, key=lambda address: address.version)]


def parse_advertised(text: str, port: int) -> Address:
    """Read `ADDRESS` or `ADDRESS:PORT`, IPv6 in brackets where a port follows. Raises AddressError.

    `port` is taken where none is given.
    """
    host, its_port = text, str(port)
    if text.startswith("[") or text.count(":") == 1:
        host, colon, its_port = text.rpartition(":")
        if text.endswith("]"):
            host, colon, its_port = text, ":", str(port)
        if host.startswith("["):
            host = host[1:-1] if host.endswith("]") else ""
        if not colon or not (its_port.isascii() and its_port.isdigit()) or not 0 < int(its_port) < 65536:
            raise AddressError("the port is a number from 1 to 65535")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise AddressError(
            "want a literal address, such as 192.0.2.1, 192.0.2.1:40000 or [2001:db8::1]:40000"
        ) from None
    if address.is_unspecified or address.is_multicast or "%" in host:
        raise AddressError("want an address that clients can send to")
    return Address(str(address), int(its_port))


def shifted(text: str, by: int) -> str:
    """The advertised address `text` with its port so much higher, if it names one. Raises AddressError."""
    port = parse_advertised(text, 1).port
    if port != parse_advertised(text, 2).port or not by:
        return text  # it names none
    if port + by > 65535:
        raise AddressError(f"{text} leaves no port {port + by}")
    return f"{text.rpartition(':')[0]}:{port + by}"


def wrong_advertised(texts: Sequence[str]) -> str | None:
    """What is wrong with the setting of advertised addresses, or None."""
    for text in texts:
        try:
            parse_advertised(text, 1)
        except AddressError as error:
            return str(error)
    return None


def advertised(
    listen_host: str, port: int, given: Sequence[str], hosts: Iterable[str] | None = None
) -> list[Address]:
    """What clients are told: the `given` addresses or, without any, those that `listen_host` stands for.

    `hosts` are the addresses of this machine's interfaces, found if None. At most `LIMIT`, never empty.
    Raises AddressError for a given address that makes no sense.
    """
    if given:
        return list(dict.fromkeys(parse_advertised(text, port) for text in given))
    if listen_host not in _WILDCARDS:
        return [Address(listen_host, port)]
    usable = usable_hosts(interface_hosts() if hosts is None else hosts)
    if listen_host == "0.0.0.0":  # noqa: S104 - IPv4 alone
        usable = [host for host in usable if ":" not in host]
    return [Address(host, port) for host in usable[:LIMIT] or ["127.0.0.1"]]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener bound to `host`; "" is every address."""
    return host not in _WILDCARDS and ipaddress.ip_address(host).is_loopback
