"""SDP of the light client: its own text, and the recorded texts of browsers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from loadtest.description import (
    DescriptionError,
    Section,
    Transport,
    answer_section,
    new_section,
    read,
    render,
)
from sfu.net.address import Address

RECORDED = sorted(
    Path(__file__).parents[1].joinpath("fixtures", "sdp").glob("*offer-audio-video-sendrecv.sdp")
)
TRANSPORT = Transport("ufrag", "p" * 24, "ab" * 32)


def test_an_offer_reads_back() -> None:
    sections = [new_section("0", "audio", 11, "sound"), new_section("1", "video", 12, "picture")]
    text = render("offer", TRANSPORT, sections, 0)
    description = read(text)
    assert (description.ufrag, description.pwd, description.fingerprint) == ("ufrag", "p" * 24, "ab" * 32)
    assert description.setup == "actpass"
    assert [(s.mid, s.kind, s.direction, s.ssrc) for s in description.sections] == [
        ("0", "audio", "sendonly", 11),
        ("1", "video", "sendonly", 12),
    ]
    judged = SessionDescription.parse(text)
    assert [m.rtp.muxId for m in judged.media] == ["0", "1"]
    assert judged.group[0].items == ["0", "1"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_browsers_offer_is_understood(path: Path) -> None:
    description = read(path.read_bytes().decode())
    assert [s.kind for s in description.sections] == ["audio", "video"]
    assert all(s.pt >= 0 and s.mid_extension > 0 for s in description.sections)
    assert description.sections[1].rtx_pt >= 0
    assert len(description.fingerprint) == 64


def test_what_is_not_known_is_refused_in_the_answer() -> None:
    offered = [
        Section("0", "audio", "sendonly", 111, ssrc=5),
        Section("1", "video", "sendonly", -1, ssrc=6),
        Section("2", "application", "sendrecv", -1),
    ]
    answered = [answer_section(section) for section in offered]
    assert [s.rejected for s in answered] == [False, True, True]
    assert answered[0].direction == "recvonly"
    assert [s.rejected for s in read(render("answer", TRANSPORT, answered, 1)).sections] == [
        False,
        True,
        True,
    ]


def test_candidates_are_udp_addresses_each_once() -> None:
    text = render("offer", TRANSPORT, [new_section("0", "audio", 1, "a")], 0)
    text += (
        "a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host\r\n"
        "a=candidate:1 1 UDP 2130706431 192.0.2.1 4000 typ host\r\n"
        "a=candidate:2 1 tcp 2130706431 192.0.2.1 9 typ host tcptype active\r\n"
        "a=candidate:3 1 udp 1 abc.local 4000 typ host\r\n"
        "a=candidate:4 2 udp 1 192.0.2.2 4000 typ host\r\n"
        "a=candidate:5 1 udp 1 2001:db8::1 4001 typ host\r\n"
    )
    assert read(text).candidates == (Address("192.0.2.1", 4000), Address("2001:db8::1", 4001))


@pytest.mark.parametrize("missing", ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint"])
def test_an_sdp_without_a_transport_is_an_error(missing: str) -> None:
    text = render("offer", TRANSPORT, [new_section("0", "audio", 1, "a")], 0)
    with pytest.raises(DescriptionError, match=missing):
        read("\r\n".join(line for line in text.splitlines() if not line.startswith(missing)))


LINES = st.sampled_from(render("offer", TRANSPORT, [new_section("0", "video", 1, "a")], 0).splitlines())


@given(st.lists(st.tuples(LINES, st.integers(0, 60), st.text(max_size=9))))
def test_any_text_is_read_or_refused(cuts: list[tuple[str, int, str]]) -> None:
    text = "a=ice-ufrag:u\na=ice-pwd:p\na=fingerprint:sha-256 00\na=candidate:1 1 udp 1 h p typ host\n"
    with contextlib.suppress(DescriptionError):
        read(text + "\n".join(line[:end] + more for line, end, more in cuts))
