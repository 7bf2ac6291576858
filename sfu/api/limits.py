"""Bounds of the HTTP API: how large, how slow and how often requests may be."""

from __future__ import annotations

from sfu.base.settings import ByteSize, Setting

BODY_BYTES = Setting(
    "http.body_limit",
    ByteSize,
    ByteSize(1024 * 1024),
    unit="B",
    minimum=1024,
    help="Largest body of a request; an offer of Chromium with 120 m-lines has 200 KiB",
)
BODY_TIMEOUT_S = Setting(
    "http.body_timeout",
    float,
    10.0,
    unit="s",
    minimum=0.1,
    help="Time in which the body of a request must arrive",
)
REQUESTS_UNDER_WAY = Setting(
    "http.requests_under_way",
    int,
    2048,
    minimum=1,
    help="Requests under way at once; more are answered 503",
)
CALLS_PER_SECOND = Setting(
    "http.calls_per_second",
    int,
    50,
    minimum=1,
    help="API calls per second for each session; more are answered 429",
)
TURN_CALLS_PER_SECOND = Setting(
    "http.turn_calls_per_second",
    int,
    500,
    minimum=1,
    help="API calls per second for each TURN key; more are answered 429",
)
