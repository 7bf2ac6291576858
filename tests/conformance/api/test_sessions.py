"""api.md 1.2, 1.4, 1.7 and what 4.7 says of a session's life."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.conformance.api.calls import Session, answer_of, checked, error_of, offer_of, remote
from tests.conformance.api.description import Description
from tests.conformance.api.peer import ScriptedPeer

if TYPE_CHECKING:
    import httpx

    from tests.conformance.api.conftest import OpenSession
    from tests.conformance.api.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


# 1.2 sessions/new


async def test_api_1_2_thirdparty_is_refused_for_now(client: httpx.AsyncClient) -> None:
    """api.md 1.2 "Query thirdparty": a later version's; invalid_params until then."""
    response = await client.post("/sessions/new?thirdparty=true")
    assert error_of(response) == (406, "invalid_params")
    assert (await client.post("/sessions/new?thirdparty=false")).status_code == 201


async def test_api_1_2_an_offer_in_the_body_is_answered(server: Server, client: httpx.AsyncClient) -> None:
    """api.md 1.2 "Body (optional)", "Response 201", "What happens with media m-lines"."""
    peer = server.peer()
    transceiver = peer.add("audio")
    offer = await peer.offer()
    response = await client.post("/sessions/new", json={"sessionDescription": offer})
    assert response.status_code == 201
    body = checked(response)
    answer = answer_of(body)
    await peer.accept(body["sessionDescription"])
    assert answer.mids == [transceiver.mid]
    session = Session(client, peer, body["sessionId"])
    assert (await session.state())["tracks"] == []  # answered, not published
    await peer.connected(session.id)
    await peer.close()


async def test_api_1_2_media_of_the_first_offer_is_published_later(
    server: Server, client: httpx.AsyncClient
) -> None:
    """api.md 1.2: tracks are then declared by tracks/new."""
    peer = server.peer()
    transceiver = peer.add("audio")
    body = checked(await client.post("/sessions/new", json={"sessionDescription": await peer.offer()}))
    await peer.accept(body["sessionDescription"])
    session = Session(client, peer, body["sessionId"])
    local = {"location": "local", "mid": transceiver.mid, "trackName": "mic"}
    response = await session.tracks_new(tracks=[local], sessionDescription=await peer.offer())
    assert response.status_code == 200
    [item] = checked(response)["tracks"]
    assert (item["mid"], item["trackName"]) == (transceiver.mid, "mic")
    assert await session.statuses() == {"mic": "active"}
    await peer.close()


async def test_api_1_2_a_data_channel_offer_is_answered_with_port_0(
    server: Server, client: httpx.AsyncClient
) -> None:
    """api.md 1.2 "Body (optional)"; data channels are a later version's: the section is refused."""
    peer = server.peer()
    peer.add("application")
    peer.add("audio")
    body = checked(await client.post("/sessions/new", json={"sessionDescription": await peer.offer()}))
    ports = {section.kind: section.port for section in answer_of(body).sections}
    assert ports["application"] == 0
    assert ports["audio"] != 0
    await peer.close()


async def test_api_1_2_an_answer_is_no_offer(client: httpx.AsyncClient) -> None:
    """api.md 1.2 "Body (optional)": type offer."""
    body = {"sessionDescription": {"type": "answer", "sdp": "v=0\r\n"}}
    assert error_of(await client.post("/sessions/new", json=body)) == (406, "invalid_session_description")


