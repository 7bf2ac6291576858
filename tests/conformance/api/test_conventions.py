"""api.md 1.0: what holds of every operation."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.conformance.api.calls import checked, error_of, offer_of, remote
from tests.conformance.api.peer import ScriptedPeer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.conformance.api.conftest import OpenSession
    from tests.conformance.api.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

NO_SESSION = "/sessions/" + "f" * 32
OPERATIONS = [
    ("POST", "/sessions/new"),
    ("GET", NO_SESSION),
    ("POST", f"{NO_SESSION}/tracks/new"),
    ("PUT", f"{NO_SESSION}/tracks/close"),
    ("PUT", f"{NO_SESSION}/tracks/update"),
    ("PUT", f"{NO_SESSION}/renegotiate"),
]


async def test_api_1_0_base_url_with_v1_and_without(server: Server, client: httpx.AsyncClient) -> None:
    """api.md 1.0 "Base URL", "Base URL without /v1"; 5.17."""
    bare = server.url.removesuffix("/v1")
    for base in (server.url, bare):
        response = await client.post(f"{base}/apps/{server.app}/sessions/new")
        assert response.status_code == 201


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_api_1_0_auth_guards_every_operation(
    server: Server, client: httpx.AsyncClient, method: str, path: str
) -> None:
    """api.md 1.0 "Auth"; status 401; code unauthorized."""
    for authorization in ("", "Bearer wrong", f"Basic {server.secret}"):
        response = await client.request(method, path, headers={"authorization": authorization})
        assert error_of(response) == (401, "unauthorized")


async def test_api_1_0_an_unknown_app_is_not_found(server: Server, client: httpx.AsyncClient) -> None:
    """api.md 1.0 status 404, code not_found."""
    response = await client.post(f"{server.url}/apps/{'0' * 32}/sessions/new")
    assert error_of(response) == (404, "not_found")


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain;charset=UTF-8", "x"])
async def test_api_1_0_request_content_type_does_not_matter(
    new_session: OpenSession, content_type: str | None
) -> None:
    """api.md 1.0 "Request content type"; 5.1."""
    session = await new_session()
    session.peer.add("audio")
    body = json.dumps({"sessionDescription": await session.peer.offer(), "autoDiscover": True}).encode()
    headers = {} if content_type is None else {"content-type": content_type}
    response = await session.client.post(f"{session.url}/tracks/new", content=body, headers=headers)
    assert response.status_code == 200


async def test_api_1_0_every_answer_is_json_and_varies_by_origin(
    server: Server, client: httpx.AsyncClient
) -> None:
    """api.md 1.0 "Response content type", "vary: Origin"."""
    root = server.url.removesuffix("/v1")
    responses = [
        await client.post("/sessions/new"),
        await client.get(NO_SESSION),
        await client.get(f"{root}/v1/nowhere"),
        await client.get("/sessions/new/x/y"),
        await client.post(NO_SESSION),
        await client.put(f"{NO_SESSION}/renegotiate", content=b"{"),
    ]
    assert [response.status_code for response in responses] == [201, 410, 404, 404, 405, 400]
    for response in responses:
        checked(response)


@pytest.mark.parametrize("origin", ["https://example.org", "null"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_api_1_0_browsers_of_any_origin_may_call(
    client: httpx.AsyncClient, origin: str, method: str, path: str
) -> None:
    """api.md 1.0 "vary: Origin"; 5.2."""
    preflight = await client.options(
        path,
        headers={
            "authorization": "",  # browsers send none
            "origin": origin,
            "access-control-request-method": method,
            "access-control-request-headers": "authorization,content-type",
        },
    )
    assert preflight.is_success
    allowed = preflight.headers
    assert allowed["access-control-allow-origin"] in (origin, "*")
    assert method in [one.strip() for one in allowed["access-control-allow-methods"].split(",")]
    headers = [one.strip().lower() for one in allowed["access-control-allow-headers"].split(",")]
    assert {"authorization", "content-type"} <= set(headers)
    response = await client.request(method, path, headers={"origin": origin})
    assert response.headers["access-control-allow-origin"] in (origin, "*")
    assert checked(response) is not None


@pytest.mark.parametrize("query", ["?", "?correlationId=abc", "?streamDebug", "?a=1&a=2&%00=%ff"])
async def test_api_1_0_query_strings_are_ignored(new_session: OpenSession, query: str) -> None:
    """api.md 1.0 "Query string"."""
    session = await new_session()
    assert (await session.client.post(f"/sessions/new{query}")).status_code == 201
    assert (await session.client.get(f"{session.url}{query}")).status_code == 200
    close = await session.client.put(
        f"{session.url}/tracks/close{query}", json={"tracks": [{"mid": "0"}], "force": True}
    )
    assert close.status_code == 200


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_api_1_0_sessions_new_needs_no_body(client: httpx.AsyncClient, body: bytes) -> None:
    """api.md 1.0 "Body on sessions/new"; 5.1, 5.3."""
    assert (await client.post("/sessions/new", content=body)).status_code == 201


async def test_api_1_0_extra_fields_are_no_error(new_session: OpenSession) -> None:
    """api.md 1.0 "Extra JSON fields"."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    extra: dict[str, Any] = {"kind": "audio", "mode": "buffer", "unknown": [1]}
    body = await subscriber.pull((publisher.id, "mic"), **extra)
    [item] = body["tracks"]
    response = await subscriber.tracks_update({**item, "location": "remote", **extra})
    assert response.status_code == 200


