"""api.md 1.5: tracks/close."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.api.calls import Session, answer_of, checked, error_of, offer_of
from tests.conformance.api.description import Description
from tests.conformance.api.peer import ScriptedPeer

if TYPE_CHECKING:
    from tests.conformance.api.calls import Json
    from tests.conformance.api.conftest import OpenSession

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDED = ("stopped", "inactive")  # browsers offer a stopped section with port 0, aiortc an inactive one


async def close_negotiated(session: Session, *mids: str, stop: bool = True) -> Json:
    """Close mids as the documentation says: stop, offer, send."""
    for mid in mids if stop else mids[:1]:
        await session.peer.stop(mid)
    offer = await session.peer.offer()
    response = await session.tracks_close(
        tracks=[{"mid": mid} for mid in mids], force=False, sessionDescription=offer
    )
    assert response.status_code == 200
    body = checked(response)
    await session.peer.accept(body["sessionDescription"])
    return body


async def close_forced(session: Session, *mids: str) -> Json:
    """Close mids by force."""
    response = await session.tracks_close(tracks=[{"mid": mid} for mid in mids], force=True)
    assert response.status_code == 200
    return checked(response)


async def mids_of(session: Session) -> dict[str, str]:
    """The mid of each track, by name."""
    return {track["trackName"]: track["mid"] for track in (await session.state())["tracks"]}


async def test_api_1_5_a_negotiated_close_is_answered(new_session: OpenSession) -> None:
    """api.md 1.5 force:false; response; 4.1 row "Close"; 5.10."""
    session = await new_session()
    await session.push(audio="mic", video="camera")
    mids = await mids_of(session)
    body = await close_negotiated(session, mids["camera"])
    assert body["requiresImmediateRenegotiation"] is False
    assert body["tracks"] == [{"mid": mids["camera"]}]
    directions = answer_of(body).directions
    assert directions.pop(mids["camera"]) in ENDED
    assert directions == {mids["mic"]: "recvonly"}
    assert (await session.statuses())["mic"] == "active"
    assert (await session.statuses()).get("camera", "inactive") == "inactive"


async def test_api_1_5_a_forced_close_needs_no_sdp(new_session: OpenSession) -> None:
    """api.md 1.5 force:true; response; 4.1 row "Close"."""
    session = await new_session()
    await session.push(audio="mic", video="camera")
    mids = await mids_of(session)
    body = await close_forced(session, mids["mic"])
    assert body == {"requiresImmediateRenegotiation": False, "tracks": [{"mid": mids["mic"]}]}
    assert await session.statuses() == {"mic": "inactive", "camera": "active"}
    answer = answer_of(await session.push(audio="again"))
    assert mids["mic"] in answer.mids  # the m-line stays


async def test_api_1_5_what_is_gone_is_an_item_error(new_session: OpenSession) -> None:
    """api.md 1.5 close_track_error with its text; 5.10 the answer comes even if items failed."""
    session = await new_session()
    await session.push(audio="mic", video="camera")
    mids = await mids_of(session)
    await close_forced(session, mids["mic"])
    forced = await close_forced(session, mids["mic"], "99", mids["camera"])
    failed = {
        "errorCode": "close_track_error",
        "errorDescription": "Track doesn't exist or was already closed",
    }
    assert forced["tracks"] == [
        {"mid": mids["mic"], **failed},
        {"mid": "99", **failed},
        {"mid": mids["camera"]},
    ]
    body = await close_negotiated(session, mids["camera"])
    assert body["tracks"] == [{"mid": mids["camera"], **failed}]
    assert answer_of(body)


async def test_api_1_5_an_offer_is_needed_unless_forced(new_session: OpenSession) -> None:
    """api.md 1.5 request."""
    session = await new_session()
    await session.push(audio="mic")
    for force in ({"force": False}, {}):
        response = await session.tracks_close(tracks=[{"mid": "0"}], **force)
        assert error_of(response) == (406, "invalid_params")
    for tracks in ([], [{"mid": ""}]):
        response = await session.tracks_close(tracks=tracks, force=True)
        assert error_of(response) == (406, "invalid_params")
    malformed: list[object] = [None, [{}], [{"trackName": "mic"}]]
    for tracks in malformed:
        response = await session.tracks_close(tracks=tracks, force=True)
        assert error_of(response) == (400, "decoding_error")
    assert await session.statuses() == {"mic": "active"}


async def test_api_1_5_closing_a_source_ends_it_for_all(new_session: OpenSession) -> None:
    """api.md 1.5 "Closing a publishing track": later pulls don't find it, the PeerConnection lives on."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    await subscriber.pull((publisher.id, "mic"))
    await close_forced(publisher, (await mids_of(publisher))["mic"])
    body = await subscriber.pull((publisher.id, "mic"), (publisher.id, "camera"))
    assert body["tracks"][0]["errorCode"] == "not_found_track_error"
    assert "errorCode" not in body["tracks"][1]


