"""What real browsers said to a TURN server (tests/fixtures/turn)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfu.wire import stun, turn
from sfu.wire.stun import Attribute, MessageClass, PasswordAlgorithm
from sfu.wire.turn import Framer, Method, TurnAttribute
from turn.credentials import Credentials, Keys

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures" / "turn").glob("*.txt"))
REALM = "orchard"
KEYS = Keys({"0123456789abcdef0123456789abcdef": (bytes(16),)})

recordings = pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)


def messages(path: Path) -> list[bytes]:
    return [bytes.fromhex(line) for line in path.read_text().split()]


def requests(path: Path) -> list[stun.Message]:
    parsed = [stun.parse(data) for data in messages(path) if turn.is_stun(data[0])]
    return [message for message in parsed if message.message_class is MessageClass.REQUEST]


def test_there_are_recordings_of_both_browsers_on_both_transports() -> None:
    assert {path.stem.split("-")[0] for path in FIXTURES} == {"chromium", "firefox"}
    assert {path.stem.split("-")[2] for path in FIXTURES} == {"udp", "tcp"}


@recordings
def test_every_message_is_read_and_built_again_as_it_was(path: Path) -> None:
    for data in messages(path):
        if turn.is_channel_data(data[0]):
            assert turn.build_channel_data(*turn.parse_channel_data(data)) == data
            continue
        message = stun.parse(data)
        built = stun.build(
            message.method,
            message.message_class,
            message.transaction_id,
            message.attributes,
            key=key_of(message) if message.integrity_at is not None else None,
            fingerprint=message.has_fingerprint,
        )
        assert built == data


def key_of(message: stun.Message) -> bytes:
    """The key of the minted name in a request; it holds at any time before its end."""
    username = (message.get(Attribute.USERNAME) or b"").decode()
    credentials = Credentials(REALM, KEYS)
    credential = credentials.find(username, int(username.partition(":")[0]) - 1)
    assert credential is not None
    (password,) = credentials.passwords(credential)
    return stun.long_term_key(username, REALM, password, PasswordAlgorithm.MD5)


@recordings
def test_no_browser_names_a_password_algorithm_or_sends_a_sha256_integrity(path: Path) -> None:
    """So what they are offered does not disturb them; when this fails they have learned it."""
    for message in requests(path):
        assert message.get(Attribute.PASSWORD_ALGORITHM) is None
        assert message.integrity_sha256_at is None


@recordings
def test_all_that_is_signed_has_the_nonce_of_a_challenge(path: Path) -> None:
    signed = [message for message in requests(path) if message.integrity_at is not None]
    assert {Method.ALLOCATE, Method.CREATE_PERMISSION} <= {message.method for message in signed}
    for message in signed:
        assert (message.get(Attribute.NONCE) or b"").startswith(b"obMatJos2AAAB")
        assert message.get(Attribute.REALM) == REALM.encode()


@recordings
def test_no_browser_sends_a_required_attribute_that_is_not_known(path: Path) -> None:
    known = frozenset(Attribute) | frozenset(TurnAttribute)
    assert [message.unknown_required(known) for message in requests(path)] == [()] * len(requests(path))


@recordings
def test_the_messages_of_a_stream_are_found_in_it(path: Path) -> None:
    recorded = messages(path)
    framer = Framer(65540)
    framer.feed(b"".join(data + bytes(-len(data) % 4) for data in recorded))
    taken: list[bytes] = []
    while (message := framer.take()) is not None:
        taken.append(message)
    assert taken == recorded


def test_chromium_binds_channels_and_firefox_sends_indications() -> None:
    """Why both ways of data are worth a fast path."""
    for path in FIXTURES:
        kinds = {data[:2] for data in messages(path)}
        assert (b"\x40\x00" in kinds) == path.stem.startswith("chromium")
        assert b"\x00\x16" in kinds
