"""How answers are written, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY
from starlette.responses import PlainTextResponse

from sfu.api.app import beside_pages
from sfu.base.ids import SessionId, TrackName
from sfu.negotiation.errors import TRACK_EMPTY, ItemError
from sfu.negotiation.record import Simulcast
from sfu.negotiation.requests import (
    Renegotiated,
    SessionCreated,
    SessionDescription,
    SessionView,
    TrackItem,
    TracksResponse,
)
from tests.sfu.api.asgi import client
from tests.sfu.api.conftest import APP

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from tests.sfu.api.conftest import Serve

SESSION = SessionId("0123456789abcdef" * 2)
PUBLISHER = SessionId("p" * 32)
URL = f"/v1/apps/{APP}/sessions/{SESSION}"
ANSWER = SessionDescription("answer", "v=0\r\n")


async def test_api_1_2_a_session_with_an_offer_gets_its_answer(serve: Serve) -> None:
    async with serve(SessionCreated(SESSION, ANSWER)) as (api, _):
        response = await api.post(f"/v1/apps/{APP}/sessions/new")
        assert response.status_code == 201
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {
            "sessionId": SESSION,
            "sessionDescription": {"type": "answer", "sdp": "v=0\r\n"},
        }


async def test_api_5_7_items_keep_their_order_and_leave_out_what_they_have_not(serve: Serve) -> None:
    items = (
        TrackItem(mid="7", session=PUBLISHER, track=TrackName("t"), simulcast=Simulcast("h")),
        TrackItem(mid="", session=PUBLISHER, track=TrackName("u"), error=TRACK_EMPTY),
        TrackItem(mid="0", location="local", track=TrackName("v"), kind="audio"),
    )
    offer = SessionDescription("offer", "v=0\r\n")
    async with serve(TracksResponse(items, renegotiate=True, description=offer)) as (api, _):
        response = await api.post(f"{URL}/tracks/new", json={})
        assert response.json() == {
            "requiresImmediateRenegotiation": True,
            "sessionDescription": {"type": "offer", "sdp": "v=0\r\n"},
            "tracks": [
                {
                    "mid": "7",
                    "sessionId": PUBLISHER,
                    "trackName": "t",
                    "simulcast": {
                        "preferredRid": "h",
                        "priorityOrdering": "none",
                        "ridNotAvailable": "none",
                    },
                },
                {
                    "mid": "",
                    "sessionId": PUBLISHER,
                    "trackName": "u",
                    "errorCode": "empty_track_error",
                    "errorDescription": TRACK_EMPTY.text,
                },
                {"mid": "0", "location": "local", "trackName": "v", "kind": "audio"},
            ],
        }


@pytest.mark.parametrize("path", ["tracks/close", "tracks/update"])
async def test_api_1_5_a_reply_always_has_tracks_and_a_plain_no_to_renegotiation(
    serve: Serve, path: str
) -> None:
    async with serve(TracksResponse((TrackItem(mid="0"),))) as (api, _):
        response = await api.put(f"{URL}/{path}", json={"tracks": [{"mid": "0"}], "force": True})
        assert response.json() == {"requiresImmediateRenegotiation": False, "tracks": [{"mid": "0"}]}


async def test_api_1_4_an_accepted_answer_is_an_empty_object(serve: Serve) -> None:
    body = {"sessionDescription": {"type": "answer", "sdp": ""}}
    async with serve(Renegotiated()) as (api, service):
        assert (await api.put(f"{URL}/renegotiate", json=body)).json() == {}
        service.answer = Renegotiated(
            ANSWER, (TrackItem(mid="1", error=ItemError("session_error", "no", "s")),)
        )
        assert (await api.put(f"{URL}/renegotiate", json=body)).json() == {
            "sessionDescription": {"type": "answer", "sdp": "v=0\r\n"},
            "tracks": [
                {
                    "mid": "1",
                    "errorCode": "session_error",
                    "errorDescription": "no",
                    "errorSubcode": "s",
                }
            ],
        }


async def test_api_1_7_a_session_shows_tracks_with_status_and_data_channels(serve: Serve) -> None:
    items = (TrackItem(mid="0", location="local", track=TrackName("t"), status="inactive"),)
    async with serve(SessionView(items)) as (api, _):
        assert (await api.get(URL)).json() == {
            "tracks": [{"mid": "0", "location": "local", "trackName": "t", "status": "inactive"}],
            "dataChannels": [],
        }


async def test_a_destroyed_session_answers_an_empty_object(serve: Serve) -> None:
    async with serve() as (api, _):
        response = await api.delete(URL)
        assert (response.status_code, response.json()) == (200, {})


async def test_a_node_says_whether_it_lives_and_takes_sessions(serve: Serve) -> None:
    async with serve(headers={}) as (api, _):
        assert (await api.get("/healthz")).json() == {"status": "ok"}
        assert (await api.get("/readyz")).json() == {"status": "ready"}
    async with serve(headers={}, not_ready="draining") as (api, _):
        assert (await api.get("/healthz")).status_code == 200
        response = await api.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {
            "errorCode": "temporarily_unavailable_error",
            "errorDescription": "draining",
        }


async def test_metrics_are_for_who_knows_their_secret(serve: Serve) -> None:
    async with serve(headers={}) as (api, _):
        assert (await api.get("/metrics")).status_code == 404
    async with serve(headers={}, metrics_secret="m") as (api, _):
        assert (await api.get("/metrics")).status_code == 401
        assert (await api.get("/metrics", headers={"authorization": "Bearer x"})).status_code == 401
        response = await api.get("/metrics", headers={"authorization": "Bearer m"})
        assert response.status_code == 200
        assert "orchard_api_requests_total" in response.text


async def test_requests_and_refusals_are_counted(serve: Serve) -> None:
    def requests(operation: str, status: str) -> float:
        labels = {"operation": operation, "status": status}
        return REGISTRY.get_sample_value("orchard_api_requests_total", labels) or 0.0

    def refused(reason: str) -> float:
        return REGISTRY.get_sample_value("orchard_api_refused_total", {"reason": reason}) or 0.0

    def figures() -> list[float]:
        return [
            requests("get_session", "200"),
            requests("get_session", "401"),
            requests("get_session", "404"),
            requests("none", "404"),
            refused("secret"),
            refused("app"),
        ]

    before = figures()
    async with serve(SessionView(())) as (api, _):
        await api.get(URL)
        await api.get(URL, headers={"authorization": "Bearer wrong"})
        await api.get("/apps/other/sessions/x")
        await api.get("/nowhere")
    assert [now - then for now, then in zip(figures(), before, strict=True)] == [1.0] * 6


async def test_the_openapi_document_names_every_operation_and_its_errors(serve: Serve) -> None:
    async with serve(headers={}) as (api, _):
        document = (await api.get("/openapi.json")).json()
    paths = document["paths"]
    below = "/v1/apps/{appId}"
    assert {(method, path.removeprefix(below)) for path in paths for method in paths[path]} == {
        ("post", "/sessions/new"),
        ("get", "/sessions/{sessionId}"),
        ("delete", "/sessions/{sessionId}"),
        ("post", "/sessions/{sessionId}/tracks/new"),
        ("put", "/sessions/{sessionId}/renegotiate"),
        ("put", "/sessions/{sessionId}/tracks/close"),
        ("put", "/sessions/{sessionId}/tracks/update"),
        ("get", "/orchard/v1/apps/{appId}/sessions/{sessionId}/statistics"),
        ("get", "/healthz"),
        ("get", "/readyz"),
    }
    tracks_new = paths[f"{below}/sessions/{{sessionId}}/tracks/new"]["post"]
    assert tracks_new["security"] == [{"secret": []}]
    assert {"200", "400", "401", "404", "406", "410", "413", "425", "429"} <= set(tracks_new["responses"])
    assert "422" not in tracks_new["responses"]


async def test_pages_stand_beside_the_api() -> None:
    async def pages(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"page {scope['path']}")(scope, receive, send)

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("api")(scope, receive, send)

    async with client(beside_pages(api, pages)) as site:
        for path in ("/v1/apps/a/sessions/new", "/apps/a/sessions/new", "/healthz", "/openapi.json", "/v1"):
            assert (await site.get(path)).text == "api"
        for path in ("/", "/static/x.js", "/api/v1", "/v10"):
            assert (await site.get(path)).text == f"page {path}"
