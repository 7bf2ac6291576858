"""`orchard config`: every setting, its value, where that came from, and what it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sfu.base.settings import CONFIG_FILE_VARIABLE, Config, Source
from sfu.cli.options import all_settings, takes_settings
from sfu.cli.terminal import out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sfu.base.settings import Setting

_INTRODUCTION = f"""\
# Settings

Each setting is a flag of `orchard serve`, an environment variable and a key of a TOML file (named by
`--config` or `{CONFIG_FILE_VARIABLE}`). A flag goes before the environment, the environment before the file,
the file before the default. The flag of a list may be repeated; its variable takes commas. `orchard config`
shows the values in force.

This page is written by `orchard config --markdown`.
"""


@takes_settings()
def config(
    config: Config,
    *,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write the reference page of the docs instead")
    ] = False,
) -> None:
    """Show every setting, its value, default, source and unit."""
    if markdown:
        out.print(markdown_page(), soft_wrap=True, highlight=False, markup=False, end="")
        return
    table = Table("setting", "value", "unit", "default", "source", "help", box=None, header_style="bold")
    for setting in all_settings():
        source = config.source(setting)
        table.add_row(
            setting.name,
            setting.show(config[setting]),
            setting.unit,
            setting.show(setting.default),
            source.value,
            setting.help,
            style=None if source is Source.DEFAULT else "bold",
        )
    out.print(table)


def markdown_page() -> str:
    """The reference page of all settings."""
    lines = [_INTRODUCTION]
    section = ""
    for setting in all_settings():
        if setting.section != section:
            section = setting.section
            lines += [f"## {section}", "", "| key, flag, variable | default | takes | |", "|---|---|---|---|"]
        lines.append("| " + " | ".join(_cells(setting)) + " |")
        if _is_last(setting):
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _cells(setting: Setting[Any]) -> Iterator[str]:
    yield f"`{setting.key}` `{setting.flag}` `{setting.environment}`"
    default = setting.show(setting.default)
    yield f"`{default}`" if default else ""
    yield setting.wants
    yield setting.help


def _is_last(setting: Setting[Any]) -> bool:
    return [other for other in all_settings() if other.section == setting.section][-1] is setting
