"""`orchard doctor` says what is wrong and how to mend it."""

from __future__ import annotations

import os
import resource
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sfu.api.connections import CONNECTIONS
from sfu.api.listener import HTTP_LISTEN, HTTP_TLS, HTTP_TLS_CERT, HTTP_TLS_KEY
from sfu.base.settings import ByteSize, Config, Listen, Setting
from sfu.cli.checks import (
    Finding,
    Level,
    check_addresses,
    check_browsers,
    check_clock,
    check_data_directory,
    check_descriptors,
    check_ports,
    check_socket_buffers,
    check_turn_certificates,
)
from sfu.directory.certificates import DAY_S, make_dtls_certificate, make_https_certificate
from sfu.directory.files import DataDirectory
from sfu.node import DATA, MEDIA_ADVERTISE, MEDIA_BUFFER, MEDIA_LISTEN
from sfu.turn.service import ENABLED, HOST
from tests.turn.certificates import pair_of
from turn.certificate import CERTIFICATE, KEY
from turn.node import STRICT, TCP, TLS, UDP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.sfu.cli.command import Command

NOW = time.time()


def worst(findings: Iterable[Finding]) -> Finding:
    return max(findings, key=lambda finding: finding.level)


def test_a_good_machine_passes(orchard: Command) -> None:
    result = orchard.on_data(
        "doctor", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--turn-udp", ":0", "--turn-tcp", ":0"
    )
    assert result.status == 0, result.out
    assert "BAD" not in result.out
    assert not orchard.data.exists()  # it only looks


