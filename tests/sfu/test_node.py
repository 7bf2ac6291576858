"""What one node knows of the others of its machine."""

from __future__ import annotations

from sfu.base.settings import Config, Listen
from sfu.net.address import Address
from sfu.node import MEDIA_ADVERTISE, MEDIA_LISTEN, WORKERS, media_of_workers
from turn.told import Media


def test_turn_clients_may_reach_the_media_of_all_workers() -> None:
    config = Config(
        {
            MEDIA_LISTEN: Listen("192.0.2.1", 40000),
            MEDIA_ADVERTISE: ("203.0.113.7", "203.0.113.8:5000"),
            WORKERS: 3,
        }
    )
    own = [Address("203.0.113.7", 40000), Address("203.0.113.8", 5000)]
    assert media_of_workers(config, own, 40000) == [
        Media(Address(host, port + worker), Listen("192.0.2.1", 40000 + worker))
        for worker in range(3)
        for host, port in (("203.0.113.7", 40000), ("203.0.113.8", 5000))
    ]


def test_of_ports_that_the_system_chose_only_the_own_one_is_known() -> None:
    config = Config({MEDIA_LISTEN: Listen("192.0.2.1", 0), WORKERS: 3})
    own = [Address("192.0.2.1", 45678)]
    assert media_of_workers(config, own, 45678) == [Media(own[0], Listen("192.0.2.1", 45678))]
