"""Where commands write to: answers to standard output, all else to standard error."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

_PLAIN_WIDTH = 400  # a pipe has no width; lines must not be cut for one

out = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
err = Console(stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH)


def as_text(text: str) -> Text:
    """What a client or a user wrote, for a table: no markup, and nothing that steers the terminal."""
    return Text("".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text))
