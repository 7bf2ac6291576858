"""Bounds of the meeting app."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Bounds of one room."""

    members: int = 100
    waiting: int = 50
    """People in the lobby."""
    lobby_wait_s: float = 900.0
    """Longest time in the lobby."""
    grace_s: float = 45.0
    """How long a seat is kept for a member whose connection is lost."""
    chat: int = 200
    """Lines of chat that are kept for late joiners."""
    sessions_per_member: int = 2
    """One session more ends the oldest."""
    remembered_gone: int = 64
    """Departures whose reason is known to nodes that hear of them together."""
    remembered_removed: int = 200
    """Removed members that are known by name; with one more, no token of before lets anybody in."""
