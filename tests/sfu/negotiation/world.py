"""Sessions without a network: records in a dict, each operation checked against what must always hold."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from sfu.base.ids import AppId, Mid, SessionId, TrackName
from sfu.negotiation.errors import ItemError
from sfu.negotiation.record import Fingerprint, SessionRecord, Simulcast, from_json, to_json
from sfu.negotiation.requests import (
    CloseTracks,
    Context,
    Limits,
    NewSession,
    NewTracks,
    Outcome,
    Published,
    Renegotiate,
    Renegotiated,
    SessionDescription,
    TrackItem,
    TrackRequest,
    TracksResponse,
    UpdateTracks,
    publishers_of,
)
from sfu.negotiation.sdp import Description, read
from sfu.negotiation.session import create_session, renegotiate
from sfu.negotiation.tracks import close_tracks, find_published, new_tracks, update_tracks
from sfu.net.address import Address

Response = TypeVar("Response")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "sdp"
CANDIDATES = (Address("192.0.2.1", 7000), Address("2001:db8::1", 7000))
FINGERPRINT = Fingerprint("sha-256", ":".join(["AB"] * 32))
SECRET = b"s" * 32


def fixture(name: str) -> str:
    """A recorded session description."""
    return (FIXTURES / f"{name}.sdp").read_bytes().decode()


def offer(sdp: str) -> SessionDescription:
    """An offer of that text."""
    return SessionDescription("offer", sdp)


def answer(sdp: str) -> SessionDescription:
    """An answer of that text."""
    return SessionDescription("answer", sdp)


def described(sdp: SessionDescription | None) -> Description:
    """What a description of ours says."""
    assert sdp is not None
    return read(sdp.sdp, max_bytes=1 << 22, max_sections=1000)


def local(
    mid: str | None, name: str, *, kind: str | None = None, bidirectional: bool = False
) -> TrackRequest:
    """An entry that publishes."""
    assert kind in ("audio", "video", None)
    return TrackRequest("local", mid, track=TrackName(name), kind=kind, bidirectional=bidirectional)


def remote(
    session: SessionId,
    name: str,
    *,
    mid: str | None = None,
    bidirectional: bool = False,
    simulcast: Simulcast | None = None,
) -> TrackRequest:
    """An entry that pulls."""
    return TrackRequest(
        "remote", mid, session, TrackName(name), bidirectional=bidirectional, simulcast=simulcast
    )


class World:
    """All sessions of a test, by id, and the operations on them."""

    def __init__(self, seed: int = 1, limits: Limits | None = None) -> None:
        self._random = random.Random(seed)
        self.records: dict[SessionId, SessionRecord] = {}
        self.context = Context(
            SECRET, CANDIDATES, FINGERPRINT, lambda: self._random.getrandbits(32), limits or Limits()
        )

    def session(self, sdp: str | None = None) -> SessionId:
        """A new session, perhaps with an offer."""
        return self.create(sdp)[0]

    def create(self, sdp: str | None = None) -> tuple[SessionId, SessionDescription | None]:
        """A new session and the answer to its offer."""
        session = SessionId(f"{len(self.records):032x}")
        request = NewSession(session, AppId("app"), 1.75e9, description=None if sdp is None else offer(sdp))
        outcome = create_session(request, self.context)
        self._store(None, outcome.record)
        return session, outcome.response.description

    def tracks(
        self,
        session: SessionId,
        *tracks: TrackRequest,
        sdp: str | None = None,
        auto_discover: bool = False,
        errors: dict[str, ItemError] | None = None,
    ) -> TracksResponse:
        """`tracks/new`; `errors` are what the look-up of these names gives."""
        request = NewTracks(tracks, None if sdp is None else offer(sdp), auto_discover)
        published = self._published(tracks, errors or {})
        return self._run(session, new_tracks(self.records[session], request, self.context, published))

    def answer(self, session: SessionId, sdp: str) -> Renegotiated:
        """`renegotiate` with an answer."""
        return self._run(session, renegotiate(self.records[session], Renegotiate(answer(sdp)), self.context))

    def restart(self, session: SessionId, sdp: str) -> Renegotiated:
        """`renegotiate` with an offer."""
        return self._run(session, renegotiate(self.records[session], Renegotiate(offer(sdp)), self.context))

    def close(self, session: SessionId, *mids: str, sdp: str | None = None) -> TracksResponse:
        """`tracks/close`; by force if there is no SDP."""
        request = CloseTracks(mids, sdp is None, None if sdp is None else offer(sdp))
        return self._run(session, close_tracks(self.records[session], request, self.context))

    def update(self, session: SessionId, *tracks: TrackRequest) -> TracksResponse:
        """`tracks/update`."""
        return self._run(
            session,
            update_tracks(
                self.records[session], UpdateTracks(tracks), self.context, self._published(tracks, {})
            ),
        )

    def _published(self, tracks: Iterable[TrackRequest], errors: dict[str, ItemError]) -> Published:
        return {
            (session, name): errors.get(name) or find_published(self.records[session], name)
            for session, name in publishers_of(tuple(tracks))
            if session in self.records
        }

    def _run(self, session: SessionId, outcome: Outcome[Response]) -> Response:
        self._store(self.records[session], outcome.record)
        return outcome.response

    def _store(self, before: SessionRecord | None, after: SessionRecord) -> None:
        assert from_json(to_json(after)) == after
        check_record(after)
        if before is not None:
            check_tables(before, after)
        self.records[after.id] = after


def check_record(record: SessionRecord) -> None:
    """What holds of any record."""
    mids = [mline.mid for mline in record.mlines]
    assert len(set(mids)) == len(mids)
    for items in (record.publications, record.subscriptions):
        assert len({item.mid for item in items}) == len(items)
        assert {item.mid for item in items} <= set(mids)
    names = [track.name for track in record.publications]
    assert len(set(names)) == len(names)
    ssrcs = [
        ssrc
        for mline in record.mlines
        if mline.sending is not None
        for ssrc in (mline.sending.ssrc, mline.sending.rtx_ssrc)
        if ssrc is not None
    ]
    assert len(set(ssrcs)) == len(ssrcs)
    for pull, mline in record.outgoing():
        pts = {codec.pt for codec in mline.codecs}
        assert pull.sending_pt in pull.pt_map
        assert pts >= {*pull.pt_map.values(), *pull.rtx_pts.values()}
        assert set(pull.rtx_pts) <= set(pull.pt_map.values())
        ids = {extension.id for extension in mline.extensions}
        assert ids >= set(pull.extension_map.values())
        assert mline.sending is not None
        assert pull.ssrc == mline.sending.ssrc
    for _track, mline in record.incoming():
        assert mline.codecs


def check_tables(before: SessionRecord, after: SessionRecord) -> None:
    """A number keeps its meaning for the life of a PeerConnection."""
    tried = () if before.pending is None else before.pending.payload_types
    for pt, binding in before.payload_types.items():
        assert not binding.agreed or pt in tried or after.payload_types[pt] == binding
    for number, binding in before.extension_ids.items():
        assert not binding.agreed or after.extension_ids[number] == binding
    assert len(after.mlines) >= len(before.mlines)
    if before.dtls_role is not None and after.association == before.association:
        assert after.dtls_role == before.dtls_role


def failed(items: Iterable[TrackItem]) -> list[str | None]:
    """The error code of each item."""
    return [None if item.error is None else item.error.code for item in items]


def mids(items: Iterable[TrackItem]) -> list[Mid]:
    """The mid of each item."""
    return [Mid(item.mid or "") for item in items]
