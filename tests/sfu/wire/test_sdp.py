"""SDP as text (W14)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.wire.sdp import Sdp, SdpError, parse_sdp

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sdp"
HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.sdp")), ids=lambda path: path.stem)
def test_recorded_descriptions_come_back_as_they_were(path: Path) -> None:
    text = path.read_bytes().decode()
    assert parse_sdp(text).render() == text
    assert parse_sdp(text.encode()) == parse_sdp(text)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=400)))
def test_w14_any_bytes_give_a_value_or_the_typed_error(data: bytes | str) -> None:
    try:
        sdp = parse_sdp(data)
    except SdpError:
        return
    assert isinstance(sdp, Sdp)


lines = st.one_of(
    st.sampled_from(
        ["m=audio 9 RTP/AVP 0", "a=mid:0", "a=", "a=:x", "m=", "c=IN IP4 0.0.0.0", "", "x", "=", "A=1"]
    ),
    st.text(max_size=20),
)


@settings(max_examples=300)
@given(st.lists(lines, max_size=12))
def test_w14_what_is_parsed_is_a_fixed_point_of_rendering(body: list[str]) -> None:
    try:
        sdp = parse_sdp(HEAD + "\r\n".join(body))
    except SdpError:
        return
    text = sdp.render()
    assert parse_sdp(text) == sdp
    assert parse_sdp(text).render() == text


@pytest.mark.parametrize("end", ["\r\n", "\n", "", "\r\n\r\n", "\n\n"])
def test_the_end_of_the_last_line_may_be_missing_or_doubled(end: str) -> None:
    """api.md 4.8: the vendor refuses a missing CRLF, we may be lenient."""
    sdp = parse_sdp(f"{HEAD}m=audio 9 RTP/AVP 0{end}")
    assert [section.media for section in sdp.media] == ["audio 9 RTP/AVP 0"]


def test_line_feeds_alone_end_lines() -> None:
    assert parse_sdp(HEAD.replace("\r\n", "\n")) == parse_sdp(HEAD)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "first line"),
        ("hello", "first line"),
        ("v=1\r\n", "first line"),
        (HEAD + "nonsense\r\n", "line 5"),
        (HEAD + "\r\na=x\r\n", "line 5"),
        (HEAD + "A=x\r\n", "line 5"),
        (HEAD + "a=:x\r\n", "without a name in line 5"),
        (HEAD + "m=\r\n", "empty m= in line 5"),
        (HEAD + "a=x\0y\r\n", r"'\\x00' in line 5"),
        (HEAD + "a=x\ry\r\n", r"'\\r' in line 5"),
        (HEAD + "a=x\ud800\r\n", "not Unicode"),
    ],
)
def test_the_error_says_where_and_why(text: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        parse_sdp(text)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(SdpError, match="not UTF-8"):
        parse_sdp(HEAD.encode() + b"a=\xff\r\n")


def test_w14_bytes_are_bounded() -> None:
    text = HEAD + "a=x:" + "y" * 300_000
    with pytest.raises(SdpError, match="longer than 262144 bytes"):
        parse_sdp(text)
    wide = HEAD + "a=x:" + "\N{SNOWMAN}" * 100_000  # fewer characters than bytes
    with pytest.raises(SdpError, match="longer than 262144 bytes"):
        parse_sdp(wide)
    assert parse_sdp(text, max_bytes=400_000)


def test_w14_lines_of_a_section_are_bounded() -> None:
    section = "m=audio 9 RTP/AVP 0\r\n" + "a=x\r\n" * 4095
    assert len(parse_sdp(HEAD + section * 2).media) == 2
    with pytest.raises(SdpError, match="4097 lines in the section at line 5, more than 4096"):
        parse_sdp(HEAD + section + "a=x\r\n")


def test_w14_sections_are_bounded() -> None:
    assert len(parse_sdp(HEAD + "m=a\r\n" * 1000).media) == 1000
    with pytest.raises(SdpError, match="1001 media sections, more than 1000"):
        parse_sdp(HEAD + "m=a\r\n" * 1001)
