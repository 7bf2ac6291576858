"""The link that delays and loses: one direction by itself with time passed in, then the process in a lab."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.cluster.lab import SERVER_V4, SERVER_V6, Lab
from tests.cluster.link import HELD_LIMIT, Bursts, Conditions, Way, from_json, is_udp, to_json
from tests.cluster.test_lab import Echo, seen_from

TCP_PACKET = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6]) + bytes(30)


def packet(number: int = 0, size: int = 100) -> bytes:
    """An IPv4 packet with UDP in it."""
    return (
        bytes([0x45, 0]) + size.to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 17]) + number.to_bytes(size - 10)
    )


def way(seed: int = 1, **conditions: float | Bursts | None) -> Way:
    """A direction with conditions by name."""
    return Way(seed, Conditions(**conditions))  # pyright: ignore[reportArgumentType] -- fields by name


def numbers(packets: list[bytes]) -> list[int]:
    """Which packets these are."""
    return [int.from_bytes(data[10:]) for data in packets]


def test_a_packet_arrives_when_its_delay_is_over_and_not_before() -> None:
    link = way(delay_s=0.15)
    link.put(packet(), now=10.0)
    assert link.next_at() == pytest.approx(10.15)
    assert link.take(10.149) == []
    assert link.take(10.151) == [packet()]
    assert link.next_at() is None


def test_jitter_spreads_arrivals_and_keeps_the_order() -> None:
    link = way(delay_s=0.1, jitter_s=0.05)
    arrivals: list[float] = []
    for number in range(200):
        link.put(packet(number), now=number * 0.001)
    order: list[int] = []
    while (at := link.next_at()) is not None:
        taken = link.take(at)
        order += numbers(taken)
        arrivals += [at] * len(taken)
    delays = [at - number * 0.001 for number, at in enumerate(arrivals)]
    assert order == list(range(200))
    assert all(0.1 <= delay < 0.1501 for delay in delays)
    assert max(delays) - min(delays) > 0.02


def test_held_back_packets_are_passed_by_others() -> None:
    link = way(delay_s=0.01, reorder=0.1, reorder_by_s=0.005)
    for number in range(1000):
        link.put(packet(number), now=number * 0.001)
    order = numbers(link.take(100))
    assert sorted(order) == list(range(1000))
    assert sum(after < before for before, after in pairwise(order)) > 50
    assert 50 < link.counts.reordered < 200


def test_loss_takes_its_share_of_udp_and_no_tcp() -> None:
    link = way(loss=0.1)
    for number in range(10_000):
        link.put(packet(number), now=0)
        link.put(TCP_PACKET, now=0)
        link.take(0)
    assert link.counts.went + link.counts.lost == link.counts.came == 20_000
    assert 900 < link.counts.lost < 1100
    assert not is_udp(TCP_PACKET)


def test_bursts_lose_their_share_in_runs_of_their_length() -> None:
    link = way(loss=Bursts.of(0.05, packets=4))
    lost = [False]
    for number in range(40_000):
        link.put(packet(number), now=0)
        lost.append(link.take(0) == [])
    starts = sum(now and not before for before, now in pairwise(lost))
    assert sum(lost) == link.counts.lost
    assert link.counts.lost / 40_000 == pytest.approx(0.05, rel=0.2)
    assert link.counts.lost / starts == pytest.approx(4, rel=0.2)


def test_the_same_seed_loses_the_same_packets() -> None:
    def kept(seed: int) -> list[int]:
        link = way(seed, loss=0.2)
        for number in range(200):
            link.put(packet(number), now=0)
        return numbers(link.take(0))

    assert kept(7) == kept(7) != kept(8)


def test_a_limited_rate_queues_and_a_full_queue_drops() -> None:
    link = way(rate_bps=80_000, queue_s=0.1)  # 100 bytes take 10 ms
    for number in range(15):
        link.put(packet(number), now=0)
    assert link.counts.full == 5
    assert numbers(link.take(0.0501)) == [0, 1, 2, 3, 4]
    assert numbers(link.take(1)) == [5, 6, 7, 8, 9]


def test_a_way_holds_no_more_than_its_limit() -> None:
    link = way(delay_s=1)
    for number in range(HELD_LIMIT + 10):
        link.put(packet(number), now=0)
    assert link.counts.full == 10
    assert len(link.take(1)) == HELD_LIMIT


@pytest.mark.parametrize(
    "conditions", [Conditions(), Conditions(0.1, 0.2, 0.3), Conditions(loss=Bursts(0.1, 0.2))]
)
def test_conditions_reach_the_process_as_they_are(conditions: Conditions) -> None:
    assert from_json(to_json("down", conditions)) == ("down", conditions)


@pytest.mark.parametrize("first", [0x45, 0x60])
def test_udp_is_known_by_its_number_in_both_families(first: int) -> None:
    udp = bytearray([first]) + bytes(59)
    udp[9 if first == 0x45 else 6] = 17
    assert is_udp(bytes(udp))
    assert not is_udp(bytes([first]) + bytes(59))
    assert not is_udp(bytes(udp[:19]))


_TIMED_ASK = """
import socket, sys, time
host = sys.argv[1]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
begin = time.monotonic()
s.sendto(b"hello", (host, 3478))
try: s.recv(2048); sys.stdout.write(str(time.monotonic() - begin))
except TimeoutError: sys.stdout.write("silence")
"""


@pytest.mark.netns
@pytest.mark.parametrize("host", [SERVER_V4, SERVER_V6])
def test_a_round_trip_in_a_lab_takes_what_both_directions_take(lab: Lab, host: str) -> None:
    client = lab.client()
    uplink = lab.long_uplink(client)
    with Echo(lab.server):
        assert seen_from(client, host) == (uplink.v6 if ":" in host else uplink.v4)
        uplink.set(Conditions(delay_s=0.2), "up")
        uplink.set(Conditions(delay_s=0.1), "down")
        assert float(client.run("python3", "-c", _TIMED_ASK, host)) >= 0.3


@pytest.mark.netns
def test_a_direction_in_a_lab_loses_alone(lab: Lab) -> None:
    client = lab.client()
    uplink = lab.long_uplink(client)
    with Echo(lab.server):
        uplink.set(Conditions(loss=1), "down")
        assert seen_from(client, SERVER_V4) == "silence"
        assert uplink.counts("down").lost == 1
        assert uplink.counts("up").lost == 0
        uplink.set(Conditions(), "down")
        assert seen_from(client, SERVER_V4) == uplink.v4


@pytest.mark.netns
def test_a_link_in_a_lab_outlives_its_device_going_down(lab: Lab) -> None:
    client = lab.client()
    uplink = lab.long_uplink(client)
    with Echo(lab.server):
        lab.router.ip(f"link set {uplink.router_device} down")
        assert seen_from(client, SERVER_V4) == "silence"
        lab.router.ip(f"link set {uplink.router_device} up")
        assert seen_from(client, SERVER_V4) == uplink.v4
    assert uplink.counts("up").unplugged >= 1


@pytest.mark.netns
def test_a_link_in_a_lab_can_be_dropped_from_like_any_uplink(lab: Lab) -> None:
    client = lab.client()
    uplink = lab.long_uplink(client)
    with Echo(lab.server):
        drop = lab.drop(uplink, "up", "udp dport 3478")
        assert seen_from(client, SERVER_V4) == "silence"
        assert drop.dropped() == 1
        drop.end()
        assert seen_from(client, SERVER_V4) == uplink.v4
