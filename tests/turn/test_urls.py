"""URLs of the server: what is listened on, the likeliest way out of a network first."""

from __future__ import annotations

import pytest

from sfu.base.settings import Listen, SettingsError, load
from turn.tuples import Transport
from turn.urls import URLS, ice_urls, tls_hosts

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS


def on(*listening: tuple[Transport, int], host: str = "") -> list[tuple[Transport, Listen]]:
    return [(transport, Listen(host, port)) for transport, port in listening]


def test_the_published_list_comes_out_in_its_order() -> None:
    urls = ice_urls(
        on((TLS, 443), (TLS, 5349), (TCP, 80), (TCP, 3478), (UDP, 443), (UDP, 3478)), name="turn.example.org"
    )
    assert urls.stun == ("stun:turn.example.org:3478",)
    assert urls.turn == (
        "turn:turn.example.org:3478?transport=udp",
        "turn:turn.example.org:443?transport=udp",
        "turn:turn.example.org:3478?transport=tcp",
        "turn:turn.example.org:80?transport=tcp",
        "turns:turn.example.org:5349?transport=tcp",
        "turns:turn.example.org:443?transport=tcp",
    )


@pytest.mark.parametrize("port", [1, 53, 442, 853, 1023])
def test_a_port_that_chromium_does_not_use_is_not_told(port: int) -> None:
    assert ice_urls(on((UDP, port), (UDP, 3478)), name="t").turn == ("turn:t:3478?transport=udp",)
    assert ice_urls(on((UDP, port)), name="t") == ((), ())


@pytest.mark.parametrize("port", [80, 443, 1024])
def test_a_port_that_all_browsers_use_is_told(port: int) -> None:
    assert ice_urls(on((UDP, port)), name="t").turn == (f"turn:t:{port}?transport=udp",)


def test_without_a_name_urls_have_the_addresses_that_are_listened_on() -> None:
    hosts = ["192.0.2.1", "2001:db8::1"]
    assert ice_urls(on((UDP, 3478)), hosts=hosts).turn == (
        "turn:192.0.2.1:3478?transport=udp",
        "turn:[2001:db8::1]:3478?transport=udp",
    )
    assert ice_urls(on((UDP, 3478), host="0.0.0.0"), hosts=hosts).turn == (
        "turn:192.0.2.1:3478?transport=udp",
    )
    assert ice_urls(on((UDP, 3478), host="192.0.2.9"), hosts=hosts).turn == (
        "turn:192.0.2.9:3478?transport=udp",
    )


def test_behind_a_nat_clients_are_told_the_address_before_it() -> None:
    told = {"10.0.0.5": "203.0.113.7"}
    urls = ice_urls(on((UDP, 3478), host="10.0.0.5"), told=told)
    assert urls.turn == ("turn:203.0.113.7:3478?transport=udp",)


def test_a_name_may_be_an_ipv6_address() -> None:
    assert ice_urls(on((UDP, 3478)), name="2001:db8::1").turn == ("turn:[2001:db8::1]:3478?transport=udp",)


def test_where_nothing_is_listened_on_there_is_no_url() -> None:
    assert ice_urls([], name="turn.example.org") == ((), ())


def test_urls_of_proxies_stand_where_those_of_the_server_would() -> None:
    proxy = "turns:turn.example.org:443?transport=tcp"
    urls = ice_urls(
        on((TLS, 5350), (UDP, 3478), (TCP, 443)),
        name="t",
        more=[proxy, "turn:t:3478?transport=udp", "turn:t"],
    )
    assert urls.turn == (
        "turn:t:3478?transport=udp",
        "turn:t",
        "turn:t:443?transport=tcp",
        proxy,
        "turns:t:5350?transport=tcp",
    )


@pytest.mark.parametrize(
    "url",
    [
        "turn.example.org",
        "stun:turn.example.org",
        "turns:turn.example.org?transport=udp",  # DTLS
        "turn:turn.example.org:70000",
        "turn:[2001:db8::1:3478",
        "turn:a b:3478",
    ],
)
def test_what_no_client_could_use_is_no_url(url: str) -> None:
    with pytest.raises(SettingsError, match="want such as"):
        load({"turn.urls": [url]}, {})
    assert load({"turn.urls": ["turn:[2001:db8::1]:3478"]}, {})[URLS] == ("turn:[2001:db8::1]:3478",)


def test_hosts_of_tls_are_told_apart() -> None:
    urls = ["turn:a:3478?transport=tcp", "turns:b:443?transport=tcp", "turns:[2001:db8::1]:5349", "turns:b"]
    assert tls_hosts(urls) == ["b", "2001:db8::1"]
