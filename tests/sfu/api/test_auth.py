from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sfu.negotiation.requests import SessionCreated
from tests.sfu.api.conftest import APP, OLD_SECRET, SECRET

if TYPE_CHECKING:
    from tests.sfu.api.conftest import Serve

NEW = f"/v1/apps/{APP}/sessions/new"
CREATED = SessionCreated("s" * 32)  # pyright: ignore[reportArgumentType] -- a session id is a str


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
async def test_both_secrets_of_an_app_are_taken_while_one_is_exchanged(serve: Serve, secret: str) -> None:
    async with serve(CREATED, headers={"authorization": f"Bearer {secret}"}) as (api, _):
        assert (await api.post(NEW)).status_code == 201


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {SECRET}",
        SECRET,
        f"Bearer {SECRET}x",
        "Bearer \u00e9",
    ],
)
async def test_api_1_0_a_wrong_secret_is_401_unauthorized(serve: Serve, authorization: str) -> None:
    headers = {"authorization": authorization} if authorization else {}
    async with serve(CREATED, headers={}) as (api, service):
        response = await api.post(NEW, headers={k: v.encode() for k, v in headers.items()})  # pyright: ignore
        assert response.status_code == 401
        assert response.json()["errorCode"] == "unauthorized"
        assert response.headers["www-authenticate"] == "Bearer"
        assert service.asked == []


@pytest.mark.parametrize("authorization", [f"bearer {SECRET}", f"BEARER  {SECRET} "])
async def test_the_scheme_is_read_as_rfc_9110_has_it(serve: Serve, authorization: str) -> None:
    async with serve(CREATED, headers={"authorization": authorization}) as (api, _):
        assert (await api.post(NEW)).status_code == 201


async def test_api_1_0_an_unknown_app_is_404_not_found(serve: Serve) -> None:
    async with serve(CREATED) as (api, service):
        response = await api.post("/v1/apps/other/sessions/new")
        assert response.status_code == 404
        assert response.json()["errorCode"] == "not_found"
        assert service.asked == []


async def test_without_a_secret_nobody_learns_which_apps_exist(serve: Serve) -> None:
    async with serve(CREATED, headers={}) as (api, _):
        known = await api.post(NEW)
        unknown = await api.post("/v1/apps/other/sessions/new")
        assert (known.status_code, known.json()) == (unknown.status_code, unknown.json())


async def test_a_body_is_not_read_before_the_secret_is_known_to_be_right(serve: Serve) -> None:
    async with serve(CREATED, headers={"authorization": "Bearer wrong"}) as (api, _):
        assert (await api.post(NEW, content=b"x" * (2 << 20))).status_code == 401
