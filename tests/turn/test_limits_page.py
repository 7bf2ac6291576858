"""The page of limits says what is so: each has its setting with that default, its metric and its test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfu.base.settings import ByteSize
from sfu.turn.service import SETTINGS as SERVICE_SETTINGS
from turn import limits
from turn.limits import Limit
from turn.node import SETTINGS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "reference"
ROWS = re.findall(
    r"^\| ([^|]+) \| `(\w+)` \| ([^|]+) \| ([^|]+) \| (.+) \| `(.+)` \|$",
    (DOCS / "turn-limits.md").read_text(),
    re.M,
)
BY_NAME = {setting.name.removeprefix("turn."): setting for setting in (*SETTINGS, *SERVICE_SETTINGS)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_a_row_is_true(row: tuple[str, ...]) -> None:
    _, name, default, _, metrics, test = row
    value = BY_NAME[name].default
    assert re.match(re.escape(str(value)) + r"\b", default), f"{name} is {value}"
    counters = (DOCS / "counters.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "turn").glob("*.py"))
    for metric in re.findall(r"`([^`]+)`", metrics):
        bare, _, label = metric.partition("{")
        assert f'"{bare}"' in sources
        assert bare in counters
        assert_label_exists(bare, label)
    file, _, function = test.partition("::")
    assert re.search(rf"def {function}\(", (ROOT / "tests" / "turn" / file).read_text()), test


def assert_label_exists(metric: str, label: str) -> None:
    value = re.search(r'"(\w+)"', label)
    if value is None:
        return
    if metric == "orchard_turn_refused_total":
        assert value[1] in {limit.value for limit in Limit}
    else:
        files = [path for suffix in ("py", "pxi") for path in (ROOT / "turn").rglob(f"*.{suffix}")]
        code = "".join(path.read_text() for path in files)
        assert f'"{value[1]}"' in code, metric


def test_every_bound_on_clients_has_a_row() -> None:
    wanted = {
        setting.name.removeprefix("turn.")
        for setting in vars(limits).values()
        if isinstance(setting, limits.Setting)
    }
    # how numbers are chosen, and the size of a table that is full from the start
    assert wanted - {name for _, name, *_ in ROWS} == {"strict_channels", "rate_slots"}


def test_sizes_read_as_in_the_page() -> None:
    assert str(ByteSize(2048)) == "2 KiB"
