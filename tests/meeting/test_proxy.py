"""The proxy of pages without a room: what a page may do through it, and what it may not."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from httpx import AsyncClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meeting.app import create_app
from meeting.upstream import ProxyLimits

SESSION = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
SECRET = "s3cret-of-the-app"


class FakeApi:
    """The session API as far as the proxy sees it: remembers each call and answers what it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, bytes]] = []
        self.session_id = SESSION
        self.answer: Response | None = None
        self.app = Starlette(
            routes=[Route("/{path:path}", self._take, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])]
        )

    async def _take(self, request: Request) -> Response:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        body = await request.body()
        self.calls.append((request.method, target, request.headers.get("authorization", ""), body))
        if self.answer is not None:
            return self.answer
        if request.url.path.endswith("/sessions/new"):
            return JSONResponse({"sessionId": self.session_id}, status_code=201)
        return JSONResponse({"tracks": []})


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def page_of(api: FakeApi, *, limits: ProxyLimits | None = None, https: bool = False) -> AsyncClient:
    """A browser at the demo page."""
    client = AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://node")
    app = create_app(client, "app1", SECRET, limits=limits or ProxyLimits())
    origin = "https://demo" if https else "http://demo"
    return AsyncClient(transport=httpx.ASGITransport(app), base_url=origin)


@pytest.fixture
def page(api: FakeApi) -> AsyncClient:
    return page_of(api)


async def open_session(page: AsyncClient) -> str:
    answer = await page.post("/api/sessions/new")
    assert answer.status_code == 201
    return str(answer.json()["sessionId"])


async def test_the_proxy_adds_the_secret_and_the_page_never_sees_it(page: AsyncClient, api: FakeApi) -> None:
    answer = await page.post("/api/sessions/new")
    assert api.calls == [("POST", "/v1/apps/app1/sessions/new", f"Bearer {SECRET}", b"")]
    assert SECRET not in answer.text + str(answer.headers)


async def test_the_secret_is_in_no_file_that_the_page_loads(page: AsyncClient) -> None:
    for path in ("/echo", "/static/page.js", "/static/client.js", "/static/call.js"):
        answer = await page.get(path)
        assert answer.status_code == 200
        assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "tracks/new"), ("PUT", "renegotiate"), ("PUT", "tracks/close"), ("PUT", "tracks/update")],
)
async def test_operations_of_an_own_session_are_passed_on(
    page: AsyncClient, api: FakeApi, method: str, path: str
) -> None:
    session = await open_session(page)
    body = {"tracks": [{"location": "remote", "sessionId": session, "trackName": "video"}]}
    assert (await page.request(method, f"/api/sessions/{session}/{path}", json=body)).status_code == 200
    called, target, authorization, passed = api.calls[-1]
    assert (called, target) == (method, f"/v1/apps/app1/sessions/{session}/{path}")
    assert authorization == f"Bearer {SECRET}"
    assert json.loads(passed) == body


async def test_an_own_session_can_be_inspected(page: AsyncClient, api: FakeApi) -> None:
    session = await open_session(page)
    assert (await page.get(f"/api/sessions/{session}")).status_code == 200
    assert api.calls[-1][:2] == ("GET", f"/v1/apps/app1/sessions/{session}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "sessions"),
        ("DELETE", "sessions/{session}"),
        ("POST", "sessions/{session}/renegotiate"),
        ("POST", "sessions/{session}/datachannels/new"),
        ("POST", "adapters/websocket/new"),
        ("GET", "sessions/{session}/tracks/new"),
        ("PUT", "sessions/{session}/tracks/new/../../x"),
    ],
)
async def test_what_is_not_on_the_list_is_not_passed_on(
    page: AsyncClient, api: FakeApi, method: str, path: str
) -> None:
    session = await open_session(page)
    before = len(api.calls)
    answer = await page.request(method, "/api/" + path.format(session=session))
    assert answer.status_code in (404, 405)
    assert len(api.calls) == before


async def test_query_parameters_are_not_passed_on(page: AsyncClient, api: FakeApi) -> None:
    await page.post("/api/sessions/new?thirdparty=true")
    assert api.calls[-1][1] == "/v1/apps/app1/sessions/new"


async def test_a_body_of_sessions_new_is_not_passed_on(page: AsyncClient, api: FakeApi) -> None:
    await page.post("/api/sessions/new", json={"sessionDescription": {"type": "offer", "sdp": "v=0"}})
    assert api.calls[-1][3] == b""


async def test_another_page_that_knows_the_session_id_can_do_nothing(page: AsyncClient, api: FakeApi) -> None:
    session = await open_session(page)
    stranger = page_of(api)
    before = len(api.calls)
    for method, path in (("GET", ""), ("POST", "/tracks/new"), ("PUT", "/tracks/close")):
        answer = await stranger.request(method, f"/api/sessions/{session}{path}", json={"tracks": []})
        assert answer.status_code == 403
        assert answer.json()["errorCode"] == "unauthorized"
    assert len(api.calls) == before


async def test_the_cookie_of_one_session_does_not_open_another(page: AsyncClient, api: FakeApi) -> None:
    await open_session(page)
    value = next(iter(page.cookies.jar)).value
    assert value is not None
    before = len(api.calls)
    answer = await page.get(f"/api/sessions/{OTHER}", headers={"cookie": f"meeting_session={value}"})
    assert answer.status_code == 403
    assert len(api.calls) == before


