"""What a test reads out of an SDP, with code that is not the server's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_CODEC = re.compile(r"rtpmap:(\d+) ([^/]+)/(\d+)")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass
class Section:
    """One media section: its m-line and the lines below it, without `a=` where they had it."""

    kind: str
    port: int
    payload_types: list[str]
    lines: list[str] = field(default_factory=list[str])

    def values(self, name: str) -> list[str]:
        """The values of all attributes of that name."""
        prefix = f"{name}:"
        return [line.removeprefix(prefix) for line in self.lines if line.startswith(prefix)]

    @property
    def mid(self) -> str:
        """The section's mid."""
        return self.values("mid")[0]

    @property
    def direction(self) -> str:
        """The section's direction; `stopped` if it is rejected."""
        if self.port == 0:
            return "stopped"
        return next((line for line in self.lines if line in _DIRECTIONS), "sendrecv")

    @property
    def codecs(self) -> dict[str, str]:
        """Payload types and the names of their codecs, in lower case."""
        found = (_CODEC.match(line) for line in self.lines)
        return {match[1]: match[2].lower() for match in found if match}

    @property
    def repairs(self) -> dict[str, str]:
        """The payload type that each RTX payload type repairs."""
        rtx = [pt for pt, name in self.codecs.items() if name == "rtx"]
        formats = dict(value.split(" ", 1) for value in self.values("fmtp"))
        return {pt: formats[pt].removeprefix("apt=") for pt in rtx}

    @property
    def ssrcs(self) -> set[str]:
        """The SSRCs that the section announces."""
        return {value.split(" ", 1)[0] for value in self.values("ssrc")}


class Description:
    """A parsed offer or answer."""

    def __init__(self, description: dict[str, str]) -> None:
        self.type = description["type"]
        self.sdp = description["sdp"]
        assert self.sdp.endswith("\r\n")
        self.session: list[str] = []
        self.sections: list[Section] = []
        for line in self.sdp.split("\r\n")[:-1]:
            letter, _, value = line.partition("=")
            if letter == "m":
                kind, port, _protocol, *payload_types = value.split(" ")
                self.sections.append(Section(kind, int(port), payload_types))
            elif letter == "a":
                lines = self.sections[-1].lines if self.sections else self.session
                lines.append(value)

    def __getitem__(self, mid: str) -> Section:
        return next(section for section in self.sections if section.mid == mid)

    @property
    def mids(self) -> list[str]:
        """The mids of all sections, in order."""
        return [section.mid for section in self.sections]

    @property
    def directions(self) -> dict[str, str]:
        """The direction of each section."""
        return {section.mid: section.direction for section in self.sections}

    def everywhere(self, name: str) -> list[str]:
        """The values of an attribute at session level and in every section that is not rejected."""
        above = [line.removeprefix(f"{name}:") for line in self.session if line.startswith(f"{name}:")]
        return above + [value for one in self.sections if one.port for value in one.values(name)]
