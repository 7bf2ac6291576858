"""Runs the suite against a server and prints its score, row by row.

    python -m tests.conformance.turn --host 192.0.2.1 --secret SECRET --realm example.org

What follows `--` goes to pytest: `-- -k test_s4 -x`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pytest

from tests.conformance.turn.score import Recorder, Score
from tests.conformance.turn.target import add_arguments, from_environment, to_environment


def main(arguments: list[str]) -> int:
    """0 if no required row failed, 1 if one did, 2 if nothing could be judged."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.turn",
        description="Judges a TURN server by the requirements of RFC 8489, 8656 and 6062.",
        epilog="What follows -- is given to pytest.",
    )
    add_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result of each row there too")
    own, pytests = arguments, list[str]()
    if "--" in arguments:
        at = arguments.index("--")
        own, pytests = arguments[:at], arguments[at + 1 :]
    given = parser.parse_args(own)
    os.environ.update(to_environment(given))
    try:
        if from_environment() is None:
            parser.error("no server is named: --host")
    except ValueError as error:
        parser.error(str(error))

    recorder = Recorder()
    here = Path(__file__).parent
    # Without the settings of the project around it, so that pytest is all that is needed.
    alone = [
        "-c",
        os.devnull,
        f"--rootdir={here}",
        f"--confcutdir={here}",
        "--import-mode=importlib",
        "-p",
        "no:asyncio",
    ]
    alone.append(f"--ignore={here / 'test_rows.py'}")  # of the suite itself
    quiet = ["-p", "no:cacheprovider", "-p", "no:terminal"] if not pytests else []
    ended = pytest.main([*alone, *quiet, *pytests, str(here)], plugins=[recorder])
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        print(f"the tests did not run to their end: {recorder.trouble or ended}", file=sys.stderr)  # noqa: T201
        return 2
    score = Score(recorder.outcomes)
    sys.stdout.write(score.table())
    if given.json is not None:
        given.json.write_text(json.dumps(score.as_json(), indent=1) + "\n")
    return score.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
