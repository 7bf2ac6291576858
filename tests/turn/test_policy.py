"""Whom clients may reach: the order of the rules, 21 bad peers, every IPv6 form that carries IPv4."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.base.settings import Config, SettingsError
from sfu.net.address import Address
from turn.policy import ALLOW, DENY, MEET, POLICY, PeerPolicy, Verdict, policy_of
from turn.told import MEDIA

RELAY_PORTS = (49152, 65535)
HERE = "203.0.113.5"
HERE_6 = "2001:4860::5"


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def sfu_policy(*, allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> PeerPolicy:
    return PeerPolicy(
        public=False,
        hosts=[HERE, HERE_6, "10.0.0.5", "127.0.0.1"],
        media=[Address(HERE, 40000), Address(HERE_6, 40000)],
        relays=[HERE, HERE_6],
        relay_ports=RELAY_PORTS,
        allow=allow,
        deny=deny,
    )


def public_policy(*, allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> PeerPolicy:
    return PeerPolicy(
        public=True,
        hosts=[HERE, HERE_6, "10.0.0.5", "127.0.0.1", "::1"],
        media=[Address(HERE, 40000)],
        relays=[HERE, HERE_6, "127.0.0.1", "::1"],
        relay_ports=RELAY_PORTS,
        allow=allow,
        deny=deny,
    )


EVERYTHING = ("0.0.0.0/0", "::/0")
POLICIES = {
    "sfu": sfu_policy(),
    "public": public_policy(),
    "sfu, all allowed": sfu_policy(allow=EVERYTHING),
    "public, all allowed": public_policy(allow=EVERYTHING),
}

# The peers that measured servers granted, and the four that none did (turn-probe, 2026).
BAD_PEERS = (
    "127.0.0.1",
    "0.0.0.0",
    "::1",
    "::",
    "169.254.169.254",
    "10.0.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::ffff:127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "2001:0:1::1",
    "ff02::1",
)


def test_there_are_21_bad_peers() -> None:
    assert len(set(BAD_PEERS)) == 21


@pytest.mark.parametrize("peer", BAD_PEERS)
@pytest.mark.parametrize("mode", ["sfu", "public"])
def test_a_bad_peer_is_granted_in_no_mode(mode: str, peer: str) -> None:
    assert POLICIES[mode].allows(packed(peer)) is Verdict.DENIED
    assert not any(POLICIES[mode].allows_peer(packed(peer), port) for port in (1, 53, 3478, 40000, 50000))


@pytest.mark.parametrize("peer", ["8.8.8.8", "2606:4700::1", "1.1.1.1", "223.255.255.255", "2a00::1"])
def test_a_public_host_is_granted_in_public_mode_alone(peer: str) -> None:
    assert POLICIES["public"].allows(packed(peer)) is Verdict.ANY_PORT
    assert POLICIES["public"].allows_peer(packed(peer), 53)
    assert POLICIES["sfu"].allows(packed(peer)) is Verdict.DENIED
    assert not POLICIES["sfu"].allows_peer(packed(peer), 40000)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("168.63.129.16", "168.63.129.16"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.31.196.0", "192.31.196.255"),
        ("192.52.193.0", "192.52.193.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("192.175.48.0", "192.175.48.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_a_special_network_is_denied_from_end_to_end_and_no_further(first: str, last: str) -> None:
    policy = PeerPolicy(public=True)
    assert policy.allows(packed(first)) is policy.allows(packed(last)) is Verdict.DENIED
    for outside in (ipaddress.ip_address(first) - 1, ipaddress.ip_address(last) + 1):
        assert policy.allows(outside.packed) is Verdict.ANY_PORT


@pytest.mark.parametrize(
    ("denied", "allowed"),
    [
        ("0.255.255.255", "1.0.0.0"),
        ("127.0.0.0", "126.255.255.255"),
        ("127.255.255.255", "128.0.0.0"),
        ("203.0.113.255", "203.0.114.0"),
        ("224.0.0.0", "223.255.255.255"),
        ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
        ("4000::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
    ],
)
def test_what_stands_at_the_edge_of_the_public_networks(denied: str, allowed: str) -> None:
    assert PeerPolicy(public=True).allows(packed(denied)) is Verdict.DENIED
    assert PeerPolicy(public=True).allows(packed(allowed)) is Verdict.ANY_PORT


@pytest.mark.parametrize("mode", ["sfu, all allowed", "public, all allowed"])
@pytest.mark.parametrize(
    "network",
    [
        "0.0.0.0/8",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "::2/127",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "fe80::/10",
        "ff00::/8",
    ],
)
def test_what_nothing_opens_is_denied_from_end_to_end_though_all_is_allowed(mode: str, network: str) -> None:
    ends = ipaddress.ip_network(network)
    for address in (ends.network_address, ends.broadcast_address):
        assert POLICIES[mode].allows(address.packed) is Verdict.DENIED


def test_the_internet_does_not_reach_loopback_of_which_this_machine_does_not_know() -> None:
    for last in ("127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"):
        assert PeerPolicy(public=True).allows(packed(last)) is Verdict.DENIED


any_ipv4 = st.binary(min_size=4, max_size=4)
any_ipv6 = st.binary(min_size=16, max_size=16)


@given(any_ipv4 | any_ipv6)
@example(packed("fc00::1"))
@example(packed("198.18.0.1"))
def test_nothing_is_granted_that_python_knows_as_private(ip: bytes) -> None:
    if PeerPolicy(public=True).allows(ip) is Verdict.ANY_PORT:
        address = ipaddress.ip_address(ip)
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_link_local))


def disguises(ipv4: bytes, filling: bytes) -> dict[str, bytes]:
    """Every way in which an IPv6 address carries an IPv4 address; `filling` is 16 bytes for what is free."""
    inverse = bytes(byte ^ 0xFF for byte in ipv4)
    local_nat64 = bytes.fromhex("0064ff9b0001")
    return {
        "compatible": bytes(12) + ipv4,
        "mapped": bytes(10) + b"\xff\xff" + ipv4,
        "translated": bytes(8) + b"\xff\xff\0\0" + ipv4,
        "nat64": bytes.fromhex("0064ff9b") + bytes(8) + ipv4,
        "nat64 local /48": local_nat64 + ipv4[:2] + b"\0" + ipv4[2:] + filling[:5],
        "nat64 local /56": local_nat64 + filling[:1] + ipv4[:1] + b"\0" + ipv4[1:] + filling[:4],
        "nat64 local /64": local_nat64 + filling[:2] + b"\0" + ipv4 + filling[:3],
        "nat64 local /96": local_nat64 + filling[:6] + ipv4,
        "6to4": b"\x20\x02" + ipv4 + filling[:10],
        "teredo server": bytes.fromhex("20010000") + ipv4 + filling[:8],
        "teredo client": bytes.fromhex("20010000") + filling[:8] + inverse,
        "isatap": b"\x2a\x00" + filling[:6] + bytes.fromhex("00005efe") + ipv4,
        "isatap, unique": b"\x2a\x00" + filling[:6] + bytes.fromhex("02005efe") + ipv4,
    }


interesting_ipv4 = st.sampled_from([packed(text) for text in ("127.0.0.1", "10.0.0.1", "8.8.8.8", HERE)])


@given(interesting_ipv4 | any_ipv4, st.binary(min_size=16, max_size=16), st.integers(0, 65535))
def test_no_disguise_of_an_ipv4_address_is_granted_whatever_is_allowed(
    ipv4: bytes, filling: bytes, port: int
) -> None:
    for name, ip in disguises(ipv4, filling).items():
        assert len(ip) == 16
        if ip == packed("::1"):
            continue  # a host of its own, not 0.0.0.1
        for mode, policy in POLICIES.items():
            assert policy.allows(ip) is Verdict.DENIED, (name, mode)
            assert not policy.allows_peer(ip, port), (name, mode)


def test_a_prefix_of_a_networks_own_nat64_can_be_denied() -> None:
    policy = public_policy(deny=("2a00:64::/96",))
    assert policy.allows(packed("2a00:64::10.0.0.1")) is Verdict.DENIED
    assert policy.allows(packed("2a00:65::1")) is Verdict.ANY_PORT


@given(any_ipv4 | any_ipv6, st.integers(-1, 65536))
@example(packed(HERE), 40000)
@example(packed(HERE_6), 49152)
@example(packed("10.0.0.5"), 50000)
def test_sfu_mode_reaches_its_own_addresses_at_its_own_ports_and_nothing_else(ip: bytes, port: int) -> None:
    own = {packed(HERE), packed(HERE_6)}
    policy = POLICIES["sfu"]
    assert policy.allows(ip) is (Verdict.OWN_PORTS if ip in own else Verdict.DENIED)
    assert policy.allows_peer(ip, port) == (ip in own and (port == 40000 or 49152 <= port <= 65535))


@given(st.sampled_from(list(POLICIES.values())), any_ipv4 | any_ipv6, st.integers(1, 65535))
@example(POLICIES["public"], packed(HERE), 40000)
def test_a_port_is_granted_as_the_verdict_of_its_address_says(
    policy: PeerPolicy, ip: bytes, port: int
) -> None:
    match policy.allows(ip):
        case Verdict.DENIED:
            assert not policy.allows_peer(ip, port)
        case Verdict.ANY_PORT:
            assert policy.allows_peer(ip, port)
        case Verdict.OWN_PORTS:
            at_it = any(low <= port <= high for low, high in policy.own_ports(ip))
            assert policy.allows_peer(ip, port) == at_it
            assert at_it <= any(low <= port <= high for low, high in policy.own_ports())


@pytest.mark.parametrize("port", [1, 22, 53, 443, 3478, 5349, 8080, 39999, 40001, 49151])
def test_services_of_this_machine_are_out_of_reach_by_any_of_its_addresses(port: int) -> None:
    for host in (HERE, HERE_6, "10.0.0.5", "127.0.0.1", "::1"):
        for mode in ("sfu", "public"):
            assert not POLICIES[mode].allows_peer(packed(host), port)


def test_two_relayed_clients_can_meet_unless_that_is_turned_off() -> None:
    assert POLICIES["public"].allows(packed(HERE_6)) is Verdict.OWN_PORTS
    assert POLICIES["public"].allows_peer(packed(HERE_6), 50000)
    apart = PeerPolicy(public=True, media=[Address(HERE, 40000)], relays=[HERE, HERE_6], relay_ports=None)
    assert apart.allows(packed(HERE_6)) is Verdict.DENIED
    assert not apart.allows_peer(packed(HERE), 50000)
    assert apart.allows_peer(packed(HERE), 40000)


def test_relays_on_a_private_address_can_meet_there() -> None:
    policy = PeerPolicy(public=True, relays=["192.168.1.10"], relay_ports=RELAY_PORTS)
    assert policy.allows_peer(packed("192.168.1.10"), 50000)
    assert policy.allows(packed("192.168.1.11")) is Verdict.DENIED


def test_sfu_mode_reaches_media_on_the_loopback_of_a_trial() -> None:
    policy = PeerPolicy(public=False, hosts=["127.0.0.1"], media=[Address("127.0.0.1", 40000)])
    assert policy.allows_peer(packed("127.0.0.1"), 40000)
    assert not policy.allows_peer(packed("127.0.0.1"), 3478)
    assert not policy.allows_peer(packed("127.0.0.2"), 40000)


def test_ports_of_one_address_are_not_open_at_another() -> None:
    policy = PeerPolicy(public=False, media=[Address("192.0.2.1", 443), Address("192.0.2.2", 40000)])
    assert policy.allows_peer(packed("192.0.2.1"), 443)
    assert not policy.allows_peer(packed("192.0.2.2"), 443)
    assert policy.own_ports(packed("192.0.2.2")) == ((40000, 40000),)
    assert policy.own_ports() == ((443, 443), (40000, 40000))


def test_an_allowed_network_is_open_but_not_this_machine_in_it() -> None:
    policy = public_policy(allow=("10.0.0.0/8", "127.0.0.0/8"))
    assert policy.allows(packed("10.0.0.6")) is Verdict.ANY_PORT
    assert policy.allows(packed("127.0.0.2")) is Verdict.DENIED
    assert policy.allows(packed("10.0.0.5")) is Verdict.DENIED  # no relays there
    assert policy.allows(packed("127.0.0.1")) is Verdict.OWN_PORTS
    assert sfu_policy(allow=("192.0.2.0/24",)).allows(packed("192.0.2.1")) is Verdict.ANY_PORT


def test_this_machine_is_open_at_every_port_only_where_its_address_is_allowed_alone() -> None:
    policy = public_policy(allow=("127.0.0.1", "10.0.0.5/32", "::1"))
    for host in ("127.0.0.1", "10.0.0.5", "::1"):
        assert policy.allows(packed(host)) is Verdict.ANY_PORT
        assert policy.allows_peer(packed(host), 3480)
    assert policy.allows(packed("127.0.0.2")) is Verdict.DENIED


def test_a_denied_network_is_denied_whatever_else_is_allowed() -> None:
    policy = public_policy(allow=("10.0.0.0/8", "8.8.8.8"), deny=("10.1.0.0/16", "8.8.8.0/24", HERE))
    assert policy.allows(packed("10.1.2.3")) is Verdict.DENIED
    assert policy.allows(packed("8.8.8.8")) is Verdict.DENIED
    assert policy.allows(packed(HERE)) is Verdict.DENIED
    assert policy.allows(packed("10.2.0.1")) is Verdict.ANY_PORT


@pytest.mark.parametrize("ip", [b"", b"\x08\x08\x08", bytes(15), bytes(17), packed("8.8.8.8") * 2])
def test_what_is_no_address_is_denied(ip: bytes) -> None:
    for policy in POLICIES.values():
        assert policy.allows(ip) is Verdict.DENIED
        assert not policy.allows_peer(ip, 1)
        assert not policy.allows_client(ip)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_that_is_none_is_denied(port: int) -> None:
    assert not POLICIES["public"].allows_peer(packed("8.8.8.8"), port)


@pytest.mark.parametrize("peer", ["2001:0:1::1", "2001::", "2002:0808:0808::1", "2002::"])
def test_d2_teredo_and_6to4_are_taken_neither_as_peers_nor_as_clients(peer: str) -> None:
    for policy in POLICIES.values():
        assert policy.allows(packed(peer)) is Verdict.DENIED
        assert not policy.allows_client(packed(peer))


@given(interesting_ipv4 | any_ipv4, st.binary(min_size=16, max_size=16))
def test_no_client_comes_from_a_disguise_of_an_ipv4_address(ipv4: bytes, filling: bytes) -> None:
    for name, ip in disguises(ipv4, filling).items():
        if ip != packed("::1"):
            assert not PeerPolicy(public=True).allows_client(ip), name


@pytest.mark.parametrize("client", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"])
def test_no_client_comes_from_where_no_host_is(client: str) -> None:
    assert not PeerPolicy(public=True).allows_client(packed(client))


@pytest.mark.parametrize("client", ["8.8.8.8", "10.0.0.1", "127.0.0.1", "::1", "fe80::1", "2001:200::1"])
def test_d2_other_clients_may_come(client: str) -> None:
    for policy in POLICIES.values():
        assert policy.allows_client(packed(client))


def test_ports_side_by_side_are_one_range() -> None:
    media = [Address("192.0.2.1", port) for port in (40003, 40001, 40000, 40002, 40005)]
    assert PeerPolicy(public=False, media=media).own_ports() == ((40000, 40003), (40005, 40005))


def test_ports_in_more_ranges_than_a_packet_can_be_held_against_are_refused() -> None:
    media = [Address("192.0.2.1", port) for port in range(40000, 40034, 2)]
    assert len(PeerPolicy(public=False, media=media[:16]).own_ports()) == 16
    with pytest.raises(ValueError, match="17 ranges, of at most 16"):
        PeerPolicy(public=False, media=media)


def test_the_policy_is_as_the_settings_say() -> None:
    def policy(config: Config) -> PeerPolicy:
        media = [Address(HERE, 40000)]
        return policy_of(config, hosts=[HERE], media=media, relays=[HERE], relay_ports=RELAY_PORTS)

    by_default = policy(Config())
    assert by_default.allows(packed("8.8.8.8")) is Verdict.DENIED
    assert by_default.own_ports() == ((40000, 40000), RELAY_PORTS)
    given = policy(Config({POLICY: "public", MEET: False, MEDIA: ("192.0.2.9:7-8",), ALLOW: ("10.0.0.0/8",)}))
    assert given.allows(packed("8.8.8.8")) is Verdict.ANY_PORT
    assert given.own_ports() == ((7, 8), (40000, 40000))
    assert given.allows_peer(packed("192.0.2.9"), 8)
    assert given.allows_peer(packed("10.0.0.1"), 9)
    denying = policy(Config({POLICY: "public", DENY: ("8.0.0.0/8",)}))
    assert denying.allows(packed("8.8.8.8")) is Verdict.DENIED


@pytest.mark.parametrize(
    "text", ["224.0.0.0/4", "::ffff:10.0.0.0/104", "2002::/16", "2001:0:1::/48", "::/96", "fe80::/64"]
)
def test_a_network_that_nothing_opens_is_refused_as_a_setting(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--turn-allow: .*nothing opens"):
        ALLOW.parse(text, ALLOW.flag)


def test_networks_that_hold_more_than_what_nothing_opens_are_taken() -> None:
    texts = ("0.0.0.0/0", "::/0", "::1/128", "10.0.0.0/8")
    assert ALLOW.parse(",".join(texts), ALLOW.flag) == texts


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "example.org", "fe80::1%eth0", "1.2.3", "/8"])
def test_what_is_no_network_is_refused_as_a_setting(text: str) -> None:
    for setting in (ALLOW, DENY):
        with pytest.raises(SettingsError, match="want networks such as"):
            setting.parse(text, setting.flag)
