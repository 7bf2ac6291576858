"""api.md 1.3 (tracks/new), 1.6 (tracks/update), 4.1 (who offers), 4.2 (names and mids), 4.4 (simulcast)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.api.calls import Session, answer_of, checked, error_of, offer_of, remote
from tests.conformance.api.peer import ScriptedPeer

if TYPE_CHECKING:
    from tests.conformance.api.calls import Json
    from tests.conformance.api.conftest import OpenSession

pytestmark = pytest.mark.asyncio(loop_scope="session")


# Push


async def test_api_4_1_push_with_the_clients_offer(new_session: OpenSession) -> None:
    """api.md 4.1 row 1; 1.3 item shape of a push."""
    session = await new_session()
    mic, camera = session.peer.add("audio"), session.peer.add("video")
    body = await session.push_transceivers({"mic": mic, "camera": camera})
    assert body["requiresImmediateRenegotiation"] is False
    assert answer_of(body).directions == {mic.mid: "recvonly", camera.mid: "recvonly"}
    shapes = [(item["trackName"], item["mid"]) for item in body["tracks"]]
    assert shapes == [("mic", mic.mid), ("camera", camera.mid)]


async def test_api_1_3_items_keep_the_order_of_the_request(new_session: OpenSession) -> None:
    """api.md 1.3 "Ordering"; 5.7."""
    publisher, subscriber = await new_session(), await new_session()
    transceivers = {name: publisher.peer.add("audio") for name in ("c", "a", "b")}
    backwards = dict(reversed(transceivers.items()))
    body = await publisher.push_transceivers(backwards)
    assert [item["trackName"] for item in body["tracks"]] == ["b", "a", "c"]
    pulled = await subscriber.pull((publisher.id, "a"), (publisher.id, "none"), (publisher.id, "c"))
    assert [item["trackName"] for item in pulled["tracks"]] == ["a", "none", "c"]


async def test_api_4_1_auto_discover(new_session: OpenSession) -> None:
    """api.md 4.1 row 2; 1.3 autoDiscover; 5.14 kind."""
    session = await new_session()
    mic, camera = session.peer.add("audio"), session.peer.add("video")
    listening = session.peer.add("audio", "recvonly")
    offer = await session.peer.offer()
    body = checked(await session.tracks_new(sessionDescription=offer, autoDiscover=True))
    assert body["requiresImmediateRenegotiation"] is False
    assert [(item["location"], item["mid"], item["kind"]) for item in body["tracks"]] == [
        ("local", mic.mid, "audio"),
        ("local", camera.mid, "video"),
    ]
    names = {item["trackName"] for item in body["tracks"]}
    assert len(names) == 2
    assert listening.mid in answer_of(body).mids
    await session.peer.accept(body["sessionDescription"])
    await session.peer.connected(session.id)
    assert await session.statuses() == dict.fromkeys(names, "active")


async def test_api_4_1_auto_discover_publishes_what_is_not_named(new_session: OpenSession) -> None:
    """api.md 1.3 autoDiscover together with tracks."""
    session = await new_session()
    mic, camera = session.peer.add("audio"), session.peer.add("video")
    offer = await session.peer.offer()
    body = checked(
        await session.tracks_new(
            sessionDescription=offer,
            autoDiscover=True,
            tracks=[{"location": "local", "mid": mic.mid, "trackName": "mic"}],
        )
    )
    assert [item["mid"] for item in body["tracks"]] == [mic.mid, camera.mid]
    assert body["tracks"][0]["trackName"] == "mic"


@pytest.mark.parametrize("bidirectional", [False, True])
async def test_api_4_1_push_without_an_offer(new_session: OpenSession, bidirectional: bool) -> None:
    """api.md 4.1 row 3, with and without bidirectionalMediaStream; 1.1 kind."""
    session, subscriber = await new_session(), await new_session()
    local: Json = {"location": "local", "trackName": "mic", "kind": "audio"}
    if bidirectional:
        local["bidirectionalMediaStream"] = True
    body = checked(await session.tracks_new(tracks=[local]))
    assert body["requiresImmediateRenegotiation"] is True
    [section] = offer_of(body).sections
    assert section.kind == "audio"
    assert section.direction == ("sendrecv" if bidirectional else "recvonly")
    assert body["tracks"][0]["mid"] == section.mid
    await session.complete(body)
    assert await session.statuses() == {"mic": "active"}
    pulled = await subscriber.pull((session.id, "mic"))
    assert "errorCode" not in pulled["tracks"][0]


async def test_api_1_1_kind_is_required_where_the_sfu_offers(new_session: OpenSession) -> None:
    """api.md 1.1 kind."""
    session = await new_session()
    response = await session.tracks_new(tracks=[{"location": "local", "trackName": "mic"}])
    assert error_of(response) == (406, "invalid_params")


async def test_api_1_1_bidirectional_with_the_clients_offer(new_session: OpenSession) -> None:
    """api.md 1.1 bidirectionalMediaStream (conflict): the answer to a client's offer is sendrecv too."""
    session = await new_session()
    transceiver = session.peer.add("audio", "sendrecv")
    offer = await session.peer.offer()
    local = {
        "location": "local",
        "mid": transceiver.mid,
        "trackName": "mic",
        "bidirectionalMediaStream": True,
    }
    body = checked(await session.tracks_new(sessionDescription=offer, tracks=[local]))
    assert answer_of(body).directions == {transceiver.mid: "sendrecv"}


