import { describe, expect, it } from "vitest";

import { arrange, orderOf } from "./arrange";

describe("the order of tiles", () => {
  it("keeps everybody's place while people come and go", () => {
    expect(orderOf(["a", "b", "c"], ["a", "c", "d"], 10, [])).toEqual(["a", "c", "d"]);
  });

  it("brings who speaks to the front, in place of who has been silent longest", () => {
    expect(orderOf(["a", "b", "c", "d"], ["a", "b", "c", "d"], 2, ["d", "a"])).toEqual(["a", "d", "c", "b"]);
  });

  it("is the same list when nothing changes", () => {
    const before = ["a", "b"];
    expect(orderOf(before, ["a", "b"], 2, ["b"])).toBe(before);
  });
});

describe("what is large", () => {
  const choice = { layout: "auto" as const, pinned: null, speaker: null };
  const screen = { member: "b", source: "screen" as const };

  it("is nothing in a grid, unless pinned", () => {
    expect(arrange(["a", "me"], [], "me", choice).spotlight).toBeNull();
    const pinned = { member: "a", source: "camera" as const };
    expect(arrange(["a", "me"], [], "me", { ...choice, layout: "grid", pinned })).toEqual({ spotlight: pinned, tiles: [{ member: "me", source: "camera" }] });
  });

  it("is a shared screen, and one's own only if it is the only one", () => {
    const own = { member: "me", source: "screen" as const };
    expect(arrange(["a", "b", "me"], [screen, own], "me", choice).spotlight).toEqual(screen);
    expect(arrange(["a", "b", "me"], [own], "me", choice).spotlight).toEqual(own);
  });

  it("is who speaks, never oneself, in the speaker layout", () => {
    const speaker = { ...choice, layout: "speaker" as const };
    expect(arrange(["a", "b", "me"], [], "me", { ...speaker, speaker: "b" }).spotlight?.member).toBe("b");
    expect(arrange(["a", "b", "me"], [], "me", { ...speaker, speaker: "me" }).spotlight?.member).toBe("a");
  });

  it("does not stay pinned to who has left", () => {
    const pinned = { member: "gone", source: "camera" as const };
    expect(arrange(["a", "me"], [], "me", { ...choice, pinned }).spotlight).toBeNull();
  });
});