async def test_api_1_5_closing_a_pull_ends_that_subscription_alone(new_session: OpenSession) -> None:
    """api.md 1.5 "closing a receiving track"."""
    publisher, one, other = await new_session(), await new_session(), await new_session()
    await publisher.push(audio="mic")
    for subscriber in (one, other):
        await subscriber.pull((publisher.id, "mic"))
    await close_forced(one, (await mids_of(one))["mic"])
    assert await one.statuses() == {"mic": "inactive"}
    assert await other.statuses() == {"mic": "active"}
    assert await publisher.statuses() == {"mic": "active"}


async def test_api_1_5_closing_a_bidirectional_transceiver_ends_both_ways(new_session: OpenSession) -> None:
    """api.md 1.5 "closing a bidirectional transceiver"."""
    publisher, caller = await new_session(), await new_session()
    await publisher.push(audio="mic")
    local = {"location": "local", "trackName": "own", "kind": "audio", "bidirectionalMediaStream": True}
    body = checked(await caller.tracks_new(tracks=[local]))
    await caller.complete(body)
    mid = body["tracks"][0]["mid"]
    await caller.pull((publisher.id, "mic"), mid="#own")
    assert await caller.statuses() == {"own": "active", "mic": "active"}
    await close_forced(caller, mid)
    assert await caller.statuses() == {"own": "inactive", "mic": "inactive"}


async def test_api_1_5_closing_the_last_m_line_leaves_the_session_usable(new_session: OpenSession) -> None:
    """api.md 1.5 "Observed": where the original lets the session die, ours lives on."""
    session = await new_session()
    await session.push(audio="mic")
    await close_negotiated(session, (await mids_of(session))["mic"])
    body = await session.push(audio="again")
    assert "errorCode" not in body["tracks"][0]
    assert (await session.statuses())["again"] == "active"


async def test_api_1_5_a_forced_mid_may_publish_again(new_session: OpenSession) -> None:
    """api.md 1.5 "Observed", 7: a new name on a force-closed mid can be pulled."""
    session, subscriber = await new_session(), await new_session()
    await session.push(audio="mic")
    mid = (await mids_of(session))["mic"]
    await close_forced(session, mid)
    offer = await session.peer.offer()
    body = checked(
        await session.tracks_new(
            sessionDescription=offer, tracks=[{"location": "local", "mid": mid, "trackName": "again"}]
        )
    )
    assert "errorCode" not in body["tracks"][0]
    await session.peer.accept(body["sessionDescription"])
    await session.peer.connected(session.id)
    pulled = await subscriber.pull((session.id, "again"))
    assert "errorCode" not in pulled["tracks"][0]


async def test_api_1_5_partytracks_stops_only_the_first_of_a_batch(new_session: OpenSession) -> None:
    """api.md 1.5 "partytracks quirk"; 5.10 m-lines are still active."""
    session = await new_session()
    await session.push(audio="mic", video="camera")
    mids = await mids_of(session)
    body = await close_negotiated(session, mids["mic"], mids["camera"], stop=False)
    assert all("errorCode" not in item for item in body["tracks"])
    directions = answer_of(body).directions
    assert directions[mids["mic"]] in ENDED
    assert directions[mids["camera"]] in ENDED
    assert "active" not in (await session.statuses()).values()


async def test_api_1_5_m_lines_are_used_again(new_session: OpenSession) -> None:
    """api.md 7 "m-section budget 410": closing and opening does not make the SDP grow."""
    publisher, session = await new_session(), await new_session()
    if not isinstance(session.peer, ScriptedPeer):
        pytest.skip("the real peer does not use its own sections again")
    await publisher.push(audio="mic")
    await session.push(audio="stays")
    counts: list[int] = []
    for number in range(8):
        name = f"own-{number}"
        answer = answer_of(await session.push(video=name))
        offer = offer_of(await session.pull((publisher.id, "mic")))
        mids = await mids_of(session)
        await close_negotiated(session, mids[name])
        await close_forced(session, mids["mic"])
        counts += [len(answer.sections), len(offer.sections)]
    assert max(counts[6:]) == max(counts[:6])
    assert await session.statuses() | {"stays": "active"} == await session.statuses()


async def test_api_5_10_a_closed_pull_is_answered_with_its_m_line(new_session: OpenSession) -> None:
    """api.md 5.10 on a receiving track."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    await subscriber.pull((publisher.id, "mic"), (publisher.id, "camera"))
    mids = await mids_of(subscriber)
    body = await close_negotiated(subscriber, mids["mic"])
    answer = Description(body["sessionDescription"])
    assert answer[mids["mic"]].direction in ENDED
    assert answer[mids["camera"]].direction == "sendonly"
