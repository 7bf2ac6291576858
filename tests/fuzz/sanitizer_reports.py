"""Sorts out what the sanitizers wrote down in a run of script/sanitize; ends with 1 if any of it is ours.

CPython and other extensions keep memory to the end of the process without a pointer that is found; a
leak is ours when one of our files stands in the stack that took the memory. All else is a finding.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console

OURS = re.compile(r"^\s+#\d+ .* (sfu|turn|loadtest)/\S+:\d+", re.MULTILINE)
LEAKS = "ERROR: LeakSanitizer: detected memory leaks"


def findings(report: str) -> list[str]:
    """The parts of one report that tell of a fault of ours."""
    if LEAKS not in report:
        return [report.strip()] if report.strip() else []
    return [
        text.strip() for text in report.split("\n\n") if re.search(r"leak of \d", text) and OURS.search(text)
    ]


def main(folder: Path) -> int:
    """Read `report.*`; the exit status."""
    console = Console(soft_wrap=True)
    found = [
        text
        for file in sorted(folder.glob("report.*"))
        for text in findings(file.read_text(errors="replace"))
    ]
    for text in found:
        console.print(text, markup=False, highlight=False)
    console.print(f"findings of the sanitizers: {len(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
