"""For all tests: no example is judged by the clock, which a busy machine and sanitizers slow down."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")
