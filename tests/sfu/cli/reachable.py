"""Commands for a user that may not enter where this Python or checkout lies, such as a home of root's."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def reachable(*command: str) -> list[str]:
    """The command, in a mount namespace of its own where others may enter what it needs."""
    needed = [Path(path).resolve() for path in (sys.base_prefix, sys.prefix, ROOT)]
    closed: dict[Path, list[Path]] = {}
    for path in needed:
        hidden = [above for above in reversed(path.parents) if not above.stat().st_mode & stat.S_IXOTH]
        if hidden:
            closed.setdefault(hidden[0], []).append(path)
    if not closed:
        return list(command)
    lines = ["set -e", "real=$(mktemp -d)"]
    for number, (hidden, paths) in enumerate(closed.items()):
        lines += [
            f"mkdir $real/{number}",
            f"mount --bind {shlex.quote(str(hidden))} $real/{number}",
            f"mount -t tmpfs -o mode=0755 none {shlex.quote(str(hidden))}",
        ]
        for path in paths:
            inner = shlex.quote(os.path.relpath(path, hidden))
            lines += [
                f"mkdir -p {shlex.quote(str(path))}",
                f"mount --bind $real/{number}/{inner} {shlex.quote(str(path))}",
            ]
    lines += ["exec " + shlex.join(command)]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines)]
