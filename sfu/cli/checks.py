"""What `orchard doctor` looks at, one function for each subject."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import resource
import socket
import ssl
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509

from sfu.api.connections import CONNECTIONS
from sfu.api.listener import HTTP_LISTEN, HTTP_TLS, HTTP_TLS_CERT, HTTP_TLS_KEY
from sfu.base.privileges import as_root
from sfu.base.settings import Listen
from sfu.cli.running import RunningServer, ServerNotRunning
from sfu.cli.supervisor import config_of
from sfu.directory.certificates import DAY_S
from sfu.directory.files import DataDirectory, DataDirectoryError
from sfu.net.interfaces import advertised, interface_hosts, is_loopback
from sfu.net.ports import way_out
from sfu.node import DATA, MEDIA_ADVERTISE, MEDIA_BUFFER, MEDIA_LISTEN, WORKERS
from sfu.turn.keys import TurnKeys
from sfu.turn.service import ENABLED, HOST
from turn.certificate import CERTIFICATE, KEY, SELF_MADE, CertificateError, read_pairs, unnamed
from turn.node import STRICT, TCP, TCP_PROXIED, TLS, TLS_PROXIED, UDP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sfu.base.privileges import as_root
from sfu.base.settings import Config, Setting

_WRITTEN = 1_795_000_000.0  # late in 2026: a clock before that is wrong
_SPARE_DESCRIPTORS = 128  # beside connections: sockets of the node, the loop, logs, files
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # struct timex has 208


class Level(IntEnum):
    """How bad a finding is."""

    GOOD = 0
    WARNING = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `mend` is what to do about it, empty if nothing needs doing."""

    level: Level
    subject: str
    text: str
    mend: str = ""


def _good(subject: str, text: str) -> Finding:
    return Finding(Level.GOOD, subject, text)


def _warning(subject: str, text: str, mend: str) -> Finding:
    return Finding(Level.WARNING, subject, text, mend)


def _bad(subject: str, text: str, mend: str) -> Finding:
    return Finding(Level.BAD, subject, text, mend)


def check_data_directory(config: Config, wall_now: float) -> Iterator[Finding]:
    """Modes, owner and contents of the data directory, without making one."""
    subject = f"data directory ({DATA.flag})"
    path = Path(config[DATA]).expanduser().absolute()
    if not path.exists():
        parent = next(above for above in path.parents if above.exists())
        with as_root():
            can_make = os.access(parent, os.W_OK, effective_ids=True)
        if can_make:
            yield _good(subject, f"{path} is not there yet; the first start makes it")
        else:
            yield _bad(subject, f"{path} can't be made: {parent} is not writable", "Name another directory")
        return
    try:
        data = DataDirectory(path)
        apps = data.apps()
        certificates = data.dtls_certificates()
        secret = data.read("cluster-secret")
        keys = TurnKeys(data).current()
    except DataDirectoryError as error:
        yield _bad(subject, str(error), "")
        return
    if secret is None:
        yield _good(subject, f"{path} is empty yet; the first start fills it")
        return
    yield _good(
        subject,
        f"{path}: {len(apps or [])} apps, {len(certificates)} DTLS certificates, {len(keys)} TURN keys",
    )
    newest = max((stored.not_after for stored in certificates), default=None)
    if newest is not None and newest < wall_now:
        yield _bad(
            subject,
            f"the newest DTLS certificate ended {(wall_now - newest) / DAY_S:.0f} days ago",
            "A start of the server makes a new one; if the clock is wrong, set it",
        )


def check_ports(config: Config) -> Iterator[Finding]:
    """Whether the server could listen where it is told to, or does already."""
    running = _server_runs(config)
    workers = [config_of(config, worker) for worker in range(config[WORKERS])]
    listeners: list[tuple[Setting[Any], Listen, socket.SocketKind]] = [
        (HTTP_LISTEN, worker[HTTP_LISTEN], socket.SOCK_STREAM) for worker in workers
    ]
    listeners += [(MEDIA_LISTEN, worker[MEDIA_LISTEN], socket.SOCK_DGRAM) for worker in workers]
    if config[ENABLED]:
        streams = [TCP, TCP_PROXIED, *((TLS, TLS_PROXIED) if config[CERTIFICATE] else ())]
        listeners += [(UDP, Listen.parse(text), socket.SOCK_DGRAM) for text in config[UDP]]
        listeners += [
            (setting, Listen.parse(text), socket.SOCK_STREAM)
            for setting in streams
            for text in config[setting]
        ]
    for setting, listen, kind in listeners:
        protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
        subject = f"{protocol.upper()} port ({setting.flag})"
        try:
            _try_to_bind(listen, kind)
        except OSError as error:
            if running:
                yield _good(subject, f"{listen}: the server of this data directory runs")
            else:
                what, _, mend = way_out(error, listen.port, protocol).partition("; ")
                is_needed = setting.section != "turn" or config[STRICT]
                yield (_bad if is_needed else _warning)(subject, f"{listen}: {what}", mend)
        else:
            yield _good(subject, f"{listen} is free")