@pytest.mark.parametrize("cookie", ["", "meeting_session=", "meeting_session=00", "meeting_session=\u00e9"])
async def test_a_made_up_cookie_is_refused(api: FakeApi, cookie: str) -> None:
    headers = {b"cookie": cookie.encode("latin-1")}
    answer = await page_of(api).get(f"/api/sessions/{SESSION}", headers=headers)
    assert answer.status_code == 403
    assert api.calls == []


async def test_the_cookie_is_bound_to_the_path_and_hidden_from_scripts(api: FakeApi) -> None:
    text = (await page_of(api, https=True).post("/api/sessions/new")).headers["set-cookie"].lower()
    assert f"path=/api/sessions/{SESSION}" in text
    assert "httponly" in text
    assert "samesite=strict" in text
    assert "secure" in text


async def test_a_page_holds_several_sessions_at_once(page: AsyncClient, api: FakeApi) -> None:
    first = await open_session(page)
    api.session_id = OTHER
    second = await open_session(page)
    assert (await page.get(f"/api/sessions/{first}")).status_code == 200
    assert (await page.get(f"/api/sessions/{second}")).status_code == 200


async def test_a_session_of_another_visitor_cannot_be_pulled(page: AsyncClient, api: FakeApi) -> None:
    session = await open_session(page)
    before = len(api.calls)
    for path, method in (("tracks/new", "POST"), ("tracks/update", "PUT")):
        body = {"tracks": [{"location": "remote", "sessionId": OTHER, "trackName": "video"}]}
        answer = await page.request(method, f"/api/sessions/{session}/{path}", json=body)
        assert answer.status_code == 403
    assert len(api.calls) == before


async def test_a_key_given_twice_cannot_smuggle_a_pull(page: AsyncClient, api: FakeApi) -> None:
    session = await open_session(page)
    smuggled = f'{{"tracks":[{{"sessionId":"{OTHER}"}}],"tracks":[]}}'
    await page.post(f"/api/sessions/{session}/tracks/new", content=smuggled)
    assert OTHER.encode() not in api.calls[-1][3]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_json_object_is_refused(page: AsyncClient, api: FakeApi, body: bytes) -> None:
    session = await open_session(page)
    before = len(api.calls)
    answer = await page.post(f"/api/sessions/{session}/tracks/new", content=body)
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "decoding_error"
    assert len(api.calls) == before


@pytest.mark.parametrize("tracks", [None, 1, "x", {}, [None, 1, "x", [], {}], [{"sessionId": 5}]])
async def test_odd_track_lists_are_the_apis_business_or_refused(page: AsyncClient, tracks: Any) -> None:
    session = await open_session(page)
    answer = await page.post(f"/api/sessions/{session}/tracks/new", json={"tracks": tracks})
    assert answer.status_code in (200, 403)


async def test_a_body_over_the_limit_is_refused(api: FakeApi) -> None:
    page = page_of(api, limits=ProxyLimits(body_bytes=1000))
    session = await open_session(page)
    before = len(api.calls)
    answer = await page.post(f"/api/sessions/{session}/tracks/new", content=b" " * 1001)
    assert answer.status_code == 413
    assert answer.json()["errorCode"] == "payload_too_large"
    assert len(api.calls) == before


async def test_other_sites_pages_are_refused(page: AsyncClient, api: FakeApi) -> None:
    session = await open_session(page)
    before = len(api.calls)
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        assert (await page.post("/api/sessions/new", headers=headers)).status_code == 403
        assert (await page.get(f"/api/sessions/{session}", headers=headers)).status_code == 403
    assert len(api.calls) == before


async def test_errors_of_the_api_reach_the_page_as_they_are(page: AsyncClient, api: FakeApi) -> None:
    session = await open_session(page)
    error = {"errorCode": "session_error", "errorDescription": "gone"}
    api.answer = JSONResponse(error, status_code=410, headers={"retry-after": "3"})
    answer = await page.get(f"/api/sessions/{session}")
    assert answer.status_code == 410
    assert answer.json() == error
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("body", ["[]", "no json", '{"sessionId": "a/b"}', '{"sessionId": 5}', "{}"])
async def test_an_odd_answer_to_sessions_new_makes_no_cookie(
    page: AsyncClient, api: FakeApi, body: str
) -> None:
    api.answer = Response(body, status_code=201, media_type="application/json")
    answer = await page.post("/api/sessions/new")
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers


def _failing(error: Exception) -> AsyncClient:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    client = AsyncClient(transport=httpx.MockTransport(fail), base_url="http://node")
    app = create_app(client, "app1", SECRET)
    return AsyncClient(transport=httpx.ASGITransport(app), base_url="http://demo")


@pytest.mark.parametrize(
    ("error", "status"), [(httpx.ConnectError("refused"), 502), (httpx.ReadTimeout("late"), 504)]
)
async def test_a_server_that_is_gone_is_told_apart_from_a_slow_one(error: Exception, status: int) -> None:
    answer = await _failing(error).post("/api/sessions/new")
    assert answer.status_code == status
    assert answer.json()["errorCode"] == "backend_error"


async def test_only_so_many_requests_are_under_way(api: FakeApi) -> None:
    page = page_of(api, limits=ProxyLimits(under_way=0))
    answer = await page.post("/api/sessions/new")
    assert answer.status_code == 503
    assert api.calls == []


async def test_the_page_may_load_nothing_from_elsewhere(page: AsyncClient) -> None:
    answer = await page.get("/echo")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "https://" not in answer.text.replace("https:// ", "")
