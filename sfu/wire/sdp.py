"""SDP as text: into sections of lines and back (RFC 8866).

No meaning is read here beyond "a line is a letter, an equals sign and a value" and "m= begins a
section". Any text gives a `Sdp` or SdpError; what is well formed is kept as it came.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_BYTES = 256 * 1024
MAX_SECTIONS = 1000
# Per section: Chromium's offer of 120 m-lines alone has 6127 lines, so the whole is bounded by its bytes.
MAX_LINES = 4096

_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_TYPES = frozenset("abcdefghijklmnopqrstuvwxyz")


class SdpError(ValueError):
    """A text that is not an acceptable session description; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Section:
    """The session part, or one media section.

    `media` is the value of m= ("" in the session part), `others` the remaining lines but a=, as
    (letter, value). `attributes` are the a= lines in order, as (name, value), the value "" for a flag.
    """

    media: str
    attributes: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...] = ()

    def lines(self) -> list[str]:
        """The lines without their ends: m=, then the others, then the attributes."""
        lines = [f"m={self.media}"] if self.media else []
        lines += [f"{letter}={value}" for letter, value in self.others]
        lines += [f"a={name}:{value}" if value else f"a={name}" for name, value in self.attributes]
        return lines


@dataclass(frozen=True, slots=True)
class Sdp:
    """A session description: the session part and its media sections in order."""

    session: Section
    media: tuple[Section, ...]

    def render(self) -> str:
        """The text, each line ended by CRLF."""
        lines = self.session.lines()
        for section in self.media:
            lines += section.lines()
        return "\r\n".join(lines) + "\r\n"


def parse_sdp(
    data: str | bytes,
    *,
    max_bytes: int = MAX_BYTES,
    max_lines: int = MAX_LINES,
    max_sections: int = MAX_SECTIONS,
) -> Sdp:
    """Read a session description; `max_lines` holds for each section.

    Lenient where clients are: LF alone ends a line, the last line may lack its end, blank lines at
    the end are ignored. Raises SdpError.
    """
    # Bytes are counted by an upper bound first: encoding a huge text only to refuse it costs more.
    if len(data) > max_bytes:
        raise SdpError(f"longer than {max_bytes:d} bytes")
    text = _decode(data, max_bytes)
    text = text.replace("\r\n", "\n").rstrip("\n")
    if (match := _FORBIDDEN.search(text)) is not None:
        raise SdpError(f"character {match[0]!r} in line {text.count(chr(10), 0, match.start()) + 1}")
    lines = text.split("\n")
    if lines[0] != "v=0":
        raise SdpError(f"first line is {lines[0][:40]!r}, not 'v=0'")
    starts = [number for number, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > max_sections:
        raise SdpError(f"{len(starts)} media sections, more than {max_sections}")
    bounds = [0, *starts, len(lines)]
    sections = [_section(lines[start:end], start, max_lines) for start, end in pairwise(bounds)]
    return Sdp(sections[0], tuple(sections[1:]))


def _decode(data: str | bytes, max_bytes: int) -> str:
    if isinstance(data, bytes):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise SdpError(f"not UTF-8 at byte {error.start}") from error
    try:
        size = len(data) if data.isascii() else len(data.encode())
    except UnicodeEncodeError as error:
        raise SdpError(f"not Unicode text at character {error.start}") from error
    if size > max_bytes:
        raise SdpError(f"longer than {max_bytes:d} bytes")
    return data


def _section(lines: Sequence[str], first: int, max_lines: int) -> Section:
    if len(lines) > max_lines:
        raise SdpError(f"{len(lines)} lines in the section at line {first + 1}, more than {max_lines}")
    media = ""
    attributes: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for number, line in enumerate(lines, first + 1):
        if line[:2] == "a=":
            name, _, value = line[2:].partition(":")
            if not name:
                raise SdpError(f"attribute without a name in line {number}")
            attributes.append((name, value))
        elif line[:2] == "m=":
            media = line[2:]
            if not media:
                raise SdpError(f"empty m= in line {number}")
        elif line[1:2] == "=" and line[0] in _TYPES:
            others.append((line[0], line[2:]))
        else:
            raise SdpError(f"line {number} is {line[:40]!r}, not of the form letter=value")
    return Section(media, tuple(attributes), tuple(others))