def _server_runs(config: Config) -> bool:
    path = Path(config[DATA]).expanduser()
    if not path.exists():
        return False
    with contextlib.suppress(ServerNotRunning, DataDirectoryError):
        RunningServer(DataDirectory(path)).sessions("none")
        return True
    return False


def _try_to_bind(listen: Listen, kind: socket.SocketKind) -> None:
    host = listen.host or "::"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        probe = socket.socket(family, kind)
    except OSError:
        if listen.host:
            raise
        host = "0.0.0.0"  # noqa: S104 - the machine has no IPv6
        probe = socket.socket(socket.AF_INET, kind)
    with probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with as_root():
            probe.bind((host, listen.port))


def check_addresses(config: Config) -> Iterator[Finding]:
    """What clients are told to send media to, and whether they can."""
    subject = f"advertised addresses ({MEDIA_ADVERTISE.flag})"
    listen = config[MEDIA_LISTEN]
    addresses = advertised(listen.host, listen.port, config[MEDIA_ADVERTISE])
    shown = ", ".join(address.host for address in addresses)
    hosts = [ipaddress.ip_address(address.host) for address in addresses]
    if all(host.is_loopback for host in hosts):
        yield _warning(
            subject,
            f"{shown}: clients on this machine alone can connect",
            f"For others, listen on more than loopback, or give an address with {MEDIA_ADVERTISE.flag}",
        )
    elif not any(host.is_global for host in hosts):
        yield _warning(
            subject,
            f"{shown}: clients in the same network can connect",
            f"For others, give the public address with {MEDIA_ADVERTISE.flag} and forward the UDP port here",
        )
    else:
        yield _good(subject, shown)
    elsewhere = [str(host) for host in hosts if str(host) not in interface_hosts()]
    if elsewhere:
        yield _good(
            subject, f"{', '.join(elsewhere)} is not of this machine: UDP to it must be forwarded here"
        )


def check_browsers(config: Config, wall_now: float) -> Iterator[Finding]:
    """Whether a page served from here may open a camera: browsers want HTTPS or localhost for that."""
    subject = f"browsers ({HTTP_LISTEN.flag}, {HTTP_TLS.flag})"
    local = is_loopback(config[HTTP_LISTEN].host)
    mode = config[HTTP_TLS]
    given = bool(config[HTTP_TLS_CERT] or config[HTTP_TLS_KEY])
    if given:
        yield from _check_certificate(
            f"HTTPS certificate ({HTTP_TLS_CERT.flag}, {HTTP_TLS_KEY.flag})",
            config[HTTP_TLS_CERT],
            config[HTTP_TLS_KEY],
            wall_now,
        )
    if local:
        yield _good(subject, "pages open on this machine alone, where cameras work")
    elif mode == "off":
        yield _warning(
            subject,
            "plain HTTP on an address of this machine: browsers elsewhere open no camera on such a page",
            f"Leave out {HTTP_TLS.flag} off, unless a proxy in front speaks HTTPS",
        )
    elif given:
        yield _good(subject, "HTTPS with the given certificate")
    else:
        yield _warning(
            subject,
            "HTTPS with a self-made certificate: browsers warn of it at the first visit",
            f"Give one of a public authority with {HTTP_TLS_CERT.flag} and {HTTP_TLS_KEY.flag}",
        )


