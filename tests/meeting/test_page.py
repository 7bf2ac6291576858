"""The built page is served with the headers that keep it safe and quick."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette

from meeting.page import BuiltPage


@pytest.fixture
def built(tmp_path: Path) -> Path:
    assets = tmp_path / "assets"
    assets.mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (assets / "index-1a2b.js").write_text("let a;")
    (assets / "index-1a2b.js.gz").write_bytes(gzip.compress(b"let a;"))
    (assets / "index-1a2b.js.br").write_bytes(b"as brotli")
    return tmp_path


def client_of(built: Path) -> AsyncClient:
    app = Starlette(routes=BuiltPage(built).routes())
    return AsyncClient(transport=ASGITransport(app=app), base_url="http://page")


async def test_what_is_named_by_its_content_is_kept_for_ever_and_the_page_is_asked_for_again(
    built: Path,
) -> None:
    page = client_of(built)
    assert (await page.get("/")).headers["cache-control"] == "no-cache"
    script = await page.get("/assets/index-1a2b.js")
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    ("accepted", "coding"), [("gzip, br;q=0.9", "br"), ("gzip", "gzip"), ("", None), ("brotli", None)]
)
async def test_the_best_form_that_the_browser_takes_is_sent(
    built: Path, accepted: str, coding: str | None
) -> None:
    async with client_of(built).stream(
        "GET", "/assets/index-1a2b.js", headers={"accept-encoding": accepted}
    ) as answer:
        sent = b"".join([chunk async for chunk in answer.aiter_raw()])
    suffix = {"br": ".br", "gzip": ".gz", None: ""}[coding]
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert sent == (built / "assets" / f"index-1a2b.js{suffix}").read_bytes()


async def test_the_page_may_run_and_load_nothing_but_its_own_files(built: Path) -> None:
    headers = (await client_of(built).get("/")).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert "unsafe-eval" not in headers["content-security-policy"].replace("wasm-unsafe-eval", "")
    assert "://" not in headers["content-security-policy"]
    assert "camera=(self)" in headers["permissions-policy"]


@pytest.mark.parametrize(
    "path",
    ["/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/index-1a2b.js.br", "/assets/", "/x"],
)
async def test_there_is_nothing_but_the_files_of_the_build(built: Path, path: str) -> None:
    assert (await client_of(built).get(path)).status_code in (200, 404)
    assert "brotli" not in (await client_of(built).get(path)).text


async def test_a_page_that_is_not_built_says_what_builds_it(tmp_path: Path) -> None:
    answer = await client_of(tmp_path).get("/")
    assert answer.status_code == 503
    assert "script/setup" in answer.text


async def test_the_first_load_is_below_250_kilobytes() -> None:
    assets = Path(__file__).parents[2] / "demo-app/server/meeting/static/assets"
    first = [
        *assets.glob("index-*.js.br"),
        *assets.glob("index-*.css.br"),
        *assets.glob("inter-latin-wght-*.woff2"),
    ]
    assert len(first) == 3
    assert sum(path.stat().st_size for path in first) < 250_000
