"""Addresses before a NAT, and where they lead."""

from __future__ import annotations

import pytest

from sfu.base.settings import Listen, SettingsError
from sfu.net.address import Address
from turn.openings import RelayHost
from turn.told import MEDIA, Media, Told, parse_media, told_addresses

LOCAL, PUBLIC, PUBLIC_6 = "10.0.0.5", "203.0.113.7", "2001:db8::7"
RELAYS = {4: RelayHost(LOCAL, PUBLIC)}
PORTS = (49152, 65535)


def told(*media: Media, others: tuple[Told, ...] = (), relays: dict[int, RelayHost] = RELAYS) -> list[Told]:
    return told_addresses(
        relays=relays, relay_ports=PORTS, media=media, others=others, interfaces=[LOCAL, "127.0.0.1"]
    )


def media(text: str, listens: str) -> Media:
    at = Listen.parse(text)
    return Media(Address(at.host, at.port), Listen.parse(listens))


RELAYED = Told(PUBLIC, *PORTS, LOCAL, PORTS[0])


def test_relayed_addresses_lead_to_the_host_that_is_bound() -> None:
    assert told() == [RELAYED]
    assert told(relays={4: RelayHost(PUBLIC, PUBLIC)}) == []


def test_media_leads_to_where_it_is_listened_for() -> None:
    assert told(media("203.0.113.7:40000", ":40000")) == [Told(PUBLIC, 40000, 40000, LOCAL, 40000), RELAYED]
    assert told(media("203.0.113.7:5000", "10.0.0.6:40000"), relays={}) == [
        Told(PUBLIC, 5000, 5000, "10.0.0.6", 40000)
    ]


def test_media_among_the_ports_of_relays_goes_before_them() -> None:
    assert told(media("203.0.113.7:50000", ":40000")) == [Told(PUBLIC, 50000, 50000, LOCAL, 40000), RELAYED]


def test_media_at_an_address_of_this_machine_is_there() -> None:
    assert told(media("10.0.0.5:40000", ":40000")) == [RELAYED]


def test_media_of_a_family_in_which_nothing_is_relayed_leads_nowhere() -> None:
    assert told(media("[2001:db8::7]:40000", ":40000")) == [RELAYED]
    assert told(media("[2001:db8::7]:40000", "10.0.0.5:40000")) == [RELAYED]


def test_the_ports_of_many_workers_are_one_range() -> None:
    workers = [media(f"203.0.113.7:{5000 + index}", f":{40000 + index}") for index in range(64)]
    assert told(*workers, workers[3]) == [Told(PUBLIC, 5000, 5063, LOCAL, 40000), RELAYED]
    with pytest.raises(ValueError, match="33 ranges, of at most 32"):
        told(*workers[::2])


def test_media_of_other_nodes_may_be_behind_the_same_nat() -> None:
    other = parse_media("10.0.0.6=203.0.113.7:41000-41001")
    assert other == Told(PUBLIC, 41000, 41001, "10.0.0.6", 41000)
    assert told(others=(other, parse_media("203.0.113.9:40000"))) == [other, RELAYED]
    assert parse_media("[2001:db8::1]:5-6").addresses == [
        Address("2001:db8::1", 5),
        Address("2001:db8::1", 6),
    ]
    assert parse_media("fd00::1=[2001:db8::1]:5") == Told("2001:db8::1", 5, 5, "fd00::1", 5)


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1",
        "192.0.2.1:0",
        "192.0.2.1:5-4",
        "192.0.2.1:1-",
        "192.0.2.1:1-70000",
        "2001:db8::1",
        "[2001:db8::1:5",
        "2001:db8::1]:5",
        "[::1]",
        ":5",
        "example.org:5",
        "10.0.0.6=",
        "10.0.0.6:5=192.0.2.1:5",
        "fd00::1=192.0.2.1:5",
    ],
)
def test_what_is_no_media_address_is_refused_as_a_setting(text: str) -> None:
    with pytest.raises(SettingsError, match="want ADDRESS:PORT"):
        MEDIA.parse(text, MEDIA.flag)
