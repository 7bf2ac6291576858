"""The OpenAPI document and the running server agree, as schemathesis sees it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks as plain_checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from tests.conformance.api.server import other_server, own_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.api.server import Server

_PLAIN: Any = plain_checks  # their types are generic in what nobody names
_OPENAPI: Any = openapi_checks
# Not positive_data_acceptance: whether an SDP, a mid or a name fits can't be said in a schema.
CHECKS = [
    _PLAIN.not_a_server_error,
    _OPENAPI.status_code_conformance,
    _OPENAPI.content_type_conformance,
    _OPENAPI.response_headers_conformance,
    _OPENAPI.response_schema_conformance,
]
OPERATIONS = [
    ("POST", "/sessions/new"),
    ("GET", "/sessions/{sessionId}"),
    ("DELETE", "/sessions/{sessionId}"),
    ("POST", "/sessions/{sessionId}/tracks/new"),
    ("PUT", "/sessions/{sessionId}/tracks/close"),
    ("PUT", "/sessions/{sessionId}/tracks/update"),
    ("PUT", "/sessions/{sessionId}/renegotiate"),
    ("GET", "/sessions/{sessionId}/statistics"),
]
BELOW = "/v1/apps/{appId}"


def _whole(path: str) -> str:
    """The path as the document has it: what the published API does not know stands beside it."""
    return ("/orchard" if path.endswith("/statistics") else "") + BELOW + path


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """A server beside the test's thread, since schemathesis calls without a loop."""
    named = other_server()
    if named is not None:
        yield named
        return
    ready: list[Server] = []
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with own_server() as server:
            ready.append(server)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    yield ready[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def document(served: Server) -> Any:
    """The document as the server gives it."""
    root = served.url.removesuffix("/v1")
    return httpx.get(f"{root}/openapi.json", verify=False).json()  # noqa: S501 -- made by itself


def test_every_operation_is_tried(document: Any) -> None:
    declared = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if BELOW in path
    }
    assert declared == {(method, _whole(path)) for method, path in OPERATIONS}


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_server_does_what_its_openapi_document_says(
    served: Server, document: Any, method: str, path: str, mode: GenerationMode
) -> None:
    """Any request gets a documented answer of the documented form, and a malformed one is refused."""
    schema: Any = schemathesis.openapi.from_dict(document)
    operation = schema[_whole(path)][method]
    refuses: list[Any] = []
    if mode is GenerationMode.NEGATIVE:
        if not operation.body or operation.query:
            # an unknown query parameter would be malformed to schemathesis; here it is ignored
            pytest.skip("only operations with a body and without query parameters can be malformed")
        refuses = [_OPENAPI.negative_data_rejection]
    given_paths = {"appId": served.app, "sessionId": "to be made"}
    known = {name: given_paths[name] for name in ("appId", "sessionId") if f"{{{name}}}" in BELOW + path}
    authorization = {"authorization": f"Bearer {served.secret}"}
    new_session = f"{served.url}/apps/{served.app}/sessions/new"

    with httpx.Client(headers=authorization, verify=False) as client:  # noqa: S501 -- made by itself

        @given(case=operation.as_strategy(generation_mode=mode, path_parameters=known))
        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.filter_too_much,
                HealthCheck.data_too_large,
            ],
        )
        def call(case: Any) -> None:
            if "sessionId" in known:
                # a fresh one each time: some calls end it, and 50 a second would be its limit
                session = client.post(new_session).json()["sessionId"]
                case.path_parameters = {**known, "sessionId": session}
            root = served.url.removesuffix("/v1")
            case.call_and_validate(
                base_url=root, headers=authorization, checks=CHECKS + refuses, verify=False
            )

        call()
