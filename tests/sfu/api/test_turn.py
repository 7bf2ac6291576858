"""Credentials over HTTP (api.md 3.1): who gets them, what is in them, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sfu.api.app import ApiLimits, create_app
from sfu.base.settings import Config, Listen
from sfu.directory.files import DataDirectory
from sfu.directory.memory import MemoryDirectory
from sfu.net.address import Address
from sfu.turn.service import TurnService
from sfu.wire.stun import Attribute, MessageClass, decode_error_code
from sfu.wire.turn import Method
from tests.sfu.api.asgi import client
from tests.sfu.api.canned import CannedService
from tests.sfu.api.test_docs import PAGE
from tests.turn.test_node import RawClient
from tests.turn.test_node import config as turn_config
from turn.credentials import REVOKED, Minted
from turn.keys import IssuedKey, new_key
from turn.told import Media

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx

    from turn.node import TurnNode

MEDIA = [Media(Address("127.0.0.1", 40000), Listen("127.0.0.1", 40000))]
GENERATE, LEGACY = "/credentials/generate-ice-servers", "/credentials/generate"


class Api:
    """The API with a TURN key, and a client that has its token."""

    def __init__(self, http: httpx.AsyncClient, turn: TurnService, issued: IssuedKey) -> None:
        self.http = http
        self.turn = turn
        self.issued = issued

    @property
    def node(self) -> TurnNode:
        assert self.turn.node is not None
        return self.turn.node

    async def post(
        self, path: str, content: str | bytes = b"", *, prefix: str = "/v1", **headers: str
    ) -> Any:
        url = f"{prefix}/turn/keys/{self.issued.key.id}{path}"
        return await self.http.post(url, content=content, headers=headers)

    async def credential(self, content: str | bytes = b"") -> Minted:
        answer = await self.post(GENERATE, content)
        assert answer.status_code == 201
        server = answer.json()["iceServers"][-1]
        return Minted(server["username"], server["credential"], int(server["username"].partition(":")[0]))


@asynccontextmanager
async def serving(
    data: Path, *, per_second: int = 1000, listens: bool = True, config: Config | None = None, **settings: str
) -> AsyncGenerator[Api]:
    config = config or turn_config(**settings)
    directory = DataDirectory(data)
    turn = TurnService(config, directory, media=MEDIA, listens=listens)
    turn.start()
    issued = new_key("mine", time.time())
    turn._keys.change(lambda keys: keys.update({issued.key.id: issued.key}))  # pyright: ignore[reportPrivateUsage]
    app = create_app(
        CannedService(None),
        MemoryDirectory(),
        turn,
        not_ready=lambda: None,
        bounds=ApiLimits(turn_calls_per_second=per_second),
    )
    try:
        async with client(app, {"authorization": f"Bearer {issued.token}"}) as http:
            yield Api(http, turn, issued)
    finally:
        await turn.stop()


def over_tcp(api: Api) -> str:
    return f"127.0.0.1:{api.node.tcp_listens[0].port}"


async def test_urls_have_every_transport_that_is_listened_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", tls="127.0.0.1:0", certificate="self-made") as api:
        urls = (await api.post(LEGACY)).json()["iceServers"]["urls"]
        assert urls[2:] == [
            f"turn:{over_tcp(api)}?transport=tcp",
            f"turns:127.0.0.1:{api.node.tls_listens[0].port}?transport=tcp",
        ]


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_api_3_1_the_answer_is_201_and_an_array_that_rtcpeerconnection_takes(
    tmp_path: Path, prefix: str
) -> None:
    async with serving(tmp_path / "data") as api:
        answer = await api.post(GENERATE, '{"ttl": 86400}', prefix=prefix)
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/json"
        stun, turn = answer.json()["iceServers"]
        where = f"127.0.0.1:{api.node.listens[0].port}"
        assert stun == {"urls": [f"stun:{where}"]}
        assert set(turn) == {"urls", "username", "credential"}
        assert turn["urls"] == [f"turn:{where}?transport=udp", f"turn:{over_tcp(api)}?transport=tcp"]


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_api_3_1_the_older_form_is_201_and_one_object(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path / "data") as api:
        answer = await api.post(LEGACY, '{"ttl": 86400}', prefix=prefix)
        assert answer.status_code == 201
        server = answer.json()["iceServers"]
        where = f"127.0.0.1:{api.node.listens[0].port}"
        assert server["urls"] == [
            f"stun:{where}",
            f"turn:{where}?transport=udp",
            f"turn:{over_tcp(api)}?transport=tcp",
        ]
        assert set(server) == {"urls", "username", "credential"}


async def test_a_credential_allocates_until_it_is_revoked(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        minted = await api.credential()
        allocated = RawClient(api.node, minted)
        assert (await allocated.allocate()).message_class is MessageClass.SUCCESS
        answer = await api.post(f"/credentials/{minted.username}/revoke")
        assert (answer.status_code, answer.content) == (204, b"")
        assert len(api.node.server) == 0
        again = RawClient(api.node, minted)
        assert (await again.allocate()).message_class is MessageClass.ERROR
        assert (await api.post(f"/credentials/{minted.username}/revoke")).status_code == 204
        for raw in (allocated, again):
            raw.sock.close()


async def test_another_process_gives_out_credentials_and_revokes_for_the_one_that_listens(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as first, serving(tmp_path / "data", listens=False) as second:
        assert second.turn.node is None
        minted = await second.credential()
        urls = [(await api.post(LEGACY)).json()["iceServers"]["urls"] for api in (first, second)]
        assert urls[0] == urls[1]
        raw = RawClient(first.node, minted)
        async with asyncio.timeout(5):
            while (await raw.allocate()).message_class is not MessageClass.SUCCESS:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the key is a moment old
        assert (await second.post(f"/credentials/{minted.username}/revoke")).status_code == 204
        async with asyncio.timeout(5):
            while len(first.node.server):  # noqa: ASYNC110 -- it hears of it by a file
                await asyncio.sleep(0.01)
        raw.sock.close()


@pytest.mark.parametrize(
    ("body", "lasts_s"),
    [
        ("", 3600),
        ("{}", 3600),
        ("null", 3600),
        ('{"ttl": null}', 3600),
        ('{"ttl": 1}', 1),
        ('{"ttl": 86400, "unknown": [1]}', 86_400),
        ('{"ttl": 864000}', 172_800),  # the published API's own example
        ('{"ttl": 1000000000000000000000}', 172_800),
    ],
)
async def test_a_credential_lasts_as_long_as_asked_within_the_limit(
    tmp_path: Path, body: str, lasts_s: int
) -> None:
    async with serving(tmp_path / "data") as api:
        before = int(time.time())
        minted = await api.credential(body)
        assert before + lasts_s <= minted.expires_at <= time.time() + lasts_s


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "decoding_error"),
        ("[]", 400, "decoding_error"),
        ('{"ttl": "1"}', 400, "decoding_error"),
        ('{"ttl": 1.5}', 400, "decoding_error"),
        ('{"customIdentifier": 1}', 400, "decoding_error"),
        ('{"ttl": 0}', 406, "invalid_params"),
        ('{"ttl": -1}', 406, "invalid_params"),
        (json.dumps({"customIdentifier": "x" * 257}), 406, "invalid_params"),
    ],
)
@pytest.mark.parametrize("path", [GENERATE, LEGACY])
async def test_a_body_that_can_not_be_taken_is_an_error_object(
    tmp_path: Path, path: str, body: str, status: int, code: str
) -> None:
    async with serving(tmp_path / "data") as api:
        answer = await api.post(path, body)
        assert answer.status_code == status
        assert answer.json()["errorCode"] == code
        assert answer.json()["errorDescription"]


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/octet-stream", ""])
async def test_api_1_0_the_body_is_json_whatever_its_content_type_says(
    tmp_path: Path, content_type: str
) -> None:
    async with serving(tmp_path / "data") as api:
        headers = {"content-type": content_type} if content_type else {}
        answer = await api.post(GENERATE, '{"ttl": 60}', **headers)
        assert answer.status_code == 201
        username = answer.json()["iceServers"][-1]["username"]
        assert int(username.partition(":")[0]) <= time.time() + 60


async def test_the_custom_identifier_is_in_the_name(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        minted = await api.credential(json.dumps({"customIdentifier": "alice@\u00fc"}))
        credential = api.node.credentials.find(minted.username, time.time())
        assert credential is not None
        assert (credential.key_id, credential.identifier) == (api.issued.key.id, "alice@\u00fc")


@pytest.mark.parametrize("path", [GENERATE, LEGACY, "/credentials/1800000000:x/revoke"])
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic eDp5", "Bearer \u00e9"])
async def test_a_wrong_token_is_401(tmp_path: Path, path: str, authorization: str) -> None:
    async with serving(tmp_path / "data") as api:
        url = f"/v1/turn/keys/{api.issued.key.id}{path}"
        answer = await api.http.post(url, headers={"authorization": authorization.encode()})  # pyright: ignore
        assert answer.status_code == 401
        assert answer.json()["errorCode"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_unknown_key_is_404_and_a_revoked_one_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        unknown = await api.http.post(f"/v1/turn/keys/{'0' * 32}{GENERATE}")
        assert (unknown.status_code, unknown.json()["errorCode"]) == (404, "not_found")
        assert (await api.post(GENERATE)).status_code == 201
        api.turn._keys.change(lambda keys: keys.clear())  # pyright: ignore[reportPrivateUsage]
        assert (await api.post(GENERATE)).status_code == 404


async def test_a_key_can_not_revoke_what_another_gave_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as one, serving(tmp_path / "data", listens=False) as two:
        minted = await one.credential()
        answer = await two.post(f"/credentials/{minted.username}/revoke")
        assert (answer.status_code, answer.json()["errorCode"]) == (404, "not_found")
        assert one.node.credentials.find(minted.username, time.time()) is not None
        assert (await two.post("/credentials/nonsense/revoke")).status_code == 404


async def test_a_key_that_is_asked_too_often_is_429_and_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", per_second=2) as api:
        other = new_key("other", time.time())
        api.turn._keys.change(lambda keys: keys.update({other.key.id: other.key}))  # pyright: ignore
        answers = [await api.post(GENERATE) for _ in range(5)]
        assert [answer.status_code for answer in answers[:2]] == [201, 201]
        assert answers[-1].status_code == 429
        assert answers[-1].json()["errorCode"] == "rate_limited"
        assert answers[-1].headers["retry-after"] == "1"
        url = f"/v1/turn/keys/{other.key.id}{GENERATE}"
        headers = {"authorization": f"Bearer {other.token}"}
        assert (await api.http.post(url, headers=headers)).status_code == 201


async def test_wrong_tokens_use_up_no_calls_of_a_key(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", per_second=1) as api:
        for _ in range(5):
            url = f"/v1/turn/keys/{api.issued.key.id}{GENERATE}"
            await api.http.post(url, headers={"authorization": "Bearer wrong"})
        assert (await api.post(GENERATE)).status_code == 201


async def test_urls_have_the_name_of_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", host="turn.example.org") as api:
        port = api.node.listens[0].port
        urls = (await api.post(LEGACY)).json()["iceServers"]["urls"]
        assert urls[:2] == [f"stun:turn.example.org:{port}", f"turn:turn.example.org:{port}?transport=udp"]


async def test_as_many_revocations_as_are_kept_and_then_503(tmp_path: Path) -> None:
    config = turn_config()
    config.put(REVOKED, 1, config.source(REVOKED))
    async with serving(tmp_path / "data", config=config) as api:
        first, second = await api.credential(), await api.credential()
        assert (await api.post(f"/credentials/{first.username}/revoke")).status_code == 204
        answer = await api.post(f"/credentials/{second.username}/revoke")
        assert (answer.status_code, answer.json()["errorCode"]) == (503, "temporarily_unavailable_error")


async def test_keys_that_can_not_be_read_are_503(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        DataDirectory(tmp_path / "data").write("turn-keys.json", b"damaged")
        answer = await api.post(GENERATE)
        assert (answer.status_code, answer.json()["errorCode"]) == (503, "temporarily_unavailable_error")


async def test_a_page_of_any_origin_may_ask(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        preflight = await api.http.options(
            f"/v1/turn/keys/{api.issued.key.id}{GENERATE}", headers={"origin": "null"}
        )
        assert preflight.status_code == 204
        answer = await api.post(GENERATE, origin="null")
        assert answer.headers["access-control-allow-origin"] == "null"


async def test_the_openapi_document_has_the_operations_and_their_token(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        document = (await api.http.get("/openapi.json")).json()
    paths = {path: operations["post"] for path, operations in document["paths"].items() if "/turn/" in path}
    below = "/v1/turn/keys/{keyId}/credentials"
    assert set(paths) == {
        f"{below}/{end}" for end in ("generate-ice-servers", "generate", "{username}/revoke")
    }
    for operation in paths.values():
        assert operation["security"] == [{"token": []}]
    for path in paths:
        assert f"`POST {path.removeprefix('/v1/turn/keys/{keyId}')}`" in PAGE
    assert "204" in paths[f"{below}/{{username}}/revoke"]["responses"]


async def test_without_turn_there_are_no_such_paths() -> None:
    app = create_app(CannedService(None), MemoryDirectory(), not_ready=lambda: None)
    async with client(app) as api:
        assert (await api.post(f"/v1/turn/keys/{'0' * 32}{GENERATE}")).status_code == 404


async def test_a_server_whose_port_is_taken_is_said_in_the_answer(tmp_path: Path) -> None:
    async with serving(tmp_path / "one") as first:
        taken = f"127.0.0.1:{first.node.listens[0].port}"
        async with serving(tmp_path / "two", udp=taken) as second:
            answer = await second.post(GENERATE)
            assert (answer.status_code, answer.json()["errorCode"]) == (503, "temporarily_unavailable_error")
            assert "No TURN server" in answer.json()["errorDescription"]


async def test_a_server_that_drains_takes_no_new_allocations_and_keeps_those_it_has(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as api:
        minted = await api.credential()
        early, late = RawClient(api.node, minted), RawClient(api.node, minted)
        await early.allocate()
        api.turn.drain()
        refused = await late.allocate()
        assert decode_error_code(refused.get(Attribute.ERROR_CODE) or b"")[0] == 508
        answer = await early.ask(Method.REFRESH, transaction=os.urandom(12))
        assert answer.message_class is MessageClass.SUCCESS
        for raw in (early, late):
            raw.sock.close()


async def test_a_revocation_that_can_not_be_kept_is_503_and_ends_the_allocation_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async with serving(tmp_path / "data") as api:
        minted = await api.credential()
        raw = RawClient(api.node, minted)
        await raw.allocate()
        with monkeypatch.context() as broken:
            broken.setattr(os, "pwrite", full)
            assert (await api.post(f"/credentials/{minted.username}/revoke")).status_code == 503
        assert len(api.node.server) == 0
        assert (await api.post(f"/credentials/{minted.username}/revoke")).status_code == 204
        raw.sock.close()
