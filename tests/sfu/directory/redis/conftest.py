from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sfu.directory.redis.nodes import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.redis_server import RedisServer


@pytest.fixture
async def cluster(redis_server: RedisServer) -> AsyncIterator[Cluster]:
    """A cluster on the Redis of all tests, with no node yet."""
    async with Cluster(redis_server) as cluster:
        yield cluster
