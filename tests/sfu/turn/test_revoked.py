"""Revoked names in a file: added by any process, read by all, never lost and never without end."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sfu.directory.files import DataDirectory, DataDirectoryError
from sfu.turn.revoked import FILE, Revocations

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path / "data")


def name(number: int, *, ends_in_s: int = 600) -> str:
    return f"{int(NOW) + ends_in_s}:key:{number}"


def test_each_reader_hears_of_each_name_once(data: DataDirectory) -> None:
    early, writer = Revocations(data), Revocations(data)
    assert early.news() == []
    writer.add(name(1))
    assert early.news() == [name(1)]
    assert early.news() == []
    writer.add(name(2))
    assert early.news() == [name(2)]
    assert Revocations(data).news() == [name(1), name(2)]


def test_a_name_may_be_any_text(data: DataDirectory) -> None:
    names = ["1800000600:a\nb", '1800000600:"', "1800000600:\u00e9\u2028", "1800000600:\ud800"]
    for one in names:
        Revocations(data).add(one)
    assert Revocations(data).news() == names


def test_only_the_owner_can_read_the_names(data: DataDirectory) -> None:
    Revocations(data).add(name(1))
    assert stat.S_IMODE((data.path / FILE).stat().st_mode) == 0o600
    (data.path / FILE).chmod(0o644)
    with pytest.raises(DataDirectoryError, match="mode 0644"):
        Revocations(data).news()


def test_a_line_that_a_crash_cut_off_costs_no_other(data: DataDirectory) -> None:
    reader, writer = Revocations(data), Revocations(data)
    writer.add(name(1))
    with (data.path / FILE).open("ab") as file:
        file.write(b'"1800000600:cut')
    assert reader.news() == [name(1)]
    writer.add(name(2))
    assert reader.news() == [name(2)]


def test_a_large_file_loses_the_names_that_have_ended_and_readers_miss_nothing(data: DataDirectory) -> None:
    writer = Revocations(data, large_bytes=2000, wall_clock=lambda: NOW)
    reader = Revocations(data)
    heard: list[str] = []
    live = [name(number) for number in range(20)]
    for number in range(1000):
        writer.add(name(number, ends_in_s=-1))
        if number % 50 == 0:
            writer.add(live[number // 50])
        if number % 7 == 0:
            heard += reader.news()
        assert (data.path / FILE).stat().st_size < 4000
    heard += reader.news()
    assert set(live) <= set(heard)
    assert set(live) <= set(Revocations(data).news())


def test_names_that_many_add_at_once_are_all_kept(data: DataDirectory) -> None:
    names = [name(number) for number in range(40)]

    def add(one: str) -> None:
        Revocations(DataDirectory(data.path), large_bytes=500, wall_clock=lambda: NOW).add(one)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    assert sorted(set(Revocations(data).news()) & set(names)) == sorted(names)


def test_a_full_disk_is_said(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DataDirectoryError, match="turn-revoked: can't be written: No space left"):
        Revocations(data).add(name(1))
