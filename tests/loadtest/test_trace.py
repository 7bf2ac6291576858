"""Traces: their text, and how a recording becomes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.seal import FIRST, KEY, LAST, PADDING
from loadtest.trace import CHROMIUM, Sight, TraceError, from_sights, load, parse, render

if TYPE_CHECKING:
    from pathlib import Path

KEYFRAME = (
    b"\x90\x80\x80\x01\x10\x00\x00\x9d\x01\x2a"  # X, I with 15 bits of picture id, then a keyframe's header
)
DELTA = b"\x90\x80\x80\x02\x31\x00\x00"
SHORT_DELTA = b"\x10\x31\x00"  # no extension at all
GOES_ON = b"\x80\x80\x80\x01\x55"
TEMPORAL = b"\x90\xe0\x80\x03\x07\x20\x30"  # picture id, TL0PICIDX and TID, then a keyframe's first byte


def sight(
    at_us: int, timestamp: int, size: int, start: bytes, *, padding: int = 0, marker: bool = False
) -> Sight:
    return (1_000_000_000 + at_us * 1000, timestamp, size, padding, marker, start)


def test_a_trace_begins_with_its_first_keyframe() -> None:
    packets = from_sights(
        [
            sight(0, 100, 500, DELTA, marker=True),
            sight(10, 3100, 1100, KEYFRAME),
            sight(20, 3100, 900, GOES_ON, marker=True),
            sight(33, 6100, 200, SHORT_DELTA, marker=True),
            sight(40, 6100, 224, b"", padding=224),
            sight(66, 9100, 2000, TEMPORAL),
        ]
    )
    assert packets == [
        (0, 0, 1100, FIRST | KEY),
        (10, 0, 900, LAST | KEY),
        (23, 3000, 200, FIRST | LAST),
        (30, 3000, 224, PADDING),
        (56, 6000, 1200, FIRST | KEY),
    ]


def test_a_recording_without_a_keyframe_is_no_trace() -> None:
    with pytest.raises(TraceError, match="no keyframe"):
        from_sights([sight(0, 0, 500, DELTA), sight(1, 0, 0, b"")])


def test_the_text_reads_back_with_its_origin(tmp_path: Path) -> None:
    packets = [(0, 0, 1100, FIRST | KEY), (10, 0, 900, LAST | KEY)]
    text = render(packets, "from somewhere\nby somebody")
    assert text.startswith("# from somewhere\n# by somebody\n0,0,1100,5\n")
    assert parse(text) == packets
    path = tmp_path / "x.csv"
    path.write_text(text)
    assert load(path).count == 2


@pytest.mark.parametrize("text", ["", "# only words\n", "1,2,3\n", "a,b,c,d\n"])
def test_another_text_is_an_error(text: str) -> None:
    with pytest.raises(TraceError):
        parse(text)


def test_a_trace_that_can_not_be_sent_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("0,0,1100,0\n")
    with pytest.raises(TraceError, match="keyframe"):
        load(path)


def test_ours_has_keyframes_in_bursts() -> None:
    trace = load(CHROMIUM)
    packets = parse(CHROMIUM.read_text())
    keyframes = [at for at, (_, _, _, flags) in enumerate(packets) if flags & (FIRST | KEY) == FIRST | KEY]
    sizes = [sum(p[1] == packets[at][1] for p in packets) for at in keyframes]
    assert trace.count == len(packets)
    assert len(keyframes) >= 2
    assert min(sizes) >= 10