async def test_api_1_0_a_wrongly_cased_required_field_fails(new_session: OpenSession) -> None:
    """api.md 1.0 "Extra JSON fields": decoding_error with its text."""
    session = await new_session()
    response = await session.tracks_new(
        tracks=[{"location": "remote", "sessionId": session.id, "trackname": "mic"}]
    )
    assert error_of(response) == (400, "decoding_error")
    assert response.json()["errorDescription"].startswith("JSON body validation error: ")


async def test_api_1_0_a_batch_is_all_local_or_all_remote(new_session: OpenSession) -> None:
    """api.md 1.0 "Batch rule"; status 406, code invalid_params."""
    publisher, session = await new_session(), await new_session()
    await publisher.push(audio="mic")
    transceiver = session.peer.add("audio")
    offer = await session.peer.offer()
    local = {"location": "local", "mid": transceiver.mid, "trackName": "a"}
    response = await session.tracks_new(sessionDescription=offer, tracks=[local, remote(publisher.id, "mic")])
    assert error_of(response) == (406, "invalid_params")
    assert (await session.state())["tracks"] == []


async def test_api_1_0_a_remote_batch_names_several_publishers(new_session: OpenSession) -> None:
    """api.md 1.0 "Batch rule"."""
    first, second, subscriber = await new_session(), await new_session(), await new_session()
    await first.push(audio="mic")
    await second.push(video="camera")
    body = await subscriber.pull((second.id, "camera"), (first.id, "mic"))
    assert [section.kind for section in offer_of(body).sections] == ["video", "audio"]


