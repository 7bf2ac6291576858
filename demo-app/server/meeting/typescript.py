"""Writes the page's types from `meeting.messages`: `python -m meeting.typescript FILE`."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

from meeting import messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, Any]

PAGE: Final = "demo-app/web/src/room/messages.ts"
_COLUMNS: Final = 110
_HEAD: Final = "// Written by `python -m meeting.typescript FILE` from meeting/messages.py: change that one."
_PLAIN: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
_NUMBERS: Final = ("VERSION", "NAME_CHARS", "TEXT_CHARS", "TRACKS", "PLACES", "SILENT")
_CHOICES: Final = ("Role", "Entry", "Source", "Emoji", "Scope", "GoneReason", "RefusalCode")


def typescript() -> str:
    """The text of the page's module."""
    sent: Schema = messages.CLIENT.json_schema(mode="validation")
    received: Schema = TypeAdapter(messages.ServerMessage | messages.Made).json_schema(mode="serialization")
    models: dict[str, Schema] = {**received["$defs"], **sent["$defs"]}
    optional = sent["$defs"].keys()
    parts = [_HEAD, "\n".join(_constants()), "\n".join(_close_codes())]
    parts += [_union(name, get_args(getattr(messages, name))) for name in _CHOICES]
    parts += [_interface(name, models[name], optional=name in optional) for name in models]
    parts += [
        _union_of_models("ClientMessage", messages.CLIENT.json_schema()),
        _union_of_models("ServerMessage", messages.SERVER.json_schema(mode="serialization")),
    ]
    return "\n\n".join(parts) + "\n"


def _constants() -> Iterator[str]:
    yield f'export const SUBPROTOCOL = "{messages.SUBPROTOCOL}";'
    yield f'export const MAIN = "{messages.MAIN}";'
    for name in _NUMBERS:
        yield f"export const {name} = {getattr(messages, name)};"


def _close_codes() -> Iterator[str]:
    yield "export const CloseCode = {"
    for code in messages.CloseCode:
        yield f"  {code.name}: {code.value},"
    yield "} as const;"
    yield ""
    yield "/** After these a page connects again by itself. */"
    codes = ", ".join(str(int(code)) for code in sorted(messages.RETRIED))
    yield f"export const RETRIED: ReadonlySet<number> = new Set([{codes}]);"


def _union(name: str, choices: tuple[str, ...]) -> str:
    constant = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() + "_CHOICES"
    listed = "".join(f'\n  "{choice}",' for choice in choices)
    return (
        f"export const {constant} = [{listed}\n] as const;\nexport type {name} = (typeof {constant})[number];"
    )


def _union_of_models(name: str, schema: Schema) -> str:
    names = [option["$ref"].rpartition("/")[2] for option in schema["oneOf"]]
    return f"export type {name} =\n  | " + "\n  | ".join(names) + ";"


def _interface(name: str, schema: Schema, *, optional: bool) -> str:
    required = schema.get("required", ())
    lines = [*_comment(schema["description"]), f"export interface {name} {{"]
    for key, field in schema["properties"].items():
        may_lack = optional and key not in required and "const" not in field
        lines.append(f"  {key}{'?' if may_lack else ''}: {_type(field)};")
    return "\n".join([*lines, "}"])


def _comment(text: str) -> Iterator[str]:
    text = re.sub(r"(?<=`)[a-z_]+(?=`)", lambda name: to_camel(name[0]), text).replace("None", "null")
    lines = [line for part in text.split("\n\n") for line in textwrap.wrap(part, _COLUMNS - 3)]
    if len(lines) == 1:
        yield f"/** {lines[0]} */"
        return
    yield "/**"
    yield from (f" * {line}" for line in lines)
    yield " */"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return next(name for name in _CHOICES if list(get_args(getattr(messages, name))) == schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if schema["type"] == "array":
        return f"readonly {_type(schema['items'])}[]"
    if schema["type"] == "object":
        (value,) = schema["patternProperties"].values()
        return f"Readonly<Record<string, {_type(value)}>>"
    return _PLAIN[schema["type"]]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(typescript())
