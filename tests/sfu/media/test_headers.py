"""The C headers of the packet path: each stands alone and compiles without a warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SFU = Path(__file__).parents[3] / "sfu"
HEADERS = sorted([*SFU.glob("media/c/*.h"), *SFU.glob("net/*.h")])
# -fkeep-inline-functions: functions that nobody calls are looked at too
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fkeep-inline-functions"]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_a_header_alone_compiles_without_a_warning(header: Path, tmp_path: Path) -> None:
    source = tmp_path / "alone.c"
    source.write_text(f'#include "{header.name}"\n#include "{header.name}"\n')
    folders = [f"-I{header.parent}", f"-I{SFU / 'net'}"]
    run = subprocess.run(
        ["gcc", *FLAGS, *folders, "-c", str(source), "-o", str(tmp_path / "alone.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
