"""`orchard config`, and what the command line makes of settings."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sfu
from sfu.base.settings import declared
from sfu.cli.config import markdown_page
from sfu.cli.options import all_settings
from turn.node import SETTINGS as TURN_SETTINGS

if TYPE_CHECKING:
    from tests.sfu.cli.command import Command

SETTINGS_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line.split()


def test_every_setting_is_shown_with_its_default_and_source(orchard: Command) -> None:
    text = orchard("config").out
    for setting in all_settings():
        assert "default" in row(text, setting.name)
        assert setting.help in text


def test_a_value_is_shown_with_where_it_came_from(
    orchard: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "orchard.toml").write_text("[sessions]\nlimit = 7\n")
    monkeypatch.setenv("ORCHARD_HTTP", "127.0.0.1:9")
    text = orchard("config", "--config", "orchard.toml", "--media", ":5").out
    assert row(text, "sessions.limit")[1:4] == ["7", "100000", "file"]
    assert row(text, "http.listen")[1:4] == ["127.0.0.1:9", "127.0.0.1:8080", "environment"]
    assert row(text, "media.listen")[1:4] == [":5", ":40000", "flag"]


def test_the_file_may_be_named_by_a_variable(
    orchard: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.toml").write_text("[sessions]\nlimit = 8\n")
    monkeypatch.setenv("ORCHARD_CONFIG", "other.toml")
    assert row(orchard("config").out, "sessions.limit")[1] == "8"


def test_secrets_are_hidden(orchard: Command) -> None:
    text = orchard("config", "--app", "a" * 32 + ":" + "s" * 64, "--metrics-secret", "hunter2").out
    assert row(text, "node.app")[1] == "(hidden)"
    assert row(text, "metrics.secret")[1] == "(hidden)"
    assert "hunter2" not in text


def test_a_wrong_value_is_one_line_that_names_the_setting(orchard: Command) -> None:
    result = orchard("serve", "--media", "here")
    assert result.status == 2
    assert result.err == ('orchard: --media: "here" can\'t be taken; give HOST:PORT, [IPV6]:PORT or :PORT\n')


def test_the_page_of_the_docs_is_what_the_command_writes(orchard: Command) -> None:
    assert orchard("config", "--markdown").out == markdown_page()
    assert SETTINGS_PAGE.read_text() == markdown_page(), (
        "write it anew: orchard config --markdown > docs/reference/settings.md"
    )


def test_settings_of_the_turn_server_are_among_those_of_serve(orchard: Command) -> None:
    shown = {setting.name for setting in all_settings()}
    assert {setting.name for setting in TURN_SETTINGS} <= shown
    assert {"turn.enabled", "turn.host", "turn.credential_ttl", "turn.credential_ttl_limit"} <= shown
    assert "turn.policy" in orchard("config").out


def test_a_setting_that_nobody_reads_is_not_shown() -> None:
    importlib.import_module("turn.credentials")
    assert "turn.userhashes" in {setting.name for setting in declared()}
    assert "turn.userhashes" not in {setting.name for setting in all_settings()}


def test_the_version_is_the_packages(orchard: Command) -> None:
    assert orchard("--version").out == f"orchard {sfu.__version__}\n"
