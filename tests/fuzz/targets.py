"""Builds and runs the fuzz targets of the C headers; driver.c says what a target is."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
NAMES = tuple(sorted(file.stem for file in (HERE / "targets").glob("*.c")))
FLAGS = "-std=gnu11 -g -O1 -fno-omit-frame-pointer -Wall -Wextra -Wconversion -Werror"
FIXED = ("-fno-pie", "-no-pie")  # code at the same addresses each time, so that one seed gives one course
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COVERAGE = "-fsanitize-coverage=trace-pc,trace-cmp"
LIBRARIES = {"evp": ("-lcrypto",), "stream": ("-lssl", "-lcrypto")}


def compile_c(*arguments: str | Path) -> None:
    """Run the compiler; its words are the error."""
    done = subprocess.run(
        ["gcc", *FLAGS.split(), *FIXED, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)


def build(source: Path, folder: Path) -> Path:
    """The program that runs the target of this file."""
    driver, program = folder / "driver.o", folder / source.stem
    if not driver.exists() or driver.stat().st_mtime < (HERE / "driver.c").stat().st_mtime:
        compile_c("-c", HERE / "driver.c", "-o", driver)
    includes = (f"-I{HERE}", *(f"-I{ROOT / folder}" for folder in ("sfu/media/c", "sfu/net", "turn/c")))
    libraries = LIBRARIES.get(source.stem, ())
    compile_c(*SANITIZERS, COVERAGE, *includes, source, driver, "-o", program, *libraries)
    return program


def target(name: str) -> Path:
    """The source of a target."""
    return HERE / "targets" / f"{name}.c"


def main(seconds: float, folder: Path) -> int:
    """Run each target for its part of the time; the exit status of the first that dies."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        program = build(target(name), folder)
        kept = folder / "corpus" / name
        kept.mkdir(parents=True, exist_ok=True)
        each = [f"{seconds / len(NAMES):.1f}", "--seed", str(random.SystemRandom().getrandbits(32))]
        done = subprocess.run(
            [program, "--corpus", CORPUS / name, "--keep", kept.resolve(), "--seconds", *each],
            cwd=folder,
            check=False,
        )
        if done.returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), Path(sys.argv[2]).resolve()))
