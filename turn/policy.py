"""Whom clients may reach through the server, and from where they may come: the first defence of a relay.

A relay that reaches anyone is a way into the network that it stands in. So there are two modes:

    sfu      the media addresses of the deployment, and its own relayed addresses; nobody else
    public   the internet, but for what is no public host of it (IANA's special-purpose registries)

Both share one order of rules, and the first that knows the address decides:

    1. never      what no setting opens: 0.0.0.0/8, multicast, every IPv6 form that carries an IPv4
                  address, Teredo and 6to4 (RFC 8656 21.4)
    2. deny       the networks of `turn.deny`
    3. own        this machine: only at ports of media and of relays, so that its services and its own
                  listeners (loops, RFC 8656 21.1.7) can't be reached by any of its addresses
    4. allow      the networks of `turn.allow`
    5. the mode   sfu: no; public: yes, but for the special-purpose networks

A form that carries an IPv4 address is refused rather than read as that address: no client has a reason
to send it, and whoever reads it may get it wrong. Addresses are packed, 4 or 16 bytes.
"""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import TYPE_CHECKING, Final

from sfu.base.settings import Setting
from sfu.net.address import packed_host
from turn.networks import Networks, parse_network, wrong_networks
from turn.told import MEDIA, parse_media

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sfu.base.settings import Config
    from sfu.net.address import Address
    from turn.ports import PortRange

MAX_RANGES: Final = 16  # chosen: the packet path looks through all of them for each packet
_NEVER = (
    "0.0.0.0/8",  # this host (RFC 1122); the kernel takes 0.0.0.0 for loopback
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/96",  # unspecified, and IPv4-compatible (RFC 4291); ::1 is seen before
    "::ffff:0:0/96",  # IPv4-mapped
    "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
    "64:ff9b::/96",  # NAT64 (RFC 6052)
    "64:ff9b:1::/48",  # NAT64 of a site (RFC 8215)
    "2001::/32",  # Teredo
    "2002::/16",  # 6to4
    "fe80::/10",  # means nothing without an interface, which no attribute names
    "ff00::/8",
)
_ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))  # before the IPv4 address (RFC 5214)
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_SPECIAL_IPV4 = (
    "10.0.0.0/8",
    "100.64.0.0/10",  # shared by carriers (RFC 6598)
    "168.63.129.16/32",  # Azure: the host's own services, in public space
    "169.254.0.0/16",  # link-local, and every cloud's metadata
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
)
_GLOBAL_IPV6 = ("2000::/3",)  # all that IANA has given out for hosts; what is outside is denied
_SPECIAL_IPV6 = ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")


_LOOPBACK_IPV6 = ipaddress.IPv6Address("::1").packed
_NEVER_NETWORKS = Networks(_NEVER)
_LOOPBACK_NETWORKS = Networks(_LOOPBACK)
_SPECIAL_NETWORKS = Networks(_SPECIAL_IPV4 + _SPECIAL_IPV6)
_GLOBAL_NETWORKS = Networks(_GLOBAL_IPV6)
_NEVER_CLIENTS = Networks([text for text in _NEVER if text != "fe80::/10"])


def _wrong_allowed(texts: Sequence[str]) -> str | None:
    if (wrong := wrong_networks(texts)) is not None:
        return wrong
    for text in texts:
        network = parse_network(text)
        if network.network_address.packed != _LOOPBACK_IPV6 and _is_within(network, _NEVER):
            return f"{text}: nothing opens multicast, link-local, 0.0.0.0/8 and IPv4 written as IPv6"
    return None


def _is_within(network: ipaddress.IPv4Network | ipaddress.IPv6Network, others: Iterable[str]) -> bool:
    first, last = network.network_address.packed, network.broadcast_address.packed
    return any(first in other and last in other for other in (Networks([text]) for text in others))


POLICY = Setting(
    "turn.policy",
    str,
    "sfu",
    choices=("sfu", "public"),
    help="Whom TURN clients may reach: only the media addresses of the SFU, or any public host",
)
MEET = Setting(
    "turn.meet",
    bool,
    True,
    help="Clients of this TURN server may reach each other's relayed addresses",
)
ALLOW = Setting(
    "turn.allow",
    tuple[str, ...],
    (),
    check=_wrong_allowed,
    help="Networks that TURN clients may reach besides; an address of this machine only if named alone",
)
DENY = Setting(
    "turn.deny",
    tuple[str, ...],
    (),
    check=wrong_networks,
    help="Networks that TURN clients may not reach, whatever else is allowed",
)


class Verdict(Enum):
    """What a permission for an IP address is worth."""

    DENIED = "denied"
    ANY_PORT = "any port"
    OWN_PORTS = "own ports"
    """This machine's address: the port of each packet is to be one of `PeerPolicy.own_ports`."""


