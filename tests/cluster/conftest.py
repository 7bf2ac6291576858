"""Fixtures of the tests that make networks of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.lab import Lab, LabUnavailable, check_available


@pytest.fixture(scope="session")
def _namespaces() -> None:
    try:
        check_available()
    except LabUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.fixture
def lab(_namespaces: None) -> Iterator[Lab]:
    """A router with a server behind it; clients are made by the test."""
    with Lab() as made:
        yield made
