"""What a server asks of the system for itself before it begins."""

from __future__ import annotations

import resource


def raise_descriptor_limit() -> None:
    """Let this process have as many open files as it may: the usual 1024 are for programs with select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
