"""Every fuzz target runs a bounded while in each test run; script/fuzz runs them for longer."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.targets import CORPUS, NAMES, build, target

if TYPE_CHECKING:
    from pathlib import Path

RUNS = (5_000, pytest.param(50_000, marks=pytest.mark.long))
PLANTED = """
#include "claim.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    if (take16(&r) == 0x4f52 && take32(&r) == 0x43484152 && r.left > 3) return data[size + data[6] % 2];
    return 0;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=program.parent
    )


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_target_claims_holds_for_its_corpus_and_mutations_of_it(
    name: str, runs: int, folder: Path
) -> None:
    """W8, W9, W12, W13, W19, W23: no read or write out of bounds, no undefined step, each claim kept."""
    done = run(build(target(name), folder), "--corpus", CORPUS / name, "--runs", str(runs), "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert f"{name} " in done.stderr


def test_the_driver_finds_a_planted_read_past_the_end_and_keeps_its_input(folder: Path) -> None:
    """Behind six bytes that chance alone would find once in 2**48."""
    source = folder / "planted.c"
    source.write_text(PLANTED)
    program = build(source, folder)
    found = run(program, "--runs", "1000000", "--seed", "5")
    assert found.returncode != 0
    assert "heap-buffer-overflow" in found.stderr
    again = run(program, folder / "crash-planted-5")
    assert "heap-buffer-overflow" in again.stderr
