"""The servers under test if none is named: each starts on loopback and ends with the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.turn import coturn, orchard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.conformance.turn.target import Target

# By name: what starts one, given a directory for its files; the tests that it is known to fail, with what it
# does; and the beginnings of the names of those that are skipped since it leaves out what they are about.
# A failure that is not named here and a success of one that is are both failures of the run, but for those
# whose reason begins with "sometimes".
STARTERS: Mapping[str, Callable[[Path], AbstractContextManager[Target]]] = {
    "orchard": orchard.running,
    "coturn": coturn.running,
}
DEVIATIONS: Mapping[str, Mapping[str, str]] = {
    "orchard": orchard.DEVIATIONS,
    "coturn": coturn.DEVIATIONS,
}
LEFT_OUT: Mapping[str, tuple[str, ...]] = {"orchard": orchard.LEFT_OUT, "coturn": coturn.LEFT_OUT}
