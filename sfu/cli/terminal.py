"""Where commands write to: answers to standard output, all else to standard error."""

from __future__ import annotations

import sys

from rich.console import Console

_PLAIN_WIDTH = 400  # a pipe has no width; lines must not be cut for one

out = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
err = Console(stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH)
