"""The room's messages: what is one, what is none, and that the page's types are those of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting.messages import (
    CLIENT,
    NAME_CHARS,
    SERVER,
    TEXT_CHARS,
    ClientMessage,
    CloseCode,
    Join,
    MessageError,
    Ping,
    Publish,
    Rename,
    Say,
    read,
    write,
)
from meeting.typescript import PAGE, typescript

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/protocols/meeting.md"
ROOM = "abcdefghijklmnop"


def said(text: object) -> str:
    message = read(json.dumps({"type": "say", "text": text}))
    assert isinstance(message, Say)
    return message.text


def renamed(name: object) -> str:
    message = read(json.dumps({"type": "rename", "name": name}))
    assert isinstance(message, Rename)
    return message.name


def test_the_pages_types_are_written_from_the_schema() -> None:
    assert (ROOT / PAGE).read_text() == typescript(), f"write it anew: python -m meeting.typescript {PAGE}"


def test_every_message_and_close_code_is_described() -> None:
    page = DOCS.read_text()
    for adapter in (CLIENT, SERVER):
        for name in adapter.json_schema()["discriminator"]["mapping"]:
            assert f"`{name}`" in page, name
    for code in CloseCode:
        assert f"| {code.value} |" in page, code


def test_names_on_the_wire_are_those_of_javascript() -> None:
    sent = {"type": "publish", "sessionId": "s1", "tracks": [{"name": "cam", "source": "screenAudio"}]}
    message = read(json.dumps(sent))
    assert isinstance(message, Publish)
    assert message.session_id == "s1"
    assert json.loads(write(Ping(at=1.5))) == {"type": "ping", "at": 1.5}


def test_markup_is_text_like_any_other() -> None:
    assert said("<b onclick='x'>&amp;</b>") == "<b onclick='x'>&amp;</b>"


def test_a_name_is_one_line_without_controls() -> None:
    assert renamed("  Ann\n\t\x00 Lee\x7f ") == "Ann Lee"
    assert renamed("\u202eeeL nnA") == "eeL nnA"
    assert renamed("👩\u200d💻 Zoë") == "👩\u200d💻 Zoë"


def test_chat_keeps_its_lines() -> None:
    assert said("  one\n\ntwo\x00\x1b[31m ") == "one\n\ntwo[31m"


@pytest.mark.parametrize("text", ["", "  ", "\x00", "\n", "x" * (TEXT_CHARS + 1), 5, None, ["x"]])
def test_a_text_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(MessageError):
        said(text)


def test_a_name_may_have_so_many_characters() -> None:
    assert renamed("é" * NAME_CHARS) == "é" * NAME_CHARS
    with pytest.raises(MessageError):
        renamed("é" * (NAME_CHARS + 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "5",
        "{",
        "[" * 10_000,
        '{"type":"nothing"}',
        '{"type":["say"]}',
        '{"type":"ping","at":1}',
        '{"type":"say"}',
        '{"type":"say","text":"\\ud800"}',
        '{"type":"say","text":"x","more":1}',
        '{"type":"say","text":"x","id":-1}',
        '{"type":"say","text":"x","id":1.5}',
        '{"type":"say","text":"x","id":9007199254740992}',
        '{"type":"level","level":128}',
        '{"type":"level","level":"5"}',
        '{"type":"level","level":NaN}',
        '{"type":"hand","raised":1}',
        '{"type":"remove","member":"../../admin"}',
        '{"type":"remove","member":"0123456789abcdef\\n"}',
        '{"type":"move","place":"0"}',
        '{"type":"split","names":[]}',
        '{"type":"split","names":["a"],"assigned":{"me":0}}',
        '{"type":"publish","sessionId":"a/b"}',
        '{"type":"publish","sessionId":"s","tracks":[{"name":"a b","source":"camera"}]}',
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(MessageError):
        read(text)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    join = {"type": "join", "version": 1, "room": ROOM, "name": "A", "key": "s3cret key!", "hostKey": "hu/sh"}
    with pytest.raises(MessageError) as refusal:
        read(json.dumps(join))
    assert "s3cret" not in str(refusal.value)
    assert "hu/sh" not in repr(refusal.value.__cause__)


def test_a_secret_is_not_shown_with_its_message() -> None:
    join = Join(version=1, room=ROOM, name="A", key="s3cret", token="t0ken", host_key="h0st")
    assert not any(secret in repr(join) for secret in ("s3cret", "t0ken", "h0st"))


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_message_or_refused(text: str) -> None:
    try:
        message = read(text)
    except MessageError:
        return
    assert isinstance(message, get_args(get_args(ClientMessage)[0]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
TYPES = st.sampled_from(sorted(CLIENT.json_schema()["discriminator"]["mapping"]))
KEYS = st.sampled_from(
    ["id", "text", "member", "place", "name", "names", "tracks", "level", "assigned", "sessionId", "raised"]
)


@given(TYPES, st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_object_of_a_known_type_is_a_message_or_refused(kind: str, fields: dict[str, object]) -> None:
    try:
        message = read(json.dumps({**fields, "type": kind}))
    except MessageError:
        return
    assert message.type == kind