async def test_api_1_3_nothing_to_do_is_invalid(new_session: OpenSession) -> None:
    """api.md 1.3: tracks may be absent with autoDiscover only."""
    session = await new_session()
    assert error_of(await session.tracks_new()) == (406, "invalid_params")
    assert error_of(await session.tracks_new(autoDiscover=True)) == (406, "invalid_params")


async def test_api_1_13_at_most_64_tracks_in_a_call(new_session: OpenSession) -> None:
    """api.md 1.13 "Tracks per call" with the text of 1.0."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    entries = [remote(publisher.id, "mic")] * 65
    for response in (
        await subscriber.tracks_new(tracks=entries),
        await subscriber.tracks_close(tracks=[{"mid": "0"}] * 65, force=True),
        await subscriber.tracks_update(*entries),
    ):
        assert error_of(response) == (406, "invalid_params")
        assert response.json()["errorDescription"] == "Expecting at most 64 track in the request"
    body = checked(await subscriber.tracks_new(tracks=entries[:64]))
    assert len(offer_of(body).sections) == 64


async def test_api_4_2_a_name_is_unique_in_its_session(new_session: OpenSession) -> None:
    """api.md 4.2 "Publication locator"."""
    first, second = await new_session(), await new_session()
    await first.push(audio="mic")
    body = await first.push(video="mic")
    assert body["tracks"][0]["errorCode"]
    assert "errorCode" not in (await second.push(audio="mic"))["tracks"][0]


# Pull


async def test_api_4_1_pull_without_an_offer(new_session: OpenSession) -> None:
    """api.md 4.1 row 4; 1.3 item shape of a pull."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = await subscriber.pull((publisher.id, "mic"))
    assert body["requiresImmediateRenegotiation"] is True
    [section] = offer_of(body).sections
    assert section.direction == "sendonly"
    [item] = body["tracks"]
    shape = {"sessionId": publisher.id, "trackName": "mic", "mid": section.mid}
    assert shape.items() <= item.items()


async def test_api_4_1_pull_with_the_clients_offer(new_session: OpenSession) -> None:
    """api.md 4.1 row 5; 5.14 by kind and order."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    video, audio = subscriber.peer.add("video", "recvonly"), subscriber.peer.add("audio", "recvonly")
    offer = await subscriber.peer.offer()
    body = checked(
        await subscriber.tracks_new(
            sessionDescription=offer, tracks=[remote(publisher.id, "mic"), remote(publisher.id, "camera")]
        )
    )
    assert body["requiresImmediateRenegotiation"] is False
    assert [item["mid"] for item in body["tracks"]] == [audio.mid, video.mid]
    answer = answer_of(body)
    assert answer.directions == {video.mid: "sendonly", audio.mid: "sendonly"}
    assert all(section.ssrcs for section in answer.sections)
    await subscriber.peer.accept(body["sessionDescription"])
    assert await subscriber.statuses() == {"mic": "active", "camera": "active"}


@pytest.mark.parametrize("by_name", [False, True])
async def test_api_4_1_pull_onto_a_bidirectional_transceiver(new_session: OpenSession, by_name: bool) -> None:
    """api.md 4.1 row 6; 5.15 "#trackName"."""
    publisher, other, caller = await new_session(), await new_session(), await new_session()
    await publisher.push(audio="mic")
    await other.push(audio="mic")
    local = {"location": "local", "trackName": "own", "kind": "audio", "bidirectionalMediaStream": True}
    body = checked(await caller.tracks_new(tracks=[local]))
    await caller.complete(body)
    mid = body["tracks"][0]["mid"]
    target = "#own" if by_name else mid
    for source in (publisher, other):  # the second replaces the first
        response = await caller.tracks_new(tracks=[remote(source.id, "mic", mid=target)])
        body = checked(response)
        assert body["requiresImmediateRenegotiation"] is False
        assert body["tracks"][0]["mid"] == mid
        assert "errorCode" not in body["tracks"][0]
    pulled = [track for track in (await caller.state())["tracks"] if track["location"] == "remote"]
    assert [(track["sessionId"], track["mid"]) for track in pulled] == [(other.id, mid)]


async def test_api_4_1_pull_where_every_item_failed(new_session: OpenSession) -> None:
    """api.md 4.1 row 7; 1.3 item shape of a failed pull; 1.13 no m-line is allocated."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = await subscriber.pull((publisher.id, "none"), ("f" * 32, "mic"))
    assert body["requiresImmediateRenegotiation"] is False
    assert "sessionDescription" not in body
    for item, session, name in zip(body["tracks"], (publisher.id, "f" * 32), ("none", "mic"), strict=True):
        assert (item["sessionId"], item["trackName"], item["mid"]) == (session, name, "")
        assert item["errorCode"] == "not_found_track_error"
        assert item["errorDescription"] == (
            "Track not found on remote peer. Make sure the publisher peer is connected and "
            "sending packets for this track"
        )
    offer = offer_of(await subscriber.pull((publisher.id, "mic")))
    assert len(offer.sections) == 1


