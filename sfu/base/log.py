"""Structured logs: one line per event, a fixed dotted name and fields.

    log = get_logger("session")
    log.info("session.claimed", session=session_id, took_ms=3)

A field whose name says that it holds a secret is never written.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from sfu.base.settings import Setting

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

LEVEL = Setting(
    "log.level",
    str,
    "info",
    choices=("debug", "info", "warning", "error"),
    help="Least severe events that are written",
)
FORMAT = Setting(
    "log.format",
    str,
    "auto",
    choices=("auto", "console", "json"),
    help="Form of a log line; auto is console on a terminal, json otherwise",
)

REDACTED = "(secret)"
_SECRET_WORDS = frozenset(
    ("secret", "password", "pwd", "token", "authorization", "key", "keys", "cookie", "credential")
)


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if not _SECRET_WORDS.isdisjoint(name.lower().split("_")):
            event[name] = REDACTED
    return event


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What others chose, such as a TURN username, begins no line of its own and moves no cursor; in JSON it
    can't."""
    for name, value in event.items():
        if isinstance(value, str) and name != "exception" and not value.isprintable():
            event[name] = repr(value)[1:-1]
    return event


def configure_logging(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Write events of `level` and above to `stream` (standard error) as `form` says.

    Records of the standard library's `logging` (uvicorn, asyncio) come out in the same form, from
    warnings on: what else libraries have to say is no event of ours.
    """
    out = sys.stderr if stream is None else stream
    as_json = form == "json" or (form == "auto" and not out.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
    ]
    # Tracebacks go without the values of variables: secrets are among them.
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
        if as_json
        else [
            _printable,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(numeric, logging.WARNING))


def get_logger(part: str) -> FilteringBoundLogger:
    """The logger of one part; `part` becomes a field of each of its events."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=part))
