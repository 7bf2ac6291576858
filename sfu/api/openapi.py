"""The OpenAPI document: what FastAPI derives from the code, with what it can't know put right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

import sfu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute

DESCRIPTION = """\
Sessions and tracks of the Orchard SFU. A session is one PeerConnection; a track is found by the session that
publishes it and its name. Bodies are taken for JSON whatever their content type, unknown fields and query
parameters are ignored, and every path works without its leading `/v1` too. TURN credentials are given out by
TURN keys, which have tokens of their own."""


def openapi_document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of `routes`. Operations below `/apps/` want the app's secret, `/turn/` the key's token."""
    document = get_openapi(title="Orchard", version=sfu.__version__, description=DESCRIPTION, routes=routes)
    document["components"]["securitySchemes"] = {
        "secret": {"type": "http", "scheme": "bearer", "description": "The app's secret"},
        "token": {"type": "http", "scheme": "bearer", "description": "The TURN key's token"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            # FastAPI's own form of a refused request, which never leaves here.
            operation["responses"].pop("422", None)
            if "/apps/" in path:
                operation["security"] = [{"secret": []}]
            elif "/turn/" in path:
                operation["security"] = [{"token": []}]
    for schema in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(schema, None)
    return document
