"""A person at the meeting app's page, in a real browser: what they press, and what they see and hear."""

from __future__ import annotations

from typing import Any

from tests.browser.driver import Browser, Page
from tests.browser.peer import eventually

# Before anybody joins: the page's PeerConnections, for their statistics.
WATCH = """
() => {
  const Plain = window.RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class extends Plain {
    constructor(config) {
      super({ ...config, ...window.configured });
      window.connections.push(this);
    }
  };
  // No browser without a screen shares one.
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
    const paint = canvas.getContext("2d");
    let frame = 0;
    setInterval(() => {
      paint.fillStyle = `hsl(${(frame += 5) % 360} 80% 50%)`;
      paint.fillRect(0, 0, 640, 360);
    }, 50);
    return canvas.captureStream(20);
  };
  window.onerror = (text) => console.error("uncaught", text);
}
"""

TYPE = """
({ selector, text }) => {
  const field = document.querySelector(selector);
  const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, text);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
"""

CLICK = """
(selector) => {
  const found = document.querySelector(selector);
  if (found === null) throw new Error(`nothing to press: ${selector}; ${document.body.innerText}`);
  found.click();
}
"""

CLICK_TEXT = """
(text) => {
  const buttons = [...document.querySelectorAll("button")];
  const found = buttons.find((button) => button.innerText.trim() === text && !button.disabled);
  found?.click();
  return found !== undefined;
}
"""

PICTURE = """
({ name, source }) => {
  const video = document.querySelector(`figure[data-name="${name}"][data-source="${source}"] video`);
  if (video === null) return null;
  if (video.frames === undefined) {
    video.frames = 0; // Firefox counts none of a stream in its own figures
    const count = () => {
      video.frames += 1;
      video.requestVideoFrameCallback(count);
    };
    video.requestVideoFrameCallback(count);
  }
  return { frames: video.frames, width: video.videoWidth, shown: !video.classList.contains("video-waiting") };
}
"""

HEARD = """
async () => {
  let energy = 0;
  for (const connection of window.connections) {
    if (connection.connectionState !== "connected") continue;
    for (const entry of (await connection.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") energy += entry.totalAudioEnergy ?? 0;
    }
  }
  const sounds = [...document.querySelectorAll("audio")];
  return { energy, playing: sounds.filter((audio) => !audio.paused && audio.currentTime > 0).length };
}
"""

TRANSPORTS = """
async () => {
  const all = [];
  for (const connection of window.connections) {
    if (connection.connectionState === "closed") {
      all.push({ state: "closed" }); // of which Firefox says nothing more
      continue;
    }
    const entries = [...(await connection.getStats()).values()];
    const pairs = entries.filter(({ type }) => type === "candidate-pair");
    const pair = pairs.find(({ nominated, selected }) => nominated || selected);
    const local = entries.find(({ id }) => id === pair?.localCandidateId);
    const sdp = connection.localDescription?.sdp ?? "";
    all.push({
      state: connection.connectionState,
      path: local?.candidateType ?? null,
      ufrag: /a=ice-ufrag:(.+)/.exec(sdp)?.[1] ?? null,
      fingerprint: /a=fingerprint:(.+)/.exec(connection.remoteDescription?.sdp ?? "")?.[1] ?? null,
    });
  }
  return all;
}
"""


# What Firefox says at the level of errors: of a server that is gone, and of many TURN servers.
_NO_FAULTS = ("establish a connection to the server", "slows down discovery")


