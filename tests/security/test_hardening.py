"""docs/reference/hardening.md is true: the tests that it names are there, and it names every row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfu.base.ids import AppId
from sfu.directory import interface
from sfu.directory.interface import App, digest_secret

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "hardening.md"
ROWS: dict[str, str] = dict(re.findall(r"^\| (W\d+) \|(.*)$", PAGE.read_text(), re.MULTILINE))


@pytest.mark.parametrize("row", list(ROWS))
def test_each_row_names_tests_that_exist_or_says_what_is_not_built(row: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", ROWS[row])
    assert named or "not built" in ROWS[row]
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), (
            f"{file}::{test}"
        )


def test_no_row_is_missing() -> None:
    assert set(ROWS) == {f"W{number}" for number in range(1, 39)}


def test_w32_every_secret_of_an_app_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that matches does not end the comparison, so time tells nothing of which it was."""
    compared: list[bytes] = []
    true = interface.hmac.compare_digest

    def watched(given: bytes, valid: bytes) -> bool:
        compared.append(valid)
        return true(given, valid)

    monkeypatch.setattr(interface.hmac, "compare_digest", watched)
    digests = tuple(digest_secret(secret) for secret in ("one", "two"))
    app = App(AppId("a"), "a", digests, 0.0)
    assert [app.accepts(secret) for secret in ("one", "two", "three")] == [True, True, False]
    assert compared == list(digests) * 3
