"""`orchard app`: secrets are shown once, exchanged without a gap, and revoked at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import AppId
from sfu.directory.files import DataDirectory

if TYPE_CHECKING:
    from sfu.directory.interface import App
    from tests.sfu.cli.command import Command, Result


def issued(result: Result) -> tuple[AppId, str]:
    assert result.status == 0
    match = re.fullmatch(r"app id      ([0-9a-f]{32})\napp secret  ([0-9a-f]{64})\n", result.out)
    assert match is not None
    return AppId(match[1]), match[2]


def stored(orchard: Command) -> dict[AppId, App]:
    return {app.id: app for app in DataDirectory(orchard.data).apps() or []}


def test_an_app_is_made_and_its_secret_shown_once(orchard: Command) -> None:
    app, secret = issued(orchard.on_data("app", "create", "--name", "mine"))
    assert stored(orchard)[app].accepts(secret)
    listed = orchard.on_data("app", "list")
    assert app in listed.out
    assert "mine" in listed.out
    assert secret not in listed.out


def test_a_secret_is_exchanged_in_two_steps(orchard: Command) -> None:
    app, first = issued(orchard.on_data("app", "create"))
    result = orchard.on_data("app", "rotate", app[:8])
    same, second = issued(result)
    assert same == app
    assert f"orchard app rotate {app} --finish" in result.err
    assert stored(orchard)[app].accepts(first)
    assert stored(orchard)[app].accepts(second)
    assert orchard.on_data("app", "rotate", app, "--finish").out == "only the newest secret is valid now\n"
    assert not stored(orchard)[app].accepts(first)
    assert stored(orchard)[app].accepts(second)


def test_a_revoked_app_is_gone(orchard: Command) -> None:
    app, _ = issued(orchard.on_data("app", "create"))
    assert orchard.on_data("app", "revoke", app).out == f"revoked {app}; 0 sessions closed\n"
    assert stored(orchard) == {}


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_an_id_must_name_one_app(orchard: Command, command: str) -> None:
    app, _ = issued(orchard.on_data("app", "create"))
    issued(orchard.on_data("app", "create"))
    unknown = orchard.on_data("app", command, "x")
    assert unknown.status == 2
    assert unknown.err == 'orchard: "x": no app has an id that begins so; `orchard app list` shows them\n'
    assert orchard.on_data("app", command, "").err.startswith('orchard: "": 2 apps have an id')
    assert app in stored(orchard)


def test_a_directory_that_others_may_read_is_refused(orchard: Command) -> None:
    orchard.data.mkdir(mode=0o755)
    result = orchard.on_data("app", "list")
    assert result.status == 2
    assert "mode 0755 lets others in; close it: chmod 700" in result.err
