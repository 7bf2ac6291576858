"""`orchard turn key`: tokens are shown once, exchanged without a gap, and revoked at once."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

import pytest

from sfu.directory.files import DataDirectory
from sfu.turn.keys import TurnKeys

if TYPE_CHECKING:
    from tests.sfu.cli.command import Command, Result
    from turn.keys import TurnKey


def issued(result: Result) -> tuple[str, str]:
    assert result.status == 0
    match = re.fullmatch(r"key id     ([0-9a-f]{32})\nkey token  ([0-9a-f]{64})\n", result.out)
    assert match is not None
    return match[1], match[2]


def stored(orchard: Command) -> dict[str, TurnKey]:
    return TurnKeys(DataDirectory(orchard.data)).current()


def test_a_key_is_made_and_its_token_shown_once(orchard: Command) -> None:
    key, token = issued(orchard.on_data("turn", "key", "create", "--name", "mine"))
    assert stored(orchard)[key].accepts(token)
    listed = orchard.on_data("turn", "key", "list")
    assert key in listed.out
    assert "mine" in listed.out
    assert token not in listed.out
    content = (orchard.data / "turn-keys.json").read_text()
    assert token not in content
    assert stat.S_IMODE((orchard.data / "turn-keys.json").stat().st_mode) == 0o600
    assert stored(orchard)[key].secrets[0].decode() not in listed.out


def test_a_token_is_exchanged_in_two_steps(orchard: Command) -> None:
    key, first = issued(orchard.on_data("turn", "key", "create"))
    result = orchard.on_data("turn", "key", "rotate", key[:8])
    same, second = issued(result)
    assert same == key
    assert f"orchard turn key rotate {key} --finish" in result.err
    assert stored(orchard)[key].accepts(first)
    assert stored(orchard)[key].accepts(second)
    assert orchard.on_data("turn", "key", "rotate", key, "--finish").status == 0
    assert not stored(orchard)[key].accepts(first)
    assert stored(orchard)[key].accepts(second)


def test_a_revoked_key_is_gone(orchard: Command) -> None:
    key, _ = issued(orchard.on_data("turn", "key", "create"))
    assert orchard.on_data("turn", "key", "revoke", key).out == f"revoked {key}\n"
    assert stored(orchard) == {}


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_an_id_must_name_one_key(orchard: Command, command: str) -> None:
    issued(orchard.on_data("turn", "key", "create"))
    issued(orchard.on_data("turn", "key", "create"))
    unknown = orchard.on_data("turn", "key", command, "x")
    assert unknown.status == 2
    assert (
        unknown.err == 'orchard: "x": no key has an id that begins so; `orchard turn key list` shows them\n'
    )
    assert orchard.on_data("turn", "key", command, "").err.startswith('orchard: "": 2 keys have an id')
    assert len(stored(orchard)) == 2


def test_flags_before_the_command_are_refused_rather_than_ignored(orchard: Command) -> None:
    result = orchard("turn", "--data", str(orchard.data), "key", "list")
    assert result.status == 2
    assert "flags go behind its command" in result.err


def test_damaged_keys_are_named_and_not_overwritten(orchard: Command) -> None:
    DataDirectory(orchard.data).write("turn-keys.json", b"damaged")
    result = orchard.on_data("turn", "key", "create")
    assert result.status == 2
    assert "turn-keys.json: is no document of TURN keys" in result.err
    assert (orchard.data / "turn-keys.json").read_bytes() == b"damaged"
