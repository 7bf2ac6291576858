"""The table of rows in docs/reference/turn-conformance.md, from what is known of the servers of `servers`.

python -m tests.conformance.turn.page     prints it
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

from tests.conformance.turn.rows import OPTIONAL, REQUIRED, ROWS, Row, row_of
from tests.conformance.turn.servers import DEVIATIONS, LEFT_OUT

HERE = Path(__file__).parent
SERVERS = {"orchard": "Orchard", "coturn": "coturn 4.6.1"}


@cache
def names_of_tests(*, long: bool = True) -> frozenset[str]:
    """The names of all tests of rows; those that wait for minutes only if `long`."""
    trees = [ast.parse(path.read_text()) for path in HERE.glob("test_*.py") if path.name != "test_rows.py"]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    return frozenset(
        function.name
        for function in functions
        if function.name.startswith("test_") and (long or not _waits(function))
    )


def _waits(function: ast.FunctionDef) -> bool:
    names = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(isinstance(name, ast.Name) and name.id == "wait" for name in names)


def known(row: Row, server: str) -> str:
    """What a server makes of a row without --long: pass, FAIL, or a line where no test of it can be run."""
    tests = {name for name in names_of_tests(long=False) if row_of(name) == row.id}
    if tests & {name.partition("[")[0] for name in DEVIATIONS[server]}:
        return "**FAIL**"
    left = tuple(name for name in LEFT_OUT[server] if "[" not in name)
    return "pass" if any(not name.startswith(left) for name in tests) else "\u2013"


def table() -> str:
    """A line for each row, and a line for each level with the rows that pass of those that were judged."""
    lines = [
        f"| row | source | what a server has to do | {' | '.join(SERVERS.values())} |",
        f"|---|---|---|{'---|' * len(SERVERS)}",
    ]
    for row in ROWS:
        asks = row.asks + (" (optional)" if row.level == OPTIONAL else "")
        if row.unseen:
            asks += f". Not seen from outside{', ' if row.unseen.startswith('partly') else ': '}{row.unseen}"
        cells = [row.id, row.source, asks, *(known(row, server) for server in SERVERS)]
        lines.append(f"| {' | '.join(cells)} |")
    for level in (REQUIRED, OPTIONAL):
        sums: list[str] = []
        for server in SERVERS:
            results = [known(row, server) for row in ROWS if row.level == level]
            sums.append(f"{results.count('pass')} of {len(results) - results.count(chr(0x2013))}")
        lines.append(f"| | | **{level}: rows that pass, of those that can be judged** | {' | '.join(sums)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
