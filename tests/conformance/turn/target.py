"""A server under test: where it is, who may use it, and what of its policy the tests have to know.

Each option has a flag (`--tls-port`) and a name in the environment (`CONFORMANCE_TURN_TLS_PORT`); what is not
given is not tested, and the rows that need it say so when they are skipped.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import os
import secrets
import socket
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PREFIX = "CONFORMANCE_TURN_"
REST_LIFE_S = 7200  # chosen: longer than any test, and than an allocation may live (T13)


class Credential(NamedTuple):
    """A long-term credential."""

    username: str
    password: str


class Option(NamedTuple):
    """One thing that can be said of a server."""

    name: str
    type: Callable[[str], Any]
    help: str


def _flag(text: str) -> bool:
    return text.lower() in {"1", "true", "yes"}


OPTIONS = (
    Option("host", str, "the server's address, a literal one of IPv4 or IPv6"),
    Option("port", int, "its UDP port"),
    Option("tcp_port", int, "its TCP port; 0 if there is none (default: the UDP port)"),
    Option("tls_port", int, "its port of TLS over TCP"),
    Option("also_host", str, "another address at which the same UDP port is the server's (S2)"),
    Option("realm", str, "the realm it must name; any is taken by default"),
    Option(
        "secret", str, "a secret shared with it: names and passwords are then made by the REST scheme (A14)"
    ),
    Option("other_secret", str, "a second secret that holds at the same time (A15)"),
    Option("username", str, "a name, where there is no secret"),
    Option("password", str, "its password"),
    Option("other_username", str, "a second name, where there is no secret (A12, T10)"),
    Option("other_password", str, "its password"),
    Option(
        "peer",
        str,
        "an IPv4 address of this machine that relays can reach (default: that on the way to the host)",
    ),
    Option("other_peer", str, "a second one (P1, P2; default on loopback: 127.0.0.2)"),
    Option("peer6", str, "the same of IPv6 (default on loopback: ::1)"),
    Option("denied_peer", str, "an IPv4 address to which the policy forbids to relay (default: 0.0.0.0)"),
    Option("quota", int, "how many allocations a user may have (T10)"),
    Option("rate", int, "how many bytes a second an allocation may relay (T19)"),
    Option("permissions", int, "how many peers an allocation may have permissions for (P3)"),
    Option("channels", int, "how many channels an allocation may have (C1)"),
    Option(
        "public", _flag, "it is open to the public: who uses it may reach public addresses alone (N1, N2)"
    ),
    Option("answer_s", float, "how long an answer may take (default: 2 s)"),
    Option(
        "quiet_s", float, "how long after the answer to a later request nothing may come (default: 0.05 s)"
    ),
    Option("long", _flag, "also what takes minutes of waiting: how long permissions and channels live"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A server that can be tested; the fields are those of `OPTIONS`."""

    name: str
    host: str
    port: int = 3478
    tcp_port: int = -1
    tls_port: int = 0
    also_host: str = ""
    realm: str = ""
    secret: str = ""
    other_secret: str = ""
    username: str = ""
    password: str = ""
    other_username: str = ""
    other_password: str = ""
    peer: str = ""
    other_peer: str = ""
    peer6: str = ""
    denied_peer: str = "0.0.0.0"
    quota: int = 0
    rate: int = 0
    permissions: int = 0
    channels: int = 0
    public: bool = False
    answer_s: float = 2.0
    quiet_s: float = 0.05
    long: bool = False
    pass_time: Callable[[float], None] | None = None  # of a server in this process: moves its clock

    def __post_init__(self) -> None:
        if not self.secret and not self.username:
            raise ValueError("neither a secret nor a username is given")
        chosen = {
            "tcp_port": self.port if self.tcp_port < 0 else self.tcp_port,
            "peer": self.peer or _local_address(self.host, socket.AF_INET),
        }
        if self.host.startswith("127."):
            chosen["other_peer"] = self.other_peer or "127.0.0.2"
            chosen["peer6"] = self.peer6 or ("::1" if _has_ipv6_loopback() else "")
        for name, value in chosen.items():
            object.__setattr__(self, name, value)

    def credential(self) -> Credential:
        """A user; with a secret a new one each time, so that no quota is met by chance."""
        if self.secret:
            return self.minted(self.secret)
        return Credential(self.username, self.password)

    def other_credential(self) -> Credential | None:
        """Another user, if there is one."""
        if self.secret:
            return self.minted(self.secret)
        return Credential(self.other_username, self.other_password) if self.other_username else None

    @staticmethod
    def minted(secret: str, *, life_s: float = REST_LIFE_S, identifier: str = "") -> Credential:
        """A credential of the REST scheme."""
        username = f"{int(time.time() + life_s)}:{identifier or secrets.token_hex(4)}"
        digest = hmac.digest(secret.encode(), username.encode(), "sha1")
        return Credential(username, base64.b64encode(digest).decode())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command a flag for each option."""
    for option in OPTIONS:
        flag = "--" + option.name.replace("_", "-")
        if option.type is _flag:
            parser.add_argument(flag, action="store_const", const=True, help=option.help)
        else:
            parser.add_argument(
                flag, type=option.type, help=option.help, metavar=option.type.__name__.upper()
            )


def to_environment(arguments: argparse.Namespace) -> dict[str, str]:
    """The options of a command line, as names and values of the environment."""
    given = {option.name: getattr(arguments, option.name) for option in OPTIONS}
    return {PREFIX + name.upper(): str(value) for name, value in given.items() if value is not None}


def from_environment(environment: Mapping[str, str] = os.environ) -> Target | None:
    """The server that the environment names, if it names one."""
    if not environment.get(PREFIX + "HOST"):
        return None
    given = {
        option.name: option.type(environment[PREFIX + option.name.upper()])
        for option in OPTIONS
        if environment.get(PREFIX + option.name.upper())
    }
    return Target(name="given", **given)


def option_names() -> Sequence[str]:
    """The fields that a command line can set: all but two."""
    return [field.name for field in fields(Target) if field.name not in {"name", "pass_time"}]


def _local_address(host: str, family: int) -> str:
    """The address of this machine from which `host` is reached, if it is of that family."""
    if (":" in host) != (family == socket.AF_INET6):
        return ""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