async def test_api_1_0_overlapping_mutations_are_406(new_session: OpenSession) -> None:
    """api.md 1.0 "Serialisation"; status 406."""
    publisher, subscriber, other = await new_session(), await new_session(), await new_session()
    await publisher.push_transceivers({"mic": publisher.peer.add("audio", silent=True)})
    waiting = asyncio.create_task(subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    async with asyncio.timeout(5):
        while True:  # until the first call is under way
            second = await subscriber.tracks_close(tracks=[{"mid": "0"}], force=True)
            if second.status_code == 406:
                break
    assert error_of(second) == (406, "invalid_session_description")
    assert (await other.tracks_close(tracks=[{"mid": "0"}], force=True)).status_code == 200
    assert (await waiting).status_code == 200
    assert (await subscriber.tracks_close(tracks=[{"mid": "0"}], force=True)).status_code == 200


async def test_api_1_0_an_offer_is_answered_before_the_next_mutation(new_session: OpenSession) -> None:
    """api.md 1.0 "Serialisation"; 4.1."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = checked(await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    response = await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")])
    assert error_of(response) == (406, "invalid_session_description")
    assert response.json()["errorSubcode"] == "invalid_modification_have_local_offer"
    await subscriber.complete(body)
    await subscriber.pull((publisher.id, "mic"))


async def test_api_1_0_pulling_twice_makes_two_subscriptions(new_session: OpenSession) -> None:
    """api.md 1.0 "Idempotency"."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    first = await subscriber.pull((publisher.id, "mic"))
    second = await subscriber.pull((publisher.id, "mic"))
    assert first["tracks"][0]["mid"] != second["tracks"][0]["mid"]
    assert len((await subscriber.state())["tracks"]) == 2


async def test_api_1_0_sessions_with_one_correlation_id_are_two(client: httpx.AsyncClient) -> None:
    """api.md 1.0 "Idempotency"; 1.2 "Query correlationId"."""
    responses = [await client.post("/sessions/new?correlationId=same") for _ in range(2)]
    assert len({response.json()["sessionId"] for response in responses}) == 2


async def test_api_1_0_an_answer_is_accepted_once(new_session: OpenSession) -> None:
    """api.md 1.0 "Idempotency"; an answer out of order is 406."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = checked(await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    answer = await subscriber.peer.answer(body["sessionDescription"])
    assert (await subscriber.renegotiate(answer)).status_code == 200
    assert error_of(await subscriber.renegotiate(answer)) == (406, "invalid_session_description")


async def test_api_1_0_a_batch_with_failed_items_is_200(new_session: OpenSession) -> None:
    """api.md 1.0 "200 with errors", "Error object", status 200."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = await subscriber.pull((publisher.id, "none"), (publisher.id, "mic"))
    failed, good = body["tracks"]
    assert (failed["errorCode"], failed["mid"]) == ("not_found_track_error", "")
    assert failed["errorDescription"]
    assert "errorCode" not in good
    assert "errorCode" not in body


async def test_api_1_0_a_refused_request_changes_nothing(new_session: OpenSession) -> None:
    """api.md 1.0 "Partial effects": ours has none."""
    session = await new_session()
    await session.push(audio="mic")
    before = await session.state()
    for body in (
        {"tracks": [{"mid": "0"}], "force": False, "sessionDescription": {"type": "offer", "sdp": "v=0\r\n"}},
        {"tracks": [{"mid": "0"}], "force": False},
    ):
        assert (await session.tracks_close(**body)).status_code == 406
    assert await session.state() == before


async def test_api_1_0_status_of_what_cant_be_decoded(new_session: OpenSession) -> None:
    """api.md 1.0 status 400, code decoding_error."""
    session = await new_session()
    for content in (b"", b"{", b"[]", b'{"tracks": 1}', b'{"tracks": [{"mid": 0, "trackName": "x"}]}'):
        response = await session.client.post(f"{session.url}/tracks/new", content=content)
        assert error_of(response) == (400, "decoding_error")


async def test_api_1_0_status_of_a_session_that_is_not(client: httpx.AsyncClient) -> None:
    """api.md 1.0 status 410, code session_error."""
    assert error_of(await client.get(NO_SESSION)) == (410, "session_error")


async def test_api_1_0_status_of_a_body_too_large(new_session: OpenSession) -> None:
    """api.md 1.0 status 413, code payload_too_large; on a connection that sends on, and by chunks."""
    session = await new_session()
    content = b" " * (8 << 20)

    async def chunks() -> AsyncGenerator[bytes]:
        for start in range(0, len(content), 1 << 16):
            yield content[start : start + (1 << 16)]

    for method, path in (("POST", "tracks/new"), ("PUT", "renegotiate")):
        for body in (content, chunks()):
            response = await session.client.request(method, f"{session.url}/{path}", content=body)
            assert error_of(response) == (413, "payload_too_large")


async def test_api_1_0_status_of_a_pull_before_connected(new_session: OpenSession) -> None:
    """api.md 1.0 status 425, code session_error with its text; 1.13 "Operations needing a transport"."""
    publisher, subscriber = await new_session(), await new_session()
    await publisher.push(audio="mic")
    body = checked(await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")]))
    answer = await ScriptedPeer().answer(body["sessionDescription"])
    assert (await subscriber.renegotiate(answer)).status_code == 200
    response = await subscriber.tracks_new(tracks=[remote(publisher.id, "mic")])
    assert error_of(response) == (425, "session_error")
    assert response.json()["errorDescription"] == (
        "Session is not ready yet. Please ensure the PeerConnection is connected before making this request"
    )


@pytest.mark.alone  # on a busy machine so many calls take longer than they may have
async def test_api_1_0_status_of_too_many_calls(new_session: OpenSession) -> None:
    """api.md 1.0 status 429; 1.13 "API calls": 50 per second per session, none per app."""
    session, other = await new_session(), await new_session()
    responses = await asyncio.gather(*(session.client.get(session.url) for _ in range(120)))
    statuses = {response.status_code for response in responses}
    assert statuses == {200, 429}
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.headers["retry-after"]
    assert sum(response.status_code == 200 for response in responses) >= 50
    assert (await other.client.get(other.url)).status_code == 200


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "nonsense",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9\r\n",
        "\x00" * 100,
    ],
)
async def test_api_1_0_an_sdp_that_cant_be_read_is_refused(new_session: OpenSession, sdp: str) -> None:
    """api.md 1.0 code invalid_session_description."""
    session = await new_session()
    response = await session.tracks_new(
        sessionDescription={"type": "offer", "sdp": sdp},
        tracks=[{"location": "local", "mid": "0", "trackName": "a"}],
    )
    assert error_of(response) == (406, "invalid_session_description")


async def test_api_1_0_an_sdp_without_its_last_crlf_is_read(new_session: OpenSession) -> None:
    """api.md 1.0 code invalid_session_description; 4.8 "Trailing CRLF": we are lenient."""
    session = await new_session()
    session.peer.add("audio")
    offer = await session.peer.offer()
    response = await session.tracks_new(
        sessionDescription={**offer, "sdp": offer["sdp"].removesuffix("\r\n")}, autoDiscover=True
    )
    assert response.status_code == 200


async def test_api_1_0_another_apps_tracks_are_not_found(server: Server, new_session: OpenSession) -> None:
    """api.md 4.2: an app is an isolation boundary."""
    if server.other is None:
        pytest.skip("no second app: name one in CONFORMANCE_OTHER_APP")
    app, secret = server.other
    publisher = await new_session()
    await publisher.push(audio="mic")
    async with httpx.AsyncClient(
        base_url=f"{server.url}/apps/{app}",
        headers={"authorization": f"Bearer {secret}"},
        verify=False,  # noqa: S501 -- a server under test makes its own certificate
    ) as stranger:
        assert error_of(await stranger.get(publisher.url)) == (410, "session_error")
        own = (await stranger.post("/sessions/new")).json()["sessionId"]
        response = await stranger.post(
            f"/sessions/{own}/tracks/new", json={"tracks": [remote(publisher.id, "mic")]}
        )
        [item] = checked(response)["tracks"]
        assert item["errorCode"] == "not_found_track_error"
    assert error_of(await publisher.client.get(f"{server.url}/apps/{app}{publisher.url}")) == (
        401,
        "unauthorized",
    )