async def test_api_4_1_pull_with_some_failed_items(new_session: OpenSession) -> None:
    """api.md 4.1 row 8; 5.9."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    body = await subscriber.pull((publisher.id, "mic"), (publisher.id, "none"), (publisher.id, "camera"))
    assert body["requiresImmediateRenegotiation"] is True
    offer = offer_of(body)
    assert [item["mid"] for item in body["tracks"]] == [offer.mids[0], "", offer.mids[1]]
    assert len(offer.sections) == 2


async def test_api_1_13_a_published_track_without_media_is_empty(new_session: OpenSession) -> None:
    """api.md 1.13 "Pull before publish"; 1.0 code empty_track_error."""
    publisher, subscriber = await new_session(), await new_session()
    silent = publisher.peer.add("audio", silent=True)
    await publisher.push_transceivers({"mic": silent})
    body = await subscriber.pull((publisher.id, "mic"))
    [item] = body["tracks"]
    assert (item["errorCode"], item["mid"]) == ("empty_track_error", "")
    assert item["errorDescription"].startswith("No track data from remote peer")


async def test_api_1_13_a_publisher_that_never_connected_is_not_found(new_session: OpenSession) -> None:
    """api.md 1.0 code not_found_track_error: publisher not connected."""
    publisher, subscriber = await new_session(), await new_session()
    peer = ScriptedPeer()
    peer.add("audio")
    body = checked(await publisher.tracks_new(sessionDescription=await peer.offer(), autoDiscover=True))
    name = body["tracks"][0]["trackName"]
    pulled = await subscriber.pull((publisher.id, name))
    assert pulled["tracks"][0]["errorCode"] == "not_found_track_error"


async def test_api_4_2_a_session_may_pull_its_own_track(new_session: OpenSession) -> None:
    """api.md 4.2 "Negotiating more than once on one PC": the echo on one PeerConnection."""
    session = await new_session()
    pushed = await session.push(audio="mic")
    body = await session.pull((session.id, "mic"))
    assert body["tracks"][0]["mid"] not in {item["mid"] for item in pushed["tracks"]}
    assert offer_of(body).directions[body["tracks"][0]["mid"]] == "sendonly"


async def test_api_4_2_push_after_pull_after_push(new_session: OpenSession) -> None:
    """api.md 4.2 "Negotiating more than once on one PC"; 5.12 role and payload types stay."""
    publisher, session = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    answers = [answer_of(await session.push(video="first"))]
    offers = [offer_of(await session.pull((publisher.id, "camera"), (publisher.id, "mic")))]
    answers.append(answer_of(await session.push(audio="second")))
    offers.append(offer_of(await session.pull((publisher.id, "mic"))))
    answers.append(answer_of(await session.push(video="third")))
    assert {role for answer in answers for role in answer.everywhere("setup")} == {"passive"}
    assert {role for offer in offers for role in offer.everywhere("setup")} == {"actpass"}
    numbers: dict[tuple[str, str], set[str]] = {}
    for description in (*answers, *offers):
        for section in description.sections:
            for pt, name in section.codecs.items():
                numbers.setdefault((section.mid, name), set()).add(pt)
            for rtx, media in section.repairs.items():
                assert media in section.codecs, f"rtx {rtx} repairs {media}, which is not in the section"
    assert await session.statuses() == dict.fromkeys(("first", "second", "third", "mic", "camera"), "active")
    assert len(answers[-1].sections) == 6


# 1.6 tracks/update


async def pulled_from(publisher: Session, subscriber: Session, name: str) -> str:
    """Pull a track; its mid."""
    body = await subscriber.pull((publisher.id, name))
    return body["tracks"][0]["mid"]


async def test_api_1_6_a_pulled_transceiver_takes_another_publication(new_session: OpenSession) -> None:
    """api.md 1.6 use 1; 4.1 row "tracks/update"; 5.13 no SDP."""
    first, second, subscriber = await new_session(), await new_session(), await new_session()
    await first.push(audio="mic")
    await second.push(audio="music")
    mid = await pulled_from(first, subscriber, "mic")
    body = checked(await subscriber.tracks_update(remote(second.id, "music", mid=mid)))
    assert body["requiresImmediateRenegotiation"] is False
    assert "sessionDescription" not in body
    [item] = body["tracks"]
    assert {"mid": mid, "sessionId": second.id, "trackName": "music"}.items() <= item.items()
    assert "errorCode" not in item
    [track] = (await subscriber.state())["tracks"]
    assert (track["sessionId"], track["trackName"]) == (second.id, "music")


async def test_api_1_6_another_kind_cant_take_the_transceiver(new_session: OpenSession) -> None:
    """api.md 1.6; 1.0 code update_track_error."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    mid = await pulled_from(publisher, subscriber, "mic")
    body = checked(await subscriber.tracks_update(remote(publisher.id, "camera", mid=mid)))
    assert body["tracks"][0]["errorCode"] == "update_track_error"
    assert await subscriber.statuses() == {"mic": "active"}


