"""The record as JSON."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.base.ids import Mid, TrackName
from sfu.negotiation import record as records
from sfu.negotiation.record import RecordError, from_json, to_json
from tests.sfu.negotiation.test_life import Call, publisher
from tests.sfu.negotiation.world import World


def test_a_record_round_trips() -> None:
    world = World()
    room = publisher(world, "firefox-153")
    call = Call(world, "chromium-156")
    call.push("video")
    call.pull((room, "mic"), (room, "cam"))
    record = world.records[call.session]
    assert from_json(to_json(record)) == record


def test_look_ups_by_mid_and_name() -> None:
    world = World()
    record = world.records[publisher(world, "chromium-156")]
    mline = record.mline(Mid("1"))
    assert mline is not None
    assert mline.kind == "video"
    assert record.mline(Mid("9")) is None
    track = record.publication(TrackName("cam"))
    assert track is not None
    assert track.mid == "1"
    assert record.publication(TrackName("x")) is None
    assert record.subscription(Mid("0")) is None
    assert [(track.name, mline.mid) for track, mline in record.incoming()] == [("mic", "0"), ("cam", "1")]


@given(st.binary(max_size=100))
def test_other_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises(RecordError, match="not a session record"):
        from_json(data)


SHAPES = {1: "10960608ba1acac9"}
"""What records of each format look like."""


def test_a_record_of_another_shape_has_another_format() -> None:
    """A node that does not know a field would lose it when it writes, so it must be able to tell."""
    named = sorted(vars(records).items())
    lines = [f"{name}: {get_args(value)}" for name, value in named if get_origin(value) is Literal]
    for name, kind in named:
        if isinstance(kind, type) and is_dataclass(kind):
            lines += [f"{name}.{field.name}: {field.type}" for field in fields(kind)]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert digest == SHAPES[records.RECORD_FORMAT], f"count RECORD_FORMAT up, and note its shape: {digest}"
