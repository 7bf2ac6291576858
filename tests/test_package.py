"""The package that others install: an sdist that builds anywhere, a wheel that holds what a server needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOADED = """
import json, sys
import loadtest.flows, loadtest.seal, meeting.app, sfu.cli.main, turn.relay, turn.tuples
tops = ("sfu", "turn", "meeting", "loadtest")
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in tops]))
"""
COMPILED = (".pyx", ".pxd", ".pxi", ".h")


def run(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this checkout that git knows, and no others."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    clean = tmp_path_factory.mktemp("checkout")
    for name in run("git", "-C", str(ROOT), "ls-files", "-z").split("\0"):
        if name and (ROOT / name).is_file():
            (clean / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clean / name)
    web = Path("demo-app/web/node_modules")
    if (ROOT / web).is_dir():
        (clean / web).symlink_to(ROOT / web)  # what npm would install there, without the minute that it takes
    return clean


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and with the wheel that was built from the sdist.

    What a package holds does not hang on how fast its code is, so the compiler need not take its time.
    """
    compiler = tmp_path_factory.mktemp("compiler") / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0 -g0\n')
    compiler.chmod(0o755)
    run(
        *(sys.executable, "-m", "build", "--no-isolation"),
        cwd=checkout,
        env={**os.environ, "CC": str(compiler)},
    )
    return checkout / "dist"


@pytest.fixture(scope="module")
def sdist(built: Path) -> set[str]:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


def sources(checkout: Path, *suffixes: str) -> set[str]:
    found = [path for suffix in suffixes for path in checkout.rglob(f"*{suffix}")]
    return {str(path.relative_to(checkout)) for path in found if "tests" not in path.parts}


def test_the_sdist_holds_all_that_the_build_reads(checkout: Path, sdist: set[str]) -> None:
    wanted = sources(checkout, *COMPILED, ".pyi") | {"pyproject.toml", "README.md", "LICENSE"}
    assert wanted <= sdist
    assert {name for name in sdist if name.endswith((".so", ".c"))} == set()


def test_the_wheel_holds_every_module_and_the_demos_files(checkout: Path, wheel: set[str]) -> None:
    modules = {name.replace("demo-app/server/", "") for name in sources(checkout, ".py", ".pyi")}
    modules = {name for name in modules if name.startswith(("sfu/", "turn/", "loadtest/", "meeting/"))}
    meeting = checkout / "demo-app/server/meeting"
    files = {
        path for folder in ("demo", "static") for path in (meeting / folder).rglob("*") if path.is_file()
    }
    assert modules <= wheel
    assert {f"meeting/{path.relative_to(meeting)}" for path in files} <= wheel
    assert "meeting/static/index.html" in wheel


def test_the_sdist_holds_the_page_and_its_sources_so_that_a_wheel_needs_no_node(sdist: set[str]) -> None:
    web, built = "demo-app/web/", "demo-app/server/meeting/static/"
    assert {f"{web}src/main.tsx", f"{web}package-lock.json", f"{web}.npmrc", f"{built}index.html"} <= sdist
    assert f"{built}built-from.txt" in sdist
    assert [name for name in sdist if "node_modules" in name] == []


def test_the_wheel_holds_the_extensions_and_not_their_sources(checkout: Path, wheel: set[str]) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    for extension in project["tool"]["setuptools"]["ext-modules"]:
        start = extension["name"].replace(".", "/") + "."
        assert [name for name in wheel if name.startswith(start) and name.endswith(".so")], start
    assert {name for name in wheel if name.endswith((*COMPILED, ".c"))} == set()
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {
        "sfu",
        "turn",
        "loadtest",
        "meeting",
        "orchard_sfu",
    }


def test_every_extension_source_is_built(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    listed = {
        source for module in project["tool"]["setuptools"]["ext-modules"] for source in module["sources"]
    }
    assert listed == sources(checkout, ".pyx")


def test_the_installed_wheel_runs(built: Path, tmp_path: Path) -> None:
    (file,) = built.glob("*.whl")
    site = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(file))
    printed = run(sys.executable, "-c", LOADED, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)})
    elsewhere = [place for place in json.loads(printed) if not Path(place).is_relative_to(site)]
    assert elsewhere == []
