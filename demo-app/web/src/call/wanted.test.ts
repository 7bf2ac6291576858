import { describe, expect, it } from "vitest";

import { member, welcome } from "../room/view.test";
import { welcomed } from "../room/view";
import type { Member } from "../room/messages";
import { layerFor } from "./layers";
import { DEFAULT_LIMITS, hearing, wantsOf } from "./wanted";

function publisher(id: string, change: Partial<Member> = {}): Member {
  const tracks = [
    { name: "microphone-1", source: "microphone" as const, simulcast: false },
    { name: "camera-2", source: "camera" as const, simulcast: true },
  ];
  return member(id, { tracks, ...change });
}

function names(view: ReturnType<typeof welcomed>, shown: readonly string[], heard: readonly string[] = [], limits = DEFAULT_LIMITS): string[] {
  const pictures = shown.map((id) => ({ member: id, source: "camera" as const, height: 200 }));
  return wantsOf(view, pictures, limits, new Map(), heard).map(({ sessionId, trackName, layer }) => `${sessionId} ${trackName}${layer ?? ""}`);
}

describe("what is wanted", () => {
  const many = Array.from({ length: 30 }, (_, index) => publisher(`m${index}`));
  const view = welcomed(welcome({ members: [publisher("me"), ...many] }));

  it("is the pictures on screen and no others", () => {
    expect(names(view, ["m1", "m2", "me"]).filter((name) => name.includes("camera"))).toEqual(["s-m1 camera-2q", "s-m2 camera-2q"]);
  });

  it("is at most so many voices, those first who spoke of late", () => {
    const voices = names(view, [], ["m29", "m28"]).filter((name) => name.includes("microphone"));
    expect(voices.length).toBe(DEFAULT_LIMITS.voices);
    expect(voices.slice(0, 2)).toEqual(["s-m29 microphone-1", "s-m28 microphone-1"]);
  });

  it("is nothing of who is elsewhere, muted, or has published nothing", () => {
    const members = [publisher("me"), publisher("away", { place: "1" }), publisher("mute", { microphone: false }), publisher("none", { sessionId: null })];
    expect(names(welcomed(welcome({ members })), ["away", "none"])).toEqual([]);
  });

  it("is no camera where pictures are off, but a shared screen", () => {
    const sharing = publisher("a", { tracks: [{ name: "screen-3", source: "screen", simulcast: false }] });
    const sharingView = welcomed(welcome({ members: [publisher("me"), sharing, publisher("b")] }));
    const shown = [
      { member: "a", source: "screen" as const, height: 700 },
      { member: "b", source: "camera" as const, height: 700 },
    ];
    const wants = wantsOf(sharingView, shown, { ...DEFAULT_LIMITS, video: "off" }, new Map(), []);
    expect(wants.filter(({ kind }) => kind === "video").map(({ trackName }) => trackName)).toEqual(["screen-3"]);
  });
});

describe("a layer", () => {
  it("fits the height of its tile", () => {
    expect([1080, 432, 431, 216, 215, 90].map((height) => layerFor(height, "full"))).toEqual(["f", "f", "h", "h", "q", "q"]);
  });

  it("stays while its tile shrinks a little", () => {
    expect(layerFor(400, "full", "f")).toBe("f");
    expect(layerFor(400, "full", "h")).toBe("h");
    expect(layerFor(360, "full", "f")).toBe("h");
  });

  it("is at most half a picture in data saver", () => {
    expect(layerFor(1080, "saver", "f")).toBe("h");
  });
});

describe("who was heard", () => {
  it("has who spoke last at the front, once", () => {
    expect(hearing(["a", "b"], ["b", "c"])).toEqual(["b", "c", "a"]);
  });

  it("is the same list while the same speak", () => {
    const before = ["a", "b"];
    expect(hearing(before, ["a"])).toBe(before);
  });
});