class PeerPolicy:
    """The rules above, made once.

    `public` is the mode. `hosts` are all addresses by which this machine is reached, public ones before a
    NAT included; `media` are the SFU's media addresses; `relays` are the hosts of relayed addresses, as
    bound and as told to clients, whose ports are in `relay_ports` (None: clients may not meet through
    relays). `allow` and `deny` are networks. Raises ValueError for text that is no address or network, and
    for ports that do not fit into `MAX_RANGES`.
    """

    def __init__(
        self,
        *,
        public: bool,
        hosts: Iterable[str] = (),
        media: Iterable[Address] = (),
        relays: Iterable[str] = (),
        relay_ports: PortRange | None = None,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
    ) -> None:
        allow, relays = tuple(allow), tuple(relays)
        own: dict[bytes, list[PortRange]] = {_packed(host): [] for host in hosts}
        for host, port in media:
            own.setdefault(_packed(host), []).append((port, port))
        for host in relays:
            own.setdefault(_packed(host), []).extend([relay_ports] if relay_ports else [])
        self._public = public
        self._own = {ip: _merged(ranges) for ip, ranges in own.items()}
        self._relays = frozenset(_packed(host) for host in relays if relay_ports)
        self._own_ports = _merged(piece for ranges in self._own.values() for piece in ranges)
        if len(self._own_ports) > MAX_RANGES:
            raise ValueError(
                f"ports of media and relays: {len(self._own_ports)} ranges, of at most {MAX_RANGES}; "
                "give media ports side by side"
            )
        self._allow = Networks(allow)
        self._deny = Networks(deny)
        networks = [parse_network(text) for text in allow]
        self._alone = {
            network.network_address.packed
            for network in networks
            if network.prefixlen == network.max_prefixlen
        }

    def allows(self, ip: bytes) -> Verdict:
        """What a permission for `ip` is worth (CreatePermission, where no port counts)."""
        if not _can_be_peer(ip) or ip in self._deny:
            return Verdict.DENIED
        is_loopback = ip in _LOOPBACK_NETWORKS
        if is_loopback or ip in self._own:
            if ip in self._alone:
                return Verdict.ANY_PORT
            # The internet's clients have no business at 127.0.0.1 even where a trial's relays are.
            is_open = not (is_loopback and self._public) or ip in self._allow
            return Verdict.OWN_PORTS if is_open and self._own.get(ip) else Verdict.DENIED
        if ip in self._allow or (self._public and _is_public(ip)):
            return Verdict.ANY_PORT
        return Verdict.DENIED

    def allows_peer(self, ip: bytes, port: int) -> bool:
        """Whether `ip` may be reached at `port`, and be heard from there (ChannelBind, Send)."""
        if not 0 < port < 65536:
            return False
        verdict = self.allows(ip)
        if verdict is Verdict.OWN_PORTS:
            return any(low <= port <= high for low, high in self._own[ip])
        return verdict is Verdict.ANY_PORT

    def allows_connections(self, ip: bytes) -> Verdict:
        """As `allows`, for TCP (Connect, and peers that connect): media is on UDP, so the open ports of an
        address of this machine are those at which clients have relayed addresses, if any are there."""
        verdict = self.allows(ip)
        return Verdict.DENIED if verdict is Verdict.OWN_PORTS and ip not in self._relays else verdict

    def allows_client(self, ip: bytes) -> bool:
        """Whether clients may come from `ip`: not through Teredo or 6to4 (RFC 8656 21.4), nor from another
        form that carries an IPv4 address: all of IPv4 may be one /64 then, which limits take for one client.
        """
        return _is_of_a_host(ip, _NEVER_CLIENTS)

    def own_ports(self, ip: bytes | None = None) -> tuple[PortRange, ...]:
        """The ports at which this machine may be reached, in order: at `ip`, or at any of its addresses.

        Whoever checks packets against the latter takes the ports of one address for those of all.
        """
        return self._own_ports if ip is None else self._own.get(ip, ())


def policy_of(
    config: Config,
    *,
    hosts: Iterable[str],
    media: Iterable[Address],
    relays: Iterable[str],
    relay_ports: PortRange,
) -> PeerPolicy:
    """As the settings say, for a machine with these addresses (see `PeerPolicy`)."""
    return PeerPolicy(
        public=config[POLICY] == "public",
        hosts=hosts,
        media=[*media, *(address for text in config[MEDIA] for address in parse_media(text).addresses)],
        relays=relays,
        relay_ports=relay_ports if config[MEET] else None,
        allow=config[ALLOW],
        deny=config[DENY],
    )


def _can_be_peer(ip: bytes) -> bool:
    return _is_of_a_host(ip, _NEVER_NETWORKS)


def _is_of_a_host(ip: bytes, never: Networks) -> bool:
    if len(ip) == 4:
        return ip not in never
    if len(ip) != 16 or ip[8:12] in _ISATAP:
        return False
    return ip == _LOOPBACK_IPV6 or ip not in never


def _is_public(ip: bytes) -> bool:
    return ip not in _SPECIAL_NETWORKS and (len(ip) == 4 or ip in _GLOBAL_NETWORKS)


def _packed(host: str) -> bytes:
    return packed_host(host.partition("%")[0])


def _merged(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """The same ports in as few ranges as there can be."""
    merged: list[PortRange] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)
