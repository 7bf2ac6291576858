"""The error of commands."""

from __future__ import annotations


class CommandError(Exception):
    """A command can't do what was asked; the text is for the user."""
