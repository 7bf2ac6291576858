"""Whether a server lives, whether it takes what is new, and its metrics."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from sfu.api.auth import CHALLENGE, bearer_secret
from sfu.api.edge import Edge
from sfu.api.errors import TEMPORARILY_UNAVAILABLE, ApiError, add_error_handlers, error_response
from sfu.api.limits import REQUESTS_UNDER_WAY
from sfu.api.models import ErrorResponse, HealthResponse
from sfu.base.settings import Setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

METRICS_SECRET = Setting(
    "metrics.secret",
    str,
    "",
    secret=True,
    help="Bearer secret of GET /metrics (Prometheus text format); empty: there is no /metrics",
)


def add_node_operations(router: APIRouter, not_ready: Callable[[], str | None], metrics_secret: str) -> None:
    """Add what is asked of the node itself. `not_ready` returns why it takes no new sessions, or None."""

    @router.get("/healthz")
    async def healthz() -> HealthResponse:
        """The process serves requests."""
        return HealthResponse(status="ok")

    @router.get(
        "/readyz",
        response_model=HealthResponse,
        responses={503: {"model": ErrorResponse, "description": "The node takes no new sessions"}},
    )
    async def readyz() -> HealthResponse | Response:
        """The node takes new sessions."""
        reason = not_ready()
        if reason is not None:
            return error_response(503, TEMPORARILY_UNAVAILABLE, reason)
        return HealthResponse(status="ready")

    @router.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        """Counters and gauges of this process, for who knows the metrics' secret."""
        if not metrics_secret:
            raise ApiError(404, "Metrics are off: give the node a metrics secret to have them")
        given = bearer_secret(request.headers, "The metrics' secret")
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), metrics_secret.encode()):
            raise ApiError(401, "The metrics' secret is wrong", CHALLENGE)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def create_health_app(not_ready: Callable[[], str | None], metrics_secret: str) -> ASGIApp:
    """These operations alone, of a server that has no API; parameters as of `add_node_operations`."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    add_node_operations(app.router, not_ready, metrics_secret)
    add_error_handlers(app)
    return Edge(app, requests_under_way=REQUESTS_UNDER_WAY.default)
