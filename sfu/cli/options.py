"""Commands that take settings: one flag for each, made from its declaration."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfu.base.log import get_logger
from sfu.base.settings import (
    CONFIG_FILE_VARIABLE,
    ByteSize,
    Config,
    Listen,
    Setting,
    Source,
    declared,
    load,
)
from sfu.turn.service import SETTINGS as serve_settings
from turn.node import SETTINGS as turn_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = get_logger("node")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"TOML file with settings; {CONFIG_FILE_VARIABLE} names it too",
        show_default=False,
    ),
]


def takes_settings(*settings: Setting[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each of `settings` (without any: for all there are) and `--config`.

    The command's first parameter is the `Config`; its others become arguments and options of their own.
    """
    taken = settings or all_settings()

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(config_file: Path | None, **given: Any) -> None:
            texts = {setting.name: given.pop(_parameter(setting)) for setting in taken}
            flags = {name: text for name, text in texts.items() if text is not None and text != []}
            command(read_config(flags, config_file), **given)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            *(parameter.replace(kind=keyword) for parameter in own),
            inspect.Parameter("config_file", keyword, default=None, annotation=ConfigFile),
            *(
                inspect.Parameter(_parameter(setting), keyword, default=None, annotation=_option(setting))
                for setting in taken
            ),
        ]
        run.__doc__ = command.__doc__
        run.__name__ = command.__name__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        vars(run)["__signature__"] = inspect.Signature(parameters)
        return run

    return decorate


def all_settings() -> tuple[Setting[Any], ...]:
    """Every setting of the server and of what it is made of."""
    importlib.import_module("sfu.api.server")  # it and what it imports declare them
    return tuple(
        setting
        for setting in declared()
        if setting.section != "turn" or setting in turn_settings or setting in serve_settings
    )


def warn_of_open_secrets(config: Config) -> None:
    """Log which secrets were given as flags, where all users of the machine can read them."""
    flags = [
        setting.flag for setting in declared() if setting.secret and config.source(setting) is Source.FLAG
    ]
    if flags:
        log.warning("settings.secret_in_arguments", flags=flags, mend="its variable, or the file of --config")


def read_config(flags: Mapping[str, str | Sequence[str]], config_file: Path | None) -> Config:
    """The settings from `flags`, the process's environment and the file that one of both names."""
    named = config_file or os.environ.get(CONFIG_FILE_VARIABLE)
    return load(flags, os.environ, Path(named) if named else None)


def _parameter(setting: Setting[Any]) -> str:
    return setting.name.replace(".", "__")


def _option(setting: Setting[Any]) -> Any:
    help_text = setting.help + (f" ({setting.unit})" if setting.unit else "")
    option = typer.Option(
        setting.flag,
        metavar=_metavar(setting),
        help=help_text,
        show_default=setting.show(setting.default) or False,
        rich_help_panel=f"Settings: {setting.section}",
    )
    return Annotated[list[str] | None if setting.is_list else str | None, option]


def _metavar(setting: Setting[Any]) -> str:
    if setting.choices:
        return "|".join(setting.choices)
    if setting.kind is bool:
        return "true|false"
    if setting.kind in (int, float):
        return "NUMBER"
    return {Listen: "HOST:PORT", ByteSize: "SIZE"}.get(setting.kind, "TEXT")