def check_turn_certificates(config: Config, wall_now: float) -> Iterator[Finding]:
    """Whether browsers would speak TLS with the TURN server: they check certificates as for pages."""
    if not config[ENABLED] or not config[CERTIFICATE]:
        return
    subject = f"TURN certificate ({CERTIFICATE.flag}, {KEY.flag})"
    try:
        pairs = read_pairs(config, (), wall_now)
    except CertificateError as error:
        yield _bad(subject, str(error), "Without a certificate the server does not start")
        return
    if config[CERTIFICATE] == (SELF_MADE,):
        mend = f"Give one of a public authority with {CERTIFICATE.flag} and {KEY.flag}"
        yield _warning(subject, "self-made: browsers do not take it", mend)
        return
    found = [
        finding
        for certificate_file, key_file in zip(config[CERTIFICATE], config[KEY], strict=True)
        for finding in _check_certificate(subject, certificate_file, key_file, wall_now)
    ]
    yield from found
    if max(finding.level for finding in found) is Level.BAD:
        return
    media = config[MEDIA_LISTEN]
    told = [at.host for at in advertised(media.host, media.port, config[MEDIA_ADVERTISE])]
    hosts = [config[HOST]] if config[HOST] else told
    if strangers := unnamed((pair.chain for pair in pairs), hosts):
        yield _warning(
            f"TURN host ({HOST.flag})",
            f"{', '.join(strangers)} is in the turns: URLs and in no certificate: browsers refuse that",
            f"Give a name of a certificate, which leads here, with {HOST.flag}",
        )
    else:
        yield _good(f"TURN host ({HOST.flag})", f"{', '.join(hosts)} is in a certificate")


def _check_certificate(
    subject: str, certificate_file: str, key_file: str, wall_now: float
) -> Iterator[Finding]:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file, key_file or None)
        certificate = x509.load_pem_x509_certificate(Path(certificate_file).read_bytes())
    except (OSError, ValueError) as error:
        yield _bad(
            subject,
            f"{certificate_file}, {key_file}: {error}",
            "Name a PEM file of the certificate with its chain and one of its key, readable for this user",
        )
        return
    left_days = (certificate.not_valid_after_utc.timestamp() - wall_now) / DAY_S
    if left_days < 0:
        yield _bad(subject, f"{certificate_file} ended {-left_days:.0f} days ago", "Renew it")
    elif left_days < 14:
        yield _warning(subject, f"{certificate_file} ends in {left_days:.0f} days", "Renew it")
    elif certificate.not_valid_before_utc.timestamp() > wall_now:
        yield _bad(subject, f"{certificate_file} is not valid yet", "Set this machine's clock")
    else:
        yield _good(subject, f"{certificate_file} is valid for {left_days:.0f} days")


def check_clock(wall_now: float) -> Iterator[Finding]:
    """Whether the clock can be right, and whether something keeps it so."""
    if wall_now < _WRITTEN:
        yield _bad("clock", "is years behind", "Set it; install chrony to keep it right")
        return
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # all zero: ask, change nothing
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if state == _TIME_ERROR:
        yield _warning(
            "clock",
            "nothing keeps it synchronised; certificates and expiring credentials depend on it",
            "Install chrony, unless this machine's host keeps the time",
        )
    else:
        yield _good("clock", "synchronised" if state >= 0 else "plausible")


def check_descriptors(config: Config) -> Iterator[Finding]:
    """Whether there are file descriptors for the HTTP connections that may be open.

    The hard limit counts: the server raises its own soft limit to that.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config[CONNECTIONS] + _SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        yield _bad(
            "file descriptors",
            f"{hard} may be open, {wanted} can be needed",
            f"Raise it: ulimit -n {2 * wanted}, or LimitNOFILE={2 * wanted} in the systemd unit, "
            f"or lower {CONNECTIONS.flag}",
        )
    else:
        yield _good("file descriptors", f"{hard} may be open")


def check_socket_buffers(config: Config) -> Iterator[Finding]:
    """Whether the kernel gives the media socket the buffers that it asks for."""
    wanted = config[MEDIA_BUFFER]
    for key in ("net.core.rmem_max", "net.core.wmem_max"):
        try:
            limit = int(Path("/proc/sys", *key.split(".")).read_text())
        except OSError:
            yield _good("socket buffers", f"{key} can't be seen here")
            continue
        if limit < wanted:
            yield _warning(
                "socket buffers",
                f"{key} is {limit}, {MEDIA_BUFFER.flag} asks for {int(wanted)}: bursts lose packets",
                f"sysctl -w {key}={int(wanted)}, and the same in /etc/sysctl.d/ to keep it",
            )
        else:
            yield _good("socket buffers", f"{key} is {limit} bytes")
