"""partytracks as npm has it, unmodified, against the server through a proxy that adds the secret.

api.md section 5, items 1, 4, 5, 7, 9, 10 and 12 as that client relies on them.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.driver import Page
from tests.browser.peer import eventually
from tests.browser.proxy import SecretProxy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("_bundle"),
]


async def call(page: Page, function: str) -> Any:
    """Call a function of pages/partytracks.js."""
    return await page.evaluate(f"async () => (await import('/pages/partytracks.js')).{function}()")


async def flows(page: Page, *, sessions: int) -> dict[str, Any]:
    """Wait until the newest of so many sessions receives both kinds."""
    return await eventually(
        lambda: call(page, "state"),
        lambda now: (
            len(now["sessions"]) == sessions
            and now["state"] == "connected"
            and now["frames"] >= 20
            and now["energy"] > 0
        ),
        f"partytracks receives in session {sessions}",
        deadline_s=30,
    )


async def test_it_pushes_and_pulls_and_survives_a_forced_reconnect(
    open_page: OpenPage, secret_proxy: SecretProxy
) -> None:
    page = await open_page("chromium")
    await call(page, "start")
    before = await flows(page, sessions=1)
    await call(page, "breakConnection")
    after = await flows(page, sessions=2)
    assert after["sessions"][0] == before["sessions"][0]
    assert all(len(tracks) >= 2 for tracks in after["pulled"].values())
    assert after["errors"] == []
    assert f"POST sessions/{after['sessions'][1]}/tracks/new" in secret_proxy.calls


async def test_it_closes_tracks_in_batches_and_goes_on(
    open_page: OpenPage, secret_proxy: SecretProxy
) -> None:
    page = await open_page("chromium")
    await call(page, "start")
    now = await flows(page, sessions=1)
    await call(page, "pushPullAndClose")
    closing = f"PUT sessions/{now['sessions'][0]}/tracks/close"

    async def calls() -> list[str]:
        return secret_proxy.calls

    await eventually(calls, lambda seen: closing in seen, "partytracks closes")
    again = await flows(page, sessions=1)
    assert again["errors"] == []