def test_a_bad_setting_fails_with_the_way_out(orchard: Command) -> None:
    orchard.data.mkdir(mode=0o755)
    result = orchard.on_data("doctor", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0")
    assert result.status == 1
    assert "chmod 700" in result.out


@pytest.mark.parametrize(
    ("flag", "kind", "setting"),
    [("--http", socket.SOCK_STREAM, HTTP_LISTEN), ("--media", socket.SOCK_DGRAM, MEDIA_LISTEN)],
)
def test_a_port_that_is_taken_names_who_holds_it(
    flag: str, kind: socket.SocketKind, setting: object, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        taken = Listen(*holder.getsockname())
        free = Listen("127.0.0.1", 0)
        http, media = (taken, free) if setting is HTTP_LISTEN else (free, taken)
        config = Config(
            {HTTP_LISTEN: http, MEDIA_LISTEN: media, ENABLED: False, DATA: str(tmp_path / "none")}
        )
        finding = worst(check_ports(config))
    assert finding.level is Level.BAD
    assert flag in finding.subject
    assert f"pid {os.getpid()}" in finding.text
    assert "choose another port" in finding.mend


@pytest.mark.parametrize("transport", [UDP, TCP, TLS])
@pytest.mark.parametrize(("is_strict", "level"), [(False, Level.WARNING), (True, Level.BAD)])
def test_a_turn_port_that_is_taken_is_as_bad_as_the_server_takes_it(
    transport: Setting[tuple[str, ...]], is_strict: bool, level: Level, tmp_path: Path
) -> None:
    free = Listen("127.0.0.1", 0)
    kind = socket.SOCK_DGRAM if transport is UDP else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        taken = str(Listen(*holder.getsockname()))
        ports = {UDP: (":0",), TCP: (":0",), TLS: (":0",), CERTIFICATE: ("self-made",), transport: (taken,)}
        settings = {HTTP_LISTEN: free, MEDIA_LISTEN: free, STRICT: is_strict, **ports}
        finding = worst(check_ports(Config({**settings, DATA: str(tmp_path / "none")})))
    assert finding.level is level
    assert transport.flag in finding.subject
    assert taken in finding.text


@pytest.mark.parametrize(
    ("listen", "given", "level", "text"),
    [
        (Listen("127.0.0.1", 1), (), Level.WARNING, "on this machine alone"),
        (Listen("", 1), ("192.168.0.5",), Level.WARNING, "in the same network"),
        (Listen("", 1), ("8.8.8.8",), Level.GOOD, "must be forwarded"),
    ],
)
def test_who_can_reach_the_advertised_addresses_is_said(
    listen: Listen, given: tuple[str, ...], level: Level, text: str
) -> None:
    findings = list(check_addresses(Config({MEDIA_LISTEN: listen, MEDIA_ADVERTISE: given})))
    assert worst(findings).level is level
    assert text in " ".join(finding.text for finding in findings)


@pytest.mark.parametrize(
    ("listen", "tls", "level", "text"),
    [
        (Listen("127.0.0.1", 1), "auto", Level.GOOD, "cameras work"),
        (Listen("", 1), "off", Level.WARNING, "open no camera"),
        (Listen("", 1), "auto", Level.WARNING, "self-made"),
    ],
)
def test_whether_browsers_open_a_camera_is_said(listen: Listen, tls: str, level: Level, text: str) -> None:
    finding = worst(check_browsers(Config({HTTP_LISTEN: listen, HTTP_TLS: tls}), NOW))
    assert finding.level is level
    assert text in finding.text


@pytest.mark.parametrize(
    ("at", "level", "text"),
    [
        (0.0, Level.GOOD, "valid for 397 days"),
        (390 * DAY_S, Level.WARNING, "ends in 7 days"),
        (400 * DAY_S, Level.BAD, "ended 3 days ago"),
        (-10 * DAY_S, Level.BAD, "not valid yet"),
    ],
)
def test_the_given_https_certificate_is_checked(tmp_path: Path, at: float, level: Level, text: str) -> None:
    made = make_https_certificate([], NOW)
    (tmp_path / "cert.pem").write_bytes(made.certificate_pem)
    (tmp_path / "key.pem").write_bytes(made.key_pem)
    config = Config({HTTP_TLS_CERT: str(tmp_path / "cert.pem"), HTTP_TLS_KEY: str(tmp_path / "key.pem")})
    finding = worst(check_browsers(config, NOW + at))
    assert finding.level is level
    assert text in " ".join(found.text for found in check_browsers(config, NOW + at))


def test_a_certificate_that_can_not_be_loaded_is_named(tmp_path: Path) -> None:
    config = Config({HTTP_TLS_CERT: str(tmp_path / "none.pem"), HTTP_TLS_KEY: "x"})
    finding = worst(check_browsers(config, NOW))
    assert finding.level is Level.BAD
    assert "none.pem" in finding.text


@pytest.mark.parametrize(
    ("host", "level", "text"),
    [
        ("turn.example.org", Level.GOOD, "turn.example.org is in a certificate"),
        ("sfu.example.org", Level.WARNING, "sfu.example.org is in the turns: URLs and in no certificate"),
        ("", Level.WARNING, "192.0.2.7 is in the turns: URLs and in no certificate"),
    ],
)
def test_a_turn_host_that_no_certificate_names_is_found(
    tmp_path: Path, host: str, level: Level, text: str
) -> None:
    pair = pair_of("turn.example.org")
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    config = Config(
        {CERTIFICATE: (str(certificate),), KEY: (str(key),), HOST: host, MEDIA_ADVERTISE: ("192.0.2.7",)}
    )
    findings = list(check_turn_certificates(config, NOW + 60 * DAY_S))
    assert worst(findings).level is Level.BAD  # it has ended by then
    findings = list(check_turn_certificates(config, NOW))
    assert worst(finding for finding in findings if "host" in finding.subject).level is level
    assert text in " ".join(finding.text for finding in findings)


@pytest.mark.parametrize(
    ("certificate", "level", "text"),
    [
        ("self-made", Level.WARNING, "browsers do not take it"),
        ("/nowhere.pem", Level.BAD, "1 certificate and 0 keys"),
    ],
)
def test_a_turn_certificate_that_browsers_do_not_take_is_found(
    certificate: str, level: Level, text: str
) -> None:
    finding = worst(check_turn_certificates(Config({CERTIFICATE: (certificate,)}), NOW))
    assert finding.level is level
    assert text in finding.text


def test_a_dtls_certificate_that_has_ended_is_found(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    data.cluster_secret()
    data.put_dtls_certificate(make_dtls_certificate(NOW - 400 * DAY_S))
    finding = worst(check_data_directory(Config({DATA: str(data.path)}), NOW))
    assert finding.level is Level.BAD
    assert "ended 35 days ago" in finding.text


def test_a_clock_that_is_years_behind_is_found() -> None:
    assert worst(check_clock(0.0)).level is Level.BAD
    assert worst(check_clock(NOW)).level is not Level.BAD


def test_a_low_descriptor_limit_is_found() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finding = worst(check_descriptors(Config({CONNECTIONS: hard})))
    assert finding.level is Level.BAD
    assert "ulimit -n" in finding.mend
    assert worst(check_descriptors(Config({CONNECTIONS: 1}))).level is Level.GOOD


def test_a_low_limit_on_socket_buffers_is_found() -> None:
    finding = worst(check_socket_buffers(Config({MEDIA_BUFFER: ByteSize(1 << 40)})))
    assert finding.level is Level.WARNING
    assert "sysctl -w net.core.rmem_max" in finding.mend
