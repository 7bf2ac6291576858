"""The registry of settings: each is declared once, beside the code that needs it.

    LIMIT = Setting("sessions.limit", int, 10_000, minimum=1, help="Sessions that one node holds")

From the declaration come the flag (`--sessions-limit`), the environment variable
(`ORCHARD_SESSIONS_LIMIT`), the TOML key (`[sessions] limit`), the table of `orchard config`, the page
in the docs and the text of errors. A flag goes before the environment, the environment before the
file, the file before the default. Values are read once, at start, into a `Config`; below `sfu.node`
they travel as constructor arguments.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
import tomllib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

ENVIRONMENT_PREFIX = "ORCHARD_"
CONFIG_FILE_VARIABLE = "ORCHARD_CONFIG"
_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_BYTE_SIZE = re.compile(r"(\d+)\s*(|B|KiB|MiB|GiB)")
_BYTE_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")

HIDDEN = "(hidden)"


class SettingsError(Exception):
    """A value that can't be taken; the text names the setting, the value and the way out."""


class Source(Enum):
    """Where a value came from; the first that has one decides."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class Listen(NamedTuple):
    """Where to listen: a literal address and a port; `host` "" is every address, `port` 0 any free port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT`. Raises ValueError."""
        host, _, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif host == "localhost":
            host = "127.0.0.1"
        elif host:
            host = str(ipaddress.IPv4Address(host))
        if not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError("the port is a number up to 65535")
        return cls(host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ByteSize(int):
    """A number of bytes, written plainly or with KiB, MiB or GiB."""

    @classmethod
    def parse(cls, text: str) -> ByteSize:
        """Read `1048576`, `1024 KiB`, `1MiB`. Raises ValueError."""
        match = _BYTE_SIZE.fullmatch(text.strip())
        if match is None:
            raise ValueError("not a size")
        return cls(int(match[1]) * _BYTE_UNITS[match[2]])

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _BYTE_UNITS[unit] == 0:
                return f"{int(self) // _BYTE_UNITS[unit]} {unit}"
        return str(int(self))


_SCALARS: tuple[object, ...] = (int, float, bool, str, Listen, ByteSize)


class Setting(Generic[T]):
    """One setting: name, type, default and what the value must be.

    `kind` is int, float, bool, str, Listen, ByteSize, or `tuple[str, ...]` for a list: its flag may be
    repeated, its environment variable and a text in the file take commas. `unit` is for people and the
    docs, `minimum` and `maximum` are inclusive, `choices` are the only values, `check` returns what is
    wrong with a value or None. The value of a `secret` is never shown. `alias` takes the place of the name
    in the flag and the environment variable: `alias="http"` makes `--http` and `ORCHARD_HTTP`.
    """

    def __init__(
        self,
        name: str,
        kind: type[T],
        default: T,
        *,
        help: str,
        unit: str = "",
        minimum: float | None = None,
        maximum: float | None = None,
        choices: tuple[str, ...] = (),
        secret: bool = False,
        alias: str | None = None,
        check: Callable[[T], str | None] | None = None,
    ) -> None:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"setting {name!r}: want section.name")
        self.name = name
        self.kind = kind
        self.default = default
        self.help = help
        self.unit = unit
        self.minimum = minimum
        self.maximum = maximum
        self.choices = choices
        self.secret = secret
        self.section, self.key = name.split(".")
        outside = alias or name.replace(".", "_")
        self.flag = "--" + outside.replace("_", "-")
        self.environment = ENVIRONMENT_PREFIX + outside.replace("-", "_").upper()
        self.check = check
        _register(cast("Setting[Any]", self))

    @property
    def is_list(self) -> bool:
        """Whether the value is a tuple of strings."""
        return self.kind not in _SCALARS

    @property
    def wants(self) -> str:
        """What a value must be, in words: `a whole number of s from 1 to 60`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            str: "text",
            Listen: "HOST:PORT, [IPV6]:PORT or :PORT",
            ByteSize: "a size such as 65536, 64 KiB or 1 MiB",
        }.get(cast("type", self.kind), "a list")
        if self.unit and self.kind is not ByteSize:
            words += f" of {self.unit}"
        if self.minimum is not None:
            words += f" from {_number(self.minimum)}"
        if self.maximum is not None:
            words += (
                f" to {_number(self.maximum)}"
                if self.minimum is not None
                else f" up to {_number(self.maximum)}"
            )
        return words

    def show(self, value: T) -> str:
        """`value` as people write it; secrets are hidden."""
        if self.secret:
            return HIDDEN if value else ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if self.is_list:
            return ", ".join(cast("tuple[str, ...]", value))
        return str(value)

    def parse(self, text: str, written: str) -> T:
        """The value that `text` means. `written` is how it was given, for the error. Raises SettingsError."""
        try:
            value = self._read(text)
        except ValueError:
            raise self._refused(text, written) from None
        return self._checked(value, text, written)

    def parse_list(self, texts: Sequence[str], written: str) -> T:
        """As `parse`, for a list given piece by piece."""
        return self._checked(cast("T", tuple(texts)), ", ".join(texts), written)

    def parse_toml(self, value: object, written: str) -> T:
        """As `parse`, for a value of a TOML file, whose type must be that of the setting."""
        if self.is_list and isinstance(value, list):
            items = cast("list[object]", value)
            if all(isinstance(item, str) for item in items):
                return self.parse_list(cast("list[str]", items), written)
        elif isinstance(value, bool):
            if self.kind is bool:
                return self._checked(cast("T", value), str(value), written)
        elif (isinstance(value, int) and self.kind in (int, float, ByteSize)) or (
            isinstance(value, float) and self.kind is float
        ):
            return self.parse(str(value), written)
        elif isinstance(value, str) and (self.is_list or self.kind in (str, Listen, ByteSize)):
            return self.parse(value, written)
        raise self._refused(str(cast("object", value)), written)

    def _read(self, text: str) -> T:
        value: object
        if self.kind is bool:
            value = text.strip().lower() in _TRUE
            if not value and text.strip().lower() not in _FALSE:
                raise ValueError(text)
        elif self.kind is int:
            value = int(text)
        elif self.kind is float:
            value = float(text)
            if not math.isfinite(value):
                raise ValueError(text)
        elif self.kind is Listen:
            value = Listen.parse(text)
        elif self.kind is ByteSize:
            value = ByteSize.parse(text)
        elif self.is_list:
            value = tuple(piece.strip() for piece in text.split(",") if piece.strip())
        else:
            value = text
        return cast("T", value)

    def _checked(self, value: T, text: str, written: str) -> T:
        if isinstance(value, int | float) and (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
        ):
            raise self._refused(text, written)
        if self.choices and value not in self.choices:
            raise self._refused(text, written)
        if self.check is not None and (wrong := self.check(value)) is not None:
            raise SettingsError(f"{written}: {self._shown(text)}: {wrong}")
        return value

    def _refused(self, text: str, written: str) -> SettingsError:
        return SettingsError(f"{written}: {self._shown(text)} can't be taken; give {self.wants}")

    def _shown(self, text: str) -> str:
        return HIDDEN if self.secret else f'"{text}"'


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


_registry: dict[str, Setting[Any]] = {}


def _register(setting: Setting[Any]) -> None:
    for other in _registry.values():
        if (
            setting.name == other.name
            or setting.flag == other.flag
            or setting.environment == other.environment
        ):
            raise ValueError(f"setting {setting.name!r} has the name or the flag of {other.name!r}")
    _registry[setting.name] = setting


def declared() -> list[Setting[Any]]:
    """All settings of the modules imported so far, by name."""
    return sorted(_registry.values(), key=lambda setting: setting.name)


@dataclass(frozen=True, slots=True)
class _Held:
    value: object
    source: Source


class Config:
    """Every setting's value and where it came from: `config[LIMIT]`, `config.source(LIMIT)`.

    Made by `load`. `Config()` holds the defaults, `Config({LIMIT: 5})` the defaults but for what is given.
    """

    def __init__(self, values: Mapping[Setting[Any], Any] | None = None) -> None:
        self._held: dict[str, _Held] = {}
        for setting, value in (values or {}).items():
            self.put(setting, value, Source.FLAG)

    def __getitem__(self, setting: Setting[T]) -> T:
        held = self._held.get(setting.name)
        return setting.default if held is None else cast("T", held.value)

    def source(self, setting: Setting[Any]) -> Source:
        """Where the setting's value came from."""
        held = self._held.get(setting.name)
        return Source.DEFAULT if held is None else held.source

    def kept(self) -> dict[str, Any]:
        """What is not left at its default, as JSON can hold it: for `restored` in another process."""
        return {
            name: held.value if isinstance(held.value, int | float | str) else _texts(held.value)
            for name, held in self._held.items()
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Config:
        """The settings that `kept` gave, their sources aside. Raises SettingsError."""
        config = cls()
        for name, value in kept.items():
            setting = _registry[name]
            config.put(setting, setting.parse_toml(value, name), Source.FLAG)
        return config

    def put(self, setting: Setting[T], value: T, source: Source) -> None:
        """Take a value that is known to be right."""
        self._held[setting.name] = _Held(value, source)


def _texts(value: object) -> str | list[str]:
    return str(value) if isinstance(value, Listen) else list(cast("tuple[str, ...]", value))


def load(
    flags: Mapping[str, str | Sequence[str]],
    environment: Mapping[str, str],
    file: Path | None = None,
) -> Config:
    """Read all settings.

    `flags` maps a setting's name to its text, or to the texts of a repeated flag; `environment` is
    searched for `ORCHARD_...`; `file` is a TOML file, which must exist if it is given. Raises
    SettingsError for a value that can't be taken and for names that no setting has.
    """
    config = Config()
    if file is not None:
        _take_file(config, file)
    _take_environment(config, environment)
    for name, given in flags.items():
        setting = _registry[name]
        read = setting.parse if isinstance(given, str) else setting.parse_list
        config.put(setting, read(cast("Any", given), setting.flag), Source.FLAG)
    return config


def _take_environment(config: Config, environment: Mapping[str, str]) -> None:
    by_variable = {setting.environment: setting for setting in _registry.values()}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_FILE_VARIABLE:
            continue
        setting = by_variable.get(variable)
        if setting is None:
            raise SettingsError(f"{variable}: no setting has this name{_meant(variable, by_variable)}")
        config.put(setting, setting.parse(environment[variable], variable), Source.ENVIRONMENT)


def _take_file(config: Config, file: Path) -> None:
    try:
        with file.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"{file}: can't be read: {error.strerror}; name another with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not a TOML file: {error}") from None
    for section, content in _sections(document, file):
        for key, value in content.items():
            name = f"{section}.{key}"
            where = f"{file}: [{section}] {key}"
            setting = _registry.get(name)
            if setting is None:
                raise SettingsError(f"{where}: no setting has this name{_meant(name, _registry)}")
            config.put(setting, setting.parse_toml(value, where), Source.FILE)


def _sections(document: dict[str, object], file: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for section, content in document.items():
        if not isinstance(content, dict):
            raise SettingsError(
                f"{file}: {section}: settings stand in sections; write [section], then the key"
            )
        yield section, cast("dict[str, object]", content)


def _meant(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; `orchard config` lists them all"
