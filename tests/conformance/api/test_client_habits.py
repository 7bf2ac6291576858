"""api.md 5: what clients silently rely on, but for items 16 (data channels) and 19 (adapters).

Items that are tested with their operation: 1, 2, 3 (test_conventions), 7, 9, 13, 14, 15 (test_tracks), 10
(test_close), 12 (test_tracks), 17 (test_conventions). Item 20 is a matter of packets: the server's own
tests have it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.api.calls import answer_of, checked, offer_of, remote
from tests.conformance.api.description import Description

if TYPE_CHECKING:
    import httpx

    from tests.conformance.api.calls import Json
    from tests.conformance.api.conftest import OpenSession
    from tests.conformance.api.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_api_5_3_statuses_of_success(client: httpx.AsyncClient, new_session: OpenSession) -> None:
    """api.md 5.3: 201 for sessions/new, 200 elsewhere."""
    assert (await client.post("/sessions/new")).status_code == 201
    publisher, subscriber = await new_session(), await new_session()
    publisher.peer.add("audio")
    push = await publisher.tracks_new(sessionDescription=await publisher.peer.offer(), autoDiscover=True)
    body = checked(push)
    await publisher.peer.accept(body["sessionDescription"])
    await publisher.peer.connected(publisher.id)
    pull = await subscriber.tracks_new(tracks=[remote(publisher.id, body["tracks"][0]["trackName"])])
    answer = await subscriber.peer.answer(checked(pull)["sessionDescription"])
    responses = [
        push,
        pull,
        await subscriber.renegotiate(answer),
        await subscriber.tracks_update({"mid": "0"}),
        await subscriber.tracks_close(tracks=[{"mid": "0"}], force=True),
        await client.get(subscriber.url),
    ]
    assert [response.status_code for response in responses] == [200] * 6


async def test_api_5_4_offers_need_no_candidates(new_session: OpenSession) -> None:
    """api.md 5.4."""
    session = await new_session()
    session.peer.add("audio")
    offer = await session.peer.offer()
    lines = [
        line
        for line in offer["sdp"].split("\r\n")
        if not line.startswith(("a=candidate", "a=end-of-candidates"))
    ]
    response = await session.tracks_new(
        sessionDescription={"type": "offer", "sdp": "\r\n".join(lines)}, autoDiscover=True
    )
    assert response.status_code == 200


async def test_api_5_4_answers_need_no_candidates(new_session: OpenSession) -> None:
    """api.md 5.4: answers may come before gathering ends."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = checked(await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    answer = await subscriber.peer.answer(body["sessionDescription"])
    lines = [line for line in answer["sdp"].split("\r\n") if not line.startswith("a=candidate")]
    response = await subscriber.renegotiate({"type": "answer", "sdp": "\r\n".join(lines)})
    assert (response.status_code, checked(response)) == (200, {})


async def test_api_5_5_every_description_is_complete(new_session: OpenSession) -> None:
    """api.md 5.5: ufrag, pwd, fingerprint, candidates; there is no trickle channel."""
    publisher, subscriber = await new_session(), await new_session()
    descriptions = [answer_of(await publisher.push(audio="mic", video="camera"))]
    descriptions.append(answer_of(await publisher.push(audio="second")))
    descriptions.append(offer_of(await subscriber.pull((publisher.id, "mic"))))
    for description in descriptions:
        assert len(set(description.everywhere("ice-ufrag"))) == 1
        assert len(set(description.everywhere("ice-pwd"))) == 1
        [fingerprint] = set(description.everywhere("fingerprint"))
        assert fingerprint.startswith("sha-256 ")
        candidates = description.everywhere("candidate")
        assert candidates
        assert all(" udp " in candidate.lower() for candidate in candidates)
        assert all("typ host" in candidate for candidate in candidates)


