"""The URLs by which clients find the server (RFC 7064, RFC 7065), the one that works best first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from turn.tuples import Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sfu.base.settings import Listen

_EVERY: Final = ("", "::")
_EVERY_IPV4: Final = "0.0.0.0"  # noqa: S104 - compared with
# Browsers do not connect to port 53, so a URL with it only costs them time.
_REFUSED_PORTS: Final = frozenset((53,))
# What most networks let out first: TURN's own ports, then those of the web.
_PORTS: Final = (3478, 5349, 443, 80)
_TRANSPORTS: Final = (Transport.UDP, Transport.TCP, Transport.TLS)


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
) -> IceUrls:
    """URLs of what is listened on.

    `name` is the server's, which stands in all of them; without one they have addresses: `hosts` where
    every address is listened on, else the address itself or, behind a NAT, what clients are `told` for it.
    """
    stun: dict[str, None] = {}
    turn: dict[str, None] = {}
    for transport, listen in sorted(listens, key=_rank):
        if listen.port in _REFUSED_PORTS:
            continue
        for host in [name] if name else _hosts(listen.host, hosts, told or {}):
            where = f"[{host}]:{listen.port}" if ":" in host else f"{host}:{listen.port}"
            if transport is Transport.UDP:
                stun[f"stun:{where}"] = None
            scheme = "turns" if transport is Transport.TLS else "turn"
            turn[f"{scheme}:{where}?transport={'udp' if transport is Transport.UDP else 'tcp'}"] = None
    return IceUrls(tuple(stun)[:1], tuple(turn))


def _rank(listening: tuple[Transport, Listen]) -> tuple[int, int]:
    transport, listen = listening
    rank = _PORTS.index(listen.port) if listen.port in _PORTS else len(_PORTS)
    return _TRANSPORTS.index(transport), rank


def _hosts(listened: str, hosts: Sequence[str], told: Mapping[str, str]) -> Sequence[str]:
    if listened in _EVERY:
        return hosts
    if listened == _EVERY_IPV4:
        return [host for host in hosts if ":" not in host]
    return [told.get(listened, listened)]
