"""A node on loopback for each test; at its end no slot may be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sfu.media.peers import Node

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()