async def test_api_5_6_a_pull_waits_for_the_first_packets(new_session: OpenSession) -> None:
    """api.md 5.6: sent before the publisher is connected, it succeeds once media flows."""
    publisher, subscriber = await new_session(), await new_session()
    mic = publisher.peer.add("audio")
    offer = await publisher.peer.offer()
    local = {"location": "local", "mid": mic.mid, "trackName": "mic"}
    pushed = checked(await publisher.tracks_new(sessionDescription=offer, tracks=[local]))
    pull = asyncio.create_task(subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    await publisher.peer.accept(pushed["sessionDescription"])
    await publisher.client.get(publisher.url)  # one more way to the server, so that the pull waits there
    await publisher.peer.connected(publisher.id)
    body = checked(await pull)
    assert "errorCode" not in body["tracks"][0]
    assert body["requiresImmediateRenegotiation"] is True


async def test_api_5_7_every_push_and_pull_has_tracks(new_session: OpenSession) -> None:
    """api.md 5.7: pulls echo sessionId, trackName and mid; failed ones have mid ""."""
    publisher, subscriber = await new_session(), await new_session()
    pushed = await publisher.push(audio="mic")
    assert isinstance(pushed["tracks"], list)
    body = await subscriber.pull((publisher.id, "none"), (publisher.id, "mic"))
    echoed = [(item["sessionId"], item["trackName"]) for item in body["tracks"]]
    assert echoed == [(publisher.id, "none"), (publisher.id, "mic")]
    assert body["tracks"][0]["mid"] == ""
    assert body["tracks"][1]["mid"] in offer_of(body).mids


async def test_api_5_8_pull_mids_count_from_0_on_a_fresh_session(new_session: OpenSession) -> None:
    """api.md 5.8, 4.2 "Pull mids": echo-simulcast depends on it."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    tracks = [(publisher.id, "camera"), (publisher.id, "mic")]
    first = await subscriber.pull(*tracks)
    second = await subscriber.pull(*tracks)
    assert [item["mid"] for item in (*first["tracks"], *second["tracks"])] == ["0", "1", "2", "3"]


async def test_api_5_8_pull_mids_never_clash_with_the_clients(new_session: OpenSession) -> None:
    """api.md 5.8 on a shared PeerConnection."""
    publisher, session = await new_session(), await new_session()
    await publisher.push(audio="mic")
    await session.push(audio="a", video="b")
    pulled = [item["mid"] for _ in range(2) for item in (await session.pull((publisher.id, "mic")))["tracks"]]
    await session.push(audio="c")
    mids = [track["mid"] for track in (await session.state())["tracks"]]
    assert len(set(mids)) == len(mids) == 5
    assert set(pulled) <= set(mids)


async def test_api_5_9_a_pull_yields_a_new_track_event(new_session: OpenSession) -> None:
    """api.md 5.9: each pull is a new m-line, or one that was inactive before."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    before: Description | None = None
    for _ in range(3):
        body = await subscriber.pull((publisher.id, "mic"))
        mid = body["tracks"][0]["mid"]
        offer = offer_of(body)
        assert offer.directions[mid] == "sendonly"
        assert before is None or before.directions.get(mid, "inactive") == "inactive"
        assert before is None or mid not in before.mids or offer[mid].ssrcs != before[mid].ssrcs
        before = offer


async def test_api_5_11_undeclared_m_lines_are_answered(new_session: OpenSession) -> None:
    """api.md 5.11, 4.2 "Undeclared sending m-lines": answered, not published."""
    session = await new_session()
    declared, undeclared = session.peer.add("audio"), session.peer.add("video")
    offer = await session.peer.offer()
    local = {"location": "local", "mid": declared.mid, "trackName": "mic"}
    body = checked(await session.tracks_new(sessionDescription=offer, tracks=[local]))
    answer = answer_of(body)
    assert answer.mids == [declared.mid, undeclared.mid]
    assert all(section.port for section in answer.sections)
    assert await session.statuses() == {"mic": "active"}
    await session.peer.accept(body["sessionDescription"])
    later = await session.push_transceivers({"camera": undeclared})
    assert "errorCode" not in later["tracks"][0]


async def test_api_5_12_numbers_stay_after_a_pull_in_other_numbers(new_session: OpenSession) -> None:
    """api.md 5.12, 4.8 "RTX": the live service renumbers VP8 and forgets apt; ours does neither."""
    publisher, session = await new_session(), await new_session()
    await publisher.push(video="camera")
    pushed = answer_of(await session.push(video="own"))
    await session.pull((publisher.id, "camera"))
    again = answer_of(await session.push(video="second"))
    own = pushed.mids[0]
    assert again[own].codecs == pushed[own].codecs
    assert again[own].repairs == pushed[own].repairs
    for section in again.sections:
        assert set(section.repairs.values()) <= set(section.codecs)


async def test_api_5_14_a_client_offer_maps_pulls_by_kind_and_order(new_session: OpenSession) -> None:
    """api.md 5.14."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push_transceivers({name: publisher.peer.add("audio") for name in ("a", "b")})
    first, video, second = (subscriber.peer.add(kind, "recvonly") for kind in ("audio", "video", "audio"))
    offer = await subscriber.peer.offer()
    entries = [remote(publisher.id, name) for name in ("b", "a")]
    body = checked(await subscriber.tracks_new(sessionDescription=offer, tracks=entries))
    assert [item["mid"] for item in body["tracks"]] == [first.mid, second.mid]
    directions = answer_of(body).directions
    assert directions == {first.mid: "sendonly", video.mid: "inactive", second.mid: "sendonly"}


async def test_api_5_15_a_name_stands_for_its_transceiver(new_session: OpenSession) -> None:
    """api.md 5.15: in close and update too; an unknown name is an item error."""
    publisher, caller = await new_session(), await new_session()
    await publisher.push(audio="mic")
    local: Json = {"location": "local", "trackName": "own", "kind": "audio", "bidirectionalMediaStream": True}
    body = checked(await caller.tracks_new(tracks=[local]))
    await caller.complete(body)
    mid = body["tracks"][0]["mid"]
    unknown = checked(await caller.tracks_new(tracks=[remote(publisher.id, "mic", mid="#nobody")]))
    assert unknown["tracks"][0]["errorCode"]
    assert unknown["tracks"][0]["mid"] == ""
    await caller.pull((publisher.id, "mic"), mid="#own")
    updated = checked(await caller.tracks_update(remote(publisher.id, "mic", mid="#own")))
    assert updated["tracks"][0]["mid"] == mid
    closed = checked(await caller.tracks_close(tracks=[{"mid": "#own"}], force=True))
    assert "errorCode" not in closed["tracks"][0]


async def test_api_5_18_time_alone_ends_no_track(server: Server, new_session: OpenSession) -> None:
    """api.md 5.18: black video and silent audio keep a track alive for more than 30 s."""
    session = await new_session()
    await session.push(audio="silent", video="black")
    await server.pass_time(35)
    assert await session.statuses() == {"silent": "active", "black": "active"}
