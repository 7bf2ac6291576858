"""The code in the README does what the README says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.driver import BrowserName
from tests.browser.server import Orchard

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

README = Path(__file__).parents[2] / "README.md"

RUN = """
async ({ root, secret, publish, pull }) => {
  const call = async (method, path, body) => {
    const headers = { authorization: `Bearer ${secret}` };
    const response = await fetch(root + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    const failed = response.ok ? answer.tracks?.find((track) => track.errorCode) : answer;
    if (failed) throw new Error(`${path}: ${failed.errorCode}: ${failed.errorDescription}`);
    return answer;
  };
  const AsyncFunction = (async () => {}).constructor;
  const publisher = await new AsyncFunction("call", publish + "; return { pc, sessionId }")(call);
  const video = document.createElement("video");
  video.muted = video.autoplay = true;
  document.body.append(video);
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const { sessionId } = await call("POST", "/sessions/new");
  const names = ["call", "pc", "video", "mySessionId", "theirSessionId"];
  await new AsyncFunction(...names, pull)(call, pc, video, sessionId, publisher.sessionId);
  const until = performance.now() + 20000;
  while (video.currentTime < 0.5 && performance.now() < until) await new Promise((go) => setTimeout(go, 50));
  pc.close();
  publisher.pc.close();
  return { seconds: video.currentTime, width: video.videoWidth };
}
"""


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_camera_is_published_and_pulled_by_the_code_in_the_readme(
    browser: BrowserName, open_page: OpenPage, orchard: Orchard
) -> None:
    publish, pull = re.findall(r"```js\n(.*?)```", README.read_text(), re.DOTALL)
    page = await open_page(browser)
    arguments = {"root": orchard.root, "secret": orchard.secret, "publish": publish, "pull": pull}
    seen = await page.evaluate(RUN, arguments)
    assert seen["width"] > 0
    assert seen["seconds"] >= 0.5
