"""Some courses of streams.py in each test run; script/fuzz runs it for longer."""

from __future__ import annotations

import pytest

from tests.fuzz.streams import run


@pytest.mark.parametrize("seed", range(8))
def test_what_must_hold_for_connections_holds_in_any_course_of_things(seed: int) -> None:
    run(seed)
