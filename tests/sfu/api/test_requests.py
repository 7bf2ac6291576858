"""How requests are read: bodies, bounds, rates, and what is said of those that can't be taken."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from sfu.api.app import ApiLimits
from sfu.base.ids import SessionId, TrackName
from sfu.base.settings import ByteSize
from sfu.directory.interface import Unavailable
from sfu.negotiation.errors import invalid_sdp
from sfu.negotiation.record import Simulcast
from sfu.negotiation.requests import (
    CloseTracks,
    NewTracks,
    Renegotiate,
    Renegotiated,
    SessionCreated,
    SessionDescription,
    SessionView,
    TrackRequest,
    TracksResponse,
    UpdateTracks,
)
from sfu.sessions.errors import session_not_ready
from tests.sfu.api.conftest import APP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.sfu.api.conftest import Serve

SESSION = SessionId("0123456789abcdef" * 2)
SESSIONS = f"/v1/apps/{APP}/sessions"
URL = f"{SESSIONS}/{SESSION}"
CREATED = SessionCreated(SESSION)
NO_TRACKS = TracksResponse(())
OFFER = {"type": "offer", "sdp": "v=0\r\n"}
PULL = {"location": "remote", "sessionId": "p", "trackName": "t"}


def error_of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert set(body) <= {"errorCode", "errorDescription", "errorSubcode"}
    return response.status_code, body["errorCode"]


@pytest.mark.parametrize("prefix", ["/v1/apps", "/apps"])
async def test_api_5_17_both_prefixes_are_served(serve: Serve, prefix: str) -> None:
    async with serve(CREATED) as (api, service):
        response = await api.post(f"{prefix}/{APP}/sessions/new")
        assert response.status_code == 201
        assert service.asked == [("create", APP, None, (None, None, False))]


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"unknown": 1}'])
async def test_api_5_1_sessions_new_needs_no_body(serve: Serve, body: bytes) -> None:
    async with serve(CREATED) as (api, _):
        response = await api.post(f"{SESSIONS}/new", content=body)
        assert (response.status_code, response.json()) == (201, {"sessionId": SESSION})


@pytest.mark.parametrize(
    "body", [b"[]", b"0", b'"x"', b'{"sessionDescription": 1}', b'{"sessionDescription": {"type": "offer"}}']
)
async def test_a_body_of_sessions_new_that_is_none_is_400(serve: Serve, body: bytes) -> None:
    async with serve(CREATED) as (api, service):
        response = await api.post(f"{SESSIONS}/new", content=body)
        assert error_of(response) == (400, "decoding_error")
        assert service.asked == []


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "nonsense",
    ],
)
async def test_api_5_1_a_body_is_json_whatever_its_content_type(
    serve: Serve, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    content = json.dumps({"sessionDescription": OFFER}).encode()
    async with serve(CREATED) as (api, service):
        await api.post(f"{SESSIONS}/new", content=content, headers=headers)
        assert service.asked[0][3] == (SessionDescription("offer", "v=0\r\n"), None, False)


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("?", (None, False)),
        ("?streamDebug", (None, False)),
        ("?correlationId=call%2042&x=1", ("call 42", False)),
        ("?thirdparty=true", (None, True)),
        ("?thirdparty=false", (None, False)),
    ],
)
async def test_api_1_0_query_parameters_are_taken_or_ignored(
    serve: Serve, query: str, read: tuple[str | None, bool]
) -> None:
    async with serve(CREATED) as (api, service):
        response = await api.post(f"{SESSIONS}/new{query}")
        assert response.status_code == 201
        assert service.asked[0][3] == (None, *read)


@pytest.mark.parametrize("query", ["?thirdparty=perhaps", f"?correlationId={'x' * 2000}"])
async def test_a_query_parameter_that_cant_be_taken_is_406(serve: Serve, query: str) -> None:
    async with serve(CREATED) as (api, _):
        assert error_of(await api.post(f"{SESSIONS}/new{query}")) == (406, "invalid_params")


async def test_api_1_1_each_operation_reaches_the_service_with_all_its_fields(serve: Serve) -> None:
    simulcast = {"preferredRid": "", "priorityOrdering": "asciibetical", "ridNotAvailable": "none"}
    track: dict[str, Any] = {
        "location": "remote",
        "mid": "#mic",
        "sessionId": "p",
        "trackName": "t",
        "bidirectionalMediaStream": True,
        "kind": "video",
        "simulcast": simulcast,
    }
    wanted = TrackRequest(
        location="remote",
        mid="#mic",
        session=SessionId("p"),
        track=TrackName("t"),
        bidirectional=True,
        kind="video",
        simulcast=Simulcast("", "asciibetical", "none"),
    )
    offer = SessionDescription("offer", "v=0\r\n")
    async with serve(NO_TRACKS) as (api, service):
        await api.post(
            f"{URL}/tracks/new", json={"tracks": [track], "sessionDescription": OFFER, "autoDiscover": True}
        )
        await api.put(f"{URL}/tracks/update", json={"tracks": [track]})
        await api.put(
            f"{URL}/tracks/close",
            json={"tracks": [{"mid": "0"}], "force": False, "sessionDescription": OFFER},
        )
        service.answer = Renegotiated()
        await api.put(f"{URL}/renegotiate", json={"sessionDescription": {"type": "answer", "sdp": "x"}})
        service.answer = SessionView(())
        await api.get(URL)
        await api.delete(URL)
        assert service.asked == [
            ("new", APP, SESSION, NewTracks((wanted,), offer, auto_discover=True)),
            ("update", APP, SESSION, UpdateTracks((wanted,))),
            ("close", APP, SESSION, CloseTracks(("0",), force=False, description=offer)),
            ("renegotiate", APP, SESSION, Renegotiate(SessionDescription("answer", "x"))),
            ("view", APP, SESSION, None),
            ("delete", APP, SESSION, None),
        ]


@pytest.mark.parametrize(
    "extra",
    [
        {"mode": "x", "simulcast": {"preferredRid": "h", "fallbackStrategy": "leastBandwidth"}},
        {"kind": None, "mid": None, "simulcast": None, "bidirectionalMediaStream": None},
        {"unknown": {"deep": [1]}},
    ],
)
async def test_api_1_0_fields_that_an_operation_does_not_use_are_ignored(
    serve: Serve, extra: dict[str, Any]
) -> None:
    async with serve(NO_TRACKS) as (api, _):
        response = await api.post(f"{URL}/tracks/new", json={"tracks": [PULL | extra], "kind": "audio"})
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "body: "),
        (b"{", ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b"9" * 5000, ""),
        (b"[]", "body: "),
        (b"7", "body: "),
        (b'{"tracks": 1}', "tracks: "),
        (b'{"tracks": [1]}', "tracks[0]: "),
        (b'{"tracks": [{"location": "local", "mid": 0, "trackName": "t"}]}', "tracks[0].mid: "),
        (b'{"tracks": [{"location": "local", "mid": "0", "trackname": "t"}]}', "tracks[0].trackName: "),
        (b'{"tracks": [{"location": "remote", "trackName": "t"}]}', "tracks[0].sessionId: "),
        (b'{"tracks": [{"trackName": "\\ud800"}]}', ""),
        (b'{"autoDiscover": "yes"}', "autoDiscover: "),
        (b'{"sessionDescription": {"type": "offer"}}', "sessionDescription.sdp: "),
        (b'{"sessionDescription": "v=0"}', "sessionDescription: "),
    ],
)
async def test_api_1_0_what_cant_be_decoded_is_400_and_says_where(
    serve: Serve, body: bytes, place: str
) -> None:
    async with serve(NO_TRACKS) as (api, service):
        response = await api.post(f"{URL}/tracks/new", content=body)
        assert error_of(response) == (400, "decoding_error")
        assert response.json()["errorDescription"].startswith("JSON body validation error: " + place)
        assert len(response.content) < 2000
        assert service.asked == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"tracks": [{**PULL, "location": "here"}]}, "Invalid value: tracks[0].location: "),
        ({"sessionDescription": {"type": "pranswer", "sdp": ""}}, "Invalid value: sessionDescription.type: "),
        (
            {"tracks": [{**PULL, "simulcast": {"preferredRid": "r" * 256}}]},  # it is kept for as long
            "Invalid value: tracks[0].simulcast.preferredRid: ",
        ),
    ],
)
async def test_api_1_0_what_has_the_wrong_value_is_406(serve: Serve, body: dict[str, Any], text: str) -> None:
    async with serve(NO_TRACKS) as (api, service):
        response = await api.post(f"{URL}/tracks/new", json=body)
        assert error_of(response) == (406, "invalid_params")
        assert response.json()["errorDescription"].startswith(text)
        assert service.asked == []


@pytest.mark.parametrize("item", ["1", "{}", '{"mid": 1}', '{"mid": "0", "location": "?"}'])
@pytest.mark.parametrize(("method", "path"), [("POST", "tracks/new"), ("PUT", "tracks/close")])
async def test_a_body_full_of_items_is_refused_after_a_few(
    serve: Serve, method: str, path: str, item: str
) -> None:
    bounds = ApiLimits(body_bytes=1 << 20)
    content = '{"force": true, "tracks": [' + ",".join([item] * ((1 << 20) // (len(item) + 1) - 40)) + "]}"
    async with serve(NO_TRACKS, bounds=bounds) as (api, service):
        began_at = time.process_time()
        response = await api.request(method, f"{URL}/{path}", content=content)
        assert response.status_code in (400, 406)
        assert len(response.content) < 1000
        assert time.process_time() - began_at < 1  # looking at every item took 2 s and more
        assert service.asked == []


@pytest.mark.parametrize("tracks", [[], [{"mid": ""}]])
async def test_api_1_5_a_close_names_at_least_one_mid(serve: Serve, tracks: list[dict[str, str]]) -> None:
    async with serve(NO_TRACKS) as (api, _):
        response = await api.put(f"{URL}/tracks/close", json={"tracks": tracks, "force": True})
        assert error_of(response) == (406, "invalid_params")


async def test_errors_never_repeat_what_was_sent(serve: Serve) -> None:
    sdp = "v=0 ice-pwd:private"
    async with serve(NO_TRACKS) as (api, _):
        response = await api.put(f"{URL}/renegotiate", json={"sessionDescription": {"type": 1, "sdp": sdp}})
        assert "private" not in response.text
        response = await api.put(f"{URL}/renegotiate", json={"sessionDescription": sdp})
        assert "private" not in response.text


async def test_api_1_0_a_body_past_the_bound_is_413(serve: Serve) -> None:
    bounds = ApiLimits(body_bytes=ByteSize(1024))
    async with serve(NO_TRACKS, bounds=bounds) as (api, service):
        fits = b"{}" + b" " * 1022
        assert (await api.post(f"{URL}/tracks/new", content=fits)).status_code == 200
        service.asked.clear()
        for path in ("tracks/new", "renegotiate"):
            method = "POST" if path == "tracks/new" else "PUT"
            response = await api.request(method, f"{URL}/{path}", content=fits + b" ")
            assert error_of(response) == (413, "payload_too_large")
            assert response.json()["errorDescription"] == "The body has more than 1024 bytes"
        assert service.asked == []


async def test_a_body_of_unknown_length_is_read_no_further_than_the_bound(serve: Serve) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 100

    async with serve(NO_TRACKS, bounds=ApiLimits(body_bytes=1000)) as (api, _):
        response = await api.post(f"{URL}/tracks/new", content=chunks())
        assert error_of(response) == (413, "payload_too_large")
        assert sent < 20


async def test_a_body_that_does_not_arrive_is_408(serve: Serve) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with serve(NO_TRACKS, bounds=ApiLimits(body_timeout_s=0.01)) as (api, _):
        assert error_of(await api.post(f"{URL}/tracks/new", content=stalled())) == (408, "request_timeout")


async def test_api_1_13_too_many_calls_of_one_session_are_429(serve: Serve) -> None:
    async with serve(SessionView(()), bounds=ApiLimits(calls_per_second=3)) as (api, service):
        responses = [await api.get(URL) for _ in range(4)]
        assert [response.status_code for response in responses] == [200, 200, 200, 429]
        assert error_of(responses[3]) == (429, "rate_limited")
        assert responses[3].headers["retry-after"] == "1"
        assert (await api.get(f"{SESSIONS}/another")).status_code == 200
        service.answer = CREATED
        for _ in range(10):  # none per app
            assert (await api.post(f"{SESSIONS}/new")).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", URL, "DELETE, GET"),
        ("POST", f"{URL}/renegotiate", "PUT"),
        ("GET", f"{URL}/tracks/new", "POST"),
        ("DELETE", "/healthz", "GET"),
    ],
)
async def test_api_1_0_a_wrong_method_is_405_in_json(
    serve: Serve, method: str, path: str, allow: str
) -> None:
    async with serve() as (api, _):
        response = await api.request(method, path)
        assert error_of(response) == (405, "method_not_allowed")
        assert response.headers["allow"] == allow


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/apps", f"{URL}/tracks", f"{URL}/", "/v2/apps/a/sessions/new"]
)
async def test_api_1_0_an_unknown_path_is_404_in_json(serve: Serve, path: str) -> None:
    async with serve() as (api, _):
        assert error_of(await api.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (session_not_ready(), (425, "session_error")),
        (invalid_sdp("No.", "signaling_state_not_stable"), (406, "invalid_session_description")),
        (Unavailable("redis is away"), (503, "temporarily_unavailable_error")),
        (ValueError("a fault of ours, with private data"), (500, "internal_error")),
    ],
)
async def test_api_1_0_errors_are_objects_with_their_status(
    serve: Serve, error: Exception, answer: tuple[int, str]
) -> None:
    async with serve(error) as (api, _):
        response = await api.get(URL, headers={"origin": "null"})
        assert error_of(response) == answer
        assert response.headers["access-control-allow-origin"] == "null"
        assert "private" not in response.text
        assert response.json().get("errorSubcode") == getattr(error, "subcode", None)
