"""docs/reference/api.md names every operation, error and limit of the API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from sfu.api import errors, limits
from sfu.negotiation.errors import ErrorCode
from sfu.sessions import service
from sfu.sessions.errors import Code

if TYPE_CHECKING:
    from tests.sfu.api.conftest import Serve

PAGE = (Path(__file__).parents[3] / "docs/reference/api.md").read_text()


async def test_every_operation_is_on_the_page(serve: Serve) -> None:
    async with serve(headers={}) as (api, _):
        paths = (await api.get("/openapi.json")).json()["paths"]
    for path, operations in paths.items():
        below = path.removeprefix("/v1/apps/{appId}")
        for method in operations:
            assert f"`{method.upper()} {below}`" in PAGE


@pytest.mark.parametrize(
    "code", sorted({*get_args(ErrorCode), *get_args(Code), *errors.CODES.values(), errors.INVALID_PARAMS})
)
def test_every_error_code_is_on_the_page(code: str) -> None:
    assert f"| `{code}` |" in PAGE


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (limits.CALLS_PER_SECOND.name, str(limits.CALLS_PER_SECOND.default)),
        (limits.TURN_CALLS_PER_SECOND.name, str(limits.TURN_CALLS_PER_SECOND.default)),
        (limits.REQUESTS_UNDER_WAY.name, str(limits.REQUESTS_UNDER_WAY.default)),
        (limits.BODY_BYTES.name, str(limits.BODY_BYTES.default)),
        (service.SESSIONS_LIMIT.name, f"{service.SESSIONS_LIMIT.default:,}"),
        (service.CONNECT_WAIT_S.name, f"{service.CONNECT_WAIT_S.default:g} s"),
        (service.MEDIA_WAIT_S.name, f"{service.MEDIA_WAIT_S.default:g} s"),
        (service.UNCONNECTED_LIFE_S.name, f"{service.UNCONNECTED_LIFE_S.default:g} s"),
    ],
)
def test_every_limit_is_on_the_page_with_its_value(name: str, shown: str) -> None:
    [row] = re.findall(rf"^.*`{re.escape(name)}`.*$", PAGE, re.MULTILINE)
    assert shown in row