async def test_api_1_6_simulcast_of_a_plain_track_is_an_item_error(new_session: OpenSession) -> None:
    """api.md 1.6 use 2; 1.0 code update_track_error with its text; preferredRid "" as well (5.13)."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(video="camera")
    mid = await pulled_from(publisher, subscriber, "camera")
    for rid in ("h", ""):
        track = remote(publisher.id, "camera", mid=mid, simulcast={"preferredRid": rid})
        response = await subscriber.tracks_update(track)
        assert response.status_code == 200
        [item] = checked(response)["tracks"]
        assert item["mid"] == mid
        assert item["errorCode"] == "update_track_error"
        assert item["errorDescription"] == (
            "The track is not configured for simulcast, no updates applicable."
        )


async def test_api_4_4_simulcast_preferences_are_taken(new_session: OpenSession) -> None:
    """api.md 4.4, 1.6 use 2; 1.3 simulcast echoed; 5.13 preferredRid "" accepted."""
    publisher, subscriber = await new_session(), await new_session()
    if not isinstance(publisher.peer, ScriptedPeer):
        pytest.skip("the real peer has no simulcast")
    camera = publisher.peer.add("video", rids=("f", "h", "q"))
    answer = answer_of(await publisher.push_transceivers({"camera": camera}))
    assert answer[camera.mid].values("simulcast") == ["recv f;h;q"]
    simulcast = {"preferredRid": "h", "priorityOrdering": "asciibetical", "ridNotAvailable": "none"}
    body = await subscriber.pull((publisher.id, "camera"), simulcast=simulcast)
    [item] = body["tracks"]
    assert item["simulcast"] == simulcast
    offer = offer_of(body)
    assert offer.sections[0].values("simulcast") == []  # the subscriber sees one stream
    for preferences in (
        {"preferredRid": ""},
        {"preferredRid": "q", "priorityOrdering": "none", "ridNotAvailable": "asciibetical"},
        {"preferredRid": "f", "fallbackStrategy": "leastBandwidth"},
        {"preferredRid": "x", "ridNotAvailable": "asciibetical"},
    ):
        entry = remote(publisher.id, "camera", mid=item["mid"], simulcast=preferences)
        [updated] = checked(await subscriber.tracks_update(entry))["tracks"]
        assert "errorCode" not in updated
        assert updated["mid"] == item["mid"]


async def test_api_1_6_a_layer_that_the_track_lacks_is_an_item_error(new_session: OpenSession) -> None:
    """api.md 1.0 code update_track_error: the change is not applicable. The pull goes on as it was."""
    publisher, subscriber = await new_session(), await new_session()
    if not isinstance(publisher.peer, ScriptedPeer):
        pytest.skip("the real peer has no simulcast")
    camera = publisher.peer.add("video", rids=("f", "h", "q"))
    await publisher.push_transceivers({"camera": camera})
    mid = await pulled_from(publisher, subscriber, "camera")
    entry = remote(publisher.id, "camera", mid=mid, simulcast={"preferredRid": "x"})
    [item] = checked(await subscriber.tracks_update(entry))["tracks"]
    assert item["errorCode"] == "update_track_error"
    assert await subscriber.statuses() == {"camera": "active"}


async def test_api_1_6_an_update_of_nothing_is_an_item_error(new_session: OpenSession) -> None:
    """api.md 1.6: mid is the receiving session's."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = checked(await subscriber.tracks_update(remote(publisher.id, "mic", mid="99")))
    assert body["tracks"][0]["errorCode"] == "update_track_error"
