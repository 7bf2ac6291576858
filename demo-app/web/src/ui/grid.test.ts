import { describe, expect, it } from "vitest";

import { gridOf, spotlightOf, tilesPerPage, type Rect } from "./grid";

function overlap(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

describe("the grid", () => {
  const boxes = [
    { width: 1280, height: 640 },
    { width: 380, height: 640 },
    { width: 800, height: 800 },
    { width: 2560, height: 1200 },
  ];

  it("keeps up to 50 tiles inside the box, apart from each other", () => {
    for (const box of boxes) {
      for (let count = 1; count <= 50; count++) {
        const rects = gridOf(count, box);
        expect(rects.length).toBe(count);
        for (const rect of rects) {
          expect(rect.x >= -1 && rect.y >= -1 && rect.x + rect.width <= box.width + 1 && rect.y + rect.height <= box.height + 1).toBe(true);
        }
        expect(rects.some((a, i) => rects.slice(i + 1).some((b) => overlap(a, b)))).toBe(false);
      }
    }
  });

  it("lays nine in three rows of three", () => {
    expect(new Set(gridOf(9, { width: 1280, height: 720 }).map(({ x }) => x)).size).toBe(3);
  });

  it("gives somebody alone on an upright phone the whole of it", () => {
    expect(gridOf(1, { width: 360, height: 600 })).toEqual([{ x: 0, y: 0, width: 360, height: 600 }]);
  });

  it("has pages on a small screen, and never more than 50 on one", () => {
    expect(tilesPerPage({ width: 360, height: 600 })).toBe(12);
    expect(tilesPerPage({ width: 3800, height: 2000 })).toBe(50);
  });
});

describe("the spotlight", () => {
  it("keeps its strip beside the stage, or below on a phone", () => {
    for (const box of [{ width: 1280, height: 640 }, { width: 380, height: 700 }]) {
      const { stage, strip } = spotlightOf(20, box);
      expect(strip.length).toBeGreaterThan(2);
      expect([...strip].some((rect) => overlap(rect, stage))).toBe(false);
    }
  });
});
