"""For all tests: what is true of them whatever they test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

# No example is judged by the clock, which a busy machine and sanitizers slow down.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

HERE = Path(__file__).parent
# Browsers, networks and other people's clients keep their own time: no other test runs beside these.
ALONE = ("browser", "cluster", "loadtest", "turn/test_coturns_client.py")


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what must run alone, and begin with the package, whose build takes longest."""
    for item in items:
        place = item.path.relative_to(HERE)
        if any(place.is_relative_to(alone) for alone in ALONE):
            item.add_marker(pytest.mark.alone)
    items.sort(key=lambda item: item.path.name != "test_package.py")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all tests that do it no harm; each takes a prefix of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
