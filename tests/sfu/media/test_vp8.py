"""VP8's running numbers over changes of source (RFC 7741 4.2), held against plain Python."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sfu.media.engine import probe_vp8
from tests.reference.vp8 import Descriptor, Subscriber, parse, serialize

if TYPE_CHECKING:
    from collections.abc import Sequence


@st.composite
def descriptors(draw: st.DrawFn) -> Descriptor:
    """Any descriptor with an extension, its reserved bits set or not."""
    wide = draw(st.booleans())
    used, keyed = draw(st.booleans()), draw(st.booleans())
    return Descriptor(
        first=0x80 | draw(st.integers(0, 0x7F)),
        picture=draw(st.none() | st.integers(0, 0x7FFF if wide else 0x7F)),
        wide=wide,
        tl0=draw(st.none() | st.integers(0, 255)),
        temporal=draw(st.integers(0, 255)) if used or keyed else None,
        temporal_used=used,
        keyed=keyed,
        reserved=draw(st.integers(0, 15)),
    )


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A descriptor and some more, cut short or not; or any bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.binary(max_size=12))
    whole = serialize(draw(descriptors())) + draw(st.binary(max_size=6))
    return whole[: draw(st.integers(0, 8))] if draw(st.booleans()) else whole


@given(st.lists(st.tuples(st.booleans(), payloads()), max_size=30))
def test_w12_numbers_go_on_as_the_reference_says_for_any_bytes(steps: list[tuple[bool, bytes]]) -> None:
    """Descriptors cut anywhere, both widths, with fields or without: their length stays what it was."""
    subscriber = Subscriber()
    wanted = [subscriber.send(payload, begins=begins) for begins, payload in steps]
    got = probe_vp8(steps)
    assert got == wanted
    assert [len(payload) for payload in got] == [len(payload) for _, payload in steps]


def frames(count: int, *, picture: int, tl0: int, key: int, wide: bool) -> list[bytes]:
    """An encoder's frames, every second one of the base layer."""
    return [
        serialize(
            Descriptor(
                first=0x90,
                picture=(picture + i) % (1 << 15 if wide else 1 << 7),
                wide=wide,
                tl0=(tl0 + i // 2) % 256,
                temporal=(i % 2) << 6 | (key + i // 2) % 32,
                temporal_used=True,
                keyed=True,
            )
        )
        + b"vp8"
        for i in range(count)
    ]


sources = st.lists(
    st.builds(
        frames,
        st.integers(1, 9),
        picture=st.integers(0, 0x7F),
        tl0=st.integers(0, 255),
        key=st.integers(0, 31),
        wide=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(sources)
def test_picture_ids_have_no_gap_over_any_changes_of_source(streams: Sequence[list[bytes]]) -> None:
    steps = [(i == 0, payload) for stream in streams for i, payload in enumerate(stream)]
    seen: list[Descriptor] = []
    for payload in probe_vp8(steps):
        found = parse(payload)
        assert found is not None
        assert found[1] == b"vp8"
        seen.append(found[0])
    for early, late in pairwise(seen):
        assert early.picture is not None
        assert late.picture is not None
        modulus = 1 << 15 if late.wide and early.wide else 1 << 7
        assert (late.picture - early.picture) % modulus == 1
        assert early.tl0 is not None
        assert late.tl0 is not None
        assert (late.tl0 - early.tl0) % 256 <= 1
        assert ((late.temporal or 0) - (early.temporal or 0)) % 32 <= 1


def test_a_chromium_descriptor_goes_on_where_another_layer_ended() -> None:
    """X, S; I, L, T: picture id of 15 bits, TL0PICIDX, TID."""
    first, second = bytes.fromhex("90e0ffff0500aa"), bytes.fromhex("90e08007f340bb")
    assert probe_vp8([(True, first), (True, second)]) == [first, bytes.fromhex("90e080000640bb")]


def test_a_descriptor_without_numbers_is_left_alone() -> None:
    """Firefox and aiortc may leave the extension out."""
    payloads = [bytes.fromhex("1010029d012a"), bytes.fromhex("9080"), b"", bytes.fromhex("90")]
    assert probe_vp8([(True, payload) for payload in payloads]) == payloads
