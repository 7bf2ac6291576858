"""Bundles npm packages into one module that a page can load."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.browser.driver import HERE, BrowserMissing, node_binary


def bundle(entry: Path, target: Path) -> None:
    """Bundle `entry` and all it imports, by esbuild. Raises BrowserMissing without npm's packages."""
    esbuild = HERE / "node_modules" / "esbuild" / "bin" / "esbuild"
    if not esbuild.exists():
        raise BrowserMissing("tests/browser/node_modules: not installed; script/setup --test does it")
    options = ["--bundle", "--format=esm", "--log-level=warning", f"--outfile={target}"]
    # The file is a native program once npm's install script has run, and a script for node before.
    native = esbuild.read_bytes()[:4] == b"\x7fELF"
    subprocess.run([*([] if native else [node_binary()]), str(esbuild), str(entry), *options], check=True)
