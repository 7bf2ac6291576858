"""Networks made of namespaces: a server, a router, and clients behind it.

    client ns ---- router ns ---- server ns
    10.71.N.2      10.71.N.1
                   10.70.0.1      10.70.0.2

A `Lab` makes the three kinds and takes them away again; names begin with the process id, and the
namespaces of processes that are gone are swept at the next start. Needs root. netem is not in the
kernel: loss is made by nftables in the router's forward hook (in the output hook the sender would
get EPERM), a new address by stateless rewriting in the router, and delay, jitter, bursts of loss, re-ordering
and a limited rate by a link of TUN devices in place of a client's veth pair (`link.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cluster.link import Conditions, Direction, LinkProcess, WayCounts

_OURS = re.compile(r"orch-(\d+)-\w+")
_FILES = Path("/etc/netns")  # what is in NAME/ there, `ip netns exec NAME` shows in /etc
SERVER_V4 = "10.70.0.2"
SERVER_V6 = "fd70::2"
MTU = 1500

# Offsets in bits from the UDP header: content type and epoch of the first DTLS record of a datagram, and
# the type of its handshake message where it is not encrypted.
_TYPE, _EPOCH, _MESSAGE = "@th,64,8", "@th,88,16", "@th,168,8"
_CHANGE_CIPHER_SPEC = f"{_TYPE} 20"
_ENCRYPTED_HANDSHAKE = f"{_TYPE} 22 {_EPOCH} 1"


def _messages(*types: int) -> str:
    return f"{_TYPE} 22 {_EPOCH} 0 {_MESSAGE} {{ {', '.join(map(str, types))} }}"


FLIGHTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "client hello": ("up", (_messages(1),)),
    "server hello to done": ("down", (_messages(2, 11, 12, 13, 14),)),
    "client certificate to finished": (
        "up",
        (_messages(11, 15, 16), _CHANGE_CIPHER_SPEC, _ENCRYPTED_HANDSHAKE),
    ),
    "server finished": ("down", (_messages(4), _CHANGE_CIPHER_SPEC, _ENCRYPTED_HANDSHAKE)),
}
"""Flights of a full DTLS 1.2 handshake: direction as the client sees it, and what matches their datagrams."""


class LabUnavailable(Exception):
    """Why no namespaces can be made here."""


class LabError(Exception):
    """A command of the lab that failed, with what it said."""


def _run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def check_available() -> None:
    """Raises LabUnavailable where namespaces or nftables can't be used."""
    if os.geteuid() != 0:
        raise LabUnavailable("network namespaces need root")
    name = f"orch-{os.getpid()}-probe"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "netns", "exec", name, "nft", "add", "table", "inet", "probe")
    except (LabError, FileNotFoundError) as error:
        raise LabUnavailable(f"network namespaces or nftables: {error}") from error
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def sweep() -> None:
    """Take away the namespaces of processes that are gone."""
    for name in re.findall(r"^(\S+)", _run("ip", "netns", "list"), re.MULTILINE):
        match = _OURS.fullmatch(name)
        if match is not None and not os.path.exists(f"/proc/{match[1]}"):
            _run("ip", "netns", "del", name)
            shutil.rmtree(_FILES / name, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace."""

    name: str

    @property
    def prefix(self) -> list[str]:
        """What comes before a command that is to run inside."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a command inside and return what it writes. Raises LabError."""
        return _run(*self.prefix, *command, stdin=stdin)

    def ip(self, text: str) -> None:
        """An `ip` command inside, as one string."""
        _run("ip", "-n", self.name, *text.split())

    def sysctl(self, path: str, value: int) -> None:
        """Set a kernel parameter of this namespace, named by its path below /proc/sys."""
        self.run("tee", f"/proc/sys/{path}", stdin=f"{value}\n")

    def nft(self, text: str) -> None:
        """Load nftables rules inside."""
        self.run("nft", "-f", "-", stdin=text)

    def know(self, host: str, *addresses: str) -> None:
        """Let commands that start from now on know a host name beside those of this machine."""
        folder = _FILES / self.name
        folder.mkdir(parents=True, exist_ok=True)
        # Chromium's WebRTC asks with a dot at the end, so that no search domain is tried.
        lines = (Path("/etc/hosts").read_text(), *(f"{address} {host} {host}." for address in addresses))
        (folder / "hosts").write_text("\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class Uplink:
    """A client's way to the router: its interfaces at both ends and the client's addresses."""

    client: Namespace
    device: str
    router_device: str
    number: int

    @property
    def v4(self) -> str:
        """The client's IPv4 address on this way."""
        return f"10.71.{self.number}.2"

    @property
    def v6(self) -> str:
        """The client's IPv6 address on this way."""
        return f"fd71:{self.number}::2"


@dataclass(frozen=True, slots=True)
class LongUplink(Uplink):
    """A client's way to the router that takes its time: see `Conditions`."""

    link: LinkProcess

    def set(self, conditions: Conditions, *directions: Direction) -> None:
        """Change the conditions from now on, in both directions if none is named."""
        for direction in directions or ("up", "down"):
            self.link.set(direction, conditions)

    def counts(self, direction: Direction) -> WayCounts:
        """What has become of the packets of one direction."""
        return self.link.counts()[direction]


class Drop:
    """A rule that drops, its counter, and its end."""

    def __init__(self, router: Namespace, table: str) -> None:
        self._router = router
        self._table = table

    def dropped(self) -> int:
        """Packets dropped so far."""
        listing: Any = json.loads(self._router.run("nft", "-j", "list", "table", "inet", self._table))
        counters = [item["counter"]["packets"] for item in listing["nftables"] if "counter" in item]
        return sum(counters)

    def end(self) -> None:
        """Let packets pass again."""
        self._router.run("nft", "delete", "table", "inet", self._table)

    def wait_until_dropped(self, packets: int = 1, *, deadline_s: float = 10) -> None:
        """Wait for the rule to have met something. Raises LabError after `deadline_s`."""
        until = time.monotonic() + deadline_s
        while self.dropped() < packets:
            if time.monotonic() > until:
                raise LabError(f"{self._table}: nothing to drop within {deadline_s} s")
            time.sleep(0.005)


class Lab:
    """A router with a server and any number of clients; a context manager."""

    def __init__(self) -> None:
        self._namespaces: list[Namespace] = []
        self._processes: list[LinkProcess] = []
        self._links = 0
        self._drops = 0

    def __enter__(self) -> Lab:
        sweep()
        try:
            self.router = self._namespace("router")
            self.router.sysctl("net/ipv4/ip_forward", 1)
            self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
            self.server = self._namespace("server")
            self._wire(self.router, "to-server", self.server, "eth0")
            self._address(self.router, "to-server", "10.70.0.1", "fd70::1")
            self._address(self.server, "eth0", SERVER_V4, SERVER_V6)
            self.server.ip("route add default via 10.70.0.1")
            self.server.ip("-6 route add default via fd70::1")
        except BaseException:
            self._take_away()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_away()

    def _take_away(self) -> None:
        for process in self._processes:
            process.close()
        self._processes.clear()
        for namespace in self._namespaces:
            subprocess.run(["ip", "netns", "del", namespace.name], capture_output=True, check=False)
            shutil.rmtree(_FILES / namespace.name, ignore_errors=True)
        self._namespaces.clear()

    def _namespace(self, role: str) -> Namespace:
        namespace = Namespace(f"orch-{os.getpid()}-{role}")
        _run("ip", "netns", "add", namespace.name)
        self._namespaces.append(namespace)
        # Link-local addresses would be tentative for a second, and neighbours unreachable as long.
        namespace.sysctl("net/ipv6/conf/default/accept_dad", 0)
        namespace.ip("link set lo up")
        return namespace

    def _wire(self, left: Namespace, left_device: str, right: Namespace, right_device: str) -> None:
        _run(
            *("ip", "link", "add", left_device, "mtu", str(MTU), "netns", left.name, "type", "veth"),
            *("peer", "name", right_device, "mtu", str(MTU), "netns", right.name),
        )
        left.ip(f"link set {left_device} up")
        right.ip(f"link set {right_device} up")

    def _address(self, namespace: Namespace, device: str, v4: str | None, v6: str | None) -> None:
        if v4 is not None:
            namespace.ip(f"addr add {v4}/24 dev {device}")
        if v6 is not None:
            namespace.ip(f"-6 addr add {v6}/64 dev {device} nodad")

    def client(self, role: str = "client") -> Namespace:
        """A namespace without a way to anywhere; give it one by `uplink`."""
        return self._namespace(role)

    def uplink(self, client: Namespace, *, ipv4: bool = True, ipv6: bool = True, metric: int = 100) -> Uplink:
        """Give a client a way to the router and a default route; the lowest metric is taken first."""
        uplink = Uplink(client, *self._link_names())
        self._wire(self.router, uplink.router_device, client, uplink.device)
        self._number(uplink, ipv4=ipv4, ipv6=ipv6, metric=metric)
        return uplink

    def long_uplink(
        self, client: Namespace, *, seed: int = 1, ipv4: bool = True, ipv6: bool = True, metric: int = 100
    ) -> LongUplink:
        """As `uplink`, by a link without delay and loss until it is told of some."""
        device, router_device, number = self._link_names()
        near, far = f"o{os.getpid()}n{number}", f"o{os.getpid()}f{number}"
        process = LinkProcess(near, far, seed)
        self._processes.append(process)
        for here, namespace, there in ((near, client, device), (far, self.router, router_device)):
            _run("ip", "link", "set", here, "netns", namespace.name, "name", there)
            namespace.ip(f"link set {there} mtu {MTU} up")
        uplink = LongUplink(client, device, router_device, number, process)
        self._number(uplink, ipv4=ipv4, ipv6=ipv6, metric=metric)
        return uplink

    def _link_names(self) -> tuple[str, str, int]:
        """Device, router's device and number of a new uplink."""
        self._links += 1
        return f"up{self._links}", f"to-up{self._links}", self._links

    def _number(self, uplink: Uplink, *, ipv4: bool, ipv6: bool, metric: int) -> None:
        """Addresses and default routes."""
        number, client = uplink.number, uplink.client
        self._address(
            self.router,
            uplink.router_device,
            f"10.71.{number}.1" if ipv4 else None,
            f"fd71:{number}::1" if ipv6 else None,
        )
        self._address(client, uplink.device, uplink.v4 if ipv4 else None, uplink.v6 if ipv6 else None)
        if ipv4:
            client.ip(f"route add default via 10.71.{number}.1 dev {uplink.device} metric {metric}")
        if ipv6:
            client.ip(f"-6 route add default via fd71:{number}::1 dev {uplink.device} metric {metric}")

    def drop(self, uplink: Uplink, direction: str, *matches: str) -> Drop:
        """Drop UDP packets that match any, in one direction: "up" leaves the client, "down" goes to it."""
        way = "iifname" if direction == "up" else "oifname"
        return self._drop(
            *(
                f'{way} "{uplink.router_device}" meta l4proto udp {match} counter name lost'
                for match in matches
            )
        )

    def let_out_only(self, uplink: Uplink, *tcp_ports: int) -> Drop:
        """Drop all that leaves a client but TCP to these ports of the server, as a strict firewall does."""
        ports = ", ".join(map(str, tcp_ports))
        leaves = f'iifname "{uplink.router_device}"'
        return self._drop(
            f"{leaves} meta l4proto != tcp counter name lost",
            f"{leaves} tcp dport != {{ {ports} }} counter name lost",
        )

    def _drop(self, *matches: str) -> Drop:
        self._drops += 1
        table = f"drop{self._drops}"
        rules = "\n".join(f"{match} drop" for match in matches)
        self.router.nft(
            f"""table inet {table} {{
                counter lost {{ }}
                chain forwarded {{
                    type filter hook forward priority 0; policy accept;
                    {rules}
                }}
            }}"""
        )
        return Drop(self.router, table)

    def drop_flight(self, uplink: Uplink, flight: str) -> Drop:
        """Drop one flight of a DTLS handshake (a key of FLIGHTS) until the rule is ended."""
        direction, matches = FLIGHTS[flight]
        return self.drop(uplink, direction, *matches)

    def show_as(self, uplink: Uplink, host: int) -> None:
        """Let the server see the client's IPv4 packets come from 10.72.0.`host`, as behind a NAT.

        Called again with another number, the address changes in mid-call; what is sent
        to the earlier one gets lost, as when a NAT forgets a mapping.
        """
        seen = f"10.72.0.{host}"
        self.router.nft(
            f"""table ip nat_{uplink.number} {{ }}
            flush table ip nat_{uplink.number}
            table ip nat_{uplink.number} {{
                chain before_routing {{
                    type filter hook prerouting priority -300; policy accept;
                    ip daddr {seen} ip daddr set {uplink.v4} notrack
                }}
                chain after_routing {{
                    type filter hook postrouting priority 100; policy accept;
                    oifname "to-server" ip saddr {uplink.v4} ip saddr set {seen} notrack
                }}
            }}"""
        )
