"""Lets any Python program run with the compiled modules of script/sanitize in place of the usual ones.

Found by way of PYTHONPATH, so child processes get them too.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

FOLDER = Path(os.environ["ORCHARD_SANITIZED"])
FILES = {
    ".".join((*file.relative_to(FOLDER).parent.parts, file.name.split(".")[0])): file
    for file in FOLDER.rglob("*.so")
}


class Sanitized:
    """Comes before the finders that know the checkout."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        """The sanitized module of this name."""
        del path, target
        return importlib.util.spec_from_file_location(name, FILES[name]) if name in FILES else None


sys.meta_path.insert(0, Sanitized)