class Person:
    """Somebody with a page of their own."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name

    @classmethod
    async def at(cls, browser: Browser, url: str, name: str) -> Person:
        """At the page of this address: home, or the lobby of an invite's room."""
        person = cls(await browser.open(url), name)
        await person.page.evaluate(WATCH)
        return person

    async def end(self) -> None:
        """Close the page, of which the browser remembers nothing."""
        await self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        await self.page.close()

    async def configure(self, **configured: str) -> None:
        """What PeerConnections are made with from now on, whatever the page wants."""
        await self.page.evaluate("(configured) => { window.configured = configured; }", configured)

    async def make_meeting(self) -> str:
        """Make a meeting at home; the link for others, from the lobby."""
        await self.press("#new-meeting")
        await self.sees("#join")
        return await self.page.evaluate("() => location.href")

    async def join(self) -> None:
        """From the lobby into the call, with camera and microphone."""
        await self.sees("#name")
        await self.write("#name", self.name)
        await self.sees(".preview video")
        await self.press("#join")
        await self.sees(".call")

    async def press(self, selector: str) -> None:
        await self.page.evaluate(CLICK, selector)

    async def press_text(self, text: str) -> None:
        """Press the button that says this, once it is there."""
        await eventually(
            lambda: self.page.evaluate(CLICK_TEXT, text),
            lambda pressed: pressed,
            f"{self.name} presses {text!r}",
        )

    async def write(self, selector: str, text: str) -> None:
        await self.page.evaluate(TYPE, {"selector": selector, "text": text})

    async def is_there(self, selector: str) -> bool:
        return await self.page.evaluate("(selector) => document.querySelector(selector) !== null", selector)

    async def sees(self, selector: str, *, deadline_s: float = 20) -> None:
        await eventually(
            lambda: self.page.evaluate(
                "(s) => document.querySelector(s) !== null || document.body.innerText", selector
            ),
            lambda found: found is True,
            f"{self.name} sees {selector}",
            deadline_s=deadline_s,
        )

    async def sees_no(self, selector: str, *, deadline_s: float = 20) -> None:
        await eventually(
            lambda: self.is_there(selector),
            lambda found: not found,
            f"{self.name} sees no {selector}",
            deadline_s=deadline_s,
        )

    async def reads(self, text: str, *, within: str = "body", deadline_s: float = 20) -> None:
        await eventually(
            lambda: self.page.evaluate("(s) => document.querySelector(s)?.innerText ?? ''", within),
            lambda shown: text in shown,
            f"{self.name} reads {text!r}",
            deadline_s=deadline_s,
        )

    async def picture(self, name: str, source: str = "camera") -> dict[str, Any] | None:
        return await self.page.evaluate(PICTURE, {"name": name, "source": source})

    async def watches(
        self, name: str, source: str = "camera", *, frames: int = 10, deadline_s: float = 30
    ) -> None:
        """Wait until so many more frames of somebody have been shown."""
        seen = await self.picture(name, source)
        last, more = (0 if seen is None else seen["frames"]), 0

        def moved(now: dict[str, Any] | None) -> bool:
            nonlocal last, more
            if now is None or not now["shown"] or now["width"] == 0:
                return False
            more += max(0, now["frames"] - last)  # another video element begins anew
            last = now["frames"]
            return more >= frames

        await eventually(
            lambda: self.picture(name, source),
            moved,
            f"{self.name} ({self.page.browser}) sees {name}'s {source} move",
            deadline_s=deadline_s,
        )

    async def hears(self, *, deadline_s: float = 30) -> None:
        """Wait until sound has come and is played."""
        before = (await self.page.evaluate(HEARD))["energy"]
        await eventually(
            lambda: self.page.evaluate(HEARD),
            lambda now: now["energy"] > before and now["playing"] > 0,
            f"{self.name} ({self.page.browser}) hears",
            deadline_s=deadline_s,
        )

    async def transports(self) -> list[dict[str, Any]]:
        """Every PeerConnection that the page has made, first to last."""
        return await self.page.evaluate(TRANSPORTS)

    def complaints(self) -> list[str]:
        """What the page should not have logged."""
        faults = [line for line in self.page.console() if "uncaught" in line.lower() or "Refused" in line]
        return [line for line in faults if not any(said in line for said in _NO_FAULTS)]
