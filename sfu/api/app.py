"""Puts the HTTP API together.

The node runs what `create_app` returns under uvicorn, in its own loop. It needs no lifespan, no
access log (calls are counted, failures logged) and no proxy headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from starlette.responses import JSONResponse, Response

from sfu.api import limits
from sfu.api.edge import Edge
from sfu.api.errors import add_error_handlers
from sfu.api.health import METRICS_SECRET, add_node_operations
from sfu.api.openapi import openapi_document
from sfu.api.route import Guard, admit_app, guarded_route
from sfu.api.sessions import add_session_operations
from sfu.api.stats import STATISTICS_PREFIX, add_statistics_operations
from sfu.api.tracks import add_track_operations
from sfu.api.turn import add_turn_operations, admit_key
from sfu.base.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.routing import APIRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sfu.api.route import Admit
    from sfu.directory.interface import Directory
    from sfu.sessions.service import SessionService
    from sfu.turn.service import TurnService

# Clients of the published API use both; the first is the documented one.
PREFIXES = ("/v1/apps/{appId}", "/apps/{appId}")
TURN_PREFIXES = ("/v1/turn/keys/{keyId}", "/turn/keys/{keyId}")
_CALLERS = 100_000  # chosen: apps, or TURN keys, whose calls are counted at once
_ROOTS = frozenset(("v1", "apps", "turn", "orchard", "healthz", "readyz", "metrics", "openapi.json"))


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Bounds of the HTTP layer; see the settings of `sfu.api.limits`."""

    body_bytes: int = limits.BODY_BYTES.default
    body_timeout_s: float = limits.BODY_TIMEOUT_S.default
    requests_under_way: int = limits.REQUESTS_UNDER_WAY.default
    calls_per_second: int = limits.CALLS_PER_SECOND.default
    turn_calls_per_second: int = limits.TURN_CALLS_PER_SECOND.default


def _rates(per_second: int) -> Rates:
    """Calls of each app, or TURN key: as many at once after a pause as in a second."""
    return Rates(per_second, per_second, capacity=_CALLERS)


def create_app(
    service: SessionService,
    directory: Directory,
    turn: TurnService | None = None,
    *,
    not_ready: Callable[[], str | None],
    bounds: ApiLimits | None = None,
    metrics_secret: str = METRICS_SECRET.default,
) -> ASGIApp:
    """The API of one node.

    `directory` holds the apps, `turn` the TURN keys, if there is TURN. `not_ready` returns why the node takes
    no new sessions, or None. With an empty `metrics_secret` there is no /metrics.
    """
    bounds = bounds or ApiLimits()
    app = FastAPI(openapi_url=None, redirect_slashes=False)

    def guarded(admit: Admit) -> type[APIRoute]:
        return guarded_route(Guard(admit, bounds.body_bytes, bounds.body_timeout_s))

    route_class = guarded(admit_app(directory, _rates(bounds.calls_per_second)))
    for prefix in PREFIXES:
        router = APIRouter(prefix=prefix, route_class=route_class, include_in_schema=prefix == PREFIXES[0])
        add_session_operations(router, service)
        add_track_operations(router, service)
        app.router.routes.extend(router.routes)
    router = APIRouter(prefix=STATISTICS_PREFIX, route_class=route_class)
    add_statistics_operations(router, service)
    app.router.routes.extend(router.routes)
    if turn is not None:
        key_class = guarded(admit_key(turn, _rates(bounds.turn_calls_per_second)))
        for prefix in TURN_PREFIXES:
            router = APIRouter(
                prefix=prefix, route_class=key_class, include_in_schema=prefix == TURN_PREFIXES[0]
            )
            add_turn_operations(router, turn)
            app.router.routes.extend(router.routes)
    add_node_operations(app.router, not_ready, metrics_secret)
    document = JSONResponse(openapi_document(app.routes))

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return document

    add_error_handlers(app)
    return Edge(app, requests_under_way=bounds.requests_under_way)


def beside_pages(api: ASGIApp, pages: ASGIApp) -> ASGIApp:
    """Serve `pages` at every path that is not the API's; no other origin may read them."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        first = scope.get("path", "").lstrip("/").partition("/")[0]
        await (api if first in _ROOTS else pages)(scope, receive, send)

    return serve
