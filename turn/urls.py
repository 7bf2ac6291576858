"""The URLs by which clients find the server (RFC 7064, RFC 7065), the one that works best first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from sfu.base.settings import Setting
from turn.tuples import Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sfu.base.settings import Listen

_EVERY: Final = ("", "::")
_EVERY_IPV4: Final = "0.0.0.0"  # noqa: S104 - compared with
# Chromium 156 uses no others (tests/cluster/test_turn.py); over UDP it waits for 40 s, having sent nothing.
_LOW_PORTS: Final = (80, 443)
_FIRST_PORT: Final = 1024
# What most networks let out first: TURN's own ports, then those of the web.
_PORTS: Final = (3478, 5349, 443, 80)
_TRANSPORTS: Final = (Transport.UDP, Transport.TCP, Transport.TLS)
_DEFAULT_PORTS: Final = {"turn": 3478, "turns": 5349}
_CARRIERS: Final = {
    ("turn", None): Transport.UDP,
    ("turn", "udp"): Transport.UDP,
    ("turn", "tcp"): Transport.TCP,
    ("turns", None): Transport.TLS,
    ("turns", "tcp"): Transport.TLS,
}
_URL = re.compile(r"(turns?):(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?(?:\?transport=(udp|tcp))?")


def _rank_of(url: str) -> tuple[int, int]:
    """Where a URL stands among others. Raises ValueError for what is none that this server can be behind."""
    match = _URL.fullmatch(url)
    carrier = _CARRIERS.get((match[1], match[4])) if match else None
    port = int(match[3] or _DEFAULT_PORTS[match[1]]) if match else 0
    if carrier is None or not 0 < port < 65536:
        raise ValueError(
            f"{url}: want such as turns:turn.example.org:443?transport=tcp or "
            "turn:192.0.2.1:3478?transport=udp"
        )
    return _rank(carrier, port)


def _wrong_urls(urls: Sequence[str]) -> str | None:
    try:
        for url in urls:
            _rank_of(url)
    except ValueError as error:
        return str(error)
    return None


URLS = Setting(
    "turn.urls",
    tuple[str, ...],
    (),
    check=_wrong_urls,
    help="More TURN URLs that clients are given: those of proxies, and of ports that are forwarded to others",
)


class IceUrls(NamedTuple):
    """URLs that need no credential, and those that do."""

    stun: tuple[str, ...]
    turn: tuple[str, ...]


def ice_urls(
    listens: Iterable[tuple[Transport, Listen]],
    *,
    name: str = "",
    hosts: Sequence[str] = (),
    told: Mapping[str, str] | None = None,
    more: Iterable[str] = (),
) -> IceUrls:
    """URLs of what is listened on, but for ports that not all browsers use, and `more` (TURN ones, of `URLS`)
    in their places.

    `name` is the server's, which stands in all of them; without one they have addresses: `hosts` where
    every address is listened on, else the address itself or, behind a NAT, what clients are `told` for it.
    """
    stun: dict[str, None] = {}
    turn: dict[str, tuple[int, int]] = {url: _rank_of(url) for url in more}
    for transport, listen in sorted(listens, key=lambda on: _rank(on[0], on[1].port)):
        if listen.port < _FIRST_PORT and listen.port not in _LOW_PORTS:
            continue
        for host in [name] if name else _hosts(listen.host, hosts, told or {}):
            where = f"[{host}]:{listen.port}" if ":" in host else f"{host}:{listen.port}"
            if transport is Transport.UDP:
                stun[f"stun:{where}"] = None
            scheme = "turns" if transport is Transport.TLS else "turn"
            url = f"{scheme}:{where}?transport={'udp' if transport is Transport.UDP else 'tcp'}"
            turn.setdefault(url, _rank(transport, listen.port))
    return IceUrls(tuple(stun)[:1], tuple(sorted(turn, key=turn.__getitem__)))


def tls_hosts(urls: Iterable[str]) -> list[str]:
    """The names and addresses to which these URLs send clients that speak TLS, each once."""
    found = (match for match in map(_URL.fullmatch, urls) if match and match[1] == "turns")
    return list(dict.fromkeys(match[2].strip("[]") for match in found))


def _rank(transport: Transport, port: int) -> tuple[int, int]:
    return _TRANSPORTS.index(transport), _PORTS.index(port) if port in _PORTS else len(_PORTS)


def _hosts(listened: str, hosts: Sequence[str], told: Mapping[str, str]) -> Sequence[str]:
    if listened in _EVERY:
        return hosts
    if listened == _EVERY_IPV4:
        return [host for host in hosts if ":" not in host]
    return [told.get(listened, listened)]
