"""Operations on a session as a whole: create, renegotiate, view."""

from __future__ import annotations

from sfu.negotiation.record import SessionRecord
from sfu.negotiation.requests import (
    Context,
    NewSession,
    Outcome,
    Renegotiate,
    Renegotiated,
    SessionCreated,
    SessionView,
)


def create_session(request: NewSession, context: Context) -> Outcome[SessionCreated]:
    """A new record; with an offer, also the answer (its media is answered, not published)."""
    raise NotImplementedError


def renegotiate(record: SessionRecord, request: Renegotiate, context: Context) -> Outcome[Renegotiated]:
    """Take the answer to our pending offer; or answer an offer of the client's own, such as an ICE restart."""
    raise NotImplementedError


def view_session(record: SessionRecord) -> SessionView:
    """What GET session tells: every track that is still listed, with its status."""
    raise NotImplementedError
