"""Operations on a session as a whole: create, renegotiate, view."""

from __future__ import annotations

from sfu.negotiation.answer import take_answer
from sfu.negotiation.draft import Draft, check_open
from sfu.negotiation.errors import invalid_params, invalid_sdp
from sfu.negotiation.offer import settle, take_offer
from sfu.negotiation.record import SessionRecord
from sfu.negotiation.render import render
from sfu.negotiation.requests import (
    Context,
    NewSession,
    Outcome,
    Renegotiate,
    Renegotiated,
    SessionCreated,
    SessionDescription,
    SessionView,
    TrackItem,
)


def create_session(request: NewSession, context: Context) -> Outcome[SessionCreated]:
    """A new record; with an offer, also the answer.

    What media the offer has is answered but not published: `tracks/new` may do so later without
    another SDP. Raises NegotiationError, for `thirdparty` too: acting as a full ICE agent is not
    supported yet.
    """
    if request.thirdparty:
        raise invalid_params("thirdparty sessions are not supported")
    record = SessionRecord(
        id=request.id,
        app=request.app,
        created_at=request.created_at,
        fingerprint=context.fingerprint,
        origin_id=context.fresh() << 30 | context.fresh() >> 2,  # fits 62 bits (RFC 8829 5.2.1)
        correlation_id=request.correlation_id,
    )
    if request.description is None:
        return Outcome(record, SessionCreated(record.id))
    record, answer = _answer(Draft(record, context), request.description)
    return Outcome(record, SessionCreated(record.id, answer))


def renegotiate(record: SessionRecord, request: Renegotiate, context: Context) -> Outcome[Renegotiated]:
    """Take the answer to our pending offer; or answer an offer of the client's, such as an ICE restart.

    Raises NegotiationError: an answer that is not acceptable leaves our offer pending, so that a
    better one may follow.
    """
    if request.description.type == "offer":
        record, answer = _answer(Draft.of(record, context), request.description)
        return Outcome(record, Renegotiated(answer))
    check_open(record)
    if record.pending is None:
        raise invalid_sdp("There is no offer of this session to answer")
    draft = Draft(record, context)
    failed = take_answer(draft, record.pending, request.description)
    return Outcome(draft.record(), Renegotiated(tracks=failed))


def _answer(draft: Draft, description: SessionDescription) -> tuple[SessionRecord, SessionDescription]:
    offer = take_offer(draft, description)
    settle(draft, offer)
    return render(draft.record(), "answer", draft.context, bundle=offer.bundle)


def view_session(record: SessionRecord) -> SessionView:
    """What GET session tells: every track that is still listed, with its status.

    A closed track stays listed until another takes its place in the SDP (api.md 1.7).
    """
    tracks = [
        TrackItem(
            location="local",
            mid=track.mid,
            track=track.name,
            kind=track.kind,
            status="active" if track.state in ("open", "offered") else "inactive",
        )
        for track in record.publications
    ]
    tracks += [
        TrackItem(
            location="remote",
            mid=pull.mid,
            session=pull.publisher,
            track=pull.track,
            kind=pull.kind,
            simulcast=pull.simulcast,
            status="active" if pull.state in ("open", "offered") else "inactive",
        )
        for pull in record.subscriptions
    ]
    return SessionView(tuple(tracks))
