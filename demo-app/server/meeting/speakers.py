"""Who of a room speaks: pure, from the levels that pages report to the loudest few of each place.

A page reports while it hears its member, then 127 once. A voice that falls silent stays for `HOLD_S`, so that
nobody leaves the list between two words; one whose reports stop coming is dropped then too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meeting.messages import SILENT, Speaker

HOLD_S: Final = 1.5  # chosen: longer than a pause between two sentences
HEARD: Final = 60  # -dBov; quieter is breath and keyboards
_NEWEST_COUNTS: Final = 0.5  # of a level against those before: two who speak at once do not flicker


@dataclass(slots=True)
class _Voice:
    level: float
    heard_at: float


class Speakers:
    """The voices of a room; `most` of each place are told."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._voices: dict[str, _Voice] = {}

    def __len__(self) -> int:
        return len(self._voices)

    def report(self, member: str, level: int, now: float) -> None:
        """A member's page heard `level` (-dBov, 0 is loudest) at `now`; 127 is silence."""
        voice = self._voices.get(member)
        if level > HEARD:
            return  # it fades: `loudest` drops it when the hold is over
        if voice is None:
            self._voices[member] = _Voice(float(level), now)
        else:
            voice.level += (level - voice.level) * _NEWEST_COUNTS
            voice.heard_at = now

    def loudest(self, places: Mapping[str, str], now: float) -> dict[str, tuple[Speaker, ...]]:
        """By place its loudest, loudest first, of the members that `places` has; the others are forgotten."""
        for member, voice in list(self._voices.items()):
            if member not in places or now >= voice.heard_at + HOLD_S:
                del self._voices[member]
        found: dict[str, list[Speaker]] = {}
        for member, voice in sorted(self._voices.items(), key=lambda item: (item[1].level, item[0])):
            here = found.setdefault(places[member], [])
            if len(here) < self._most:
                here.append(Speaker(member=member, level=min(SILENT, round(voice.level))))
        return {place: tuple(speakers) for place, speakers in found.items()}
