"""The documentation names what exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from turn.node import SETTINGS as TURN_SETTINGS

ROOT = Path(__file__).parent.parent
PAGES = [
    page
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/README.md")])
    if "node_modules" not in page.parts
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{target} is not there"


def test_every_flag_in_the_documentation_is_one_of_the_command() -> None:
    settings = (ROOT / "docs/reference/settings.md").read_text()
    known = set(re.findall(r"`(--[a-z0-9-]+)`", settings))
    known |= {setting.flag for setting in TURN_SETTINGS}
    known |= {"--config", "--data", "--finish", "--name", "--markdown", "--help", "--version"}
    for page in [ROOT / "README.md", *ROOT.glob("docs/howto/*.md")]:
        for command in re.findall(r"(?:orchard [^\n`]*|`--[^`]*`)", page.read_text()):
            for flag in re.findall(r"--[a-z][a-z0-9-]*", command):
                assert flag in known, f"{page.name}: {flag}"


def test_every_dependency_is_explained() -> None:
    page = (ROOT / "docs/reference/dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        name = re.split(r"[\[>=<]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", page), f"{name} has no line"


def test_every_package_of_the_page_is_explained() -> None:
    page = (ROOT / "docs/reference/dependencies.md").read_text()
    package = json.loads((ROOT / "demo-app/web/package.json").read_text())
    for name in [*package["dependencies"], *package["devDependencies"]]:
        assert re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w/-])", page), f"{name} has no line"


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        "requirements.lock": project["dependencies"],
        "requirements-test.lock": [*project["dependencies"], *project["optional-dependencies"]["test"]],
    }
    for lock, requirements in wanted.items():
        locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        for requirement in requirements:
            assert re.split(r"[\[>=<]", requirement)[0].lower() in locked, f"{requirement}: run make lock"


def test_locks_name_no_host() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert "://" not in lock.read_text()
    for lock in [ROOT / "tests/browser/package-lock.json", ROOT / "demo-app/web/package-lock.json"]:
        assert '"resolved"' not in lock.read_text()


def test_the_command_can_be_run_as_a_module_of_the_environment() -> None:
    command = Path(sys.executable).parent / "orchard"
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("orchard ")
