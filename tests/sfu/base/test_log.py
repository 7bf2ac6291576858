"""Log lines: one per event, with its fields and without secrets."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sfu.base.log import REDACTED, configure_logging, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave structlog and the root logger as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Writes(io.StringIO):
    """Remembers what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def write(self, text: str) -> int:
        self.texts.append(text)
        return super().write(text)


def test_a_line_is_written_at_once_so_that_those_of_several_processes_do_not_mix() -> None:
    out = Writes()
    configure_logging("info", "json", out)
    get_logger("session").info("session.claimed")
    logging.getLogger("other").warning("something")
    assert [text[-1] for text in out.texts] == ["\n", "\n"]


def test_an_event_is_one_line_with_its_fields() -> None:
    out = io.StringIO()
    configure_logging("info", "json", out)
    get_logger("session").info("session.claimed", session="ab", took_ms=3)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "session.claimed",
        "level": "info",
        "part": "session",
        "session": "ab",
        "took_ms": 3,
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_others_chose_begins_no_line_of_its_own_and_moves_no_cursor(form: str) -> None:
    out = io.StringIO()
    configure_logging("info", form, out)
    get_logger("turn").info("turn.allocated", user="1:eve\n2 turn.ended\x1b[2J\u2028\x9b", client="é")
    (line,) = out.getvalue().split("\n")[:-1]
    assert "eve" in line
    assert json.loads(line)["user"].startswith("1:eve\n") if form == "json" else "é" in line
    assert not set("\r\x1b\u2028\x9b") & set(line)


def test_a_logger_made_before_the_configuration_obeys_it() -> None:
    log = get_logger("early")
    out = io.StringIO()
    configure_logging("warning", "json", out)
    log.info("early.ignored")
    log.warning("early.kept")
    assert [line["event"] for line in lines(out)] == ["early.kept"]


@pytest.mark.parametrize("field", ["secret", "app_secret", "ice_pwd", "Authorization", "tls_key", "cookie"])
def test_a_secret_is_never_written(field: str) -> None:
    out = io.StringIO()
    configure_logging("info", "json", out)
    fields: dict[str, Any] = {field: "hunter2"}
    get_logger("x").info("x.y", **fields)
    assert lines(out)[0][field] == REDACTED
    assert "hunter2" not in out.getvalue()


def test_a_field_that_only_sounds_like_a_secret_is_written() -> None:
    out = io.StringIO()
    configure_logging("info", "json", out)
    get_logger("x").info("x.y", keyframes=3, monkey="x")
    assert lines(out)[0]["keyframes"] == 3
    assert lines(out)[0]["monkey"] == "x"


def test_an_exception_stays_on_one_line() -> None:
    out = io.StringIO()
    configure_logging("info", "json", out)
    try:
        raise RuntimeError("broken\nin two lines")
    except RuntimeError:
        get_logger("x").exception("x.failed")
    (line,) = lines(out)
    assert line["exception"][0]["exc_type"] == "RuntimeError"


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_does_not_show_the_values_of_variables(form: str) -> None:
    out = io.StringIO()
    configure_logging("info", form, out)
    secret = "hunter" + "2"
    try:
        raise RuntimeError(str(len(secret)))
    except RuntimeError:
        get_logger("x").exception("x.failed")
    assert "RuntimeError" in out.getvalue()
    assert "hunter2" not in out.getvalue()


def test_the_console_form_is_for_people() -> None:
    out = io.StringIO()
    configure_logging("info", "console", out)
    get_logger("session").info("session.claimed", session="ab")
    assert "session.claimed" in out.getvalue()
    assert "session=ab" in out.getvalue()


def test_warnings_of_libraries_come_out_in_the_same_form_and_no_chatter() -> None:
    out = io.StringIO()
    configure_logging("info", "json", out)
    logging.getLogger("library").info("Starting")
    logging.getLogger("library").warning("Running low on %s", "patience")
    (line,) = lines(out)
    assert line["event"] == "Running low on patience"
    assert line["level"] == "warning"
