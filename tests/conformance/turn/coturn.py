"""Debian's coturn as a server under test."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conformance.turn.program import free_port, serving
from tests.conformance.turn.target import Target

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

VERSION = "4.6.1"  # the version that DEVIATIONS tells of
REALM = "conformance.example"
SECRETS = ("conformance-secret", "conformance-secret-before")
QUOTA = 12
RATE = 100_000  # bytes a second: far more than the other tests relay

# Tests that coturn fails, and what it does instead; "sometimes" where it depends on when it last cleaned up.
DEVIATIONS = {
    "test_s1_what_is_no_message_for_a_server_gets_no_answer[unknown-method]": "401",
    "test_s1_what_is_no_message_for_a_server_gets_no_answer[a-request-of-an-indication]": "401",
    "test_s3_the_first_of_two_attributes_counts": "the last LIFETIME counts",
    "test_s4_an_attribute_after_message_integrity_is_not_obeyed": "LIFETIME 0 ends the allocation",
    "test_s4_an_unknown_attribute_after_message_integrity_is_ignored": "420",
    "test_s5_known_attributes_that_are_not_expected_are_ignored": "420",
    "test_s10_message_integrity_sha256_is_verified": "401: not known",
    "test_a3_the_nonce_begins_with_the_cookie_and_the_features": "16 hexadecimal digits",
    "test_t2_the_same_request_again_gets_the_same_answer": "the token is left out",
    "test_t3_a_protocol_that_is_not_supported_is_refused": "400",
    "test_t5_a_token_beside_what_it_excludes_is_a_bad_request[additional]": "ignored, then 404 for the token",
    "test_t5_an_unknown_token_is_refused": "404",
    "test_t5_a_token_is_used_once": "404",
    "test_t6_two_wishes_for_families_are_a_bad_request": "ADDITIONAL-ADDRESS-FAMILY is not known",
    "test_t8_a_pair_of_two_families_is_a_bad_request": "ADDITIONAL-ADDRESS-FAMILY is not known",
    "test_t9_additional_ipv4_is_a_bad_request": "ADDITIONAL-ADDRESS-FAMILY is not known",
    "test_t9_an_additional_family_gives_two_addresses_or_says_why_not": "one address, and no reason",
    "test_t15_requests_need_an_allocation[create_permission]": "400",
    "test_t15_requests_need_an_allocation[channel_bind]": "400",
    "test_t16_a_lifetime_of_0_ends_an_allocation": "sometimes: it ends up to a second later",
    "test_t16_the_5_tuple_can_be_used_again": "sometimes: not before a second later",
    "test_p3_an_invalid_peer_is_a_bad_request": "a success",
    "test_p3_all_peers_or_none[invalid]": "a success",
    "test_p6_an_unreachable_port_is_told": "nothing is told",
    "test_c1_a_malformed_number_is_a_bad_request[2]": "two bytes are enough",
    # seen with --long alone
    "test_c2_the_permission_ends_after_300_s_and_the_binding_after_600": "the permission outlives 300 s",
    "test_d2_tunnels_are_refused": "a success",
    "test_n1_private_and_special_addresses_are_refused": "a success",
    "test_n2_ipv4_in_ipv6_is_no_way_around": "a success",
    "test_6062_5_2_connect_needs_an_allocation": "403",
    "test_6062_5_4_an_unknown_connection_is_a_bad_request": "the connection is closed",
    "test_6062_5_4_so_is_none": "the connection is closed",
}

# What it does not have, and thus is not tested.
LEFT_OUT = (
    "test_s10_a_shortened_sha256_is_not_taken",
    "test_a5_",
    "test_a8_who_names_an_algorithm_gets_sha256",
    "test_a9_or_their_sha256",
    "test_a10_",
    "test_p3_one_more_than_there_is_room_for_is_refused",  # there is no setting for it
    "test_c1_one_more_than_there_is_room_for_is_refused",
    "test_t16_of_two_families_one_is_ended_alone",
    "test_p5_the_same_over_ipv6[additional]",
)


@contextlib.contextmanager
def running(directory: Path) -> Generator[Target]:
    """Start coturn on free ports of loopback, and end it."""
    # needs cryptography, which whoever names a server does not have to have
    from loadtest.certificate import write_certificate

    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed (Debian: apt-get install --no-install-recommends coturn)")
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if version != VERSION:
        pytest.skip(f"coturn is {version}; what is expected of it is written down for {VERSION}")
    certificate, key = write_certificate(directory)
    port, tls_port = free_port(), free_port()
    target = Target(
        name="coturn",
        host="127.0.0.1",
        port=port,
        tls_port=tls_port,
        also_host="127.0.0.2",
        realm=REALM,
        secret=SECRETS[0],
        other_secret=SECRETS[1],
        denied_peer="192.0.2.1",
        quota=QUOTA,
        rate=RATE,
        public=True,  # as it is shipped, but for loopback, where the suite's peers are
        answer_s=1.0,
    )
    hosts = ["127.0.0.1", "127.0.0.2"]
    relays = ["127.0.0.1"] + (["::1"] if target.peer6 else [])
    arguments = [
        *(f"--listening-ip={host}" for host in hosts),
        *(f"--relay-ip={host}" for host in relays),
        f"--listening-port={port}",
        f"--tls-listening-port={tls_port}",
        f"--cert={certificate}",
        f"--pkey={key}",
        "--use-auth-secret",
        *(f"--static-auth-secret={secret}" for secret in SECRETS),
        f"--realm={REALM}",
        "--allow-loopback-peers",
        f"--denied-peer-ip={target.denied_peer}",
        f"--user-quota={QUOTA}",
        f"--max-bps={RATE}",
        "--no-cli",
        "--no-rfc5780",  # its second ports would have to be free as well
        "--relay-threads=1",
        f"--userdb={directory / 'users'}",
        f"--pidfile={directory / 'pid'}",
        f"--log-file={directory / 'log'}",
        "--simple-log",
    ]
    with serving(target, [program, "-n", *arguments], directory / "log") as started:
        yield started