async def test_api_1_2_session_ids_fit_every_client(new_session: OpenSession) -> None:
    """api.md 1.2 "sessionId format"."""
    ids = [(await new_session()).id for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", one) for one in ids)


async def test_api_1_2_a_session_that_never_connects_expires(
    server: Server, new_session: OpenSession
) -> None:
    """api.md 1.2 "Effect", 1.13 "Session never connected": 410 session_error."""
    unused, negotiated = await new_session(), await new_session()
    negotiated.peer.add("audio")
    response = await negotiated.tracks_new(
        sessionDescription=await negotiated.peer.offer(), autoDiscover=True
    )
    assert response.status_code == 200
    await server.pass_time(31)
    for session in (unused, negotiated):
        assert error_of(await session.client.get(session.url)) == (410, "session_error")
        response = await session.tracks_close(tracks=[{"mid": "0"}], force=True)
        assert error_of(response) == (410, "session_error")


async def test_api_4_7_a_session_that_connected_stays(server: Server, new_session: OpenSession) -> None:
    """api.md 4.7; 5.18: what matters is that packets flow, not time."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    await server.pass_time(31)
    assert await publisher.statuses() == {"mic": "active"}
    # a session that is younger than 30 s may pull it
    late = Session(
        subscriber.client, server.peer(), (await subscriber.client.post("/sessions/new")).json()["sessionId"]
    )
    body = await late.pull((publisher.id, "mic"))
    assert "errorCode" not in body["tracks"][0]
    await late.peer.close()


async def test_a_destroyed_session_is_gone(new_session: OpenSession) -> None:
    """api.md 7 "No way to destroy a session": ours has one."""
    session = await new_session()
    response = await session.client.delete(session.url)
    assert (response.status_code, checked(response)) == (200, {})
    assert error_of(await session.client.get(session.url)) == (410, "session_error")
    assert error_of(await session.client.delete(session.url)) == (410, "session_error")


# 1.4 renegotiate


async def test_api_1_4_an_accepted_answer_is_an_empty_object(new_session: OpenSession) -> None:
    """api.md 1.4."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = checked(await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    response = await subscriber.renegotiate(await subscriber.peer.answer(body["sessionDescription"]))
    assert (response.status_code, checked(response)) == (200, {})


async def test_api_1_4_an_answer_without_an_offer_is_refused(new_session: OpenSession) -> None:
    """api.md 1.4; 1.0 code invalid_session_description: out of order."""
    session = await new_session()
    response = await session.renegotiate({"type": "answer", "sdp": "v=0\r\n"})
    assert error_of(response) == (406, "invalid_session_description")


async def test_api_1_4_a_bad_answer_may_be_followed_by_a_good_one(new_session: OpenSession) -> None:
    """api.md 1.4."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = checked(await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    response = await subscriber.renegotiate({"type": "answer", "sdp": "nonsense"})
    assert error_of(response) == (406, "invalid_session_description")
    await subscriber.complete(body)


async def test_api_1_4_an_offer_restarts_ice(new_session: OpenSession) -> None:
    """api.md 1.4, 7 "ICE restart": the published API has none; ours takes the offer here."""
    session = await new_session()
    peer = ScriptedPeer()
    peer.add("audio")
    body = checked(await session.tracks_new(sessionDescription=await peer.offer(), autoDiscover=True))
    before = answer_of(body).everywhere("ice-ufrag")
    peer.restart_ice()
    response = await session.renegotiate(await peer.offer())
    assert response.status_code == 200
    after = answer_of(checked(response)).everywhere("ice-ufrag")
    assert set(after).isdisjoint(before)


# 1.7 GET session


async def test_api_1_7_an_empty_session(new_session: OpenSession) -> None:
    """api.md 1.7."""
    assert await (await new_session()).state() == {"tracks": [], "dataChannels": []}


async def test_api_1_7_published_and_pulled_tracks_are_listed(new_session: OpenSession) -> None:
    """api.md 1.7: TrackObject with status; no SDP."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic", video="camera")
    await subscriber.push(audio="own")
    await subscriber.pull((publisher.id, "camera"))
    own, camera = sorted((await subscriber.state())["tracks"], key=lambda track: track["location"])
    assert (own["location"], own["trackName"], own["status"]) == ("local", "own", "active")
    assert (camera["location"], camera["trackName"], camera["status"]) == ("remote", "camera", "active")
    assert camera["sessionId"] == publisher.id
    assert own["mid"] != camera["mid"]


async def test_api_1_7_forced_closed_tracks_are_inactive(new_session: OpenSession) -> None:
    """api.md 1.7 status inactive."""
    session = await new_session()
    body = await session.push(audio="mic", video="camera")
    mid = body["tracks"][0]["mid"]
    await session.tracks_close(tracks=[{"mid": mid}], force=True)
    assert await session.statuses() == {"mic": "inactive", "camera": "active"}


# 4.8 SDP


async def test_api_4_8_sdp_style_and_roles(new_session: OpenSession) -> None:
    """api.md 4.8: ICE-lite, BUNDLE, DTLS roles, one SSRC for each pulled m-line."""
    publisher, subscriber = await new_session(), await new_session()
    answer = answer_of(await publisher.push(audio="mic", video="camera"))
    assert "ice-lite" in answer.session
    assert answer.everywhere("setup") == ["passive"] * 2
    assert all(not section.ssrcs for section in answer.sections)
    assert answer.directions == dict.fromkeys(answer.mids, "recvonly")
    [bundle] = [line for line in answer.session if line.startswith("group:BUNDLE")]
    assert bundle.split(" ")[1:] == answer.mids
    offer = offer_of(await subscriber.pull((publisher.id, "mic"), (publisher.id, "camera")))
    assert offer.everywhere("setup") == ["actpass"] * 2
    assert offer.directions == dict.fromkeys(offer.mids, "sendonly")
    audio, video = offer.sections
    assert len(audio.ssrcs) == 1
    assert len(video.ssrcs) == 1 + ("rtx" in video.codecs.values())
    assert all("rtcp-mux" in section.lines for section in offer.sections)


async def test_api_4_8_every_codec_of_the_limits_is_taken(new_session: OpenSession) -> None:
    """api.md 4.8 "Video codecs", "Audio codecs"."""
    names = {
        "audio": ["opus/48000/2", "PCMU/8000", "PCMA/8000"],
        "video": ["VP8/90000", "VP9/90000", "AV1/90000", "H264/90000", "H265/90000"],
    }
    session = await new_session()
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
    for mid, (kind, codecs) in enumerate(names.items()):
        pts = [str(96 + 10 * mid + number) for number in range(len(codecs))]
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {' '.join(pts)}",
            "c=IN IP4 0.0.0.0",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:0123456789012345678901",
            "a=fingerprint:sha-256 " + ":".join(["A1"] * 32),
            "a=setup:actpass",
            f"a=mid:{mid}",
            "a=sendonly",
            "a=rtcp-mux",
            *(f"a=rtpmap:{pt} {codec}" for pt, codec in zip(pts, codecs, strict=True)),
        ]
    sdp = "".join(f"{line}\r\n" for line in lines)
    response = await session.tracks_new(sessionDescription={"type": "offer", "sdp": sdp}, autoDiscover=True)
    answer = Description(checked(response)["sessionDescription"])
    for section in answer.sections:
        offered = [codec.split("/")[0].lower() for codec in names[section.kind]]
        assert sorted(section.codecs.values()) == sorted(offered)
